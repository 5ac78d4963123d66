//! What one transaction at a time must do, on both engines.

use gfl_core::catalog::door::{Db, DbError, DbErrorKind, Migration, Value};

use crate::{Place, SCHEMA, SCHEMA_1, SCHEMA_2, add, on_both_engines, read_counter};

on_both_engines! {
    types_round_trip
    placeholders_are_numbered
    text_sorts_by_bytes
    unfitting_values_are_errors
    a_failed_statement_ends_the_transaction
    unique_violations_are_recognised
    a_panic_costs_one_transaction
    foreign_awaits_do_not_hang
    a_read_cannot_write
    migrations_are_idempotent
    newer_and_foreign_schemas_are_refused
    data_survives_reopening
    a_closed_database_says_so
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

async fn text_sorts_by_bytes(db: &Db, _: &Place) {
    let names = db.write("sort", ["é", "Z", "_", "B"], |tx, names| {
        Box::pin(async move {
            for name in names {
                tx.exec("INSERT INTO counter VALUES ($1, 0)", &[(*name).into()])
                    .await?;
            }
            let sql = "SELECT name FROM counter WHERE name > $1 ORDER BY name LIMIT 9";
            tx.rows(sql, &["A".into()])
                .await?
                .iter()
                .map(|row| row.text(0))
                .collect()
        })
    });
    let names: Result<Vec<String>, DbError> = names.await;
    assert_eq!(names.unwrap(), ["B", "Z", "_", "a", "b", "é"]);
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

async fn a_read_cannot_write(db: &Db, _: &Place) {
    let done = db
        .read("writes", (), |tx, ()| {
            Box::pin(tx.exec("UPDATE counter SET n = 1", &[]))
        })
        .await;
    assert_eq!(done.unwrap_err().kind, DbErrorKind::ReadOnly);
    assert_eq!(read_counter(db, "a").await, 0);
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
