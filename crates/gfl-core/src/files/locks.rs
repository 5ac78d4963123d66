//! Locks on paths, held for one short step each. Knows nothing of files or rows.
//!
//! An exclusive lock covers a path and everything below it; a shared lock covers a path. So a folder
//! cannot be moved while something in it is being published, and a reader never sees the moment
//! between a transaction and its rename. A tree store belongs to one node, so these are in memory.

use gfl_api::path::FilePath;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Default)]
struct Held {
    /// Path text -> shared holders, or -1 for an exclusive one. Keys end in `/` so that a path's
    /// subtree is one contiguous range.
    by_path: BTreeMap<String, i32>,
}

/// All locks of one tree.
#[derive(Default)]
pub(crate) struct Locks {
    held: Mutex<Held>,
    freed: Notify,
}

/// Locks held; dropping frees them.
pub(crate) struct Guard {
    locks: Arc<Locks>,
    keys: Vec<(String, bool)>,
}

fn key(path: &FilePath) -> String {
    if path.is_root() {
        String::from("/")
    } else {
        format!("/{path}/")
    }
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

    async fn acquire(self: &Arc<Self>, keys: Vec<(String, bool)>) -> Guard {
        loop {
            // Registered before the check, so that a release in between is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut held = self.held.lock();
                if keys
                    .iter()
                    .all(|(key, exclusive)| held.free(key, *exclusive))
                {
                    for (key, exclusive) in &keys {
                        held.take(key, *exclusive);
                    }
                    return Guard {
                        locks: self.clone(),
                        keys,
                    };
                }
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
