//! One suite for the SQL door, run against both engines. PostgreSQL is reached through
//! `GFL_TEST_PG` (a URL); every test gets a schema of its own there.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use gfl_core::catalog::door::{Db, DbError, DbErrorKind, Migration, SyncMode, Value};

static SCHEMA: &[Migration] = &[
    Migration {
        version: 1,
        name: "counters",
        sql: "CREATE TABLE counter (name %TEXT% PRIMARY KEY, n BIGINT NOT NULL);
              INSERT INTO counter VALUES ('a', 0), ('b', 0);",
    },
    Migration {
        version: 2,
        name: "things",
        sql: "CREATE TABLE thing (
                id %SERIAL%, num BIGINT, label TEXT, name %BYTES% UNIQUE, flag BIGINT);",
    },
];

static NEXT: AtomicU32 = AtomicU32::new(0);

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
            eprintln!("!!! GFL_TEST_PG is not set: PostgreSQL was NOT tested !!!");
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
            None => Db::open_postgres(&self.url, 8).await,
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
    let db = Db::open_postgres(url, 1).await.unwrap();
    db.write("test", sql, |tx, sql| Box::pin(tx.exec(sql, &[])))
        .await
        .unwrap();
    db.close().await;
}

/// Declares each case once per engine.
macro_rules! on_both_engines {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = super::Place::sqlite();
                let db = place.open().await;
                db.migrate(super::SCHEMA).await.unwrap();
                super::$case(&db, &place).await;
                db.close().await;
                place.leave().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(place) = super::Place::postgres().await else { return };
                let db = place.open().await;
                db.migrate(super::SCHEMA).await.unwrap();
                super::$case(&db, &place).await;
                db.close().await;
                place.leave().await;
            })*
        }
    };
}

on_both_engines! {
    types_round_trip
    placeholders_are_numbered
    unfitting_values_are_errors
    a_failed_body_harms_no_other
    a_failed_statement_ends_the_transaction
    unique_violations_are_recognised
    a_panic_costs_one_transaction
    foreign_awaits_do_not_hang
    a_read_is_one_snapshot
    a_read_cannot_write
    acknowledged_writes_are_read
    concurrent_increments_are_exact
    read_decide_write_is_serialisable
    migrations_are_idempotent
    newer_and_foreign_schemas_are_refused
    nodes_may_migrate_at_once
    data_survives_reopening
    a_dropped_caller_does_no_harm
    a_closed_database_says_so
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

async fn types_round_trip(db: &Db, _: &Place) {
    let rows = db
        .write("round trip", (), |tx, ()| {
            Box::pin(async move {
                let insert = "INSERT INTO thing (num, label, name, flag) VALUES ($1, $2, $3, $4)";
                let nothing: Option<i64> = None;
                let hash = [7u8; 32];
                tx.exec(
                    insert,
                    &[i64::MIN.into(), "ünï".into(), hash.into(), true.into()],
                )
                .await?;
                let weird: &[u8] = &[0, 255, b'\'', b'"'];
                tx.exec(
                    insert,
                    &[Value::u64(1 << 62)?, "".into(), weird.into(), 7u32.into()],
                )
                .await?;
                tx.exec(
                    insert,
                    &[nothing.into(), Value::Null, Value::Null, Value::Null],
                )
                .await?;
                tx.rows(
                    "SELECT num, label, name, flag, id FROM thing ORDER BY id LIMIT 9",
                    &[],
                )
                .await
            })
        })
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (rows[0].int(0).unwrap(), rows[0].text(1).unwrap()),
        (i64::MIN, "ünï".into())
    );
    assert_eq!(rows[0].array::<32>(2).unwrap(), [7; 32]);
    assert!(rows[0].bool(3).unwrap());
    assert_eq!(
        (rows[1].u64(0).unwrap(), rows[1].text(1).unwrap()),
        (1 << 62, String::new())
    );
    assert_eq!(rows[1].bytes(2).unwrap(), [0, 255, b'\'', b'"']);
    assert_eq!(rows[1].u32(3).unwrap(), 7);
    assert_eq!(
        (rows[2].opt_int(0).unwrap(), rows[2].opt_text(1).unwrap()),
        (None, None)
    );
    assert_eq!(
        (
            rows[2].opt_bytes(2).unwrap(),
            rows[2].opt_array::<32>(2).unwrap()
        ),
        (None, None)
    );
    assert_eq!(
        [rows[0].int(4), rows[1].int(4), rows[2].int(4)].map(Result::unwrap),
        [1, 2, 3]
    );
    for wrong in [
        rows[0].text(0).map(drop),
        rows[0].int(1).map(drop),
        rows[2].int(0).map(drop),
        rows[0].u64(0).map(drop),
        rows[0].u32(0).map(drop),
        rows[0].array::<31>(2).map(drop),
        rows[0].int(9).map(drop),
    ] {
        let error = wrong.unwrap_err();
        assert_eq!(
            (error.kind, error.tx),
            (DbErrorKind::Internal, "round trip"),
            "{error}"
        );
    }
    assert!(Value::u64(u64::MAX).is_err());
}

async fn placeholders_are_numbered(db: &Db, _: &Place) {
    let row = db
        .write("placeholders", (), |tx, ()| {
            Box::pin(async move {
                let sql = "INSERT INTO thing (label, num, flag) VALUES ($2, $1, $1)";
                tx.exec(sql, &[5i64.into(), "two".into()]).await?;
                let sql = "SELECT label, num, flag FROM thing
                           WHERE num = $3 AND flag = $3 AND label = $1 AND $3 < $2 + num LIMIT $2";
                tx.row(sql, &["two".into(), 1i64.into(), 5i64.into()]).await
            })
        })
        .await
        .unwrap()
        .expect("found");
    assert_eq!(
        (
            row.text(0).unwrap(),
            row.int(1).unwrap(),
            row.int(2).unwrap()
        ),
        ("two".into(), 5, 5)
    );
    // Too few and too many are errors, not NULLs.
    for count in [0, 1, 3] {
        let params = vec![Value::from(1i64); count];
        let error = db
            .write("miscounted", params, |tx, params| {
                Box::pin(async move {
                    tx.exec("UPDATE counter SET n = $2 WHERE n = $1", params)
                        .await
                })
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Internal, "{error}");
    }
}

async fn unfitting_values_are_errors(db: &Db, _: &Place) {
    let nul = db.write("nul", (), |tx, ()| {
        Box::pin(async move {
            tx.exec("INSERT INTO thing (label) VALUES ($1)", &["a\0b".into()])
                .await
        })
    });
    assert_eq!(nul.await.unwrap_err().kind, DbErrorKind::Internal);
    let two = db.read("two", (), |tx, ()| {
        Box::pin(tx.row("SELECT name FROM counter LIMIT 2", &[]))
    });
    let error = two.await.unwrap_err();
    assert_eq!(
        (error.kind, error.tx),
        (DbErrorKind::Internal, "two"),
        "{error}"
    );
    let syntax = db.read("syntax", (), |tx, ()| Box::pin(tx.rows("SELEKT 1", &[])));
    let error = syntax.await.unwrap_err();
    assert_eq!(
        (error.kind, error.tx),
        (DbErrorKind::Internal, "syntax"),
        "{error}"
    );
}

#[derive(Debug)]
enum Refusal {
    Mine,
    Db(DbError),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        Refusal::Db(error)
    }
}

async fn a_failed_body_harms_no_other(db: &Db, _: &Place) {
    // Started together, so that on SQLite they share groups.
    let jobs = (0..60).map(|i| {
        let db = db.clone();
        tokio::spawn(async move {
            let done = db.write("some fail", i, |tx, i| {
                Box::pin(async move {
                    let sql = "UPDATE counter SET n = n + 1 WHERE name = 'a'";
                    tx.exec(sql, &[]).await?;
                    match i % 3 {
                        0 => Ok(()),
                        1 => Err(Refusal::Mine),
                        _ => {
                            tx.exec("INSERT INTO counter VALUES ('b', 1)", &[]).await?;
                            Ok(())
                        }
                    }
                })
            });
            match (i % 3, done.await) {
                (0, Ok(())) | (1, Err(Refusal::Mine)) => {}
                (2, Err(Refusal::Db(error))) => assert!(error.is_unique_violation(), "{error}"),
                (_, other) => panic!("{i}: {other:?}"),
            }
        })
    });
    for job in jobs.collect::<Vec<_>>() {
        job.await.unwrap();
    }
    assert_eq!(
        (read_counter(db, "a").await, read_counter(db, "b").await),
        (20, 0)
    );
}

async fn a_failed_statement_ends_the_transaction(db: &Db, _: &Place) {
    let done: Result<(), DbError> = db
        .write("swallowed", (), |tx, ()| {
            Box::pin(async move {
                tx.exec("UPDATE counter SET n = 9", &[]).await?;
                assert!(
                    tx.exec("INSERT INTO counter VALUES ('a', 1)", &[])
                        .await
                        .is_err()
                );
                assert!(tx.rows("SELECT n FROM counter LIMIT 9", &[]).await.is_err());
                Ok(())
            })
        })
        .await;
    let error = done.unwrap_err();
    assert!(error.is_unique_violation(), "{error}");
    assert_eq!(read_counter(db, "a").await, 0);
}

async fn unique_violations_are_recognised(db: &Db, _: &Place) {
    for expected in [None, Some(DbErrorKind::Conflict)] {
        let secret = b"secret name".to_vec();
        let done = db.write("unique", secret, |tx, name| {
            Box::pin(async move {
                tx.exec("INSERT INTO thing (name) VALUES ($1)", &[name.into()])
                    .await
            })
        });
        let error = done.await.err();
        assert_eq!(error.as_ref().map(|e| e.kind), expected);
        if let Some(error) = error {
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }
}

async fn a_panic_costs_one_transaction(db: &Db, _: &Place) {
    let done: Result<(), DbError> = db
        .write("panics", (), |tx, ()| {
            Box::pin(async move {
                tx.exec("UPDATE counter SET n = 77", &[]).await?;
                panic!("on purpose")
            })
        })
        .await;
    let error = done.unwrap_err();
    assert_eq!((error.kind, error.tx), (DbErrorKind::Internal, "panics"));
    let read: Result<(), DbError> = db
        .read("panics", (), |_, ()| {
            Box::pin(async move { panic!("on purpose") })
        })
        .await;
    assert_eq!(read.unwrap_err().kind, DbErrorKind::Internal);
    assert_eq!(add(db, "a", 1).await.unwrap(), 1);
}

async fn foreign_awaits_do_not_hang(db: &Db, place: &Place) {
    let done: Result<(), DbError> = db
        .write("sleeps", (), |tx, ()| {
            Box::pin(async move {
                tx.exec("UPDATE counter SET n = 5", &[]).await?;
                tokio::task::yield_now().await;
                Ok(())
            })
        })
        .await;
    // PostgreSQL bodies run on the runtime, where it is only bad manners.
    if place.dir.is_some() {
        let error = done.unwrap_err();
        assert_eq!(
            (error.kind, error.tx),
            (DbErrorKind::Internal, "sleeps"),
            "{error}"
        );
        assert_eq!(read_counter(db, "a").await, 0);
    }
}

async fn a_read_is_one_snapshot(db: &Db, _: &Place) {
    let writer = tokio::spawn({
        let db = db.clone();
        async move {
            for _ in 0..200 {
                db.write("both", (), |tx, ()| {
                    Box::pin(tx.exec("UPDATE counter SET n = n + 1", &[]))
                })
                .await
                .unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let pair = db.read("pair", (), |tx, ()| {
            Box::pin(async move {
                let a = tx
                    .row("SELECT n FROM counter WHERE name = 'a'", &[])
                    .await?
                    .unwrap();
                std::thread::sleep(Duration::from_micros(300));
                let b = tx
                    .row("SELECT n FROM counter WHERE name = 'b'", &[])
                    .await?
                    .unwrap();
                Ok::<_, DbError>((a.int(0)?, b.int(0)?))
            })
        });
        let (a, b) = pair.await.unwrap();
        assert_eq!(a, b);
    }
    writer.await.unwrap();
    assert_eq!(read_counter(db, "b").await, 200);
}

async fn a_read_cannot_write(db: &Db, _: &Place) {
    let done = db
        .read("writes", (), |tx, ()| {
            Box::pin(tx.exec("UPDATE counter SET n = 1", &[]))
        })
        .await;
    assert_eq!(done.unwrap_err().kind, DbErrorKind::ReadOnly);
    assert_eq!(read_counter(db, "a").await, 0);
}

async fn acknowledged_writes_are_read(db: &Db, _: &Place) {
    for n in 1..=50 {
        assert_eq!(add(db, "a", 1).await.unwrap(), n);
        assert_eq!(read_counter(db, "a").await, n);
    }
}

async fn concurrent_increments_are_exact(db: &Db, place: &Place) {
    let before = db.stats();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    add(&db, "a", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read_counter(db, "a").await, 2000);
    let after = db.stats();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    assert_eq!(writes, 2000);
    if place.dir.is_some() {
        assert!(
            commits < writes / 4,
            "{commits} commits for {writes} jobs are not groups"
        );
    } else {
        assert_eq!(commits, 2000);
    }
}

async fn read_decide_write_is_serialisable(db: &Db, place: &Place) {
    // Write skew: each body may spend only while the sum is below 40, and writes one row of two.
    let spent = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..80)
        .map(|i| {
            let (db, spent) = (db.clone(), spent.clone());
            let name = if i % 2 == 0 { "a" } else { "b" };
            tokio::spawn(async move {
                let done = db.write("spend", name, |tx, name| {
                    Box::pin(async move {
                        let sql = "SELECT CAST(SUM(n) AS BIGINT) FROM counter";
                        if tx.row(sql, &[]).await?.unwrap().int(0)? >= 40 {
                            return Err(Refusal::Mine);
                        }
                        let sql = "UPDATE counter SET n = n + 1 WHERE name = $1";
                        tx.exec(sql, &[(*name).into()]).await?;
                        Ok(())
                    })
                });
                match done.await {
                    Ok(()) => spent.fetch_add(1, Ordering::Relaxed),
                    Err(Refusal::Mine) => 0,
                    Err(Refusal::Db(error)) => panic!("{error:?}"),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(spent.load(Ordering::Relaxed), 40);
    assert_eq!(
        read_counter(db, "a").await + read_counter(db, "b").await,
        40
    );
    assert_eq!(
        place.dir.is_none(),
        db.stats().retries > 0,
        "{:?}",
        db.stats()
    );
}

async fn migrations_are_idempotent(db: &Db, _: &Place) {
    assert_eq!(add(db, "a", 3).await.unwrap(), 3);
    assert_eq!(db.migrate(SCHEMA).await.unwrap(), 2);
    assert_eq!(read_counter(db, "a").await, 3);
    static BROKEN: &[Migration] = &[
        SCHEMA_1,
        SCHEMA_2,
        Migration {
            version: 3,
            name: "half",
            sql: "CREATE TABLE half (n BIGINT); SELEKT 1;",
        },
    ];
    assert!(db.migrate(BROKEN).await.is_err());
    // The failed step left nothing behind, not even its first statement.
    static MENDED: &[Migration] = &[
        SCHEMA_1,
        SCHEMA_2,
        Migration {
            version: 3,
            name: "half",
            sql: "CREATE TABLE half (n BIGINT);",
        },
    ];
    assert_eq!(db.migrate(MENDED).await.unwrap(), 3);
    static GAP: &[Migration] = &[SCHEMA_2];
    assert_eq!(
        db.migrate(GAP).await.unwrap_err().kind,
        DbErrorKind::Internal
    );
}

const SCHEMA_1: Migration = SCHEMA[0];
const SCHEMA_2: Migration = SCHEMA[1];

async fn newer_and_foreign_schemas_are_refused(db: &Db, _: &Place) {
    static OLDER: &[Migration] = &[SCHEMA_1];
    let error = db.migrate(OLDER).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::NewerSchema);
    assert!(
        error.message.contains("schema 2, this program knows 1"),
        "{error}"
    );
    static FOREIGN: &[Migration] = &[
        SCHEMA_1,
        Migration {
            version: 2,
            name: "other things",
            sql: "",
        },
    ];
    let error = db.migrate(FOREIGN).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Internal);
    assert!(error.message.contains("another build"), "{error}");
}

async fn nodes_may_migrate_at_once(db: &Db, _: &Place) {
    static MORE: &[Migration] = &[
        SCHEMA_1,
        SCHEMA_2,
        Migration {
            version: 3,
            name: "more",
            sql: "CREATE TABLE more (n BIGINT);",
        },
    ];
    let nodes: Vec<_> = (0..6)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.migrate(MORE).await })
        })
        .collect();
    for node in nodes {
        assert_eq!(node.await.unwrap().unwrap(), 3);
    }
}

async fn data_survives_reopening(db: &Db, place: &Place) {
    add(db, "a", 41).await.unwrap();
    db.close().await;
    let again = place.open().await;
    assert_eq!(again.migrate(SCHEMA).await.unwrap(), 2);
    assert_eq!(add(&again, "a", 1).await.unwrap(), 42);
    again.close().await;
    if let Some(dir) = &place.dir {
        let names: Vec<_> = dir
            .path()
            .read_dir()
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["door.db"], "closing folds the log away");
    }
}

async fn a_dropped_caller_does_no_harm(db: &Db, _: &Place) {
    for _ in 0..50 {
        let mut call = Box::pin(add(db, "a", 1));
        // Polled once, so it is queued or under way (or already done), and then dropped.
        std::future::poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
    }
    // Whatever was queued runs to its end; nobody is left to tell, so look again and again.
    let mut seen = 0;
    for _ in 0..500 {
        seen = read_counter(db, "a").await;
        if seen == 50 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen, 50);
}

async fn a_closed_database_says_so(db: &Db, _: &Place) {
    db.close().await;
    db.close().await;
    assert_eq!(
        add(db, "a", 1).await.unwrap_err().kind,
        DbErrorKind::Unavailable
    );
    let read = db.read("late", (), |tx, ()| {
        Box::pin(tx.rows("SELECT 1 LIMIT 1", &[]))
    });
    assert_eq!(read.await.unwrap_err().kind, DbErrorKind::Unavailable);
}
