//! The SQL door: the one way from the application to its database.
//!
//! A transaction is a named closure over [`Tx`]. SQLite runs it on its writer thread inside the
//! group commit, PostgreSQL on a pooled connection; the closure cannot tell which. Every query is
//! written once, in the subset both engines read alike:
//!
//! - types BIGINT, TEXT and bytes only; `$1`..`$n`; `ON CONFLICT`; `RETURNING`; always `LIMIT`
//! - `CAST(SUM(x) AS BIGINT)`: PostgreSQL's sums are NUMERIC; `CAST($1 AS BIGINT)` wherever a
//!   parameter's type does not follow from a column beside it (`$1 + 1`, `SELECT $1`, `$1 IS NULL`)
//! - no `LIKE` (SQLite folds case); no ORDER BY over a TEXT column that is not `%TEXT%`
//!   (PostgreSQL sorts by locale); names are bytes and sort alike
//!
//! Three rules for bodies: they may run more than once, so they change nothing but the database;
//! they await nothing but their `Tx`; and after a failed statement the transaction can only be
//! rolled back (PostgreSQL's rule, enforced for both), so ask with `ON CONFLICT DO NOTHING` or
//! `RETURNING` instead of trying and catching.
//!
//! Must not know tables, paths or users.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

pub(super) use super::counters::Counters;
pub use super::counters::Stats;
use super::counters::Waiting;
use super::error::Whose;
pub use super::error::{DbError, DbErrorKind, Doubt, Trouble};
#[cfg(any(test, feature = "testing"))]
use super::fault::{Commits, Lost, Told};
pub use super::migrate::Migration;
pub use super::postgres::PostgresUrl;
pub(super) use super::tx::Handle;
pub use super::tx::Tx;
pub use super::value::{Row, Value};
use super::{migrate, postgres, sqlite};
use crate::ballast::Ballast;

/// The most rows one query may answer with; a query that finds more fails. Callers page with
/// `LIMIT` long before this.
pub const ROWS_MAX: usize = 65_536;

/// What a transaction body returns: `Box::pin(async move { .. })`.
pub type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// How hard SQLite makes a commit stick. PostgreSQL has its own setting on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Every commit is on the disk before it is answered.
    Full,
    /// No syncs: a power cut may lose commits or the whole file. For scratch data and benchmarks.
    Off,
}

/// The database. Clones share one engine.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    engine: Engine,
    counters: Arc<Counters>,
    ballast: Option<Arc<Ballast>>,
    #[cfg(any(test, feature = "testing"))]
    commits: Commits,
}

enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Db {
    /// Opens or creates a SQLite file. A new file gets mode 0600; SQLite gives its `-wal` and
    /// `-shm` companions the same.
    ///
    /// # Errors
    /// The file cannot be opened, is no database, or its file system cannot do WAL.
    pub async fn open_sqlite(path: &Path, sync: SyncMode) -> Result<Db, DbError> {
        Db::sqlite(path, sync, None).await
    }

    /// The same, with a ballast that is let go for a write that finds no room.
    ///
    /// # Errors
    /// As [`Db::open_sqlite`].
    pub async fn open_sqlite_with(
        path: &Path,
        sync: SyncMode,
        ballast: Ballast,
    ) -> Result<Db, DbError> {
        Db::sqlite(path, sync, Some(Arc::new(ballast))).await
    }

    async fn sqlite(
        path: &Path,
        sync: SyncMode,
        ballast: Option<Arc<Ballast>>,
    ) -> Result<Db, DbError> {
        let counters = Arc::new(Counters::default());
        let engine = sqlite::Sqlite::open(path, sync, counters.clone(), ballast.clone()).await?;
        Ok(Db::over(Engine::Sqlite(engine), counters, ballast))
    }

    fn over(engine: Engine, counters: Arc<Counters>, ballast: Option<Arc<Ballast>>) -> Db {
        Db(Arc::new(Inner {
            engine,
            counters,
            ballast,
            #[cfg(any(test, feature = "testing"))]
            commits: Commits::default(),
        }))
    }

    /// The ballast, where there is one.
    pub fn ballast(&self) -> Option<&Arc<Ballast>> {
        self.0.ballast.as_ref()
    }

    /// The switchboard of lost commits.
    #[cfg(any(test, feature = "testing"))]
    pub fn commits(&self) -> &Commits {
        &self.0.commits
    }

    /// The next `n` commits of SQLite fail as if the disk did.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_commits(&self, n: u64) {
        self.0.counters.failing.store(n, Ordering::Relaxed);
    }

    /// Connects to PostgreSQL with at most `most` connections. The first one is made here, so that a wrong URL fails
    /// at start and not at the first request.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn open_postgres(url: &PostgresUrl, most: usize) -> Result<Db, DbError> {
        let counters = Arc::new(Counters::default());
        let engine = postgres::Postgres::open(url, most, counters.clone()).await?;
        Ok(Db::over(Engine::Postgres(engine), counters, None))
    }

    /// Keeps every other server away from this database until it is closed. A SQLite file is kept by the lock of its
    /// folder.
    ///
    /// # Errors
    /// [`Trouble::Taken`](super::error::Trouble::Taken) when another one has it.
    pub async fn claim(&self) -> Result<(), DbError> {
        match &self.0.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(engine) => engine.claim().await,
        }
    }

    /// Runs a write transaction and returns once it is durable, or rolled back.
    ///
    /// `args` go in by reference because the body may run more than once. A body's `Err` rolls its
    /// own changes back and nothing else. Writes are serialisable on both engines: a body may
    /// read, decide and write as if it were alone.
    ///
    /// If the returned future is dropped after it was first polled, the transaction may still run
    /// to its end and commit.
    ///
    /// # Errors
    /// What the body returns, or a [`DbError`] when the transaction itself failed or the body
    /// panicked. After [`DbErrorKind::InDoubt`] the changes are there or they are not, and
    /// [`Db::outcome`] tells; after any other error they are not.
    pub async fn write<A, T, E, F>(&self, name: &'static str, args: A, body: F) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>>,
        F: Send + Sync + 'static,
    {
        self.call(Mode::Write, name, args, body).await
    }

    /// Runs a read-only transaction over one consistent snapshot, which contains every write that
    /// was acknowledged before the call.
    ///
    /// # Errors
    /// What the body returns, or a [`DbError`]; [`DbErrorKind::ReadOnly`] if the body writes.
    pub async fn read<A, T, E, F>(&self, name: &'static str, args: A, body: F) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>>,
        F: Send + Sync + 'static,
    {
        self.call(Mode::Read, name, args, body).await
    }

    /// Brings the schema up to the last of `migrations`, all in one transaction, and returns the
    /// version it is at. Nodes that start together take turns.
    ///
    /// # Errors
    /// [`DbErrorKind::NewerSchema`] if the database knows a later version than this program.
    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<u32, DbError> {
        migrate::check_order(migrations)?;
        let sqlite = matches!(self.0.engine, Engine::Sqlite(_));
        self.call(
            Mode::Migrate,
            "migrate",
            (migrations, sqlite),
            |tx, (migrations, sqlite)| Box::pin(migrate::apply(tx, migrations, *sqlite)),
        )
        .await
    }

    /// What became of a commit whose answer was lost: whether its changes are there. The answer is
    /// final. A commit that is still under way is waited for, or ended.
    ///
    /// # Errors
    /// It cannot be told yet; ask again later.
    pub async fn outcome(&self, doubt: &Doubt) -> Result<bool, DbError> {
        match (&doubt.0, &self.0.engine) {
            (Whose::Sqlite, Engine::Sqlite(_)) => {
                self.call(Mode::Write, "settle a doubt", (), |tx, ()| {
                    Box::pin(async { tx.batch(sqlite::SETTLE).await })
                })
                .await?;
                Ok(false)
            }
            (Whose::Postgres(id), Engine::Postgres(engine)) => engine.outcome(*id).await,
            #[cfg(any(test, feature = "testing"))]
            (Whose::Test(number), _) => match self.0.commits.tell(*number)? {
                Told::Outcome(done) => Ok(done),
                Told::Run(name, work) => self.run(Mode::Write, name, work).await.map(|()| true),
            },
            _ => Err(DbError::internal("nobody can tell before the next start")),
        }
    }

    /// Finishes what is queued, then lets go of the database; SQLite also folds its WAL into the
    /// file. Later calls fail with [`DbErrorKind::Unavailable`]. Calling twice is harmless.
    pub async fn close(&self) {
        match &self.0.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    /// What is damaged, by the engine's own check of a single file's structure; empty when nothing is. PostgreSQL
    /// watches over its files itself: there it only says that the server answers.
    ///
    /// # Errors
    /// The check itself could not be made.
    pub async fn check(&self) -> Result<Vec<String>, DbError> {
        let sqlite = matches!(self.0.engine, Engine::Sqlite(_));
        let sql = if sqlite {
            "PRAGMA quick_check(20)"
        } else {
            "SELECT CAST('ok' AS TEXT)"
        };
        self.read("check", sql, |tx, sql| {
            Box::pin(async move {
                let rows = tx.rows(sql, &[]).await?;
                let lines: Result<Vec<String>, DbError> =
                    rows.iter().map(|row| row.text(0)).collect();
                Ok(lines?.into_iter().filter(|line| line != "ok").collect())
            })
        })
        .await
    }

    /// The version the schema is at.
    ///
    /// # Errors
    /// [`DbErrorKind::Internal`] when it never was migrated.
    pub async fn schema(&self) -> Result<u32, DbError> {
        self.read("schema", (), |tx, ()| Box::pin(migrate::version(tx)))
            .await
    }

    /// `"sqlite"` or `"postgres"`, for logs and metrics; never for choosing a query.
    pub fn engine(&self) -> &'static str {
        match self.0.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Transactions that wait or run now.
    pub fn waiting(&self) -> u64 {
        self.0.counters.waiting.load(Ordering::Relaxed)
    }

    /// What this engine has done since it was opened.
    pub fn stats(&self) -> Stats {
        let connections = match &self.0.engine {
            Engine::Sqlite(_) => (0, 0, 0),
            Engine::Postgres(engine) => engine.connections(),
        };
        self.0.counters.stats(connections)
    }

    /// Everything generic ends here, so that the engines compile once and not per query.
    pub(super) async fn call<A, T, E, F>(
        &self,
        mode: Mode,
        name: &'static str,
        args: A,
        body: F,
    ) -> Result<T, E>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>>,
        F: Send + Sync + 'static,
    {
        let slot = Arc::new(Mutex::new(None));
        let work = Box::new(Call {
            args,
            body,
            slot: slot.clone(),
        });
        let counter = match mode {
            Mode::Read => &self.0.counters.reads,
            Mode::Write | Mode::Migrate => &self.0.counters.writes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        #[cfg(any(test, feature = "testing"))]
        let lost = self.0.commits.next(mode, name);
        #[cfg(any(test, feature = "testing"))]
        if let Some((lost @ (Lost::NotDone | Lost::Late), asks)) = lost {
            let work: Option<Box<dyn Work>> = (lost == Lost::Late).then_some(work as _);
            return Err(self.0.commits.doubt(name, lost, asks, work).into());
        }
        let _waiting = Waiting::begin(&self.0.counters);
        self.run(mode, name, work).await?;
        let result = slot.lock().take();
        #[cfg(any(test, feature = "testing"))]
        if let (Some((lost, asks)), Some(Ok(_))) = (lost, &result) {
            return Err(self.0.commits.doubt(name, lost, asks, None).into());
        }
        result.unwrap_or_else(|| {
            let lost = DbError::internal("the transaction left no result");
            Err(E::from(lost.named(name)))
        })
    }

    async fn run(
        &self,
        mode: Mode,
        name: &'static str,
        work: Box<dyn Work>,
    ) -> Result<(), DbError> {
        match &self.0.engine {
            Engine::Sqlite(engine) => engine.run(mode, name, work).await,
            Engine::Postgres(engine) => engine.run(mode, name, work).await,
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}

/// What kind of transaction an engine is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
    /// A write that waits for all other migrations to finish before it looks at anything.
    Migrate,
}

/// A transaction body with its types erased. It keeps its result; the engine learns only whether
/// to commit.
pub(super) trait Work: Send {
    /// Runs the body once; resolves to whether it returned `Ok`.
    fn start<'t>(&'t mut self, tx: &'t mut Tx<'_>) -> BoxFuture<'t, bool>;
}

struct Call<A, T, E, F> {
    args: A,
    body: F,
    slot: Arc<Mutex<Option<Result<T, E>>>>,
}

impl<A, T, E, F> Work for Call<A, T, E, F>
where
    A: Send + Sync,
    T: Send,
    E: Send,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t A) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
{
    fn start<'t>(&'t mut self, tx: &'t mut Tx<'_>) -> BoxFuture<'t, bool> {
        Box::pin(async move {
            let result = (self.body)(tx, &self.args).await;
            let ok = result.is_ok();
            *self.slot.lock() = Some(result);
            ok
        })
    }
}
