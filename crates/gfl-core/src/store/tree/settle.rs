//! Makes drafts durable, in groups. Knows descriptors and directories, no paths.
//!
//! Batch: when nothing runs, a caller goes through at once; whoever comes meanwhile waits and forms
//! the next group, which one thread drains. A group of many files is one `syncfs` where that writes little of
//! others, else parallel `fsync`s; then one `fsync` for each directory with new names. `fsync`, not `fdatasync`:
//! the mtime is part of the stamp and must survive as well.
//!
//! A file whose sync failed is poisoned: the kernel drops the unwritten pages and reports that once, so a
//! second try would "succeed" without the bytes.

use super::draft::{Named, TreeDraft};
use super::errno::{self, About};
use super::root::Lost;
use super::{Inner, hop};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::settings::Durability;
use gfl_api::path::FilePath;
use parking_lot::Mutex;
use rustix::fs::{fsync, syncfs};
use rustix::io::{Errno, retry_on_intr};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Files from which on one `syncfs` is cheaper than syncing each.
const SYNCFS_FILES_MIN: usize = 16;
/// … unless this much is dirty in the whole machine, which `syncfs` might have to write.
const SYNCFS_DIRTY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Threads that sync at once: file systems join concurrent syncs in one journal commit.
const SYNC_THREADS_MAX: usize = 8;

/// The queue of those that wait.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Job>,
    running: bool,
}

#[derive(Debug)]
struct Job {
    drafts: Vec<Arc<TreeDraft>>,
    answer: oneshot::Sender<Option<Errno>>,
}

/// See [`crate::store::Store::settle`]. Not called with [`Durability::None`].
pub(super) async fn settle(inner: &Arc<Inner>, keys: Vec<Key>) -> Result<()> {
    let live: Option<Vec<_>> = keys.iter().map(|key| inner.live(key)).collect();
    let drafts = match live {
        Some(drafts) => drafts,
        // A handle of another store instance: the file counts, and syncing it through any descriptor works.
        None => {
            let inner = Arc::clone(inner);
            hop(move || keys.iter().map(|key| reopened(&inner, key)).collect()).await?
        }
    };
    for draft in &drafts {
        draft.refuse_poisoned()?;
    }
    let failed = if inner.durability == Durability::Strict {
        let inner = Arc::clone(inner);
        hop(move || Ok(sync_each_alone(&inner, &drafts))).await?
    } else {
        let answer = enqueue(inner, drafts);
        answer.await.map_err(|gone| {
            Error::new(Kind::Unavailable, "the server is shutting down").caused_by(gone)
        })?
    };
    failed.map_or(Ok(()), |errno| {
        Err(errno::error(errno, "keep", About::Draft))
    })
}

fn reopened(inner: &Arc<Inner>, key: &Key) -> Result<Arc<TreeDraft>> {
    inner.reopen(key)?.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "the received data is gone; start this upload anew",
        )
    })
}

fn enqueue(inner: &Arc<Inner>, drafts: Vec<Arc<TreeDraft>>) -> oneshot::Receiver<Option<Errno>> {
    let (answer, receiver) = oneshot::channel();
    let start = {
        let mut queue = inner.syncer.queue.lock();
        queue.waiting.push(Job { drafts, answer });
        !std::mem::replace(&mut queue.running, true)
    };
    if start {
        let inner = Arc::clone(inner);
        tokio::task::spawn_blocking(move || drain(&inner));
    }
    receiver
}

/// Syncs group after group until nobody waits.
fn drain(inner: &Inner) {
    // A panic must not leave the others waiting for a thread that is gone.
    struct Running<'a>(&'a Syncer);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                *self.0.queue.lock() = Queue::default();
            }
        }
    }
    let running = Running(&inner.syncer);
    loop {
        let jobs = {
            let mut queue = running.0.queue.lock();
            if queue.waiting.is_empty() {
                queue.running = false;
                return;
            }
            std::mem::take(&mut queue.waiting)
        };
        let drafts: Vec<_> = jobs
            .iter()
            .flat_map(|job| job.drafts.iter().cloned())
            .collect();
        let mut failed = sync_group(inner, &drafts).into_iter();
        for job in jobs {
            let mine = failed.by_ref().take(job.drafts.len());
            // The caller may have gone away.
            let _ = job
                .answer
                .send(mine.flatten().fold(None, |first, e| first.or(Some(e))));
        }
    }
}

/// Syncs one group; for each draft the error, if any.
fn sync_group(inner: &Inner, drafts: &[Arc<TreeDraft>]) -> Vec<Option<Errno>> {
    let unnamed: Vec<Named> = drafts.iter().map(|draft| draft.unnamed()).collect();
    let together = drafts.len() >= SYNCFS_FILES_MIN
        && syncfs_tells_errors()
        && dirty_bytes().is_some_and(|bytes| bytes < SYNCFS_DIRTY_BYTES_MAX);
    // One `syncfs` makes bytes and names durable. When it fails it does not say which file it was
    // about; each file's own sync does.
    let mut failed = vec![None; drafts.len()];
    if !together || syncfs(&*inner.drafts).is_err() {
        failed = flush_all(drafts);
        // Bytes first, then the names that lead to them.
        let names = unnamed.iter().fold(Named::default(), |all, one| Named {
            draft: all.draft || one.draft,
            groups: all.groups || one.groups,
        });
        if let Err(errno) = inner.sync_names(names) {
            for slot in &mut failed {
                slot.get_or_insert(errno);
            }
        }
    }
    note(drafts, &unnamed, &failed);
    failed
}

/// Strict: each draft and its directory by itself.
fn sync_each_alone(inner: &Inner, drafts: &[Arc<TreeDraft>]) -> Option<Errno> {
    let mut first = None;
    for draft in drafts {
        let unnamed = draft.unnamed();
        let failed = draft
            .flush(true)
            .and_then(|()| inner.sync_names(unnamed))
            .err();
        note(std::slice::from_ref(draft), &[unnamed], &[failed]);
        first = first.or(failed);
    }
    first
}

/// Remembers what became durable and what never will.
fn note(drafts: &[Arc<TreeDraft>], unnamed: &[Named], failed: &[Option<Errno>]) {
    for ((draft, unnamed), failed) in drafts.iter().zip(unnamed).zip(failed) {
        match failed {
            None => draft.set_named(*unnamed),
            Some(errno) => {
                tracing::error!(key = %draft.key(), %errno, "a draft could not be made durable");
                draft.poison();
            }
        }
    }
}

/// `fsync`s all files on a few threads.
fn flush_all(drafts: &[Arc<TreeDraft>]) -> Vec<Option<Errno>> {
    if let [draft] = drafts {
        return vec![draft.flush(true).err()];
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![None; drafts.len()]);
    let work = || {
        while let Some((i, draft)) = take(&next, drafts) {
            if let Err(errno) = draft.flush(true) {
                results.lock()[i] = Some(errno);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..drafts.len().min(SYNC_THREADS_MAX) {
            // Without more threads the work is only slower.
            if std::thread::Builder::new()
                .spawn_scoped(scope, work)
                .is_err()
            {
                break;
            }
        }
        work();
    });
    results.into_inner()
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    items.get(i).map(|item| (i, item))
}

impl Inner {
    /// Makes names of new drafts and outboards durable.
    pub(super) fn sync_names(&self, which: Named) -> Result<(), Errno> {
        if which.draft {
            retry_on_intr(|| fsync(&*self.drafts))?;
        }
        if which.groups {
            retry_on_intr(|| fsync(&*self.groups))?;
        }
        Ok(())
    }

    /// Makes all names in the server's own folders durable.
    pub(super) fn sync_own(&self) -> Result<(), Errno> {
        for dir in [&self.own, &self.drafts, &self.groups, &self.kept] {
            match retry_on_intr(|| fsync(&**dir)) {
                // A read-only folder has nothing to sync.
                Err(Errno::ROFS | Errno::INVAL) | Ok(()) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// See [`crate::store::Store::sync_dirs`]. The folders above are synced as well: they may be new.
    pub(super) fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        let mut all = BTreeSet::from([FilePath::root()]);
        for dir in dirs {
            all.extend(dir.ancestors());
            all.insert(dir.clone());
        }
        // Targets of renames first, then the places things came out of: a name should rather be
        // twice than nowhere on file systems that do not log renames as one.
        for dir in &all {
            let fail = |errno: Errno| errno::error(errno, "keep changes in", About::Path(dir));
            match self.root.open(dir, super::READ_DIR) {
                Ok(fd) => retry_on_intr(|| fsync(&fd)).map_err(fail)?,
                // A folder of a person's that we may use and not read.
                Err(Lost::Os(Errno::ACCESS)) => syncfs(&*self.own).map_err(fail)?,
                Err(Lost::Os(errno)) if !Lost::Os(errno).is_missing() => return Err(fail(errno)),
                // Gone, or replaced by a link that leads out: nothing of ours is there any more.
                Err(_) => {}
            }
        }
        self.sync_own()
            .map_err(|e| errno::error(e, "keep changes in", About::Storage))
    }
}

/// Bytes that wait to be written in the whole machine.
fn dirty_bytes() -> Option<u64> {
    dirty_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn dirty_in(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((kib("Dirty:")? + kib("Writeback:")?) * 1024)
}

/// `syncfs` reports failed writes from Linux 5.8 on; before, its success means nothing.
fn syncfs_tells_errors() -> bool {
    static TELLS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *TELLS.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|r| is_5_8(&r))
    })
}

fn is_5_8(release: &str) -> bool {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return false;
    };
    (major, minor) >= (5, 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::Store;
    use crate::store::tree::Tree;

    #[tokio::test]
    async fn a_failed_sync_is_never_taken_back() {
        let dir = tempfile::TempDir::new().unwrap();
        for durability in [Durability::Batch, Durability::Strict] {
            let tree = Tree::open(dir.path(), durability).unwrap();
            let key = Key::new(&SystemClock);
            let draft = tree.create(&key, None).await.unwrap();
            tree.settle(std::slice::from_ref(&draft)).await.unwrap();
            // As `note` does after an EIO, which no test can order from a healthy disk.
            let handle = tree.inner.live(&key).unwrap();
            note(
                &[Arc::clone(&handle)],
                &[handle.unnamed()],
                &[Some(Errno::IO)],
            );
            drop(handle);
            assert!(tree.settle(&[draft]).await.is_err());
            let again = tree.reopen(&key).await.unwrap().unwrap();
            assert!(tree.settle(std::slice::from_ref(&again)).await.is_err());
            assert!(again.sync().await.is_err() && again.finish(0, 0, None).await.is_err());
            tree.discard(&key).await.unwrap();
            assert!(tree.settle(&[again]).await.is_err(), "and gone is gone");
            let anew = tree.create(&key, None).await.unwrap();
            tree.settle(&[anew]).await.unwrap();
            tree.discard(&key).await.unwrap();
        }
    }

    #[test]
    fn reads_what_the_kernel_tells() {
        let text = "MemTotal: 1 kB\nDirty:             12 kB\nWriteback:          3 kB\n";
        assert_eq!(dirty_in(text), Some(15 * 1024));
        assert_eq!(dirty_in("Dirty: 12 kB\n"), None);
        assert!(is_5_8("6.1.0-13-amd64") && is_5_8("5.8.0") && !is_5_8("5.7.19") && !is_5_8("x"));
    }
}
