//! Table `event`: one row for one visible change, written in the change's transaction (invariant 5).

use super::{Tx, Value};
use crate::error::Result;
use crate::id::Key;
use gfl_api::path::FilePath;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A file appeared.
    Created = 1,
    /// A file's content was replaced.
    Replaced = 2,
    /// A file or directory was deleted.
    Deleted = 3,
    /// A file or directory was moved.
    Moved = 4,
    /// A directory was made.
    DirMade = 5,
    /// Metadata changed.
    MetaChanged = 6,
    /// Something kept was brought back.
    Restored = 7,
    /// A person's change was noticed and recorded.
    Adopted = 8,
    /// A person's removal was noticed and recorded.
    Vanished = 9,
}

/// A change.
#[derive(Debug, Clone)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// Where.
    pub path: FilePath,
    /// Where to (moves).
    pub target: Option<FilePath>,
    /// The entry.
    pub entry: Option<i64>,
    /// The version that is there now, or that went.
    pub version: Option<Key>,
    /// Its bytes.
    pub size: Option<u64>,
    /// Who.
    pub who: String,
}

/// Adds a row; returns its id.
pub async fn record(tx: &mut Tx<'_>, at_ms: i64, e: &Event) -> Result<i64> {
    let size = e.size.map(Value::u64).transpose()?.unwrap_or(Value::Null);
    let row = tx
        .row(
            "INSERT INTO event (at_ms, kind, path, target, entry, version, size, who) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
            &[
                at_ms.into(),
                (e.kind as i64).into(),
                e.path.as_str().into(),
                e.target.as_ref().map(|p| p.as_str().to_owned()).into(),
                e.entry.into(),
                e.version.as_ref().map(|k| k.as_str().to_owned()).into(),
                size,
                e.who.as_str().into(),
            ],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}

/// Takes an event back: its change could not be made visible and was compensated.
pub async fn unrecord(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    tx.exec(
        "DELETE FROM event WHERE id = $1 AND seq IS NULL",
        &[id.into()],
    )
    .await?;
    Ok(())
}

/// Which events may go.
#[derive(Debug, Clone)]
pub struct Outdated {
    /// Those from before this time, unix ms …
    pub before_ms: i64,
    /// … and those that this many came after …
    pub rows_max: i64,
    /// … but none from this id on: somebody has still to read it.
    pub keep_from: i64,
}

/// Forgets the oldest events that may go, at most `limit`; returns how many went.
pub async fn forget(tx: &mut Tx<'_>, outdated: &Outdated, limit: i64) -> Result<i64> {
    let newest = tx
        .row(
            "SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) FROM event",
            &[],
        )
        .await?
        .map_or(Ok(0), |row| row.int(0))?;
    let surplus = newest.saturating_sub(outdated.rows_max);
    let oldest = tx
        .rows(
            "SELECT id, at_ms FROM event WHERE id < $1 ORDER BY id LIMIT $2",
            &[outdated.keep_from.into(), limit.into()],
        )
        .await?;
    // In the order of ids. One that a clock gone wrong dated into the future goes with those after it.
    let mut count = 0;
    let mut last = None;
    for (n, row) in (1..).zip(&oldest) {
        let id = row.int(0)?;
        if id <= surplus || row.int(1)? < outdated.before_ms {
            (count, last) = (n, Some(id));
        }
    }
    if let Some(last) = last {
        tx.exec("DELETE FROM event WHERE id <= $1", &[last.into()])
            .await?;
    }
    Ok(count)
}

/// How many events of a kind there are (tests, `doctor`).
pub async fn count(tx: &mut Tx<'_>, kind: EventKind) -> Result<i64> {
    let row = tx
        .row(
            "SELECT COUNT(*) FROM event WHERE kind = $1",
            &[(kind as i64).into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}
