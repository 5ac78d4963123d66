//! PostgreSQL behind the SQL door: a pool of connections, one transaction on each.
//!
//! - *Writes* are SERIALIZABLE, because SQLite's one writer is: a body that reads, decides and
//!   writes is proved once and holds on both. The price is retries where bodies meet on a row.
//!   After two in a row a transaction takes a turn that this node gives to one at a time, so that
//!   a crowd on one row becomes a queue.
//! - *Reads* are REPEATABLE READ, READ ONLY: one snapshot, and never in anybody's way.
//! - *Migrations* are READ COMMITTED behind an advisory lock: a stricter level would take its
//!   snapshot before it waits for the lock, and miss what the other node did meanwhile.
//!
//! - *A lost answer to COMMIT*: see `lost`.
//! - *Connections*: see `life`. An answer that does not come ends the attempt and the connection.
//!
//! A transaction runs in a task of its own, so that here, too, it ends on its own terms when the
//! caller has gone. The only file that names tokio_postgres and deadpool. Must not know tables.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Mutex, RwLock};
use tokio::time::timeout;

// The only place that says which crates these are.
use deadpool_postgres as pooled;
use tokio_postgres as driver;
use tokio_postgres_rustls::MakeRustlsConnect as MakeTls;

use driver::IsolationLevel;
use pooled::{Object, Transaction};

mod errors;
mod examine;
mod life;
mod lost;
mod owner;
mod statements;
mod target;
mod tls;

pub use examine::Examined;
pub(super) use statements::Handle;
pub use target::{MalformedUrl, PostgresUrl};

use super::door::{self, Counters, DbError, DbErrorKind, Mode, Tx, Work};
use super::error::{Trouble, Whose};
use errors::{failed, is_lost, is_standby, silent, standby};
use life::Connections;
use lost::own_id;
use owner::Owner;

const RETRY_ATTEMPTS_MAX: u32 = 40;
const RETRY_DELAY_MS_MAX: u64 = 50;
/// Failed attempts before a transaction queues up instead of colliding again.
const RETRIES_BEFORE_TURN: u32 = 2;
/// A server that has not answered a statement by then is taken for one that hangs. Migrations take their time.
const ANSWER_S_MAX: u64 = 10;
const MIGRATION_S_MAX: u64 = 24 * 3600;
/// Any number, as long as every version of this program uses the same one ("gfl" in ASCII).
const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(6776428)";

/// Modules that warn in the log of each single connection that ends.
pub const CONNECTION_MODULES: [&str; 2] = ["deadpool", "tokio_postgres"];

pub(super) struct Postgres(Arc<Shared>);

struct Shared {
    url: PostgresUrl,
    connections: Connections,
    turn: Mutex<()>,
    /// Read-locked by every running transaction, so that closing can wait for them.
    running: RwLock<()>,
    owner: Mutex<Option<Owner>>,
    counters: Arc<Counters>,
}

/// How one attempt ended.
enum Attempt {
    Done(Result<(), DbError>),
    /// Nothing was committed; the same may succeed now.
    Again(DbError),
    /// The answer to the commit of this transaction was lost.
    Lost(i64, DbError),
}

impl Postgres {
    pub(super) async fn open(
        url: &PostgresUrl,
        most: usize,
        counters: Arc<Counters>,
    ) -> Result<Postgres, DbError> {
        let connections = Connections::new(url, most, counters.clone())?;
        drop(connections.get_now().await?);
        Ok(Postgres(Arc::new(Shared {
            url: url.clone(),
            connections,
            turn: Mutex::new(()),
            running: RwLock::new(()),
            owner: Mutex::default(),
            counters,
        })))
    }

    /// Keeps other servers away for as long as this one lives.
    pub(super) async fn claim(&self) -> Result<(), DbError> {
        *self.0.owner.lock().await = Some(Owner::begin(&self.0).await?);
        Ok(())
    }

    /// Open connections, those in use, and callers that wait for one.
    pub(super) fn connections(&self) -> (u64, u64, u64) {
        self.0.connections.counts()
    }

    pub(super) async fn run(
        &self,
        mode: Mode,
        name: &'static str,
        mut work: Box<dyn Work>,
    ) -> Result<(), DbError> {
        let shared = self.0.clone();
        let task = tokio::spawn(async move {
            let _running = shared.running.read().await;
            shared.run(mode, name, &mut *work).await
        });
        match task.await {
            Ok(done) => done.map_err(|error| error.named(name)),
            Err(error) if error.is_panic() => {
                Err(DbError::internal("the transaction panicked").named(name))
            }
            Err(_) => {
                let ending = DbError::new(DbErrorKind::Unavailable, "the program is ending");
                Err(DbError::in_doubt(&ending, Whose::Nobodys).named(name))
            }
        }
    }

    /// See [`door::Db::outcome`].
    pub(super) async fn outcome(&self, id: i64) -> Result<bool, DbError> {
        self.0.outcome(id).await
    }

    /// Waits for what is running; what came later finds the pool closed.
    pub(super) async fn close(&self) {
        let _nothing_runs = self.0.running.write().await;
        self.0.owner.lock().await.take();
        self.0.connections.close();
    }
}

impl Shared {
    async fn run(
        &self,
        mode: Mode,
        name: &'static str,
        work: &mut dyn Work,
    ) -> Result<(), DbError> {
        let mut turn = None;
        let mut attempt = 1;
        loop {
            let error = match self.attempt(mode, name, work).await {
                Attempt::Done(result) => return result,
                Attempt::Again(error) => error,
                // The connection is given back by now: who asks needs one.
                Attempt::Lost(id, error) => match self.outcome_in_time(id).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => error,
                    Err(_) => return Err(DbError::in_doubt(&error, Whose::Postgres(id))),
                },
            };
            if attempt == RETRY_ATTEMPTS_MAX {
                let message = format!("gave up after {attempt} attempts: {}", error.message);
                return Err(DbError::new(error.kind, message).caused_by(error));
            }
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(retry_delay(attempt)).await;
            // No connection is held here: the one whose turn it is must be able to get one.
            if attempt >= RETRIES_BEFORE_TURN && turn.is_none() {
                turn = Some(self.turn.lock().await);
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, mode: Mode, name: &'static str, work: &mut dyn Work) -> Attempt {
        let mut client = match self.connections.get().await {
            Ok(client) => client,
            Err(error) => return Attempt::Done(Err(error)),
        };
        let attempt = self.attempt_over(&mut client, mode, name, work).await;
        let (Attempt::Done(Err(error)) | Attempt::Again(error) | Attempt::Lost(_, error)) =
            &attempt
        else {
            return attempt;
        };
        match error.trouble {
            Some(Trouble::Silent) => self.connections.hangs(client, error),
            Some(Trouble::ReadOnly) => {
                drop(Object::take(client));
                self.connections.forget_idle();
                self.connections.lost(error);
            }
            Some(_) => {
                // It would be given to the next one before it has noticed its own end.
                drop(Object::take(client));
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        attempt
    }

    async fn attempt_over(
        &self,
        client: &mut Object,
        mode: Mode,
        name: &'static str,
        work: &mut dyn Work,
    ) -> Attempt {
        let isolation = match mode {
            Mode::Read => IsolationLevel::RepeatableRead,
            Mode::Write => IsolationLevel::Serializable,
            Mode::Migrate => IsolationLevel::ReadCommitted,
        };
        let begin = client.build_transaction().isolation_level(isolation);
        let begin = begin.read_only(mode == Mode::Read).start();
        let transaction = match timeout(Duration::from_secs(ANSWER_S_MAX), begin).await {
            Ok(Ok(transaction)) => transaction,
            Ok(Err(error)) if mode != Mode::Read && is_standby(&error) => {
                return Attempt::Done(Err(standby(failed(&error))));
            }
            Ok(Err(error)) => return Attempt::failed(failed(&error)),
            Err(_) => return Attempt::Done(Err(silent("BEGIN", ANSWER_S_MAX))),
        };
        self.connections.answered();
        if mode == Mode::Migrate
            && let Err(error) = transaction.batch_execute(LOCK_MIGRATIONS).await
        {
            return Attempt::failed(failed(&error));
        }
        let seconds = match mode {
            Mode::Migrate => MIGRATION_S_MAX,
            Mode::Read | Mode::Write => ANSWER_S_MAX,
        };
        let mut tx = Tx::new(
            name,
            door::Handle::Postgres(Handle::new(&transaction, seconds)),
        );
        let ok = work.start(&mut tx).await;
        let failure = tx.into_failure();
        if ok && failure.is_none() {
            return self.commit(mode, transaction).await;
        }
        let failure = failure.map(|error| match error.kind {
            DbErrorKind::ReadOnly if mode != Mode::Read => standby(error),
            _ => error,
        });
        if failure.as_ref().is_none_or(|error| error.trouble.is_none()) {
            // If this fails the connection is gone, and the transaction with it.
            let _ = timeout(Duration::from_secs(ANSWER_S_MAX), transaction.rollback()).await;
        }
        match failure {
            Some(error) if error.again => Attempt::Again(error),
            // The body's own error says less: that the database went away is the answer.
            Some(error) if ok || error.trouble.is_some() => Attempt::Done(Err(error)),
            // The body's own error is the answer.
            _ => Attempt::Done(Ok(())),
        }
    }

    async fn commit(&self, mode: Mode, transaction: Transaction<'_>) -> Attempt {
        let limit = Duration::from_secs(ANSWER_S_MAX);
        let id = match timeout(limit, own_id(mode, &transaction)).await {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => return Attempt::failed(failed(&error)),
            Err(_) => return Attempt::Done(Err(silent("a statement", ANSWER_S_MAX))),
        };
        match (timeout(limit, transaction.commit()).await, id) {
            (Ok(Ok(())), _) => {
                if mode != Mode::Read {
                    self.counters.commits.fetch_add(1, Ordering::Relaxed);
                }
                Attempt::Done(Ok(()))
            }
            // It may be committed: running the body again could do everything twice.
            (Ok(Err(error)), Some(id)) if is_lost(&error) => Attempt::Lost(id, failed(&error)),
            (Ok(Err(error)), _) => Attempt::failed(failed(&error)),
            (Err(_), Some(id)) => Attempt::Lost(id, silent("COMMIT", ANSWER_S_MAX)),
            (Err(_), None) => Attempt::Done(Err(silent("COMMIT", ANSWER_S_MAX))),
        }
    }
}

impl Attempt {
    fn failed(error: DbError) -> Attempt {
        if error.again {
            Attempt::Again(error)
        } else {
            Attempt::Done(Err(error))
        }
    }
}

/// Up to 2, 4, 8... ms, at random, so that those who collided do not collide again.
fn retry_delay(attempt: u32) -> Duration {
    let limit_us = RETRY_DELAY_MS_MAX.min(1 << attempt.min(10)) * 1_000;
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    Duration::from_micros(u64::from(random) * limit_us / u64::from(u32::MAX))
}
