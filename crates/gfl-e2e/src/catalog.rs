//! Reads a server's catalog: the API does not show events yet, and what the tests promise about them has to be
//! checked where they are written.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A row of the event table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows with time.
    pub id: i64,
    /// What happened, in a word.
    pub kind: &'static str,
    /// Where.
    pub path: String,
    /// Where to, of a move.
    pub target: Option<String>,
}

/// Numbers are part of the catalog's format: they must never change their meaning.
const KINDS: [&str; 10] = [
    "unknown",
    "created",
    "replaced",
    "deleted",
    "moved",
    "dir made",
    "meta changed",
    "restored",
    "adopted",
    "vanished",
];

impl Event {
    /// Whether it says that a person changed something.
    pub fn is_by_hand(&self) -> bool {
        matches!(self.kind, "adopted" | "vanished")
    }
}

/// Events with a larger id than `after`, in order.
pub fn events(meta: &Path, after: i64) -> Result<Vec<Event>, String> {
    if let Some(url) = database(meta) {
        return read_postgres(&url, after);
    }
    read(meta, after).map_err(|e| format!("reading the catalog: {e}"))
}

/// Renames that the server has done and still remembers, until it knows that they are on the disk.
pub fn unsettled(meta: &Path) -> Result<i64, String> {
    let count = || open(meta)?.query_row("SELECT COUNT(*) FROM intent", [], |row| row.get(0));
    count().map_err(|e| format!("reading the catalog: {e}"))
}

/// Where the catalog is, if it is no file: as configured beside `meta_dir`.
fn database(meta: &Path) -> Option<String> {
    let config = std::fs::read_to_string(meta.with_file_name("goflux.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&config).ok()?;
    config["server"]["database"].as_str().map(str::to_owned)
}

fn read_postgres(url: &str, after: i64) -> Result<Vec<Event>, String> {
    let query = format!(
        "SELECT COALESCE(json_agg(json_build_array(id, kind, path, target) ORDER BY id), '[]') FROM event \
         WHERE id > {after}"
    );
    let done = Command::new("psql")
        .args(["-qtA", url, "-c", &query])
        .output();
    let done = done.map_err(|e| format!("psql: {e}"))?;
    let rows: serde_json::Value = serde_json::from_slice(&done.stdout)
        .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&done.stderr)))?;
    let event = |row: &serde_json::Value| Event {
        id: row[0].as_i64().unwrap_or(0),
        kind: kind(row[1].as_i64().unwrap_or(0)),
        path: row[2].as_str().unwrap_or_default().to_owned(),
        target: row[3].as_str().map(str::to_owned),
    };
    Ok(rows.as_array().into_iter().flatten().map(event).collect())
}

fn kind(number: i64) -> &'static str {
    let kind = usize::try_from(number).ok().and_then(|n| KINDS.get(n));
    kind.copied().unwrap_or(KINDS[0])
}

fn open(meta: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        meta.join("catalog.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}

fn read(meta: &Path, after: i64) -> rusqlite::Result<Vec<Event>> {
    let db = open(meta)?;
    let mut query =
        db.prepare("SELECT id, kind, path, target FROM event WHERE id > ?1 ORDER BY id")?;
    let rows = query.query_map([after], |row| {
        Ok(Event {
            id: row.get(0)?,
            kind: kind(row.get(1)?),
            path: row.get(2)?,
            target: row.get(3)?,
        })
    })?;
    rows.collect()
}
