-- The access log: what was asked and left no event (downloads, logins, denials), and uploads. Written in batches
-- beside the requests; the last second may be missing after a crash. who: empty for nobody.
CREATE TABLE access_log (
  id %SERIAL%,
  at_ms BIGINT NOT NULL,
  who %TEXT% NOT NULL,
  token TEXT,
  peer TEXT NOT NULL,
  action TEXT NOT NULL,
  path TEXT,
  status BIGINT NOT NULL,
  complete BIGINT NOT NULL,
  files BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  size BIGINT,
  ms BIGINT NOT NULL,
  request TEXT NOT NULL
);

-- Sums of all requests by day (since 1970, UTC), user and action, added to in the same batches.
CREATE TABLE usage_day (
  day BIGINT NOT NULL,
  who %TEXT% NOT NULL,
  action %TEXT% NOT NULL,
  requests BIGINT NOT NULL,
  files BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  PRIMARY KEY (day, who, action)
);
