//! Table `version`: immutable content and the stamp of its file.

use super::{Row, Tx, Value, ino_from_sql, ino_to_sql, key_column};
use crate::error::Result;
use crate::id::Key;
use crate::store::Stamp;
use gfl_api::tree::Root;

/// A row.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// Id and key in the store.
    pub id: Key,
    /// Entry it was made for.
    pub entry: i64,
    /// Bytes.
    pub size: u64,
    /// Root; `None` until an adopted file has been hashed.
    pub b3: Option<Root>,
    /// SHA-256 when it was demanded once.
    pub sha256: Option<[u8; 32]>,
    /// Modification time as the file system keeps it, ns.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// Who uploaded it.
    pub owner: String,
    /// When, unix ms.
    pub uploaded_ms: i64,
    /// Inode of its file.
    pub ino: u64,
    /// Change time of its inode; `None` while that is not settled (just published or moved).
    pub ctime_ns: Option<i64>,
}

/// How well a file fits its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Ours, certainly.
    Exact,
    /// Size and mtime are ours, the inode is not (chmod, restored backup): ours, to be verified.
    Plausible,
    /// A person changed it.
    Edited,
}

impl VersionRow {
    /// Reads the columns `id, entry, size, b3, sha256, mtime_ns, mode, owner, uploaded_ms, ino, ctime_ns`
    /// from column `at` on.
    pub fn read(row: &Row, at: usize) -> Result<VersionRow> {
        Ok(VersionRow {
            id: key_column(&row.text(at)?)?,
            entry: row.int(at + 1)?,
            size: row.u64(at + 2)?,
            b3: row.opt_array(at + 3)?.map(Root),
            sha256: row.opt_array(at + 4)?,
            mtime_ns: row.int(at + 5)?,
            mode: row.u32(at + 6)?,
            owner: row.text(at + 7)?,
            uploaded_ms: row.int(at + 8)?,
            ino: ino_from_sql(row.int(at + 9)?),
            ctime_ns: row.opt_int(at + 10)?,
        })
    }

    /// Compares with what the tree has.
    pub fn fit(&self, stamp: &Stamp) -> Fit {
        if self.size != stamp.size || self.mtime_ns != stamp.mtime_ns {
            return Fit::Edited;
        }
        let same_inode = self.ino == stamp.ino;
        match self.ctime_ns {
            None if same_inode => Fit::Exact,
            Some(ctime) if same_inode && ctime == stamp.ctime_ns => Fit::Exact,
            _ => Fit::Plausible,
        }
    }

    /// The stamp as recorded.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            size: self.size,
            mtime_ns: self.mtime_ns,
            ino: self.ino,
            ctime_ns: self.ctime_ns.unwrap_or(0),
        }
    }
}

/// Adds a row.
pub async fn insert(tx: &mut Tx<'_>, v: &VersionRow) -> Result<()> {
    tx.exec(
        "INSERT INTO version (id, entry, size, b3, sha256, mtime_ns, mode, owner, uploaded_ms, ino, ctime_ns) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            v.id.as_str().into(),
            v.entry.into(),
            Value::u64(v.size)?,
            v.b3.map(|r| r.0).into(),
            v.sha256.into(),
            v.mtime_ns.into(),
            v.mode.into(),
            v.owner.as_str().into(),
            v.uploaded_ms.into(),
            ino_to_sql(v.ino).into(),
            v.ctime_ns.into(),
        ],
    )
    .await?;
    Ok(())
}

/// The row of an id.
pub async fn get(tx: &mut Tx<'_>, id: &Key) -> Result<Option<VersionRow>> {
    let row = tx
        .row(
            "SELECT id, entry, size, b3, sha256, mtime_ns, mode, owner, uploaded_ms, ino, ctime_ns \
             FROM version WHERE id = $1",
            &[id.as_str().into()],
        )
        .await?;
    row.map(|row| VersionRow::read(&row, 0)).transpose()
}

/// Removes a row.
pub async fn remove(tx: &mut Tx<'_>, id: &Key) -> Result<()> {
    tx.exec("DELETE FROM version WHERE id = $1", &[id.as_str().into()])
        .await?;
    Ok(())
}

/// Removes the version that an entry names.
pub async fn remove_current_of(tx: &mut Tx<'_>, entry: i64) -> Result<()> {
    tx.exec(
        "DELETE FROM version WHERE id = (SELECT version FROM entry WHERE id = $1)",
        &[entry.into()],
    )
    .await?;
    Ok(())
}

/// Records the file's stamp once its rename is durable.
pub async fn set_stamp(tx: &mut Tx<'_>, id: &Key, ino: u64, ctime_ns: Option<i64>) -> Result<()> {
    tx.exec(
        "UPDATE version SET ino = $2, ctime_ns = $3 WHERE id = $1",
        &[id.as_str().into(), ino_to_sql(ino).into(), ctime_ns.into()],
    )
    .await?;
    Ok(())
}

/// A link is back: its path's version is the file that it leads to now, with other content unless size and time say
/// that it is the same.
pub async fn follow(tx: &mut Tx<'_>, id: &Key, to: &Stamp) -> Result<()> {
    tx.exec(
        "UPDATE version SET b3 = NULL, sha256 = NULL WHERE id = $1 AND (size <> $2 OR mtime_ns <> $3)",
        &[id.as_str().into(), Value::u64(to.size)?, to.mtime_ns.into()],
    )
    .await?;
    tx.exec(
        "UPDATE version SET size = $2, mtime_ns = $3 WHERE id = $1",
        &[id.as_str().into(), Value::u64(to.size)?, to.mtime_ns.into()],
    )
    .await?;
    set_stamp(tx, id, to.ino, Some(to.ctime_ns)).await
}

/// Records a root (and SHA-256) found by reading the content.
pub async fn set_digests(
    tx: &mut Tx<'_>,
    id: &Key,
    b3: Root,
    sha256: Option<[u8; 32]>,
) -> Result<()> {
    tx.exec(
        "UPDATE version SET b3 = $2, sha256 = COALESCE($3, sha256) WHERE id = $1",
        &[id.as_str().into(), b3.0.into(), sha256.into()],
    )
    .await?;
    Ok(())
}

/// Records changed metadata; the change time is settled later.
pub async fn set_meta(tx: &mut Tx<'_>, id: &Key, mtime_ns: i64, mode: u32) -> Result<()> {
    tx.exec(
        "UPDATE version SET mtime_ns = $2, mode = $3, ctime_ns = NULL WHERE id = $1",
        &[id.as_str().into(), mtime_ns.into(), mode.into()],
    )
    .await?;
    Ok(())
}

/// Gives a version to another entry row (the path's row was made anew).
pub async fn set_entry(tx: &mut Tx<'_>, id: &Key, entry: i64) -> Result<()> {
    tx.exec(
        "UPDATE version SET entry = $2 WHERE id = $1",
        &[id.as_str().into(), entry.into()],
    )
    .await?;
    Ok(())
}

/// Records the mtime that the file system really keeps.
pub async fn set_mtime(tx: &mut Tx<'_>, id: &Key, mtime_ns: i64) -> Result<()> {
    tx.exec(
        "UPDATE version SET mtime_ns = $2 WHERE id = $1",
        &[id.as_str().into(), mtime_ns.into()],
    )
    .await?;
    Ok(())
}
