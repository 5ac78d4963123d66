-- Entries: what paths name now. Keyed by (parent, name bytes): moving a folder is one row.
-- kind: 0 directory, 1 file, 2 a directory that is gone and in which something kept was.
-- The root is id 1, its own parent is 0.
CREATE TABLE entry (
  id %SERIAL%,
  parent BIGINT NOT NULL,
  name %BYTES% NOT NULL,
  kind BIGINT NOT NULL,
  version TEXT,
  created_ms BIGINT NOT NULL,
  UNIQUE (parent, name)
);
INSERT INTO entry (parent, name, kind, created_ms) VALUES (0, '', 0, 0);

-- Versions: immutable content. The last four columns are the stamp of its file in a tree store;
-- ctime_ns is null until a published file's directory has been synced.
CREATE TABLE version (
  id %TEXT% PRIMARY KEY,
  entry BIGINT NOT NULL,
  size BIGINT NOT NULL,
  b3 %BYTES%,
  sha256 %BYTES%,
  mtime_ns BIGINT NOT NULL,
  mode BIGINT NOT NULL,
  owner TEXT NOT NULL,
  uploaded_ms BIGINT NOT NULL,
  ino BIGINT NOT NULL,
  ctime_ns BIGINT
);
CREATE INDEX version_entry ON version (entry);

-- Kept: what was replaced or deleted and can be brought back. A deleted directory keeps its entry
-- (re-parented to -1) and everything below it.
CREATE TABLE kept (
  id %TEXT% PRIMARY KEY,
  parent BIGINT NOT NULL,
  name %BYTES% NOT NULL,
  kind BIGINT NOT NULL,
  entry BIGINT NOT NULL,
  version TEXT,
  ino BIGINT NOT NULL,
  reason BIGINT NOT NULL,
  retired_ms BIGINT NOT NULL,
  retired_by TEXT NOT NULL
);
CREATE INDEX kept_name ON kept (parent, name, retired_ms);
CREATE INDEX kept_age ON kept (retired_ms);
CREATE INDEX kept_entry ON kept (entry);

-- Intents: renames that a committed transaction owes the tree, in order. A restart redoes them;
-- a job drops them once their directories are durable. For a new directory over_size is its entry.
CREATE TABLE intent (
  id %SERIAL%,
  op BIGINT NOT NULL,
  version TEXT,
  ino BIGINT NOT NULL,
  path TEXT NOT NULL,
  target TEXT,
  over_key TEXT,
  over_size BIGINT,
  over_mtime_ns BIGINT,
  over_ino BIGINT,
  over_ctime_ns BIGINT,
  edit_key TEXT,
  who TEXT NOT NULL
);

-- Upload sessions. origin: 0 native, 1 v0. state: 0 receiving, 1 committing, 2 done, 3 failed.
CREATE TABLE upload (
  id %TEXT% PRIMARY KEY,
  owner TEXT NOT NULL,
  origin BIGINT NOT NULL,
  peer TEXT NOT NULL,
  path TEXT NOT NULL,
  version TEXT NOT NULL,
  length BIGINT,
  slots BIGINT,
  slot_bytes BIGINT,
  slots_have BIGINT NOT NULL,
  state BIGINT NOT NULL,
  fingerprint TEXT,
  mtime_ns BIGINT,
  mode BIGINT,
  b3 %BYTES%,
  sha256 %BYTES%,
  if_match TEXT,
  if_none_match TEXT,
  created_ms BIGINT NOT NULL,
  active_ms BIGINT NOT NULL,
  outcome TEXT
);
CREATE INDEX upload_target ON upload (owner, path);
CREATE INDEX upload_age ON upload (active_ms);

-- Received ranges, written only after their bytes are durable (invariant 3). Half open.
CREATE TABLE upload_range (
  upload TEXT NOT NULL,
  start_at BIGINT NOT NULL,
  end_at BIGINT NOT NULL,
  PRIMARY KEY (upload, start_at)
);

-- v0 chunks by number: their offset is unknown until the sizes are. aside: key of a draft of its own.
CREATE TABLE upload_slot (
  upload TEXT NOT NULL,
  slot BIGINT NOT NULL,
  size BIGINT NOT NULL,
  aside TEXT,
  sha256 %BYTES% NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (upload, slot)
);

-- Events: one row for one visible change, in the change's transaction. seq is given later, in order.
CREATE TABLE event (
  id %SERIAL%,
  seq BIGINT,
  at_ms BIGINT NOT NULL,
  kind BIGINT NOT NULL,
  path TEXT NOT NULL,
  target TEXT,
  entry BIGINT,
  version TEXT,
  size BIGINT,
  who TEXT NOT NULL
);
