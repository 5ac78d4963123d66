//! Commits whose answer is lost: what became of them is found out, or said to be unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gfl_core::catalog::door::{Db, DbError, DbErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Place, SCHEMA, add, read_counter};

/// What happens to the next COMMIT on the line to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It arrives and so does its answer.
    Through,
    /// It arrives, its answer does not.
    AnswerLost,
    /// It never arrives.
    Lost,
    /// It never arrives, and PostgreSQL does not notice that the client is gone.
    Hangs,
}

#[derive(Default)]
struct Switch {
    fate: parking_lot::Mutex<Option<Fate>>,
    /// Nobody gets through any more once a commit was cut off.
    down_after: std::sync::atomic::AtomicBool,
    down: std::sync::atomic::AtomicBool,
}

/// A line to PostgreSQL that can be cut.
struct Line {
    url: String,
    switch: Arc<Switch>,
}

impl Line {
    async fn to(place: &Place) -> Line {
        let rest = place.url.split_once('@').unwrap().1;
        let server = rest.split_once('/').unwrap().0.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let url = place.url.replacen(&server, &here, 1);
        let switch = Arc::new(Switch::default());
        let shared = switch.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shared.down.load(Ordering::SeqCst) {
                    tokio::spawn(carry(client, server.clone(), shared.clone()));
                }
            }
        });
        Line { url, switch }
    }

    async fn open(&self) -> Db {
        Db::open_postgres(&self.url.parse().unwrap(), 4)
            .await
            .unwrap()
    }

    fn next(&self, fate: Fate) {
        *self.switch.fate.lock() = Some(fate);
    }
}

async fn carry(client: TcpStream, server: String, switch: Arc<Switch>) {
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move {
        let _ended = tokio::io::copy(&mut from_server, &mut to_client).await;
        from_server
    });
    let mut piece = vec![0; 65_536];
    while let Ok(n @ 1..) = from_client.read(&mut piece).await {
        let is_commit = piece[..n].windows(6).any(|word| word == b"COMMIT");
        let fate = is_commit.then(|| switch.fate.lock().take()).flatten();
        let fate = fate.unwrap_or(Fate::Through);
        if fate != Fate::Through {
            let down = switch.down_after.load(Ordering::SeqCst);
            switch.down.store(down, Ordering::SeqCst);
            // From here on the client hears nothing.
            answers.abort();
            let _aborted = answers.await;
            match fate {
                Fate::AnswerLost => to_server.write_all(&piece[..n]).await.unwrap(),
                Fate::Hangs => std::mem::forget(to_server),
                Fate::Through | Fate::Lost => {}
            }
            return;
        }
        if to_server.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

/// Adds one to a counter and counts how often it was tried.
async fn add_counting(db: &Db, runs: &Arc<AtomicU32>) -> Result<i64, DbError> {
    db.write("add", runs.clone(), |tx, runs| {
        Box::pin(async move {
            runs.fetch_add(1, Ordering::SeqCst);
            let sql = "UPDATE counter SET n = n + 1 WHERE name = 'a' RETURNING n";
            tx.row(sql, &[]).await?.unwrap().int(0)
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_commit_is_found_out() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let line = Line::to(&place).await;
    let db = line.open().await;
    db.migrate(SCHEMA).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let fates = [
        (Fate::AnswerLost, 1),
        (Fate::Lost, 2),
        (Fate::Hangs, 2),
        (Fate::Through, 1),
    ];
    for (done, (fate, wanted)) in (1..).zip(fates) {
        line.next(fate);
        runs.store(0, Ordering::SeqCst);
        assert_eq!(add_counting(&db, &runs).await.unwrap(), done, "{fate:?}");
        assert_eq!(runs.load(Ordering::SeqCst), wanted, "{fate:?}");
        assert_eq!(read_counter(&db, "a").await, done, "{fate:?}");
    }
    db.close().await;
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_nothing_is_simply_repeated() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let line = Line::to(&place).await;
    let db = line.open().await;
    db.migrate(SCHEMA).await.unwrap();
    line.next(Fate::AnswerLost);
    let done: Result<u64, DbError> = db
        .write("nothing", (), |tx, ()| {
            Box::pin(tx.exec("UPDATE counter SET n = 7 WHERE name = 'z'", &[]))
        })
        .await;
    assert_eq!((done.unwrap(), db.stats().retries), (0, 1));
    db.close().await;
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_tell_is_told_later() {
    let Some(place) = Place::postgres().await else {
        return;
    };
    let line = Line::to(&place).await;
    let db = line.open().await;
    db.migrate(SCHEMA).await.unwrap();
    let mut wanted = 0;
    for (fate, stands) in [(Fate::AnswerLost, true), (Fate::Hangs, false)] {
        line.switch.down_after.store(true, Ordering::SeqCst);
        line.next(fate);
        let error = add(&db, "a", 1).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::InDoubt, "{error}");
        let doubt = error.doubt().unwrap().clone();
        let away = db.outcome(&doubt).await.unwrap_err();
        assert_eq!(away.kind, DbErrorKind::Unavailable, "{away}");
        line.switch.down_after.store(false, Ordering::SeqCst);
        line.switch.down.store(false, Ordering::SeqCst);
        let told = loop {
            match db.outcome(&doubt).await {
                Ok(told) => break told,
                // It is being ended.
                Err(error) => assert_eq!(error.kind, DbErrorKind::Busy, "{error}"),
            }
        };
        assert_eq!(told, stands, "{fate:?}");
        wanted += i64::from(stands);
        assert_eq!(read_counter(&db, "a").await, wanted, "{fate:?}");
        assert_eq!(db.outcome(&doubt).await.unwrap(), stands, "final");
    }
    db.close().await;
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_of_sqlite_is_made_certain() {
    let place = Place::sqlite();
    let db = place.open().await;
    db.migrate(SCHEMA).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    db.fail_commits(1);
    assert_eq!(add_counting(&db, &runs).await.unwrap(), 1);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "once more, over the first");
    // For as long as nothing can be committed nobody can tell.
    db.fail_commits(4);
    let error = add(&db, "a", 1).await.unwrap_err();
    assert_eq!((error.kind, error.tx), (DbErrorKind::InDoubt, "add"));
    let doubt = error.doubt().unwrap().clone();
    assert!(db.outcome(&doubt).await.is_err());
    assert!(!db.outcome(&doubt).await.unwrap());
    assert_eq!(read_counter(&db, "a").await, 1);
    assert_eq!(add(&db, "a", 1).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_a_doubt_writes_to_the_log() {
    let place = Place::sqlite();
    let db = place.open().await;
    db.migrate(SCHEMA).await.unwrap();
    db.fail_commits(2);
    let error = add(&db, "a", 1).await.unwrap_err();
    let log = place.dir.as_ref().unwrap().path().join("door.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    db.outcome(error.doubt().unwrap()).await.unwrap();
    // Without a page of its own it would leave what the failed commit may have written there.
    assert!(std::fs::metadata(&log).unwrap().len() > before);
}
