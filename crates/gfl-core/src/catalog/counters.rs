//! What the SQL door counts.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) retries: AtomicU64,
    /// SQLite's commits that are still to fail as they do on a disk that fails.
    #[cfg(any(test, feature = "testing"))]
    pub(super) failing: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> Stats {
        Stats {
            reads: self.reads.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
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
