//! One server at a time: a session of its own holds an advisory lock for as long as this program lives. A catalog
//! that describes a local folder belongs to that folder's server; a second one with another folder would find all
//! files vanished.
//!
//! The lock is the session's, and sessions get lost. A lost one is replaced at once; a session of ours that the
//! server still believes in is ended by its number. Where another server was quicker, everything is refused until
//! that one has ended.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::door::DbError;
use super::Shared;
use super::driver::config::TargetSessionAttrs;
use super::driver::{Client, Config};
use super::errors::{failed, silent, unreachable};
use super::life::taken;

/// A predecessor that was killed is gone for the server within this time.
const PREDECESSOR_S_MAX: u64 = 10;
const ASK_EVERY_MS: u64 = 200;
/// So often a lock that was ours a moment ago may be refused before it is taken for somebody else's.
const REFUSED_MAX: u32 = 10;
/// A session that answers nothing for so long is replaced.
const ANSWER_S_MAX: u64 = 10;
const LOOK_EVERY_S: u64 = 5;
/// "gflo", and the schema: catalogs in several schemas are several catalogs.
const LOCK: &str =
    "SELECT pg_try_advisory_lock(1734765679, hashtext(current_schema())), pg_backend_pid()";
/// The server notices within a minute that this machine is gone.
const SESSION: &str = "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; \
                       SET tcp_keepalives_count = 3; SET idle_session_timeout = 0";
/// Only a session that holds this very lock: numbers are used again.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                   AND pid = $1 AND classid = 1734765679";

/// Ends with its owner.
pub(super) struct Owner(JoinHandle<()>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The session that holds the lock.
struct Held {
    client: Client,
    pid: i32,
    /// Carries what is said; ends with the session.
    carrier: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Owner {
    pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Owner, DbError> {
        let deadline = Instant::now() + Duration::from_secs(PREDECESSOR_S_MAX);
        let held = loop {
            match shared.hold(None).await? {
                Some(held) => break held,
                None if Instant::now() >= deadline => return Err(taken()),
                None => sleep(Duration::from_millis(ASK_EVERY_MS)).await,
            }
        };
        let watched = Arc::downgrade(shared);
        Ok(Owner(tokio::spawn(keep(watched, held))))
    }
}

/// Holds on until the program ends.
async fn keep(shared: Weak<Shared>, mut held: Held) {
    loop {
        held.until_lost().await;
        let mut refused = 0;
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let taken = &shared.connections.taken;
            match shared.hold(Some(held.pid)).await {
                Ok(Some(again)) => {
                    if taken.swap(false, Ordering::Relaxed) {
                        tracing::info!("no other server works with the database any more");
                    }
                    held = again;
                    break;
                }
                // The session just ended may take a moment to be gone.
                Ok(None) if refused < REFUSED_MAX => refused += 1,
                Ok(None) => {
                    if !taken.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            "another server has taken the database; everything is refused until that one ends"
                        );
                    }
                }
                // Whoever needs a connection says what is wrong.
                Err(_) => {}
            }
            drop(shared);
            sleep(Duration::from_millis(ASK_EVERY_MS)).await;
        }
    }
}

impl Held {
    async fn until_lost(&mut self) {
        loop {
            let pause = Duration::from_secs(LOOK_EVERY_S);
            if timeout(pause, &mut self.carrier).await.is_ok() {
                return;
            }
            let limit = Duration::from_secs(ANSWER_S_MAX);
            let alive = timeout(limit, self.client.simple_query("SELECT 1")).await;
            if !matches!(alive, Ok(Ok(_))) {
                return;
            }
        }
    }
}

impl Shared {
    /// A session with the lock, or none if another server has it. `before` is the one that had it for us.
    async fn hold(&self, before: Option<i32>) -> Result<Option<Held>, DbError> {
        let work = async {
            let mut config: Config = self.url.config.clone();
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            let connected = config.connect(self.url.trust.connector()?).await;
            let (client, connection) = connected.map_err(|error| unreachable(&error))?;
            let carrier = tokio::spawn(async move {
                // How it ended is seen by whoever uses it.
                let _ = connection.await;
            });
            let mut held = Held {
                client,
                pid: 0,
                carrier,
            };
            let session = held.client.batch_execute(SESSION).await;
            session.map_err(|error| failed(&error))?;
            if let Some(before) = before {
                let ended = held.client.execute(END, &[&before]).await;
                ended.map_err(|error| failed(&error))?;
            }
            let row = held.client.query_one(LOCK, &[]).await;
            let row = row.map_err(|error| failed(&error))?;
            held.pid = row.try_get(1).map_err(|error| failed(&error))?;
            let got: bool = row.try_get(0).map_err(|error| failed(&error))?;
            Ok(got.then_some(held))
        };
        let limit = Duration::from_secs(ANSWER_S_MAX);
        let held = timeout(limit, work).await;
        held.unwrap_or_else(|_| Err(silent("a new connection", ANSWER_S_MAX)))
    }
}
