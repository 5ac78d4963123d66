//! What a server says about itself to its administrator: `GET /v1/admin/check`.

use serde::{Deserialize, Serialize};

/// A thorough look at a running server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdminCheck {
    /// The server's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its clock.
    pub time: String,
    /// It finishes what runs and takes nothing new.
    pub draining: bool,
    /// Why the storage cannot be written; none when it can.
    pub storage_trouble: Option<String>,
    /// `sqlite` or `postgres`.
    pub catalog_engine: String,
    /// The version of the catalog's schema.
    pub catalog_schema: u32,
    /// What is damaged in the catalog; empty when nothing is.
    pub catalog_damage: Vec<String>,
    /// File descriptors in use.
    pub files_open: Option<u64>,
    /// File descriptors allowed.
    pub files_max: Option<u64>,
    /// Upload sessions that are open.
    pub uploads_open: u64,
    /// Rows of the access log that were dropped since the start.
    pub access_dropped: u64,
}
