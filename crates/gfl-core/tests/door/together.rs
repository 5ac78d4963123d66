//! What transactions must do that run at the same time, on both engines.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gfl_core::catalog::door::{Db, DbError, Migration};

use crate::{Place, SCHEMA_1, SCHEMA_2, add, on_both_engines, read_counter};

on_both_engines! {
    a_failed_body_harms_no_other
    a_read_is_one_snapshot
    acknowledged_writes_are_read
    concurrent_increments_are_exact
    read_decide_write_is_serialisable
    nodes_may_migrate_at_once
    a_dropped_caller_does_no_harm
    closing_waits_for_what_runs
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

async fn closing_waits_for_what_runs(db: &Db, place: &Place) {
    let jobs: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let done: Result<u64, DbError> = db
                    .write("slow", (), |tx, ()| {
                        Box::pin(async move {
                            std::thread::sleep(Duration::from_millis(20));
                            tx.exec("INSERT INTO thing (num) VALUES (1)", &[]).await
                        })
                    })
                    .await;
                done
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    db.close().await;
    // Whoever was not refused is in the database by now.
    let again = place.open().await;
    let found = again.read("count", (), |tx, ()| {
        Box::pin(async move {
            tx.row("SELECT COUNT(*) FROM thing", &[])
                .await?
                .unwrap()
                .u64(0)
        })
    });
    let found: Result<u64, DbError> = found.await;
    let mut done = 0;
    for job in jobs {
        done += u64::from(job.await.unwrap().is_ok());
    }
    assert!(done > 0);
    assert_eq!(found.unwrap(), done);
}
