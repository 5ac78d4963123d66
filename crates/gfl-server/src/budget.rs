//! How large a piece of a download may be, so that all downloads together stay inside one number of bytes.
//! Knows nothing of files or HTTP.
//!
//! Nobody ever waits here. A reader that has stalled keeps what it holds, and a queue behind it would let a few
//! such readers stop everybody else. Instead pieces shrink as downloads grow in number, and when the pool is empty
//! each download still gets a piece of [`FLOOR_BYTES`] on credit. While less than half of the pool is free a download
//! has one piece at a time: the next comes when the last has been written ([`Member::poll_turn`]). The bound is
//! therefore `pool + connections * FLOOR_BYTES`, at any number of stalled readers.

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use gfl_core::limits::{IO_BYTES_MAX, IO_BYTES_MIN};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// What a download gets when the pool is empty: one page, so that 4096 of them cost 16 MiB.
pub const FLOOR_BYTES: usize = 4096;

/// The bytes that downloads share.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    free: AtomicUsize,
    active: AtomicUsize,
}

/// One running download. Dropping it makes the others' share larger.
#[derive(Debug)]
pub struct Member {
    budget: Arc<Budget>,
    held: Arc<Held>,
}

/// Pieces of one download that are in memory, and who waits for them to be gone.
#[derive(Debug, Default)]
struct Held {
    pieces: AtomicUsize,
    waiting: AtomicWaker,
}

/// Bytes taken from the budget. Dropping it gives them back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    held: Arc<Held>,
    bytes: usize,
    /// Zero for a piece on credit.
    charged: usize,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Arc<Budget> {
        Arc::new(Budget {
            total,
            free: AtomicUsize::new(total),
            active: AtomicUsize::new(0),
        })
    }

    /// Counts one more running download.
    pub fn join(self: &Arc<Self>) -> Member {
        self.active.fetch_add(1, Ordering::Relaxed);
        Member {
            budget: Arc::clone(self),
            held: Arc::default(),
        }
    }

    /// Bytes nobody holds.
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    /// An equal share of half the pool (the other half is for reading ahead), in whole pages.
    fn share(&self) -> usize {
        let active = self.active.load(Ordering::Relaxed).max(1);
        (self.total / 2 / active).clamp(IO_BYTES_MIN, IO_BYTES_MAX) / FLOOR_BYTES * FLOOR_BYTES
    }

    /// Less than half is free.
    fn is_scarce(&self) -> bool {
        self.free() <= self.total / 2
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl Member {
    /// Ready when this download may hold another piece: always, or when bytes are scarce as soon as its last one
    /// has been written.
    pub fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let free = || !self.budget.is_scarce() || self.held.pieces.load(Ordering::Acquire) == 0;
        if free() {
            return Poll::Ready(());
        }
        self.held.waiting.register(cx.waker());
        // The last piece may have gone between the look and the registration.
        if free() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The right to hold the next piece, at most `want` bytes. Always granted, perhaps smaller.
    pub fn piece(&self, want: u64) -> Lease {
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        let share = self.budget.share().min(want);
        for bytes in [share, share.min(IO_BYTES_MIN)] {
            if self.budget.take(bytes) {
                return self.lease(bytes, bytes);
            }
        }
        self.lease(share.min(FLOOR_BYTES), 0)
    }

    /// The right to read ahead; only while more than half of the pool is free.
    pub fn ahead(&self, want: u64) -> Option<Lease> {
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        let share = self.budget.share().min(want);
        let granted = !self.budget.is_scarce() && self.budget.take(share);
        granted.then(|| self.lease(share, share))
    }

    fn lease(&self, bytes: usize, charged: usize) -> Lease {
        self.held.pieces.fetch_add(1, Ordering::Relaxed);
        Lease {
            budget: Arc::clone(&self.budget),
            held: Arc::clone(&self.held),
            bytes,
            charged,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.budget.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// How many bytes may be held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes held by this right, which goes back when their last slice is dropped.
    pub fn attach(self, data: Bytes) -> Bytes {
        Bytes::from_owner(Leased { data, _lease: self })
    }
}

struct Leased {
    data: Bytes,
    _lease: Lease,
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.charged, Ordering::Relaxed);
        self.held.pieces.fetch_sub(1, Ordering::Release);
        self.held.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_shrink_as_downloads_grow() {
        let budget = Budget::new(16 * 1024 * 1024);
        let first = budget.join();
        assert_eq!(first.piece(u64::MAX).bytes(), IO_BYTES_MAX);
        assert_eq!(first.piece(10).bytes(), 10);
        let _others: Vec<_> = (0..1000).map(|_| budget.join()).collect();
        assert_eq!(first.piece(u64::MAX).bytes(), IO_BYTES_MIN);
    }

    #[test]
    fn stalled_readers_starve_nobody() {
        let budget = Budget::new(1024 * 1024);
        let members: Vec<_> = (0..500).map(|_| budget.join()).collect();
        let held: Vec<_> = members.iter().map(|m| m.piece(u64::MAX)).collect();
        assert!(held.iter().all(|lease| lease.bytes() >= FLOOR_BYTES));
        assert_eq!(members[0].piece(u64::MAX).bytes(), FLOOR_BYTES);
        assert!(members[0].ahead(1).is_none());
        drop(held);
        assert_eq!(budget.free(), 1024 * 1024);
        assert!(members[0].ahead(u64::MAX).is_some());
    }

    #[test]
    fn when_bytes_are_scarce_a_piece_waits_for_the_one_before() {
        let budget = Budget::new(1024 * 1024);
        let slow = budget.join();
        let turn = || slow.poll_turn(&mut Context::from_waker(std::task::Waker::noop()));
        let first = slow.piece(u64::MAX);
        assert!(turn().is_ready());
        let others: Vec<_> = (0..8).map(|_| budget.join().piece(u64::MAX)).collect();
        assert!(turn().is_pending());
        drop(first);
        assert!(turn().is_ready());
        drop(others);
    }
}
