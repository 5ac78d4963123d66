//! Table `kept`: what can be brought back.

use super::entries::LIMBO;
use super::{Row, Tx, Value, ino_from_sql, ino_to_sql, key_column};
use crate::error::{Error, Kind, Result};
use crate::files::{KeptReason, VersionMark};
use crate::id::Key;

/// A row.
#[derive(Debug, Clone)]
pub struct KeptRow {
    /// Key in the store: a version's, or a directory's own.
    pub id: Key,
    /// Entry id of the directory it was in.
    pub parent: i64,
    /// Its name there.
    pub name: String,
    /// A directory kept whole.
    pub is_dir: bool,
    /// The entry it belonged to (a kept directory's own).
    pub entry: i64,
    /// Inode of the kept file or directory.
    pub ino: u64,
    /// Why.
    pub reason: KeptReason,
    /// When, unix ms.
    pub retired_ms: i64,
    /// By whom.
    pub by: String,
}

impl KeptRow {
    /// Its place in a list of versions.
    pub(crate) fn mark(&self) -> VersionMark {
        VersionMark {
            retired_ms: Some(self.retired_ms),
            id: self.id.clone(),
        }
    }
}

/// The bounds of what is older than a place in a list; what is current is newer than everything kept.
fn older_than(after: Option<&VersionMark>) -> [Value; 2] {
    match after {
        Some(VersionMark {
            retired_ms: Some(ms),
            id,
        }) => [(*ms).into(), id.as_str().into()],
        _ => [i64::MAX.into(), "".into()],
    }
}

fn reason_to_sql(reason: KeptReason) -> i64 {
    match reason {
        KeptReason::Replaced => 0,
        KeptReason::Deleted => 1,
        KeptReason::Edited => 2,
    }
}

fn read(row: &Row) -> Result<KeptRow> {
    let damaged = || Error::new(Kind::Internal, "the catalog holds a malformed kept row");
    Ok(KeptRow {
        id: key_column(&row.text(0)?)?,
        parent: row.int(1)?,
        name: String::from_utf8(row.bytes(2)?).map_err(|_| damaged())?,
        is_dir: row.int(3)? == 0,
        entry: row.int(4)?,
        ino: ino_from_sql(row.int(5)?),
        reason: match row.int(6)? {
            0 => KeptReason::Replaced,
            1 => KeptReason::Deleted,
            2 => KeptReason::Edited,
            _ => return Err(damaged()),
        },
        retired_ms: row.int(7)?,
        by: row.text(8)?,
    })
}

/// Adds a row.
pub async fn insert(tx: &mut Tx<'_>, k: &KeptRow) -> Result<()> {
    let version: Value = if k.is_dir {
        Value::Null
    } else {
        k.id.as_str().into()
    };
    tx.exec(
        "INSERT INTO kept (id, parent, name, kind, entry, version, ino, reason, retired_ms, retired_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            k.id.as_str().into(),
            k.parent.into(),
            k.name.as_bytes().into(),
            i64::from(!k.is_dir).into(),
            k.entry.into(),
            version,
            ino_to_sql(k.ino).into(),
            reason_to_sql(k.reason).into(),
            k.retired_ms.into(),
            k.by.as_str().into(),
        ],
    )
    .await?;
    Ok(())
}

/// The row of an id.
pub async fn get(tx: &mut Tx<'_>, id: &Key) -> Result<Option<KeptRow>> {
    let row = tx
        .row(
            "SELECT id, parent, name, kind, entry, ino, reason, retired_ms, retired_by FROM kept WHERE id = $1",
            &[id.as_str().into()],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// What is kept of one name after a place in the list, newest first.
pub async fn of_name(
    tx: &mut Tx<'_>,
    parent: i64,
    name: &str,
    after: Option<&VersionMark>,
    limit: i64,
) -> Result<Vec<KeptRow>> {
    let [ms, id] = older_than(after);
    let rows = tx
        .rows(
            "SELECT id, parent, name, kind, entry, ino, reason, retired_ms, retired_by FROM kept \
             WHERE parent = $1 AND name = $2 AND (retired_ms, id) < ($3, $4) \
             ORDER BY retired_ms DESC, id DESC LIMIT $5",
            &[parent.into(), name.as_bytes().into(), ms, id, limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// What was deleted last under a name.
pub async fn last_deleted(tx: &mut Tx<'_>, parent: i64, name: &str) -> Result<Option<KeptRow>> {
    let row = tx
        .row(
            "SELECT id, parent, name, kind, entry, ino, reason, retired_ms, retired_by FROM kept \
             WHERE parent = $1 AND name = $2 AND reason = 1 ORDER BY retired_ms DESC, id DESC LIMIT 1",
            &[parent.into(), name.as_bytes().into()],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Deleted things directly inside a directory after a place in the list, newest first.
pub async fn deleted_in(
    tx: &mut Tx<'_>,
    parent: i64,
    after: Option<&VersionMark>,
    limit: i64,
) -> Result<Vec<KeptRow>> {
    let [ms, id] = older_than(after);
    let rows = tx
        .rows(
            "SELECT id, parent, name, kind, entry, ino, reason, retired_ms, retired_by FROM kept \
             WHERE parent = $1 AND reason = 1 AND (retired_ms, id) < ($2, $3) \
             ORDER BY retired_ms DESC, id DESC LIMIT $4",
            &[parent.into(), ms, id, limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Whether something kept was in a directory.
pub async fn any_in(tx: &mut Tx<'_>, parent: i64) -> Result<bool> {
    let row = tx
        .row(
            "SELECT 1 FROM kept WHERE parent = $1 LIMIT 1",
            &[parent.into()],
        )
        .await?;
    Ok(row.is_some())
}

/// What was in one directory is found in another from now on.
pub async fn hand_over(tx: &mut Tx<'_>, from: i64, to: i64) -> Result<()> {
    tx.exec(
        "UPDATE kept SET parent = $2 WHERE parent = $1",
        &[from.into(), to.into()],
    )
    .await?;
    Ok(())
}

/// The oldest rows retired before a time.
/// The oldest rows retired before a time whose content is certainly in its place: no rename is owed for it any
/// more.
pub async fn oldest(tx: &mut Tx<'_>, before_ms: i64, limit: i64) -> Result<Vec<KeptRow>> {
    let rows = tx
        .rows(
            "SELECT id, parent, name, kind, entry, ino, reason, retired_ms, retired_by FROM kept \
             WHERE retired_ms < $1 AND NOT EXISTS \
             (SELECT 1 FROM intent i WHERE i.over_key = kept.id OR i.edit_key = kept.id) \
             ORDER BY retired_ms LIMIT $2",
            &[before_ms.into(), limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Bytes of everything kept, inside kept directories too.
pub async fn bytes(tx: &mut Tx<'_>) -> Result<u64> {
    let files = tx
        .row(
            "SELECT CAST(COALESCE(SUM(v.size), 0) AS BIGINT) FROM kept k JOIN version v ON v.id = k.version",
            &[],
        )
        .await?;
    let below = tx
        .row(
            "WITH RECURSIVE below (id, version) AS ( \
             SELECT id, version FROM entry WHERE parent = $1 \
             UNION ALL SELECT e.id, e.version FROM entry e JOIN below b ON e.parent = b.id) \
             SELECT CAST(COALESCE(SUM(v.size), 0) AS BIGINT) FROM below b JOIN version v ON v.id = b.version",
            &[LIMBO.into()],
        )
        .await?;
    let sum = |row: Option<Row>| -> Result<u64> { row.map_or(Ok(0), |row| Ok(row.u64(0)?)) };
    Ok(sum(files)?.saturating_add(sum(below)?))
}

/// Removes a row; false when it was gone already: then somebody else has restored or pruned it.
pub async fn remove(tx: &mut Tx<'_>, id: &Key) -> Result<bool> {
    let removed = tx
        .exec("DELETE FROM kept WHERE id = $1", &[id.as_str().into()])
        .await?;
    Ok(removed == 1)
}

/// A file has moved: what is kept of it is found under its new name.
pub async fn follow(tx: &mut Tx<'_>, entry: i64, parent: i64, name: &str) -> Result<()> {
    tx.exec(
        "UPDATE kept SET parent = $2, name = $3 WHERE entry = $1 AND kind = 1",
        &[entry.into(), parent.into(), name.as_bytes().into()],
    )
    .await?;
    Ok(())
}
