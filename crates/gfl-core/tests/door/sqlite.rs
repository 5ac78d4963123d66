//! What only SQLite can get wrong: the file, the group commit, the writer thread.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gfl_core::ballast::Ballast;
use gfl_core::catalog::door::{Db, DbError, DbErrorKind, SyncMode};

use crate::{Place, SCHEMA, add, read_counter};

async fn fresh() -> (Place, Db) {
    let place = Place::sqlite();
    let db = place.open().await;
    db.migrate(SCHEMA).await.unwrap();
    (place, db)
}

/// Holds the writer thread for a moment, so that what is started meanwhile becomes one group.
fn hold_writer(db: &Db) -> tokio::task::JoinHandle<()> {
    let db = db.clone();
    tokio::spawn(async move {
        let held: Result<(), DbError> = db
            .write("hold", (), |_, ()| {
                Box::pin(async {
                    std::thread::sleep(Duration::from_millis(150));
                    Ok(())
                })
            })
            .await;
        held.unwrap();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_jobs_share_one_commit() {
    let (_place, db) = fresh().await;
    let before = db.stats().commits;
    let held = hold_writer(&db);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let jobs: Vec<_> = (0..200)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { add(&db, "a", 1).await.unwrap() })
        })
        .collect();
    held.await.unwrap();
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(read_counter(&db, "a").await, 200);
    assert_eq!(db.stats().commits - before, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_transaction_fails_its_group_and_no_later_one() {
    let (_place, db) = fresh().await;
    let held = hold_writer(&db);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let neighbour = tokio::spawn({
        let db = db.clone();
        async move { add(&db, "a", 1).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Stands for what SQLite does by itself on some disk errors.
    let lost = db
        .write("lost", (), |tx, ()| Box::pin(tx.exec("ROLLBACK", &[])))
        .await;
    assert_eq!(lost.unwrap_err().kind, DbErrorKind::Internal);
    held.await.unwrap();
    let error = neighbour.await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind, error.tx),
        (DbErrorKind::Internal, "add"),
        "{error}"
    );
    assert_eq!(read_counter(&db, "a").await, 0);
    assert_eq!(add(&db, "a", 1).await.unwrap(), 1);
}

/// The second try of a group ends before it comes to the last of those that were in the first one's commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_group_is_in_doubt() {
    let (_place, db) = fresh().await;
    let held = hold_writer(&db);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let neighbour = || {
        let db = db.clone();
        tokio::spawn(async move { add(&db, "a", 1).await })
    };
    let before = neighbour();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let breaks = db.write(
        "breaks",
        (db.clone(), AtomicU32::new(0)),
        |tx, (db, runs)| {
            Box::pin(async move {
                if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                    db.fail_commits(1);
                    tx.exec("UPDATE counter SET n = n + 1", &[]).await
                } else {
                    tx.exec("ROLLBACK", &[]).await
                }
            })
        },
    );
    let after = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        neighbour().await.unwrap().map(drop)
    };
    let (broken, after) = tokio::join!(breaks, after);
    held.await.unwrap();
    let answers: [Result<(), DbError>; 3] =
        [before.await.unwrap().map(drop), broken.map(drop), after];
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::InDoubt, "{error}");
        assert!(!db.outcome(error.doubt().unwrap()).await.unwrap());
    }
    assert_eq!(read_counter(&db, "a").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_callers_than_the_queue_holds_all_get_through() {
    let (_place, db) = fresh().await;
    let jobs: Vec<_> = (0..3000)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { add(&db, "a", 1).await.unwrap() })
        })
        .collect();
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(read_counter(&db, "a").await, 3000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_answers_what_was_queued() {
    let (place, db) = fresh().await;
    let held = hold_writer(&db);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let jobs: Vec<_> = (0..50)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { add(&db, "a", 1).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    db.close().await;
    held.await.unwrap();
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(read_counter(&place.open().await, "a").await, 50);
}

#[tokio::test]
async fn a_full_database_says_so_and_recovers() {
    let (_place, db) = fresh().await;
    let limit = db.write("limit", (), |tx, ()| {
        Box::pin(tx.rows("PRAGMA max_page_count = 20", &[]))
    });
    limit.await.unwrap();
    let error = loop {
        let grow = db.write("grow", "x".repeat(20_000), |tx, label| {
            Box::pin(async move {
                tx.exec("INSERT INTO thing (label) VALUES ($1)", &[label.into()])
                    .await
            })
        });
        if let Err(error) = grow.await {
            break error;
        }
    };
    assert_eq!(
        (error.kind, error.tx),
        (DbErrorKind::Full, "grow"),
        "{error}"
    );
    assert_eq!(add(&db, "a", 1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_write_that_finds_no_room_lets_the_ballast_go() {
    let dir = tempfile::tempdir().unwrap();
    let ballast = Ballast::aboard(dir.path());
    let file = dir.path().join("door.db");
    let db = Db::open_sqlite_with(&file, SyncMode::Full, ballast)
        .await
        .unwrap();
    db.migrate(SCHEMA).await.unwrap();
    assert!(db.ballast().unwrap().is_there());
    // The database is "full" once, and has room when the same runs again.
    let runs = AtomicU32::new(0);
    let grown: Result<u64, DbError> = db
        .write("grow", runs, |tx, runs| {
            Box::pin(async move {
                let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
                let limit = [
                    "PRAGMA max_page_count = 1000000",
                    "PRAGMA max_page_count = 1",
                ];
                tx.rows(limit[usize::from(first)], &[]).await?;
                let label = "x".repeat(100_000);
                tx.exec("INSERT INTO thing (label) VALUES ($1)", &[label.into()])
                    .await
            })
        })
        .await;
    assert_eq!(grown.unwrap(), 1);
    assert!(db.ballast().unwrap().is_out());
    assert_eq!(add(&db, "a", 1).await.unwrap(), 1);
    assert!(db.ballast().unwrap().refill().unwrap());
    assert_eq!(add(&db, "a", 1).await.unwrap(), 2);
    db.close().await;
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let (place, db) = fresh().await;
    add(&db, "a", 1).await.unwrap();
    let mut seen = 0;
    for file in place.dir.as_ref().unwrap().path().read_dir().unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        seen += 1;
    }
    assert_eq!(seen, 3, "database, log and its index");
}

#[tokio::test]
async fn a_second_program_may_hold_the_lock_for_a_while() {
    let (place, db) = fresh().await;
    let other = place.open().await;
    let held = hold_writer(&other);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(add(&db, "a", 1).await.unwrap(), 1);
    held.await.unwrap();
}

#[tokio::test]
async fn unusable_files_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign");
    std::fs::write(&foreign, "this is a letter and no database ".repeat(200)).unwrap();
    let error = Db::open_sqlite(&foreign, SyncMode::Full).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Corrupt, "{error}");
    let nowhere = dir.path().join("nowhere/file");
    let error = Db::open_sqlite(&nowhere, SyncMode::Full).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Io, "{error}");
}
