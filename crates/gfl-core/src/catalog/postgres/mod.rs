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
//!
//! A transaction runs in a task of its own, so that here, too, it ends on its own terms when the
//! caller has gone. The only file that names tokio_postgres and deadpool. Must not know tables.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType, Transaction,
};
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, RwLock};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Config, Error, IsolationLevel, NoTls, Row};

mod lost;

use super::door::{self, Counters, DbError, DbErrorKind, Mode, ROWS_MAX, Tx, Work};
use super::error::Whose;
use super::value::Value;
use lost::own_id;

const RETRY_ATTEMPTS_MAX: u32 = 40;
const RETRY_DELAY_MS_MAX: u64 = 50;
/// Failed attempts before a transaction queues up instead of colliding again.
const RETRIES_BEFORE_TURN: u32 = 2;
const CONNECT_TIMEOUT_S: u64 = 5;
/// How long a caller waits for a connection while all are in use.
const POOL_WAIT_S_MAX: u64 = 10;
/// Silence after which a peer is asked, and after which it is given up.
const KEEPALIVE_IDLE_S: u64 = 30;
const PEER_SILENT_S_MAX: u64 = 60;
/// Any number, as long as every version of this program uses the same one ("gfl" in ASCII).
const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(6776428)";

pub(super) struct Postgres(Arc<Shared>);

struct Shared {
    pool: Pool,
    turn: Mutex<()>,
    /// Read-locked by every running transaction, so that closing can wait for them.
    running: RwLock<()>,
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
        url: &str,
        connections: usize,
        counters: Arc<Counters>,
    ) -> Result<Postgres, DbError> {
        // No detail and no source: the parser's message may quote a piece of the URL, and the
        // password is a piece of the URL.
        let mut config: Config = url.parse().map_err(|_| {
            DbError::new(DbErrorKind::Unavailable, "the PostgreSQL URL is malformed")
        })?;
        config.keepalives_idle(Duration::from_secs(KEEPALIVE_IDLE_S));
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(PEER_SILENT_S_MAX));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S));
        }
        // NO TLS YET: the connection is plain text, password exchange (SCRAM) aside. Keep the
        // server on the same machine or a private network. `sslmode=require` in the URL fails
        // rather than being ignored.
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(connections.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(POOL_WAIT_S_MAX)))
            .create_timeout(Some(Duration::from_secs(CONNECT_TIMEOUT_S * 2)))
            .recycle_timeout(Some(Duration::from_secs(CONNECT_TIMEOUT_S)))
            .build()
            .map_err(|error| DbError::internal(error.to_string()))?;
        drop(pool.get().await.map_err(no_connection)?);
        Ok(Postgres(Arc::new(Shared {
            pool,
            turn: Mutex::new(()),
            running: RwLock::new(()),
            counters,
        })))
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
        self.0.pool.close();
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
        let mut client = match self.pool.get().await {
            Ok(client) => client,
            Err(error) => return Attempt::Done(Err(no_connection(error))),
        };
        let isolation = match mode {
            Mode::Read => IsolationLevel::RepeatableRead,
            Mode::Write => IsolationLevel::Serializable,
            Mode::Migrate => IsolationLevel::ReadCommitted,
        };
        let begin = client.build_transaction().isolation_level(isolation);
        let transaction = match begin.read_only(mode == Mode::Read).start().await {
            Ok(transaction) => transaction,
            Err(error) => return Attempt::failed(failed(&error)),
        };
        if mode == Mode::Migrate
            && let Err(error) = transaction.batch_execute(LOCK_MIGRATIONS).await
        {
            return Attempt::failed(failed(&error));
        }
        let mut tx = Tx::new(name, door::Handle::Postgres(Handle(&transaction)));
        let ok = work.start(&mut tx).await;
        let failure = tx.into_failure();
        if ok && failure.is_none() {
            return self.commit(mode, transaction).await;
        }
        // If this fails the connection is gone, and the transaction with it.
        let _ = transaction.rollback().await;
        match failure {
            Some(error) if error.again => Attempt::Again(error),
            Some(error) if ok => Attempt::Done(Err(error)),
            // The body's own error is the answer.
            _ => Attempt::Done(Ok(())),
        }
    }

    async fn commit(&self, mode: Mode, transaction: Transaction<'_>) -> Attempt {
        let id = match own_id(mode, &transaction).await {
            Ok(id) => id,
            Err(error) => return Attempt::failed(failed(&error)),
        };
        match (transaction.commit().await, id) {
            (Ok(()), _) => {
                if mode != Mode::Read {
                    self.counters.commits.fetch_add(1, Ordering::Relaxed);
                }
                Attempt::Done(Ok(()))
            }
            // It may be committed: running the body again could do everything twice.
            (Err(error), Some(id)) if is_lost(&error) => Attempt::Lost(id, failed(&error)),
            (Err(error), _) => Attempt::failed(failed(&error)),
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

// --- statements ---

/// A running transaction.
pub(super) struct Handle<'c>(&'c Transaction<'c>);

impl Handle<'_> {
    pub(super) async fn exec(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let statement = self
            .0
            .prepare_cached(sql)
            .await
            .map_err(|error| failed(&error))?;
        fits(statement.params(), params)?;
        self.0
            .execute_raw(&statement, params)
            .await
            .map_err(|error| failed(&error))
    }

    pub(super) async fn rows(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Vec<Value>>, DbError> {
        let statement = self
            .0
            .prepare_cached(sql)
            .await
            .map_err(|error| failed(&error))?;
        fits(statement.params(), params)?;
        let rows = self
            .0
            .query_raw(&statement, params)
            .await
            .map_err(|error| failed(&error))?;
        let mut rows = std::pin::pin!(rows);
        let mut answer = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|error| failed(&error))? {
            if answer.len() == ROWS_MAX {
                let message = format!("more than {ROWS_MAX} rows; a LIMIT is missing");
                return Err(DbError::internal(message));
            }
            let values = (0..row.len()).map(|column| value(&row, column));
            answer.push(values.collect::<Result<_, _>>()?);
        }
        Ok(answer)
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.0
            .batch_execute(sql)
            .await
            .map_err(|error| failed(&error))
    }
}

/// The driver panics on a wrong number of parameters and hides what is wrong with a type.
fn fits(wanted: &[Type], given: &[Value]) -> Result<(), DbError> {
    if wanted.len() != given.len() {
        let message = format!("{} parameters given, {} used", given.len(), wanted.len());
        return Err(DbError::internal(message));
    }
    for (index, (wanted, given)) in wanted.iter().zip(given).enumerate() {
        let fits = match given {
            Value::Null => true,
            Value::Int(n) => {
                *wanted == Type::INT8 || (*wanted == Type::INT4 && i32::try_from(*n).is_ok())
            }
            Value::Text(_) => matches!(*wanted, Type::TEXT | Type::VARCHAR),
            Value::Bytes(_) => *wanted == Type::BYTEA,
        };
        if !fits {
            let message = format!(
                "parameter ${} is {} and does not fit {wanted}; a CAST may be missing",
                index + 1,
                given.type_name(),
            );
            return Err(DbError::internal(message));
        }
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(
        &self,
        wanted: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(n) if *wanted == Type::INT4 => i32::try_from(*n)?.to_sql(wanted, out),
            Value::Int(n) => n.to_sql(wanted, out),
            Value::Text(text) => text.to_sql(wanted, out),
            Value::Bytes(bytes) => bytes.to_sql(wanted, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // Depends on the variant; `fits` has looked at both.
    }

    to_sql_checked!();
}

fn value(row: &Row, column: usize) -> Result<Value, DbError> {
    fn get<'r, T>(row: &'r Row, column: usize) -> Result<Value, DbError>
    where
        T: tokio_postgres::types::FromSql<'r> + Into<Value>,
    {
        let value: Option<T> = row.try_get(column).map_err(|error| failed(&error))?;
        Ok(value.into())
    }
    let Some(definition) = row.columns().get(column) else {
        return Ok(Value::Null);
    };
    match *definition.type_() {
        Type::INT8 => get::<i64>(row, column),
        Type::INT4 => {
            let value: Option<i32> = row.try_get(column).map_err(|error| failed(&error))?;
            Ok(value.map(i64::from).into())
        }
        Type::BOOL => get::<bool>(row, column),
        Type::TEXT | Type::VARCHAR => get::<String>(row, column),
        Type::BYTEA => get::<Vec<u8>>(row, column),
        ref other => Err(DbError::internal(format!(
            "column {column} is {other}; cast it to BIGINT, TEXT or BYTEA"
        ))),
    }
}

// --- errors ---

fn no_connection(error: PoolError) -> DbError {
    match error {
        PoolError::Backend(error) => {
            let mut failure = failed(&error);
            // Asking again at once is no use when the server is not there.
            failure.again = false;
            failure.kind = DbErrorKind::Unavailable;
            failure
        }
        PoolError::Timeout(TimeoutType::Wait) => DbError::new(
            DbErrorKind::Busy,
            format!("all connections to PostgreSQL are in use since {POOL_WAIT_S_MAX} s"),
        ),
        PoolError::Closed => DbError::new(DbErrorKind::Unavailable, "the database is closed"),
        error => DbError::new(DbErrorKind::Unavailable, error.to_string()),
    }
}

/// Two transactions met; PostgreSQL rolled one of them back.
fn is_collision(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// The connection ended, and with it the transaction.
fn is_lost(error: &Error) -> bool {
    error.is_closed()
        || error
            .source()
            .is_some_and(|source| source.is::<std::io::Error>())
        || matches!(
            error.code(),
            Some(&SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN)
        )
}

/// Of the server's answer only code and message are kept: its detail quotes the values of rows.
fn failed(error: &Error) -> DbError {
    let mut failure = match error.as_db_error() {
        Some(answer) => {
            let message = format!("{} ({})", answer.message(), answer.code().code());
            DbError::new(kind(answer.code()), message)
        }
        None => {
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            let kind = if is_lost(error) {
                DbErrorKind::Unavailable
            } else {
                DbErrorKind::Internal
            };
            DbError::new(kind, format!("{error}{cause}"))
        }
    };
    failure.again = is_collision(error) || is_lost(error);
    failure
}

fn kind(code: &SqlState) -> DbErrorKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => DbErrorKind::Conflict,
        SqlState::DISK_FULL => DbErrorKind::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION => DbErrorKind::ReadOnly,
        SqlState::IO_ERROR => DbErrorKind::Io,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => DbErrorKind::Corrupt,
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED => DbErrorKind::Busy,
        // 08 connection, 28 authorisation, 53 resources, 57 operator: the server's business.
        _ if ["08", "28", "53", "57"]
            .iter()
            .any(|class| code.code().starts_with(class)) =>
        {
            DbErrorKind::Unavailable
        }
        _ => DbErrorKind::Internal,
    }
}
