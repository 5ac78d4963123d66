//! Table `intent`: what a committed transaction still owes the tree, in order.

use super::{Row, Tx, Value, ino_from_sql, ino_to_sql, key_column, path_column};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::Stamp;
use gfl_api::path::FilePath;

/// The step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A draft becomes visible.
    Publish {
        /// The version, its draft and its key.
        version: Key,
        /// Our version that was there.
        replaces: Option<(Key, Stamp)>,
        /// Key for what a person put there.
        edit_key: Key,
    },
    /// Something visible becomes kept.
    Retire {
        /// Its key.
        key: Key,
    },
    /// Something kept becomes visible again.
    Unretire {
        /// Its key.
        key: Key,
        /// The version to stamp (files).
        version: Option<Key>,
    },
    /// Something moves.
    Rename {
        /// Where to.
        to: FilePath,
        /// Key under which the file that was there is kept.
        over: Option<Key>,
        /// The version to stamp (files).
        version: Option<Key>,
    },
    /// A directory appears.
    MakeDir {
        /// Its entry: it may have moved on when this is redone.
        entry: i64,
    },
    /// Kept content whose row is gone is removed.
    Remove {
        /// Its key.
        key: Key,
    },
    /// mtime and mode change.
    Meta {
        /// ns.
        mtime_ns: Option<i64>,
        /// Bits.
        mode: Option<u32>,
        /// The version to stamp (files).
        version: Option<Key>,
    },
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Order.
    pub id: i64,
    /// The path it is about.
    pub path: FilePath,
    /// Inode it is about (0: none).
    pub ino: u64,
    /// Who wanted it.
    pub who: String,
    /// What.
    pub step: Step,
}

/// The columns of a step that are not common to all.
#[derive(Default)]
struct Columns {
    op: i64,
    version: Option<Key>,
    target: Option<String>,
    over: Option<(Key, Option<Stamp>)>,
    edit: Option<Key>,
    mtime_ns: Option<i64>,
    mode: Option<u32>,
    entry: Option<i64>,
}

impl Columns {
    fn of(step: &Step) -> Columns {
        match step.clone() {
            Step::Publish {
                version,
                replaces,
                edit_key,
            } => Columns {
                op: 0,
                version: Some(version),
                over: replaces.map(|(key, stamp)| (key, Some(stamp))),
                edit: Some(edit_key),
                ..Columns::default()
            },
            Step::Retire { key } => Columns {
                op: 1,
                over: Some((key, None)),
                ..Columns::default()
            },
            Step::Unretire { key, version } => Columns {
                op: 2,
                over: Some((key, None)),
                version,
                ..Columns::default()
            },
            Step::Rename { to, over, version } => Columns {
                op: 3,
                target: Some(to.as_str().to_owned()),
                over: over.map(|key| (key, None)),
                version,
                ..Columns::default()
            },
            Step::MakeDir { entry } => Columns {
                op: 4,
                entry: Some(entry),
                ..Columns::default()
            },
            Step::Meta {
                mtime_ns,
                mode,
                version,
            } => Columns {
                op: 5,
                version,
                mtime_ns,
                mode,
                ..Columns::default()
            },
            Step::Remove { key } => Columns {
                op: 6,
                over: Some((key, None)),
                ..Columns::default()
            },
        }
    }
}

/// Adds a row; returns its id.
pub async fn insert(
    tx: &mut Tx<'_>,
    path: &FilePath,
    ino: u64,
    who: &str,
    step: &Step,
) -> Result<i64> {
    let c = Columns::of(step);
    let text = |key: &Option<Key>| -> Value {
        key.as_ref().map_or(Value::Null, |key| key.as_str().into())
    };
    let stamp = c.over.as_ref().and_then(|(_, stamp)| *stamp);
    // A metadata step uses the stamp's columns for its values: it replaces nothing.
    let over_mtime = stamp.map(|s| s.mtime_ns).or(c.mtime_ns);
    let over_size = match stamp {
        Some(s) => Value::u64(s.size)?,
        None => c.mode.map(i64::from).or(c.entry).into(),
    };
    let row = tx
        .row(
            "INSERT INTO intent (op, version, ino, path, target, over_key, over_size, over_mtime_ns, \
             over_ino, over_ctime_ns, edit_key, who) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
            &[
                c.op.into(),
                text(&c.version),
                ino_to_sql(ino).into(),
                path.as_str().into(),
                c.target.into(),
                text(&c.over.map(|(key, _)| key)),
                over_size,
                over_mtime.into(),
                stamp.map(|s| ino_to_sql(s.ino)).into(),
                stamp.map(|s| s.ctime_ns).into(),
                text(&c.edit),
                who.into(),
            ],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}

fn key_at(row: &Row, column: usize) -> Result<Option<Key>> {
    row.opt_text(column)?
        .map(|text| key_column(&text))
        .transpose()
}

fn read(row: &Row) -> Result<Intent> {
    let damaged = || Error::new(Kind::Internal, "the catalog holds a malformed intent");
    let version = key_at(row, 2)?;
    let over = key_at(row, 6)?;
    let step = match row.int(1)? {
        0 => Step::Publish {
            version: version.ok_or_else(damaged)?,
            replaces: match over {
                Some(key) => Some((
                    key,
                    Stamp {
                        size: row.u64(7)?,
                        mtime_ns: row.int(8)?,
                        ino: ino_from_sql(row.int(9)?),
                        ctime_ns: row.int(10)?,
                    },
                )),
                None => None,
            },
            edit_key: key_at(row, 11)?.ok_or_else(damaged)?,
        },
        1 => Step::Retire {
            key: over.ok_or_else(damaged)?,
        },
        2 => Step::Unretire {
            key: over.ok_or_else(damaged)?,
            version,
        },
        3 => Step::Rename {
            to: path_column(&row.opt_text(5)?.ok_or_else(damaged)?)?,
            over,
            version,
        },
        4 => Step::MakeDir {
            entry: row.opt_int(7)?.ok_or_else(damaged)?,
        },
        6 => Step::Remove {
            key: over.ok_or_else(damaged)?,
        },
        5 => Step::Meta {
            mode: row.opt_int(7)?.and_then(|m| u32::try_from(m).ok()),
            mtime_ns: row.opt_int(8)?,
            version,
        },
        _ => return Err(damaged()),
    };
    Ok(Intent {
        id: row.int(0)?,
        ino: ino_from_sql(row.int(3)?),
        path: path_column(&row.text(4)?)?,
        who: row.text(12)?,
        step,
    })
}

/// Every column, in the order of [`read`], of the rows that fit.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, op, version, ino, path, target, over_key, over_size, over_mtime_ns, over_ino, ",
            "over_ctime_ns, edit_key, who FROM intent ",
            $rest
        )
    };
}

/// The next rows after an id, in order.
pub async fn after(tx: &mut Tx<'_>, id: i64, limit: i64) -> Result<Vec<Intent>> {
    let rows = tx
        .rows(
            select!("WHERE id > $1 ORDER BY id LIMIT $2"),
            &[id.into(), limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// What is owed to a path itself, in order; what is pruned is owed to none.
pub async fn about(tx: &mut Tx<'_>, path: &FilePath) -> Result<Vec<Intent>> {
    let rows = tx
        .rows(
            select!("WHERE (path = $1 OR target = $1) AND op <> 6 ORDER BY id LIMIT 100"),
            &[path.as_str().into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// What is owed to kept content, in order.
pub async fn over(tx: &mut Tx<'_>, key: &Key) -> Result<Vec<Intent>> {
    let rows = tx
        .rows(
            select!("WHERE over_key = $1 ORDER BY id LIMIT 100"),
            &[key.as_str().into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The row of an id, unless it is done.
pub async fn get(tx: &mut Tx<'_>, id: i64) -> Result<Option<Intent>> {
    let found = after(tx, id - 1, 1).await?.into_iter().next();
    Ok(found.filter(|intent| intent.id == id))
}

/// Removes a row: its step is done and durable, or was compensated.
pub async fn remove(tx: &mut Tx<'_>, id: i64) -> Result<()> {
    tx.exec("DELETE FROM intent WHERE id = $1", &[id.into()])
        .await?;
    Ok(())
}
