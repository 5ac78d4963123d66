//! One suite for the SQL door, run against both engines. PostgreSQL is reached through
//! `GFL_TEST_PG` (a URL); every test gets a schema of its own there.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

mod lost;
mod postgres;
mod single;
mod sqlite;
mod together;

use std::io::Write as _;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use gfl_core::catalog::door::{Db, DbError, Migration, SyncMode};

const SCHEMA_1: Migration = Migration {
    version: 1,
    name: "counters",
    sql: "CREATE TABLE counter (name %TEXT% PRIMARY KEY, n BIGINT NOT NULL);
          INSERT INTO counter VALUES ('a', 0), ('b', 0);",
};
const SCHEMA_2: Migration = Migration {
    version: 2,
    name: "things",
    sql: "CREATE TABLE thing (
              id %SERIAL%, num BIGINT, label TEXT, name %BYTES% UNIQUE, flag BIGINT);",
};
static SCHEMA: &[Migration] = &[SCHEMA_1, SCHEMA_2];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Declares each case once per engine.
macro_rules! on_both_engines {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::Place::sqlite();
                let db = place.open().await;
                db.migrate(crate::SCHEMA).await.unwrap();
                super::$case(&db, &place).await;
                db.close().await;
                place.leave().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(place) = crate::Place::postgres().await else { return };
                let db = place.open().await;
                db.migrate(crate::SCHEMA).await.unwrap();
                super::$case(&db, &place).await;
                db.close().await;
                place.leave().await;
            })*
        }
    };
}
use on_both_engines;

/// A database of its own for one test, and the means to open it again.
struct Place {
    dir: Option<tempfile::TempDir>,
    url: String,
    schema: &'static str,
}

impl Place {
    fn sqlite() -> Place {
        Place {
            dir: Some(tempfile::tempdir().unwrap()),
            url: String::new(),
            schema: "",
        }
    }

    async fn postgres() -> Option<Place> {
        let Ok(url) = std::env::var("GFL_TEST_PG") else {
            static ONCE: Once = Once::new();
            // Past the harness, which swallows what a passing test prints.
            ONCE.call_once(|| {
                let loud = b"\n!!! GFL_TEST_PG is not set: PostgreSQL was NOT tested !!!\n";
                std::io::stderr().write_all(loud).unwrap();
            });
            return None;
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let schema = leak(format!("door_{}_{number}", std::process::id()));
        statement(&url, leak(format!("CREATE SCHEMA {schema}"))).await;
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}options=-c%20search_path%3D{schema}");
        Some(Place {
            dir: None,
            url,
            schema,
        })
    }

    async fn open(&self) -> Db {
        match &self.dir {
            Some(dir) => Db::open_sqlite(&dir.path().join("door.db"), SyncMode::Full).await,
            None => Db::open_postgres(&self.url.parse().unwrap(), 8).await,
        }
        .unwrap()
    }

    async fn leave(self) {
        if self.dir.is_none() {
            statement(
                &self.url,
                leak(format!("DROP SCHEMA {} CASCADE", self.schema)),
            )
            .await;
        }
    }
}

fn leak(text: String) -> &'static str {
    text.leak()
}

async fn statement(url: &str, sql: &'static str) {
    let db = Db::open_postgres(&url.parse().unwrap(), 1).await.unwrap();
    db.write("test", sql, |tx, sql| Box::pin(tx.exec(sql, &[])))
        .await
        .unwrap();
    db.close().await;
}

async fn read_counter(db: &Db, name: &'static str) -> i64 {
    db.read("read counter", name, |tx, name| {
        Box::pin(async move {
            let row = tx
                .row("SELECT n FROM counter WHERE name = $1", &[(*name).into()])
                .await?;
            row.ok_or_else(|| panic!("no counter"))?.int(0)
        })
    })
    .await
    .unwrap()
}

async fn add(db: &Db, name: &'static str, n: i64) -> Result<i64, DbError> {
    db.write("add", (name, n), |tx, (name, n)| {
        Box::pin(async move {
            let sql = "UPDATE counter SET n = n + $1 WHERE name = $2 RETURNING n";
            tx.row(sql, &[(*n).into(), (*name).into()])
                .await?
                .unwrap()
                .int(0)
        })
    })
    .await
}
