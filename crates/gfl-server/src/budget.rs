//! How large a piece of a download may be, so that all downloads together stay inside one number of bytes.
//! Knows nothing of files or HTTP.
//!
//! Nobody ever waits here. A reader that has stalled keeps what it holds, and a queue behind it would let a few
//! such readers stop everybody else. Instead pieces shrink as downloads grow in number, and when the pool is empty
//! each download still gets a piece of [`FLOOR_BYTES`] on credit. The bound is therefore
//! `pool + connections * FLOOR_BYTES`, at any number of stalled readers.

use bytes::Bytes;
use gfl_core::limits::{IO_BYTES_MAX, IO_BYTES_MIN};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
pub struct Member(Arc<Budget>);

/// Bytes taken from the budget. Dropping it gives them back.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
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
        Member(Arc::clone(self))
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

    fn take(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(bytes)
            })
            .ok()?;
        Some(Lease {
            budget: Arc::clone(self),
            bytes,
            charged: bytes,
        })
    }
}

impl Member {
    /// The right to hold the next piece, at most `want` bytes. Always granted, perhaps smaller.
    pub fn piece(&self, want: u64) -> Lease {
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        let share = self.0.share().min(want);
        self.0
            .take(share)
            .or_else(|| self.0.take(share.min(IO_BYTES_MIN)))
            .unwrap_or_else(|| Lease {
                budget: Arc::clone(&self.0),
                bytes: share.min(FLOOR_BYTES),
                charged: 0,
            })
    }

    /// The right to read ahead; only while more than half of the pool is free.
    pub fn ahead(&self, want: u64) -> Option<Lease> {
        if self.0.free() <= self.0.total / 2 {
            return None;
        }
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        self.0.take(self.0.share().min(want))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
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
}
