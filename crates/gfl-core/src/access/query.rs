//! Asking for it. Everybody may ask about oneself; about others only who may administer.

use super::limits::STATS_PAGE_ROWS_MAX;
use super::{Access, UsageRow};
use crate::app::{App, Caller};
use crate::auth::Verb;
use crate::catalog::{Db, access};
use crate::error::{Error, Kind, Result};
use crate::files::Shared;
use gfl_api::path::FilePath;

/// Which sums. Days are counted from 1970 in UTC, both ends included.
#[derive(Debug, Clone)]
pub struct StatsQuery {
    /// From this day on.
    pub from_day: i64,
    /// Up to this day.
    pub to_day: i64,
    /// Only this user's; `None` for all, or for all the caller may see.
    pub who: Option<String>,
    /// What comes after this row (its sums do not matter).
    pub after: Option<UsageRow>,
    /// At most so many.
    pub limit: usize,
}

/// Which rows of the access log, newest first.
#[derive(Debug, Clone)]
pub struct AccessQuery {
    /// From this time on, unix ms.
    pub from_ms: i64,
    /// Before this time.
    pub to_ms: i64,
    /// Only this user's.
    pub who: Option<String>,
    /// What was written before the row with this id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

impl App {
    /// Takes a request down that has ended. No verb: it changes nothing but what [`App::stats`] and
    /// [`App::access`] tell, and never waits.
    pub fn record(&self, access: Access) {
        let keep_rows = self.shared.settings.access_log_ms > 0;
        self.shared.access.record(access, keep_rows);
    }

    /// Sums by day, user and action, in that order.
    pub async fn stats(&self, caller: &Caller, query: &StatsQuery) -> Result<Vec<UsageRow>> {
        let (caller, query) = (caller.clone(), query.clone());
        self.detached(|s| async move { s.stats(&caller, query).await })
            .await
    }

    /// Rows of the access log with their ids, newest first.
    pub async fn access(&self, caller: &Caller, query: &AccessQuery) -> Result<Vec<(i64, Access)>> {
        let (caller, query) = (caller.clone(), query.clone());
        self.detached(|s| async move { s.access_rows(&caller, query).await })
            .await
    }
}

impl Shared {
    async fn stats(&self, caller: &Caller, query: StatsQuery) -> Result<Vec<UsageRow>> {
        self.flush_before_reading().await;
        read_stats(&self.db, caller, query).await
    }

    async fn access_rows(&self, caller: &Caller, query: AccessQuery) -> Result<Vec<(i64, Access)>> {
        self.flush_before_reading().await;
        read_access(&self.db, caller, query).await
    }

    /// Who asks gets the last second as well.
    async fn flush_before_reading(&self) {
        if let Err(error) = self.flush_access().await {
            tracing::warn!(error = ?error, "the answer lacks what could not be written yet");
        }
    }
}

/// The sums as they stand in the catalog.
pub(crate) async fn read_stats(
    db: &Db,
    caller: &Caller,
    mut query: StatsQuery,
) -> Result<Vec<UsageRow>> {
    query.who = visible(caller, query.who)?;
    query.limit = query.limit.clamp(1, STATS_PAGE_ROWS_MAX);
    db.read("stats", query, |tx, query| {
        Box::pin(access::usage(tx, query))
    })
    .await
}

/// The rows of the access log as they stand in the catalog.
pub(crate) async fn read_access(
    db: &Db,
    caller: &Caller,
    mut query: AccessQuery,
) -> Result<Vec<(i64, Access)>> {
    query.who = visible(caller, query.who)?;
    query.limit = query.limit.clamp(1, STATS_PAGE_ROWS_MAX);
    db.read("access log", query, |tx, query| {
        Box::pin(access::entries(tx, query))
    })
    .await
}

/// Whose rows to show.
fn visible(caller: &Caller, wanted: Option<String>) -> Result<Option<String>> {
    if caller.may(Verb::Admin, &FilePath::root()).is_ok() {
        return Ok(wanted);
    }
    match wanted {
        Some(who) if who != caller.user() => Err(Error::new(
            Kind::Forbidden,
            "permission denied, other users' numbers take 'admin'",
        )),
        _ => Ok(Some(caller.user().to_owned())),
    }
}
