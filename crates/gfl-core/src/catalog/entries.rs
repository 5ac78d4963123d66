//! Table `entry`: what names stand for, keyed by (parent, name bytes).

use super::versions::{self, VersionRow};
use super::{Tx, Value, key_column};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use gfl_api::limits::PATH_DEPTH_MAX;
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

/// Makes a directory's row, or turns the name's row into one; returns its id.
pub async fn put_dir(tx: &mut Tx<'_>, parent: i64, name: &str, now_ms: i64) -> Result<i64> {
    let row = tx
        .row(
            "INSERT INTO entry (parent, name, kind, created_ms) VALUES ($1, $2, 0, $3) \
             ON CONFLICT (parent, name) DO UPDATE SET kind = 0, version = NULL RETURNING id",
            &[parent.into(), name.as_bytes().into(), now_ms.into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}

/// A row by its id, with its name.
pub async fn by_id(tx: &mut Tx<'_>, id: i64) -> Result<Option<(EntryRow, String)>> {
    let row = tx
        .row(
            "SELECT parent, name, kind, version FROM entry WHERE id = $1",
            &[id.into()],
        )
        .await?;
    row.map(|row| {
        let name = String::from_utf8(row.bytes(1)?).map_err(|_| malformed())?;
        let entry = EntryRow {
            id,
            parent: row.int(0)?,
            is_dir: row.int(2)? == 0,
            version: row.opt_text(3)?.map(|t| key_column(&t)).transpose()?,
        };
        Ok((entry, name))
    })
    .transpose()
}

/// When a row was made, unix ms.
pub async fn created_ms(tx: &mut Tx<'_>, id: i64) -> Result<Option<i64>> {
    let row = tx
        .row("SELECT created_ms FROM entry WHERE id = $1", &[id.into()])
        .await?;
    row.map(|row| Ok(row.int(0)?)).transpose()
}

/// Where an entry is now; `None` when it is gone, or inside something deleted.
pub async fn path_of(tx: &mut Tx<'_>, id: i64) -> Result<Option<FilePath>> {
    let mut names = Vec::new();
    let mut at = id;
    while at != ROOT {
        let Some((row, name)) = by_id(tx, at).await? else {
            return Ok(None);
        };
        // A damaged catalog must not make this endless.
        if names.len() > PATH_DEPTH_MAX {
            return Err(malformed());
        }
        names.push(name);
        at = row.parent;
    }
    names.reverse();
    let path = FilePath::parse(&names.join("/")).map_err(|e| malformed().caused_by(e))?;
    Ok(Some(path))
}

fn malformed() -> Error {
    Error::new(Kind::Internal, "the catalog holds a malformed entry")
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

/// Makes a row again as it was, whatever has become of it or of its name.
pub async fn put_back(tx: &mut Tx<'_>, row: &EntryRow, name: &str, now_ms: i64) -> Result<()> {
    tx.exec(
        "DELETE FROM entry WHERE parent = $1 AND name = $2 AND id <> $3",
        &[row.parent.into(), name.as_bytes().into(), row.id.into()],
    )
    .await?;
    tx.exec(
        "INSERT INTO entry (id, parent, name, kind, version, created_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET parent = $2, name = $3, kind = $4, version = $5",
        &[
            row.id.into(),
            row.parent.into(),
            name.as_bytes().into(),
            i64::from(!row.is_dir).into(),
            opt(row.version.as_ref()),
            now_ms.into(),
        ],
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
