//! What only PostgreSQL can get wrong: connections, their loss, and what errors give away.

use gfl_core::catalog::door::{Db, DbError, DbErrorKind};

use crate::{Place, SCHEMA, add, read_counter};

#[tokio::test]
async fn errors_hide_the_password() {
    // Port 1 answers nobody; the others have names that lead nowhere.
    for url in [
        "postgres://gfl:hunter2@127.0.0.1:1/db",
        "postgres://gfl:hunter2@nowhere.invalid/db",
        "postgres://gfl:hunter2@%2Fno%2Fsuch%2Ffolder/db",
    ] {
        let error = Db::open_postgres(&url.parse().unwrap(), 2)
            .await
            .unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Unavailable, "{error}");
        let mut told = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told += &format!("{cause} {cause:?}");
            source = cause.source();
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_replaced() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let (db, other) = (place.open().await, place.open().await);
    db.migrate(SCHEMA).await.unwrap();
    for round in 1..=10 {
        assert_eq!(add(&db, "a", 1).await.unwrap(), round);
        let pid = db.read("pid", (), |tx, ()| {
            Box::pin(async move {
                let row = tx.row("SELECT pg_backend_pid() LIMIT 1", &[]).await?;
                row.unwrap().int(0)
            })
        });
        let pid: i64 = pid.await.unwrap();
        let cut = other.read("cut", pid, |tx, pid| {
            Box::pin(async move {
                let sql = "SELECT pg_terminate_backend(CAST($1 AS INTEGER))";
                tx.rows(sql, &[(*pid).into()]).await
            })
        });
        cut.await.unwrap();
    }
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_inside_a_body_runs_it_again() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let db = place.open().await;
    db.migrate(SCHEMA).await.unwrap();
    let first = std::sync::atomic::AtomicBool::new(true);
    let done: Result<u64, DbError> = db
        .write("cut", first, |tx, first| {
            Box::pin(async move {
                let changed = tx.exec("UPDATE counter SET n = n + 1", &[]).await?;
                if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                    tx.rows("SELECT pg_terminate_backend(pg_backend_pid()) LIMIT 1", &[])
                        .await?;
                }
                Ok(changed)
            })
        })
        .await;
    assert_eq!(done.unwrap(), 2);
    assert_eq!((read_counter(&db, "a").await, db.stats().retries), (1, 1));
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_row_lose_nothing() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let nodes = [place.open().await, place.open().await, place.open().await];
    nodes[0].migrate(SCHEMA).await.unwrap();
    let tasks: Vec<_> = (0..90)
        .map(|i| {
            let db = nodes[i % 3].clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    add(&db, "a", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read_counter(&nodes[0], "a").await, 900);
    place.leave().await;
}
