//! The connections of one node: how many, how they begin, and what holds while there are none.
//!
//! A database that has just gone is waited for: a restart is a hiccup and no error. After some seconds everybody is
//! refused at once, but for one a second who tries; so whoever asks knows within seconds, a server that comes back
//! is found by itself, and one that hangs is not asked by a thousand requests at a time. That it is away, still away
//! and back again is one line each in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::super::door::{Counters, DbError, DbErrorKind};
use super::super::error::Trouble;
use super::driver::config::TargetSessionAttrs;
use super::errors::no_connection;
use super::pooled::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use super::target::PostgresUrl;

/// How long a caller waits for a connection while all are in use.
const POOL_WAIT_S_MAX: u64 = 10;
/// Until a new connection can be used.
const CREATE_S_MAX: u64 = 5;
/// So long a database that went away is waited for before requests are refused.
const PATIENCE_MS: u64 = 3_000;
/// … and while it stays away somebody tries this often.
const TRY_EVERY_MS: u64 = 500;
/// Those who wait look this often whether somebody has got through.
const LOOK_EVERY_MS: u64 = 50;
/// That it is still away is told this often.
const TOLD_EVERY_S: u64 = 60;
/// What every session is told at its beginning: an acknowledged commit is on the disk whatever the server's default
/// is, and a node that froze in the middle of something does not hold its locks for ever.
const SESSION: &str = "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                       WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false), \
                       set_config('idle_in_transaction_session_timeout', '60s', false)";

pub(super) struct Connections {
    pool: Pool,
    away: Mutex<Option<Away>>,
    /// Another server has this catalog.
    pub(super) taken: AtomicBool,
    pub(super) counters: Arc<Counters>,
}

/// There is no database at the moment.
struct Away {
    since: Instant,
    next_try: Instant,
    told: Instant,
    error: DbError,
}

/// What is there to do for somebody who needs a connection.
enum Turn {
    Try,
    Wait,
    Refuse(DbError),
}

impl Connections {
    pub(super) fn new(
        url: &PostgresUrl,
        most: usize,
        counters: Arc<Counters>,
    ) -> Result<Connections, DbError> {
        let mut config = url.config.clone();
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, url.trust.connector()?, recycling);
        let counted = counters.clone();
        let begin = Hook::async_fn(move |client: &mut _, _| {
            let counted = counted.clone();
            Box::pin(async move {
                counted.connects.fetch_add(1, Ordering::Relaxed);
                begin_session(client).await
            })
        });
        let pool = Pool::builder(manager)
            .max_size(most.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(POOL_WAIT_S_MAX)))
            .create_timeout(Some(Duration::from_secs(CREATE_S_MAX)))
            .recycle_timeout(Some(Duration::from_secs(CREATE_S_MAX)))
            .post_create(begin)
            .build()
            .map_err(|error| DbError::internal(error.to_string()))?;
        Ok(Connections {
            pool,
            away: Mutex::default(),
            taken: AtomicBool::new(false),
            counters,
        })
    }

    /// A connection, or within seconds the reason why there is none.
    pub(super) async fn get(&self) -> Result<Object, DbError> {
        loop {
            match self.turn() {
                Turn::Refuse(error) => return Err(error),
                Turn::Wait => sleep(Duration::from_millis(LOOK_EVERY_MS)).await,
                Turn::Try => match self.get_now().await {
                    Err(error) if error.kind == DbErrorKind::Unavailable => self.lost(&error),
                    outcome => return outcome,
                },
            }
        }
    }

    /// Without waiting for a database that is away.
    pub(super) async fn get_now(&self) -> Result<Object, DbError> {
        let got = self.pool.get().await;
        got.map_err(|error| no_connection(error, POOL_WAIT_S_MAX))
    }

    fn turn(&self) -> Turn {
        if self.taken.load(Ordering::Relaxed) {
            return Turn::Refuse(taken());
        }
        if self.pool.is_closed() {
            return Turn::Refuse(DbError::new(
                DbErrorKind::Unavailable,
                "the database is closed",
            ));
        }
        let now = Instant::now();
        let mut away = self.away.lock();
        let Some(away) = away.as_mut() else {
            return Turn::Try;
        };
        if now >= away.next_try {
            away.next_try = now + Duration::from_millis(TRY_EVERY_MS);
            Turn::Try
        } else if now < away.since + Duration::from_millis(PATIENCE_MS) {
            Turn::Wait
        } else {
            Turn::Refuse(away.error.clone())
        }
    }

    /// A connection could not be made, or nothing is answered over it any more.
    pub(super) fn lost(&self, error: &DbError) {
        let now = Instant::now();
        let mut state = self.away.lock();
        let next_try = now + Duration::from_millis(TRY_EVERY_MS);
        match state.as_mut() {
            None => {
                tracing::warn!(
                    "PostgreSQL is away: {}; it is tried again and again",
                    error.message
                );
                *state = Some(Away {
                    since: now,
                    next_try,
                    told: now,
                    error: error.clone(),
                });
            }
            Some(away) => {
                away.error = error.clone();
                away.next_try = next_try;
                if now.duration_since(away.told).as_secs() >= TOLD_EVERY_S {
                    away.told = now;
                    let seconds = now.duration_since(away.since).as_secs();
                    tracing::warn!("PostgreSQL is away since {seconds} s: {}", error.message);
                }
            }
        }
        self.counters.away.store(true, Ordering::Relaxed);
    }

    /// A connection hangs: those beside it lead to the same server.
    pub(super) fn hangs(&self, client: Object, error: &DbError) {
        drop(Object::take(client));
        self.forget_idle();
        self.lost(error);
    }

    /// The next ones are made anew, perhaps to another server.
    pub(super) fn forget_idle(&self) {
        let _count = self.pool.retain(|_, _| false);
    }

    /// The server has answered.
    pub(super) fn answered(&self) {
        if !self.counters.away.load(Ordering::Relaxed) {
            return;
        }
        if let Some(away) = self.away.lock().take() {
            let seconds = away.since.elapsed().as_secs_f32();
            tracing::info!("PostgreSQL is back after {seconds:.1} s");
        }
        self.counters.away.store(false, Ordering::Relaxed);
    }

    /// Open, in use, and callers that wait for one.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let status = self.pool.status();
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let used = status.size.saturating_sub(status.available);
        (wide(status.size), wide(used), wide(status.waiting))
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Why nothing is done for anybody any more.
pub(super) fn taken() -> DbError {
    DbError::away(
        Trouble::Taken,
        "one at a time; end that one, or name another database (pg_stat_activity shows where sessions are from)",
    )
}

async fn begin_session(client: &super::pooled::ClientWrapper) -> Result<(), HookError> {
    client
        .batch_execute(SESSION)
        .await
        .map_err(HookError::Backend)
}
