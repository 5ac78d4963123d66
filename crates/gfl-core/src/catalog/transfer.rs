//! All rows from one database into another, whatever the engines: page by page, and read again afterwards. Sums do
//! not depend on an order, because text sorts differently on the two sides.
//!
//! Into PostgreSQL everything goes in one transaction. SQLite's bodies await nothing but their `Tx`, so there each
//! page is one; the caller fills a file that nobody knows yet.

use sha2::{Digest, Sha256};

use super::door::{Db, DbError, Mode, Row, Tx, Value};

/// Rows read and written in one step.
const PAGE_ROWS: usize = 1_000;
/// Rows in one INSERT. Both engines take at least 32,766 parameters.
const INSERT_ROWS: usize = 100;

/// Columns that hold bytes, in whatever table.
const BYTES: [&str; 3] = ["name", "b3", "sha256"];

/// A table, as the migrations made it.
#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// The first so many columns are its key.
    key: usize,
    /// `id` counts up and never comes again.
    counts: bool,
}

/// All tables but the one of migrations. A test holds them against the migrations.
const TABLES: &[Table] = &[
    table(
        "entry",
        &["id", "parent", "name", "kind", "version", "created_ms"],
        1,
        true,
    ),
    table(
        "version",
        &[
            "id",
            "entry",
            "size",
            "b3",
            "sha256",
            "mtime_ns",
            "mode",
            "owner",
            "uploaded_ms",
            "ino",
            "ctime_ns",
        ],
        1,
        false,
    ),
    table(
        "kept",
        &[
            "id",
            "parent",
            "name",
            "kind",
            "entry",
            "version",
            "ino",
            "reason",
            "retired_ms",
            "retired_by",
        ],
        1,
        false,
    ),
    table(
        "intent",
        &[
            "id",
            "op",
            "version",
            "ino",
            "path",
            "target",
            "over_key",
            "over_size",
            "over_mtime_ns",
            "over_ino",
            "over_ctime_ns",
            "edit_key",
            "who",
        ],
        1,
        true,
    ),
    table(
        "upload",
        &[
            "id",
            "owner",
            "origin",
            "peer",
            "path",
            "version",
            "length",
            "slots",
            "slot_bytes",
            "slots_have",
            "state",
            "fingerprint",
            "mtime_ns",
            "mode",
            "b3",
            "sha256",
            "if_match",
            "if_none_match",
            "created_ms",
            "active_ms",
            "outcome",
        ],
        1,
        false,
    ),
    table("upload_range", &["upload", "start_at", "end_at"], 2, false),
    table(
        "upload_slot",
        &["upload", "slot", "size", "aside", "sha256", "at_ms"],
        2,
        false,
    ),
    table(
        "event",
        &[
            "id", "seq", "at_ms", "kind", "path", "target", "entry", "version", "size", "who",
        ],
        1,
        true,
    ),
    table(
        "access_log",
        &[
            "id", "at_ms", "who", "token", "peer", "action", "path", "status", "complete", "files",
            "failed", "bytes", "size", "ms", "request",
        ],
        1,
        true,
    ),
    table(
        "usage_day",
        &[
            "day", "who", "action", "requests", "files", "bytes", "errors",
        ],
        3,
        false,
    ),
];

const fn table(
    name: &'static str,
    columns: &'static [&'static str],
    key: usize,
    counts: bool,
) -> Table {
    Table {
        name,
        columns,
        key,
        counts,
    }
}

/// What is in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSum {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Of all values of all rows.
    pub sum: u128,
    /// The last id that was given, of tables that count.
    pub last_id: i64,
}

/// What is in each table.
pub async fn sums(db: &Db) -> Result<Vec<TableSum>, DbError> {
    let mut sums = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let mut sum = TableSum::of(table, last_id_of(db, table).await?);
        let mut after = None;
        loop {
            let rows = page_of(db, table, after).await?;
            rows.iter().for_each(|row| sum.add(row));
            after = match rows.last() {
                Some(last) if rows.len() == PAGE_ROWS => Some(table.key_of(last)),
                _ => break,
            };
        }
        sums.push(sum);
    }
    Ok(sums)
}

/// Whether nothing was ever stored: only the row of the root is there.
pub async fn is_empty(db: &Db) -> Result<bool, DbError> {
    let found = sums(db).await?;
    Ok(found
        .iter()
        .all(|sum| sum.rows == 0 || (sum.table == "entry" && sum.rows == 1)))
}

/// Copies everything; what is in the target then. Its tables are there and empty.
///
/// # Errors
/// Also when what is read again is not what was written. Of PostgreSQL nothing is changed then.
pub async fn copy(from: &Db, to: &Db) -> Result<Vec<TableSum>, DbError> {
    let wanted = sums(from).await?;
    if to.engine() == "sqlite" {
        for (number, table) in TABLES.iter().enumerate() {
            let last_id = wanted.get(number).map_or(0, |sum| sum.last_id);
            to.write("empty", table, |tx, table| Box::pin(empty(tx, table)))
                .await?;
            let mut after = None;
            loop {
                let rows = page_of(from, table, after).await?;
                after = match rows.last() {
                    Some(last) if rows.len() == PAGE_ROWS => Some(table.key_of(last)),
                    _ => None,
                };
                to.write("fill", (table, rows), |tx, (table, rows)| {
                    Box::pin(fill(tx, table, rows))
                })
                .await?;
                if after.is_none() {
                    break;
                }
            }
            to.write("count on", (table, last_id), |tx, (table, last_id)| {
                Box::pin(count_on(tx, table, *last_id, true))
            })
            .await?;
        }
        return compared(wanted, sums(to).await?);
    }
    let source = (from.clone(), wanted);
    to.call(Mode::Migrate, "copy", source, |tx, (from, wanted)| {
        Box::pin(copy_whole(tx, from, wanted))
    })
    .await
}

/// In one transaction, read again before it is committed.
async fn copy_whole(
    tx: &mut Tx<'_>,
    from: &Db,
    wanted: &[TableSum],
) -> Result<Vec<TableSum>, DbError> {
    let mut found = Vec::with_capacity(TABLES.len());
    for (number, table) in TABLES.iter().enumerate() {
        let last_id = wanted.get(number).map_or(0, |sum| sum.last_id);
        empty(tx, table).await?;
        let mut after = None;
        loop {
            let rows = page_of(from, table, after).await?;
            fill(tx, table, &rows).await?;
            after = match rows.last() {
                Some(last) if rows.len() == PAGE_ROWS => Some(table.key_of(last)),
                _ => break,
            };
        }
        count_on(tx, table, last_id, false).await?;
        let mut sum = TableSum::of(table, last_id_in(tx, table, false).await?);
        let mut after = None;
        loop {
            let rows = page(tx, table, after.as_deref()).await?;
            rows.iter().for_each(|row| sum.add(row));
            after = match rows.last() {
                Some(last) if rows.len() == PAGE_ROWS => Some(table.key_of(last)),
                _ => break,
            };
        }
        found.push(sum);
    }
    compared(wanted.to_vec(), found)
}

fn compared(wanted: Vec<TableSum>, found: Vec<TableSum>) -> Result<Vec<TableSum>, DbError> {
    match wanted
        .iter()
        .zip(&found)
        .find(|(wanted, found)| wanted != found)
    {
        None => Ok(found),
        Some((wanted, found)) => Err(DbError::internal(format!(
            "table {}: {} rows were written, and {} rows or other values are read",
            wanted.table, wanted.rows, found.rows
        ))),
    }
}

async fn page_of(
    db: &Db,
    table: &'static Table,
    after: Option<Vec<Value>>,
) -> Result<Vec<Row>, DbError> {
    db.read("page", (table, after), |tx, (table, after)| {
        Box::pin(page(tx, table, after.as_deref()))
    })
    .await
}

async fn page(
    tx: &mut Tx<'_>,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Row>, DbError> {
    let keys = table
        .columns
        .get(..table.key)
        .unwrap_or_default()
        .join(", ");
    let (columns, name) = (table.columns.join(", "), table.name);
    let place = match after {
        Some(_) => format!("WHERE ({keys}) > ({})", numbers(1, table.key)),
        None => String::new(),
    };
    let sql = format!("SELECT {columns} FROM {name} {place} ORDER BY {keys} LIMIT {PAGE_ROWS}");
    let rows = tx.rows_text(&sql, after.unwrap_or_default()).await?;
    let same = |row: Row| Row::new(tx.name(), table.typed(row));
    Ok(rows.into_iter().map(same).collect())
}

async fn empty(tx: &mut Tx<'_>, table: &Table) -> Result<(), DbError> {
    // The root's row: the source has its own.
    tx.batch(&format!("DELETE FROM {}", table.name)).await
}

async fn fill(tx: &mut Tx<'_>, table: &Table, rows: &[Row]) -> Result<(), DbError> {
    let width = table.columns.len();
    for some in rows.chunks(INSERT_ROWS) {
        let tuples: Vec<String> = (0..some.len())
            .map(|row| format!("({})", numbers(row * width + 1, width)))
            .collect();
        let (name, columns) = (table.name, table.columns.join(", "));
        let sql = format!(
            "INSERT INTO {name} ({columns}) VALUES {}",
            tuples.join(", ")
        );
        let values: Vec<Value> = some.iter().flat_map(|row| row.values().to_vec()).collect();
        tx.exec_text(&sql, &values).await?;
    }
    Ok(())
}

/// `$3, $4, $5`
fn numbers(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    numbers.join(", ")
}

async fn last_id_of(db: &Db, table: &'static Table) -> Result<i64, DbError> {
    let sqlite = db.engine() == "sqlite";
    db.read("last id", (table, sqlite), |tx, (table, sqlite)| {
        Box::pin(last_id_in(tx, table, *sqlite))
    })
    .await
}

async fn last_id_in(tx: &mut Tx<'_>, table: &Table, sqlite: bool) -> Result<i64, DbError> {
    if !table.counts {
        return Ok(0);
    }
    let sql = if sqlite {
        "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = $1), 0)"
    } else {
        "SELECT COALESCE(pg_sequence_last_value(CAST(pg_get_serial_sequence($1, 'id') AS regclass)), 0)"
    };
    let row = tx.row(sql, &[table.name.into()]).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// The next id is the one that it would have been where the rows are from: ids are remembered by those who follow.
async fn count_on(
    tx: &mut Tx<'_>,
    table: &Table,
    last_id: i64,
    sqlite: bool,
) -> Result<(), DbError> {
    if !table.counts || last_id == 0 {
        return Ok(());
    }
    let values = [table.name.into(), last_id.into()];
    if sqlite {
        tx.exec("DELETE FROM sqlite_sequence WHERE name = $1", &values[..1])
            .await?;
        tx.exec(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)",
            &values,
        )
        .await?;
    } else {
        let sql = "SELECT setval(CAST(pg_get_serial_sequence($1, 'id') AS regclass), $2)";
        tx.rows(sql, &values).await?;
    }
    Ok(())
}

impl Table {
    /// SQLite keeps what it was given: the root's name is an empty text, where PostgreSQL has no bytes.
    fn typed(&self, row: Row) -> Vec<Value> {
        let typed = |(value, column): (&Value, &&str)| match value {
            Value::Text(text) if BYTES.contains(column) => Value::Bytes(text.clone().into_bytes()),
            value => value.clone(),
        };
        row.values().iter().zip(self.columns).map(typed).collect()
    }

    fn key_of(&self, row: &Row) -> Vec<Value> {
        row.values().iter().take(self.key).cloned().collect()
    }
}

impl TableSum {
    fn of(table: &Table, last_id: i64) -> TableSum {
        TableSum {
            table: table.name,
            rows: 0,
            sum: 0,
            last_id,
        }
    }

    fn add(&mut self, row: &Row) {
        let mut hash = Sha256::new();
        for value in row.values() {
            let (kind, bytes): (u8, &[u8]) = match value {
                Value::Null => (0, &[]),
                Value::Int(n) => (1, &n.to_be_bytes()),
                Value::Text(text) => (2, text.as_bytes()),
                Value::Bytes(bytes) => (3, bytes),
            };
            hash.update([kind]);
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        }
        let mut first = [0; 16];
        first
            .iter_mut()
            .zip(hash.finalize())
            .for_each(|(to, from)| *to = from);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MIGRATIONS, SyncMode};
    use super::*;

    /// A new table or column that is forgotten here would be lost on the way.
    #[tokio::test]
    async fn every_column_of_every_table_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_sqlite(&dir.path().join("c.db"), SyncMode::Off)
            .await
            .unwrap();
        db.migrate(MIGRATIONS).await.unwrap();
        let made: Result<Vec<Row>, DbError> = db
            .read("columns", (), |tx, ()| {
                Box::pin(async move {
                    let sql = "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c \
                               WHERE m.type = 'table' AND m.name NOT IN ('gfl_schema', 'sqlite_sequence') \
                               ORDER BY m.name, c.name LIMIT 1000";
                    tx.rows(sql, &[]).await
                })
            })
            .await;
        let made: Vec<String> = made
            .unwrap()
            .iter()
            .map(|row| row.text(0).unwrap())
            .collect();
        let mut copied: Vec<String> = TABLES
            .iter()
            .flat_map(|t| t.columns.iter().map(|c| format!("{}.{c}", t.name)))
            .collect();
        copied.sort();
        let mut sorted = made.clone();
        sorted.sort();
        assert_eq!(copied, sorted);
        db.close().await;
    }
}
