//! What `main` decided, once: durations, sizes, switches. Nothing below reads a file or the environment.

use crate::catalog::PostgresUrl;
use std::path::PathBuf;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When its group is durable (default).
    Batch,
    /// When it alone is durable.
    Strict,
    /// When the kernel has it. For scratch data.
    None,
}

/// The core's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Root of the visible tree.
    pub storage_dir: PathBuf,
    /// Catalog and locks.
    pub meta_dir: PathBuf,
    /// tokens.json; `None` turns authentication off.
    pub tokens_file: Option<PathBuf>,
    /// See [`Durability`].
    pub durability: Durability,
    /// How long replaced and deleted content is kept.
    pub undo_ms: i64,
    /// Kept content goes earlier while less than this share of the disk is free, in percent.
    pub undo_free_percent_min: u64,
    /// How long events (the record of changes) are kept.
    pub events_ms: i64,
    /// … and how many at most.
    pub events_rows_max: i64,
    /// Upload sessions without activity end after this.
    pub upload_expiry_ms: i64,
    /// Largest file accepted, in bytes.
    pub max_file_bytes: u64,
    /// How long rows of the access log are kept; 0 keeps none. Daily sums are kept in any case.
    pub access_log_ms: i64,
    /// … but no more rows than this.
    pub access_rows_max: i64,
    /// PostgreSQL; `None` uses SQLite in `meta_dir`.
    pub database: Option<PostgresUrl>,
    /// … with so many connections at most.
    pub database_connections_max: usize,
}

impl Settings {
    /// Defaults for a storage and a meta folder.
    pub fn new(storage_dir: impl Into<PathBuf>, meta_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            storage_dir: storage_dir.into(),
            meta_dir: meta_dir.into(),
            tokens_file: None,
            durability: Durability::Batch,
            undo_ms: 7 * 24 * 3_600_000,
            undo_free_percent_min: 10,
            events_ms: 90 * 24 * 3_600_000,
            events_rows_max: 10_000_000,
            upload_expiry_ms: 24 * 3_600_000,
            max_file_bytes: crate::limits::FILE_BYTES_MAX,
            access_log_ms: 30 * 24 * 3_600_000,
            access_rows_max: crate::access::limits::ACCESS_ROWS_MAX,
            database: None,
            database_connections_max: 10,
        }
    }
}
