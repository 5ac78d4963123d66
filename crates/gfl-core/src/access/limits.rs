//! Limits of the access log.

/// The access log is written at least this often while there is something to write …
pub const ACCESS_FLUSH_MS: u64 = 1_000;
/// … and when so many rows wait; also the rows of one transaction.
pub const ACCESS_BATCH_ROWS: usize = 512;
/// Memory of rows that wait; more are dropped and counted.
pub const ACCESS_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Rows of callers nobody knows in one batch: anybody can make any number of those.
pub const ACCESS_DENIED_ROWS_MAX: usize = 100;
/// Bytes of one text of a row.
pub const ACCESS_TEXT_BYTES_MAX: usize = 1024;
/// Rows removed by one step.
pub const ACCESS_PRUNE_ROWS: i64 = 1_000;
/// Rows kept however young they are.
pub const ACCESS_ROWS_MAX: i64 = 10_000_000;
/// Users, actions and days with sums that wait to be written.
pub const USAGE_KEYS_MAX: usize = 4_096;
/// Days for which sums are kept.
pub const USAGE_DAYS_MAX: i64 = 3 * 366;
/// Rows in one page of sums or of the access log.
pub const STATS_PAGE_ROWS_MAX: usize = 10_000;
