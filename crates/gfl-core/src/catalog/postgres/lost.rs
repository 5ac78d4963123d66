//! A commit whose answer was lost with its connection: it was done or it was not. The server is asked, by the
//! transaction's id, over another connection; one that still sits there undecided is ended first.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::super::door::{DbError, DbErrorKind, Mode};
use super::driver::Error;
use super::errors::{failed, silent};
use super::pooled::{Object, Transaction};
use super::{ANSWER_S_MAX, Shared};

/// So long a transaction asks what became of it before it answers that nobody knows.
const OUTCOME_WAIT_S_MAX: u64 = 10;
const OUTCOME_ASK_EVERY_MS: u64 = 100;
/// None when nothing was written.
const OWN_ID: &str = "SELECT txid_current_if_assigned()";
const STATUS: &str = "SELECT txid_status($1)";
/// Ends the session of a transaction, if it still runs. The connection it came by is gone, so nobody will ever
/// go on with it.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_xid::text = ($1::bigint % 4294967296)::text AND pid <> pg_backend_pid()";

impl Shared {
    /// [`Shared::outcome`], asked until it is told, or for as long as a caller may be kept.
    pub(super) async fn outcome_in_time(&self, id: i64) -> Result<bool, DbError> {
        let deadline = Instant::now() + Duration::from_secs(OUTCOME_WAIT_S_MAX);
        loop {
            match self.outcome(id).await {
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(OUTCOME_ASK_EVERY_MS)).await;
                }
                done => return done,
            }
        }
    }

    /// Whether a transaction whose connection was lost is committed.
    pub(super) async fn outcome(&self, id: i64) -> Result<bool, DbError> {
        let client = self.connections.get_now().await?;
        match timeout(Duration::from_secs(ANSWER_S_MAX), ask(&client, id)).await {
            Ok(told) => told,
            Err(_) => {
                let error = silent("what became of a transaction", ANSWER_S_MAX);
                self.connections.hangs(client, &error);
                Err(error)
            }
        }
    }
}

async fn ask(client: &Object, id: i64) -> Result<bool, DbError> {
    let row = client.query_one(STATUS, &[&id]).await;
    let status: Option<String> = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| failed(&error))?;
    match status.as_deref() {
        Some("committed") => Ok(true),
        Some("aborted") => Ok(false),
        Some("in progress") => {
            let ended = client.execute(END, &[&id]).await;
            ended.map_err(|error| failed(&error))?;
            let message = "the transaction is still being ended";
            Err(DbError::new(DbErrorKind::Busy, message))
        }
        _ => Err(DbError::internal(
            "PostgreSQL has forgotten the transaction",
        )),
    }
}

/// The id of a transaction that has written something: what to ask for when the answer to its commit is lost.
pub(super) async fn own_id(
    mode: Mode,
    transaction: &Transaction<'_>,
) -> Result<Option<i64>, Error> {
    if mode == Mode::Read {
        return Ok(None);
    }
    let statement = transaction.prepare_cached(OWN_ID).await?;
    let row = transaction.query_one(&statement, &[]).await?;
    row.try_get(0)
}
