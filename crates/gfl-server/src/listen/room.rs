//! Memory that all connections share, beyond the little that each may have for itself. Knows numbers only.
//!
//! Each connection may have [`HEAD_FREE_BYTES`](super::head::HEAD_FREE_BYTES) of a head or hyper's smallest buffers.
//! What is larger is had by a fixed number of connections at a time, so that 1000 clients who only make the server
//! keep bytes cost what 1000 clients cost.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Heads that are larger than most, at once: they take up to 32 KiB each while they are parsed.
pub(super) const LARGE_HEADS_MAX: usize = 64;
/// Bodies that are read in large pieces, at once: a buffer of hyper's takes 64 KiB each. Others are read in
/// smaller pieces, which costs processor time and nothing else.
pub(super) const LARGE_READS_MAX: usize = 48;

/// The room there is.
pub(super) struct Room {
    heads: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            heads: Arc::new(Semaphore::new(LARGE_HEADS_MAX)),
            reads: Arc::new(Semaphore::new(LARGE_READS_MAX)),
        }
    }
}

impl Room {
    /// Room for a large head, as soon as there is some.
    pub(super) async fn large_head(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.heads).acquire_owned().await.ok()
    }

    /// Somebody waits for room for a large head, or the next one will have to.
    pub(super) fn is_short_of_heads(&self) -> bool {
        self.heads.available_permits() == 0
    }

    /// Room for large pieces of a body, if there is some.
    pub(super) fn large_reads(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reads).try_acquire_owned().ok()
    }
}
