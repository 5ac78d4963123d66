//! Table `entry`: what names stand for, keyed by (parent, name bytes).
//!
//! A directory that a person removed keeps its row, marked *gone*, while something kept for undo was in it: that
//! is found by the row's id.

use super::versions::{self, VersionRow};
use super::{Tx, Value, kept, key_column};
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
    /// A directory that is no more, and that this was recorded of.
    pub gone: bool,
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

/// Values of the column `kind`.
const DIR: i64 = 0;
const FILE: i64 = 1;
const GONE: i64 = 2;

impl EntryRow {
    fn new(id: i64, parent: i64, kind: i64, version: Option<&str>) -> Result<EntryRow> {
        Ok(EntryRow {
            id,
            parent,
            is_dir: kind != FILE,
            gone: kind == GONE,
            version: version.map(key_column).transpose()?,
        })
    }

    fn kind(&self) -> i64 {
        match (self.is_dir, self.gone) {
            (false, _) => FILE,
            (true, false) => DIR,
            (true, true) => GONE,
        }
    }
}

fn root_row() -> EntryRow {
    EntryRow {
        id: ROOT,
        parent: 0,
        is_dir: true,
        gone: false,
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
        EntryRow::new(
            row.int(0)?,
            parent,
            row.int(1)?,
            row.opt_text(2)?.as_deref(),
        )
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
        let version = row.opt_text(3)?;
        let entry = EntryRow::new(id, row.int(0)?, row.int(2)?, version.as_deref())?;
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
            row.kind().into(),
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

/// Gives an entry another place; everything below comes along. A stale row at the target (what it stands for is
/// gone from the tree) makes way: a directory's is swept with the rows below it, and what was kept in it is found
/// in what takes its name.
pub async fn relocate(tx: &mut Tx<'_>, id: i64, parent: i64, name: &str) -> Result<()> {
    match child(tx, parent, name).await? {
        Some(stale) if stale.id == id => {}
        Some(stale) if stale.is_dir => {
            kept::hand_over(tx, stale.id, id).await?;
            place(tx, stale.id, SWEEP, &stale.id.to_string()).await?;
        }
        Some(stale) => remove(tx, stale.id).await?,
        None => {}
    }
    place(tx, id, parent, name).await
}

async fn place(tx: &mut Tx<'_>, id: i64, parent: i64, name: &str) -> Result<()> {
    tx.exec(
        "UPDATE entry SET parent = $2, name = $3 WHERE id = $1",
        &[id.into(), parent.into(), name.as_bytes().into()],
    )
    .await?;
    Ok(())
}

/// Rows of a directory after one name (exclusive) up to another (inclusive; `None`: to the end), by name, files
/// with their versions.
pub async fn between(
    tx: &mut Tx<'_>,
    parent: i64,
    after: &str,
    last: Option<&str>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Option<VersionRow>)>> {
    // No name in UTF-8 has such a byte. A bound in every case, so that the index ends the search.
    let last = last.map_or(&[0xff][..], str::as_bytes);
    let rows = tx
        .rows(
            "SELECT e.name, v.id, v.entry, v.size, v.b3, v.sha256, v.mtime_ns, v.mode, v.owner, \
             v.uploaded_ms, v.ino, v.ctime_ns FROM entry e LEFT JOIN version v ON v.id = e.version \
             WHERE e.parent = $1 AND e.name > $2 AND e.name <= $3 AND e.kind <> 2 \
             ORDER BY e.name LIMIT $4",
            &[
                parent.into(),
                after.as_bytes().into(),
                last.into(),
                i64::try_from(limit).unwrap_or(i64::MAX).into(),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let version = match row.opt_text(1)? {
                Some(_) => Some(VersionRow::read(row, 1)?),
                None => None,
            };
            Ok((row.bytes(0)?, version))
        })
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
        .map(|row| Ok((row.int(0)?, row.int(1)? != FILE)))
        .collect()
}

/// Children that are not gone: (id, is directory).
async fn living_children(tx: &mut Tx<'_>, parent: i64, limit: i64) -> Result<Vec<(i64, bool)>> {
    let rows = tx
        .rows(
            "SELECT id, kind FROM entry WHERE parent = $1 AND kind <> 2 LIMIT $2",
            &[parent.into(), limit.into()],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.int(0)?, row.int(1)? != FILE)))
        .collect()
}

/// Whether there are rows below this one, gone ones aside.
pub async fn has_below(tx: &mut Tx<'_>, id: i64) -> Result<bool> {
    Ok(!living_children(tx, id, 1).await?.is_empty())
}

/// Removes rows below one whose directory is no more, at most so many; true when none was left. Nothing else
/// refers to the versions of such files.
pub async fn forget_below(tx: &mut Tx<'_>, top: i64, at_most: i64) -> Result<bool> {
    let mut left = at_most;
    let mut way = vec![top];
    while let Some(&at) = way.last() {
        if left <= 0 {
            return Ok(false);
        }
        let children = living_children(tx, at, left).await?;
        let dir = children.iter().find(|(_, is_dir)| *is_dir).copied();
        for (file, _) in children.iter().filter(|(_, is_dir)| !is_dir) {
            versions::remove_current_of(tx, *file).await?;
            remove(tx, *file).await?;
            left -= 1;
        }
        match dir {
            Some((dir, _)) => way.push(dir),
            // Files only, and maybe more of them.
            None if !children.is_empty() => {}
            None => {
                way.pop();
                if at != top {
                    close_dir(tx, at).await?;
                    left -= 1;
                }
            }
        }
    }
    Ok(true)
}

/// A directory is no more: its row goes, or is marked gone while something kept was in it.
pub async fn close_dir(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    if kept::any_in(tx, id).await? || !some_children(tx, id, 1).await?.is_empty() {
        tx.exec("UPDATE entry SET kind = 2 WHERE id = $1", &[id.into()])
            .await?;
        return Ok(());
    }
    remove(tx, id).await
}

/// Something kept that was in a directory is no more: a gone directory that was only left for it goes too.
pub async fn drop_gone(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    let mut at = id;
    loop {
        let row = tx
            .row(
                "SELECT parent FROM entry WHERE id = $1 AND kind = 2",
                &[at.into()],
            )
            .await?;
        let Some(row) = row else { return Ok(()) };
        if kept::any_in(tx, at).await? || !some_children(tx, at, 1).await?.is_empty() {
            return Ok(());
        }
        remove(tx, at).await?;
        at = row.int(0)?;
    }
}

fn opt(key: Option<&Key>) -> Value {
    key.map_or(Value::Null, |key| key.as_str().into())
}
