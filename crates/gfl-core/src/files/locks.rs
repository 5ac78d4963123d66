//! Locks on paths, held for one short step each. Knows nothing of files or rows.
//!
//! An exclusive lock covers a path and everything below it; a shared lock covers a path. So a folder
//! cannot be moved while something in it is being published, and a reader never sees the moment
//! between a transaction and its rename. A tree store belongs to one node, so these are in memory.

use gfl_api::path::FilePath;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Default)]
struct Held {
    /// Path text -> shared holders, or -1 for an exclusive one. Keys end in `/` so that a path's
    /// subtree is one contiguous range.
    by_path: BTreeMap<String, i32>,
    /// Those who wait, in order of arrival. A folder that is always in use would otherwise never be
    /// free for the one who wants to move it.
    waiting: VecDeque<(u64, Keys)>,
    next_ticket: u64,
}

/// What one caller wants or holds: path text and whether exclusively.
type Keys = Vec<(String, bool)>;

/// All locks of one tree.
#[derive(Default)]
pub(crate) struct Locks {
    held: Mutex<Held>,
    freed: Notify,
}

/// Locks held; dropping frees them.
pub(crate) struct Guard {
    locks: Arc<Locks>,
    keys: Keys,
}

/// A place in the queue; given up when the caller is served or goes away.
struct Place<'l> {
    locks: &'l Locks,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.locks
            .held
            .lock()
            .waiting
            .retain(|(ticket, _)| *ticket != self.ticket);
        self.locks.freed.notify_waiters();
    }
}

fn key(path: &FilePath) -> String {
    if path.is_root() {
        String::from("/")
    } else {
        format!("/{path}/")
    }
}

/// Whether two wishes cannot both be held.
fn conflict(a: &Keys, b: &Keys) -> bool {
    a.iter().any(|(a, a_exclusive)| {
        b.iter().any(|(b, b_exclusive)| {
            (*a_exclusive && b.starts_with(a.as_str()))
                || (*b_exclusive && a.starts_with(b.as_str()))
        })
    })
}

impl Held {
    fn free(&self, key: &str, exclusive: bool) -> bool {
        // An exclusive lock above, or on the path itself, covers it.
        let covered = key
            .match_indices('/')
            .any(|(at, _)| self.by_path.get(&key[..=at]).is_some_and(|n| *n < 0));
        if covered {
            return false;
        }
        if !exclusive {
            return true;
        }
        self.by_path
            .range(key.to_owned()..)
            .next()
            .is_none_or(|(held, _)| !held.starts_with(key))
    }

    /// Takes all of them, unless something held or somebody who came earlier is in the way.
    fn try_take(&mut self, keys: &Keys, ticket: Option<u64>) -> bool {
        let earlier = |(other, _): &&(u64, Keys)| ticket.is_none_or(|mine| *other < mine);
        let queued = self
            .waiting
            .iter()
            .take_while(earlier)
            .any(|(_, other)| conflict(other, keys));
        if queued
            || !keys
                .iter()
                .all(|(key, exclusive)| self.free(key, *exclusive))
        {
            return false;
        }
        for (key, exclusive) in keys {
            self.take(key, *exclusive);
        }
        true
    }

    fn wait(&mut self, keys: &Keys) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back((ticket, keys.clone()));
        ticket
    }

    fn take(&mut self, key: &str, exclusive: bool) {
        let count = self.by_path.entry(key.to_owned()).or_insert(0);
        *count = if exclusive { -1 } else { *count + 1 };
    }

    fn give(&mut self, key: &str, exclusive: bool) {
        let gone = match self.by_path.get_mut(key) {
            Some(count) if !exclusive && *count > 1 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        if gone {
            self.by_path.remove(key);
        }
    }
}

impl Locks {
    /// For reading what a path names.
    pub(crate) async fn shared(self: &Arc<Self>, path: &FilePath) -> Guard {
        self.acquire(vec![(key(path), false)]).await
    }

    /// For changing what a path names.
    pub(crate) async fn exclusive(self: &Arc<Self>, path: &FilePath) -> Guard {
        self.acquire(vec![(key(path), true)]).await
    }

    /// For changing what two paths name. Both are taken at once, so that two movers cannot wait for
    /// each other; a path below the other is covered by it.
    pub(crate) async fn exclusive_pair(self: &Arc<Self>, a: &FilePath, b: &FilePath) -> Guard {
        let keys = if b.starts_with(a) {
            vec![(key(a), true)]
        } else if a.starts_with(b) {
            vec![(key(b), true)]
        } else {
            vec![(key(a), true), (key(b), true)]
        };
        self.acquire(keys).await
    }

    async fn acquire(self: &Arc<Self>, keys: Keys) -> Guard {
        if self.held.lock().try_take(&keys, None) {
            return Guard {
                locks: self.clone(),
                keys,
            };
        }
        let ticket = self.held.lock().wait(&keys);
        let place = Place {
            locks: self,
            ticket,
        };
        loop {
            // Registered before the check, so that a release in between is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.held.lock().try_take(&keys, Some(place.ticket)) {
                return Guard {
                    locks: self.clone(),
                    keys,
                };
            }
            freed.await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        {
            let mut held = self.locks.held.lock();
            for (key, exclusive) in &self.keys {
                held.give(key, *exclusive);
            }
        }
        self.locks.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).unwrap()
    }

    async fn check(first: (&str, bool), second: (&str, bool), together: bool) {
        let locks = Arc::new(Locks::default());
        let take = |(p, exclusive): (&str, bool)| {
            let (locks, p) = (locks.clone(), path(p));
            async move {
                if exclusive {
                    locks.exclusive(&p).await
                } else {
                    locks.shared(&p).await
                }
            }
        };
        let guard = take(first).await;
        assert_eq!(
            take(second).now_or_never().is_some(),
            together,
            "{first:?} {second:?}"
        );
        drop(guard);
        assert!(
            take(second).now_or_never().is_some(),
            "freed: {first:?} {second:?}"
        );
    }

    #[tokio::test]
    async fn an_exclusive_lock_covers_the_subtree_and_nothing_beside_it() {
        for ex in [("a/b", true)] {
            check(ex, ("a/b", false), false).await;
            check(ex, ("a/b", true), false).await;
            check(ex, ("a/b/c", false), false).await;
            check(ex, ("a", true), false).await;
            check(ex, ("", true), false).await;
            check(ex, ("a", false), true).await;
            check(ex, ("a/bc", true), true).await;
            check(ex, ("a/b.c", true), true).await;
            check(ex, ("a/a", true), true).await;
        }
        check(("a/b", false), ("a/b", false), true).await;
        check(("a/b/c", false), ("a/b", true), false).await;
    }

    #[tokio::test]
    async fn a_busy_folder_is_free_for_its_mover_in_turn() {
        let locks = Arc::new(Locks::default());
        let inside = locks.exclusive(&path("a/1")).await;
        let folder = path("a");
        let mut mover = Box::pin(locks.exclusive(&folder));
        assert!(mover.as_mut().now_or_never().is_none());
        // Those who come later wait behind the mover, others do not.
        assert!(locks.exclusive(&path("a/2")).now_or_never().is_none());
        assert!(locks.exclusive(&path("b")).now_or_never().is_some());
        drop(inside);
        let moved = mover.await;
        assert!(locks.shared(&path("a/2")).now_or_never().is_none());
        drop(moved);
        assert!(locks.shared(&path("a/2")).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_blocks_nobody() {
        let locks = Arc::new(Locks::default());
        let inside = locks.exclusive(&path("a/1")).await;
        let folder = path("a");
        let mut mover = Box::pin(locks.exclusive(&folder));
        assert!(mover.as_mut().now_or_never().is_none());
        drop(mover);
        assert!(locks.exclusive(&path("a/2")).now_or_never().is_some());
        drop(inside);
    }

    #[tokio::test]
    async fn a_waiter_gets_its_turn() {
        let locks = Arc::new(Locks::default());
        let first = locks.exclusive(&path("x")).await;
        let waiter = tokio::spawn({
            let locks = locks.clone();
            async move {
                locks
                    .exclusive_pair(&path("x"), &path("y"))
                    .await
                    .keys
                    .len()
            }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiter.await.unwrap(), 2);
    }
}
