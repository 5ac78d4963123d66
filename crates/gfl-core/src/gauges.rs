//! How the application is doing right now, for metrics and health: cheap to ask, waits for nothing.

use crate::app::App;
use crate::catalog::door::Stats;
use crate::error::Result;
use crate::files::Shared;
use crate::store::Space;
use gfl_api::tokens::TokenStatus;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that rise, and what was measured last.
#[derive(Default)]
pub(crate) struct Measured {
    /// Uploads that ended for want of activity.
    pub(crate) uploads_expired: AtomicU64,
    space: parking_lot::Mutex<Option<Space>>,
}

/// What is going on.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// Upload sessions with an open draft.
    pub uploads_open: usize,
    /// Upload sessions that ended for want of activity, since the start.
    pub uploads_expired: u64,
    /// Renames whose directories are still to be synced.
    pub settle_waiting: usize,
    /// Hand-made changes still to be recorded.
    pub adoption_waiting: usize,
    /// Transactions that wait for the catalog or run.
    pub catalog_waiting: u64,
    /// The catalog is in a database that is reached by connections.
    pub database: bool,
    /// What the catalog has done since the start.
    pub catalog: Stats,
    /// Rows of the access log still to be written.
    pub access_waiting: usize,
    /// Rows of the access log dropped for want of room, since the start.
    pub access_dropped: u64,
    /// Room of the storage's file system, as measured some seconds ago.
    pub space: Option<Space>,
    /// Tokens; none when authentication is off.
    pub tokens: Option<TokenCounts>,
}

/// How many tokens there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Valid now.
    pub active: usize,
    /// Run out.
    pub expired: usize,
    /// Ended by hand.
    pub revoked: usize,
}

impl TokenCounts {
    pub(crate) fn add(&mut self, status: TokenStatus) {
        match status {
            TokenStatus::Active => self.active += 1,
            TokenStatus::Expired => self.expired += 1,
            TokenStatus::Revoked => self.revoked += 1,
        }
    }
}

impl App {
    /// What is going on. Neither the disk nor the catalog is asked.
    pub fn gauges(&self) -> Gauges {
        let shared = &self.shared;
        Gauges {
            uploads_open: shared.sessions.count(),
            uploads_expired: shared.measured.uploads_expired.load(Ordering::Relaxed),
            settle_waiting: shared.unsettled.count(),
            adoption_waiting: shared.noticed.count(),
            catalog_waiting: shared.db.waiting(),
            database: shared.settings.database.is_some(),
            catalog: shared.db.stats(),
            access_waiting: shared.access.waiting(),
            access_dropped: shared.access.dropped(),
            space: *shared.measured.space.lock(),
            tokens: self.token_counts(),
        }
    }
}

impl Shared {
    /// Looks at what takes a system call that may wait.
    pub(crate) async fn measure(&self) -> Result<()> {
        let space = self.store.space().await?;
        *self.measured.space.lock() = Some(space);
        Ok(())
    }
}
