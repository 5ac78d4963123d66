//! SQLite behind the SQL door: one writer thread with group commit, a few reader threads.
//!
//! - *Writes*: see `writer`.
//! - *Reads.* Own threads, neither the runtime's workers (a cold page would stall every
//!   connection on them) nor its blocking pool (file syncs may hold all of it for seconds).
//!
//! SQLite calls complete at once, so a body's future is polled exactly once; if that leaves it
//! pending, it awaited something foreign. A queued job runs even if its caller has gone.
//! The only file that names rusqlite. Must not know tables.

mod writer;

pub(super) use writer::SETTLE;

use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, ffi};
use tokio::sync::{mpsc, oneshot};

use super::door::{self, Counters, DbError, DbErrorKind, Mode, ROWS_MAX, SyncMode, Tx, Work};
use super::error::Whose;
use super::value::Value;
use crate::ballast::Ballast;
use writer::Writer;

/// Jobs waiting for the writer, and for the readers; callers beyond it wait for room.
const QUEUE_JOBS_MAX: usize = 1024;
const READER_THREADS: usize = 4;
/// Another process (a backup, the sqlite3 shell) may hold the lock this long.
const BUSY_TIMEOUT_MS: u64 = 5_000;
const WRITER_CACHE_KIB: usize = 2_048;
const READER_CACHE_KIB: usize = 1_024;
/// About 16 MB of WAL between checkpoints: fewer syncs under load, recovery still instant.
const CHECKPOINT_PAGES: u32 = 4_000;
/// A WAL that a long read let grow is cut back to this.
const WAL_KEPT_BYTES_MAX: u64 = 64 << 20;
const STATEMENTS_CACHED_MAX: usize = 256;

pub(super) struct Sqlite {
    /// None once closed.
    queues: Mutex<Option<Queues>>,
    threads: Mutex<Threads>,
}

struct Queues {
    write: mpsc::Sender<Job>,
    read: mpsc::Sender<Job>,
}

#[derive(Default)]
struct Threads {
    readers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

struct Job {
    name: &'static str,
    work: Box<dyn Work>,
    reply: oneshot::Sender<Result<(), DbError>>,
}

impl Sqlite {
    pub(super) async fn open(
        path: &Path,
        sync: SyncMode,
        counters: Arc<Counters>,
        ballast: Option<Arc<Ballast>>,
    ) -> Result<Sqlite, DbError> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || Self::start(&path, sync, counters, ballast))
            .await
            .map_err(|_| DbError::internal("opening the database panicked"))?
    }

    fn start(
        path: &Path,
        sync: SyncMode,
        counters: Arc<Counters>,
        ballast: Option<Arc<Ballast>>,
    ) -> Result<Sqlite, DbError> {
        let connect_now = || create(path).and_then(|()| connect_writer(path, sync));
        let writer = match connect_now() {
            Err(error) if ballast.as_ref().is_some_and(|b| gives_room(b, &error)) => connect_now(),
            done => done,
        }?;
        let writer = Writer::new(writer, counters, ballast);
        let (write, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let mut threads = Threads {
            writer: Some(spawn("gfl-sql-write", move || writer.run(jobs))?),
            readers: Vec::with_capacity(READER_THREADS),
        };
        let (read, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..READER_THREADS {
            let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)?;
            let jobs = jobs.clone();
            threads
                .readers
                .push(spawn("gfl-sql-read", move || read_loop(reader, &jobs))?);
        }
        let queues = Mutex::new(Some(Queues { write, read }));
        Ok(Sqlite {
            queues,
            threads: Mutex::new(threads),
        })
    }

    pub(super) async fn run(
        &self,
        mode: Mode,
        name: &'static str,
        work: Box<dyn Work>,
    ) -> Result<(), DbError> {
        let queue = self.queue(mode).ok_or_else(|| closed(name))?;
        let (reply, answer) = oneshot::channel();
        queue
            .send(Job { name, work, reply })
            .await
            .map_err(|_| closed(name))?;
        drop(queue); // Or the threads would not end before the last answer is fetched.
        answer.await.unwrap_or_else(|_| match mode {
            Mode::Read => Err(closed(name)),
            // The writer is gone, and whether it had come to the commit nobody knows.
            Mode::Write | Mode::Migrate => {
                Err(DbError::in_doubt(&closed(name), Whose::Nobodys).named(name))
            }
        })
    }

    fn queue(&self, mode: Mode) -> Option<mpsc::Sender<Job>> {
        self.queues.lock().as_ref().map(|queues| match mode {
            Mode::Read => queues.read.clone(),
            Mode::Write | Mode::Migrate => queues.write.clone(),
        })
    }

    /// A thread ends when its queue is empty and the last sender is gone. Readers first: the
    /// writer's last checkpoint can empty the WAL only when nobody reads it.
    pub(super) async fn close(&self) {
        let queues = self.queues.lock().take();
        let threads = std::mem::take(&mut *self.threads.lock());
        let ended = tokio::task::spawn_blocking(move || {
            let Some(Queues { write, read }) = queues else {
                return;
            };
            drop(read);
            for reader in threads.readers {
                let _ = reader.join();
            }
            drop(write);
            if let Some(writer) = threads.writer {
                let _ = writer.join();
            }
        });
        if ended.await.is_err() {
            tracing::error!("closing the database panicked");
        }
    }
}

fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, DbError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| {
            DbError::new(
                DbErrorKind::Unavailable,
                format!("cannot start a thread: {error}"),
            )
        })
}

fn closed(name: &'static str) -> DbError {
    DbError::new(DbErrorKind::Unavailable, "the database is closed").named(name)
}

// --- one transaction ---

/// How a body ended.
struct Verdict {
    /// The body resolved to this; None if it panicked or never resolved.
    ok: Option<bool>,
    failed: Option<DbError>,
}

impl Verdict {
    fn keep(&self) -> bool {
        self.ok == Some(true) && self.failed.is_none()
    }

    /// `Ok` if the result that the body left is the answer.
    fn answer(self) -> Result<(), DbError> {
        match self.failed {
            Some(error) if self.ok != Some(false) => Err(error),
            _ => Ok(()),
        }
    }
}

fn drive(conn: &mut Connection, name: &'static str, work: &mut dyn Work) -> Verdict {
    let mut tx = Tx::new(name, door::Handle::Sqlite(Handle(conn)));
    let polled = catch_unwind(AssertUnwindSafe(|| {
        work.start(&mut tx)
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }));
    let failed = tx.into_failure();
    let broken = |message| Some(DbError::internal(message).named(name));
    match polled {
        Ok(Poll::Ready(ok)) => Verdict {
            ok: Some(ok),
            failed,
        },
        Ok(Poll::Pending) => Verdict {
            ok: None,
            failed: broken("the transaction awaited something other than its own statements"),
        },
        // The panic hook has printed the message; it may hold values.
        Err(_) => Verdict {
            ok: None,
            failed: broken("the transaction panicked"),
        },
    }
}

// --- the readers ---

fn read_loop(mut conn: Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // An idle reader waits inside the lock, the others wait for the lock.
        let job = jobs.lock().blocking_recv();
        let Some(mut job) = job else { return };
        let answer = read(&mut conn, &mut job);
        let _ = job
            .reply
            .send(answer.map_err(|error| error.named(job.name)));
    }
}

fn read(conn: &mut Connection, job: &mut Job) -> Result<(), DbError> {
    run(conn, "BEGIN")?;
    let verdict = drive(conn, job.name, &mut *job.work);
    if !conn.is_autocommit() {
        run(conn, "ROLLBACK")?;
    }
    verdict.answer()
}

// --- statements ---

/// A connection inside a transaction.
pub(super) struct Handle<'c>(&'c mut Connection);

impl Handle<'_> {
    pub(super) fn exec(&mut self, sql: &str, params: &[Value]) -> Result<u64, DbError> {
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params)?;
        let changed = statement.raw_execute().map_err(failed)?;
        Ok(changed as u64)
    }

    pub(super) fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, DbError> {
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut answer = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            if answer.len() == ROWS_MAX {
                let message = format!("more than {ROWS_MAX} rows; a LIMIT is missing");
                return Err(DbError::internal(message));
            }
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(value(row.get_ref(column).map_err(failed)?)?);
            }
            answer.push(values);
        }
        Ok(answer)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.0.execute_batch(sql).map_err(failed)
    }
}

/// Binds by name. SQLite numbers `$n` in order of first use, PostgreSQL by `n`; only the name says
/// which value is meant when `$2` stands before `$1` or a parameter is used twice.
fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), DbError> {
    let mut used_max = 0;
    for index in 1..=statement.parameter_count() {
        let number = statement
            .parameter_name(index)
            .and_then(|name| name.strip_prefix('$'))
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|number| (1..=params.len()).contains(number));
        let Some(number) = number else {
            let message = format!("parameter {index} is not one of $1 to ${}", params.len());
            return Err(DbError::internal(message));
        };
        used_max = used_max.max(number);
        let bound = match &params[number - 1] {
            Value::Null => ValueRef::Null,
            Value::Int(n) => ValueRef::Integer(*n),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        };
        statement
            .raw_bind_parameter(index, ToSqlOutput::Borrowed(bound))
            .map_err(failed)?;
    }
    if used_max != params.len() {
        let message = format!("{} parameters given, {used_max} used", params.len());
        return Err(DbError::internal(message));
    }
    Ok(())
}

fn value(column: ValueRef<'_>) -> Result<Value, DbError> {
    match column {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(n) => Ok(Value::Int(n)),
        ValueRef::Text(text) => String::from_utf8(text.to_vec())
            .map(Value::Text)
            .map_err(|_| DbError::new(DbErrorKind::Corrupt, "a text column is not UTF-8")),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        ValueRef::Real(_) => Err(DbError::internal(
            "a column is a floating point number; cast it to BIGINT",
        )),
    }
}

fn run(conn: &Connection, sql: &str) -> Result<(), DbError> {
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    statement.raw_execute().map(drop).map_err(failed)
}

// --- opening ---

/// Makes the file before SQLite does, to choose its mode, and makes its name durable.
fn create(path: &Path) -> Result<(), DbError> {
    let unusable = |error: std::io::Error| {
        let message = format!("cannot create {}: {error}", path.display());
        DbError::new(DbErrorKind::Io, message).caused_by(error)
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => sync_parent(path).map_err(unusable),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unusable(error)),
    }
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    // Elsewhere a directory cannot be opened for syncing.
    if cfg!(unix) {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn connect_writer(path: &Path, sync: SyncMode) -> Result<Connection, DbError> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
    let journal: String = conn
        .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
        .map_err(failed)?;
    if journal != "wal" {
        return Err(DbError::new(
            DbErrorKind::Io,
            format!("{} is on a file system that cannot do WAL", path.display()),
        ));
    }
    let synchronous = match sync {
        SyncMode::Full => "FULL",
        SyncMode::Off => "OFF",
    };
    conn.execute_batch(&format!(
        "PRAGMA synchronous={synchronous};
         PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES};
         PRAGMA journal_size_limit={WAL_KEPT_BYTES_MAX};"
    ))
    .map_err(failed)?;
    Ok(conn)
}

fn connect(path: &Path, access: OpenFlags, cache_kib: usize) -> Result<Connection, DbError> {
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(failed)?;
    // Before anything else: switching to WAL takes a lock and must be able to wait for it.
    conn.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))
        .map_err(failed)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    conn.execute_batch(&format!(
        "PRAGMA foreign_keys=OFF;
         PRAGMA cache_size=-{cache_kib};
         PRAGMA mmap_size=0;
         PRAGMA temp_store=MEMORY;
         PRAGMA trusted_schema=OFF;"
    ))
    .map_err(failed)?;
    Ok(conn)
}

// --- errors ---

/// Whether an error came of a full disk and the ballast was let go for it, so that the same may succeed now.
fn gives_room(ballast: &Ballast, error: &DbError) -> bool {
    let full = match error.kind {
        DbErrorKind::Full => true,
        // Not every step that finds no room says so.
        DbErrorKind::Io => ballast.disk_is_full(),
        _ => false,
    };
    full && ballast.release()
}

fn failed(error: rusqlite::Error) -> DbError {
    let kind = match &error {
        rusqlite::Error::SqliteFailure(cause, _) => kind(*cause),
        _ => DbErrorKind::Internal,
    };
    DbError::new(kind, error.to_string()).caused_by(error)
}

fn kind(cause: ffi::Error) -> DbErrorKind {
    match cause.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => DbErrorKind::Busy,
        ErrorCode::ConstraintViolation => match cause.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID => DbErrorKind::Conflict,
            _ => DbErrorKind::Internal,
        },
        ErrorCode::DiskFull => DbErrorKind::Full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => DbErrorKind::ReadOnly,
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => DbErrorKind::Io,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => DbErrorKind::Corrupt,
        ErrorCode::OutOfMemory => DbErrorKind::Unavailable,
        _ => DbErrorKind::Internal,
    }
}
