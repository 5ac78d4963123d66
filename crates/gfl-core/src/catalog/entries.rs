//! Table `entry`: what names stand for, keyed by (parent, name bytes).

use super::versions::{self, VersionRow};
use super::{Tx, Value, key_column};
use crate::error::Result;
use crate::id::Key;
use gfl_api::path::FilePath;

/// The root directory's id.
pub const ROOT: i64 = 1;
/// The parent of deleted directories that are kept whole, named by their kept id.
pub const LIMBO: i64 = -1;
/// The parent of directories whose rows are being removed.
pub const SWEEP: i64 = -2;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Id; survives moves.
    pub id: i64,
    /// The directory's id.
    pub parent: i64,
    /// Directory or file.
    pub is_dir: bool,
    /// Current version of a file.
    pub version: Option<Key>,
}

/// An entry with its current version.
#[derive(Debug, Clone)]
pub struct Known {
    /// The entry.
    pub entry: EntryRow,
    /// Its version (files).
    pub version: Option<VersionRow>,
}

fn root_row() -> EntryRow {
    EntryRow {
        id: ROOT,
        parent: 0,
        is_dir: true,
        version: None,
    }
}

/// The row of one name.
pub async fn child(tx: &mut Tx<'_>, parent: i64, name: &str) -> Result<Option<EntryRow>> {
    let row = tx
        .row(
            "SELECT id, kind, version FROM entry WHERE parent = $1 AND name = $2",
            &[parent.into(), name.as_bytes().into()],
        )
        .await?;
    row.map(|row| {
        Ok(EntryRow {
            id: row.int(0)?,
            parent,
            is_dir: row.int(1)? == 0,
            version: row.opt_text(2)?.map(|t| key_column(&t)).transpose()?,
        })
    })
    .transpose()
}

/// The row of a path.
pub async fn find(tx: &mut Tx<'_>, path: &FilePath) -> Result<Option<EntryRow>> {
    let mut at = root_row();
    for name in path.components() {
        match child(tx, at.id, name).await? {
            Some(row) => at = row,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The row of a path, with its version.
pub async fn find_known(tx: &mut Tx<'_>, path: &FilePath) -> Result<Option<Known>> {
    let Some(entry) = find(tx, path).await? else {
        return Ok(None);
    };
    let version = match &entry.version {
        Some(key) => versions::get(tx, key).await?,
        None => None,
    };
    Ok(Some(Known { entry, version }))
}

/// The id of a directory, making rows for it and its parents where they are missing. A row that says
/// "file" where the tree has a directory now is corrected: a person replaced it.
pub async fn ensure_dir(tx: &mut Tx<'_>, path: &FilePath, now_ms: i64) -> Result<i64> {
    let mut at = ROOT;
    for name in path.components() {
        // Almost always it is there: asking first keeps the write-ahead log free of rows that did not change.
        if let Some(row) = child(tx, at, name).await?
            && row.is_dir
        {
            at = row.id;
            continue;
        }
        let row = tx
            .row(
                "INSERT INTO entry (parent, name, kind, created_ms) VALUES ($1, $2, 0, $3) \
                 ON CONFLICT (parent, name) DO UPDATE SET kind = 0, version = NULL RETURNING id",
                &[at.into(), name.as_bytes().into(), now_ms.into()],
            )
            .await?;
        at = match row {
            Some(row) => row.int(0)?,
            None => at,
        };
    }
    Ok(at)
}

/// Points a name at a version, making the row when it is new; returns its id.
pub async fn put_file(
    tx: &mut Tx<'_>,
    parent: i64,
    name: &str,
    version: &Key,
    now_ms: i64,
) -> Result<i64> {
    let row = tx
        .row(
            "INSERT INTO entry (parent, name, kind, version, created_ms) VALUES ($1, $2, 1, $3, $4) \
             ON CONFLICT (parent, name) DO UPDATE SET kind = 1, version = $3 RETURNING id",
            &[parent.into(), name.as_bytes().into(), version.as_str().into(), now_ms.into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}

/// Points an entry at another version, or at none.
pub async fn set_version(tx: &mut Tx<'_>, id: i64, version: Option<&Key>) -> Result<()> {
    tx.exec(
        "UPDATE entry SET version = $2 WHERE id = $1",
        &[id.into(), opt(version)],
    )
    .await?;
    Ok(())
}

/// Removes a row.
pub async fn remove(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    tx.exec("DELETE FROM entry WHERE id = $1", &[id.into()])
        .await?;
    Ok(())
}

/// Gives an entry another place; everything below comes along. A stale row at the target (its file is
/// gone from the tree) makes way.
pub async fn relocate(tx: &mut Tx<'_>, id: i64, parent: i64, name: &str) -> Result<()> {
    tx.exec(
        "DELETE FROM entry WHERE parent = $1 AND name = $2 AND id <> $3",
        &[parent.into(), name.as_bytes().into(), id.into()],
    )
    .await?;
    tx.exec(
        "UPDATE entry SET parent = $2, name = $3 WHERE id = $1",
        &[id.into(), parent.into(), name.as_bytes().into()],
    )
    .await?;
    Ok(())
}

/// File rows of a directory from one name to another (inclusive), with their versions, by name.
pub async fn files_between(
    tx: &mut Tx<'_>,
    parent: i64,
    first: &str,
    last: &str,
    limit: usize,
) -> Result<Vec<(Vec<u8>, VersionRow)>> {
    let rows = tx
        .rows(
            "SELECT e.name, v.id, v.entry, v.size, v.b3, v.sha256, v.mtime_ns, v.mode, v.owner, \
             v.uploaded_ms, v.ino, v.ctime_ns FROM entry e JOIN version v ON v.id = e.version \
             WHERE e.parent = $1 AND e.name >= $2 AND e.name <= $3 ORDER BY e.name LIMIT $4",
            &[
                parent.into(),
                first.as_bytes().into(),
                last.as_bytes().into(),
                i64::try_from(limit).unwrap_or(i64::MAX).into(),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.bytes(0)?, VersionRow::read(row, 1)?)))
        .collect()
}

/// Children of a directory that nothing refers to any more, for removal in steps: (id, is directory).
pub async fn some_children(tx: &mut Tx<'_>, parent: i64, limit: i64) -> Result<Vec<(i64, bool)>> {
    let rows = tx
        .rows(
            "SELECT id, kind FROM entry WHERE parent = $1 LIMIT $2",
            &[parent.into(), limit.into()],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.int(0)?, row.int(1)? == 0)))
        .collect()
}

fn opt(key: Option<&Key>) -> Value {
    key.map_or(Value::Null, |key| key.as_str().into())
}
