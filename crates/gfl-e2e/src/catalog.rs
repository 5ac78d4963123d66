//! Reads a server's catalog: the API does not show events yet, and what the tests promise about them has to be
//! checked where they are written.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;
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
    read(meta, after).map_err(|e| format!("reading the catalog: {e}"))
}

/// Renames that the server has done and still remembers, until it knows that they are on the disk.
pub fn unsettled(meta: &Path) -> Result<i64, String> {
    let count = || open(meta)?.query_row("SELECT COUNT(*) FROM intent", [], |row| row.get(0));
    count().map_err(|e| format!("reading the catalog: {e}"))
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
        let kind = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok(Event {
            id: row.get(0)?,
            kind: KINDS.get(kind).copied().unwrap_or(KINDS[0]),
            path: row.get(2)?,
            target: row.get(3)?,
        })
    })?;
    rows.collect()
}
