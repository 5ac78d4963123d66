//! What the SQL door counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters since the engine was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Read transactions asked for.
    pub reads: u64,
    /// Write transactions asked for.
    pub writes: u64,
    /// Commits that the engine acknowledged. On SQLite one commit carries a group of writes.
    pub commits: u64,
    /// Transactions begun again after a serialisation failure or a lost connection.
    pub retries: u64,
    /// Connections made. SQLite has none.
    pub connects: u64,
    /// Transactions whose connection was lost.
    pub lost: u64,
    /// There is no database at the moment.
    pub away: bool,
    /// Connections that are open now, …
    pub open: u64,
    /// … those of them in use, …
    pub used: u64,
    /// … and transactions that wait for one.
    pub queued: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) away: AtomicBool,
    /// SQLite's commits that are still to fail as they do on a disk that fails.
    #[cfg(any(test, feature = "testing"))]
    pub(super) failing: AtomicU64,
}

impl Counters {
    /// `connections`: open, in use, and how many wait for one.
    pub(super) fn stats(&self, connections: (u64, u64, u64)) -> Stats {
        let (open, used, queued) = connections;
        Stats {
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            connects: self.connects.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            away: self.away.load(Ordering::Relaxed),
            open,
            used,
            queued,
        }
    }
}

/// A transaction, counted while it waits or runs.
pub(super) struct Waiting<'c>(&'c Counters);

impl Waiting<'_> {
    pub(super) fn begin(counters: &Counters) -> Waiting<'_> {
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(counters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
