//! The local-folder store: the current version of every file is a plain file at its own path.
//! Knows no rows and no users; what it believes about a file comes with each call.
//!
//! ```text
//! storage_dir/            visible: a person's files and ours, all ordinary
//!   .gfl/                 0700, same file system, never listed, not addressable
//!     drafts/<key>        bytes being received; published by one rename
//!     groups/<key>        outboard: 32 bytes per 64 KiB group at index * 32, zeros = none; stays with its version
//!     kept/<key>          replaced and deleted files and folders
//!     passing-<inode>     only in the middle of a rename that changes letter case
//! ```
//! - `root` resolves paths beneath the folder (invariant 9), `errno` makes errors, `stat` looks,
//!   `list` and `spelling` read folders.
//! - `draft` writes (by `io`), `settle` makes durable in groups, `copy` clones, `content` reads.
//! - `shelf` gives `store::redo` the single rename steps; `remove` prunes.
//!
//! Each method is one hop to a blocking thread around a plain function of `Inner`.
//! Linux only at this step: `openat2`, `renameat2`, `syncfs`, getdents and `copy_file_range` are called directly
//! (kernel 5.6 and file systems with `RENAME_EXCHANGE`; `root` and `shelf` say what happens without).

mod content;
mod copy;
mod draft;
mod errno;
mod io;
mod list;
mod remove;
mod root;
mod settle;
mod shelf;
mod spelling;
mod stat;

use self::draft::{DraftHandle, TreeDraft};
use self::errno::About;
use self::root::Root;
use self::settle::Syncer;
use self::shelf::Names;
use super::{
    Content, Draft, Found, Link, Names as Listed, Place, Publish, Published, Space, Stamp,
};
use super::{Store, redo};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::settings::Durability;
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::path::FilePath;
use parking_lot::Mutex;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// The local-folder store.
#[derive(Debug)]
pub struct Tree {
    inner: Arc<Inner>,
}

/// Everything the blocking functions work on.
#[derive(Debug)]
struct Inner {
    root: Root,
    own: Arc<OwnedFd>,
    drafts: Arc<OwnedFd>,
    groups: Arc<OwnedFd>,
    kept: Arc<OwnedFd>,
    durability: Durability,
    /// Mode of files whose client gave none: 0644 under the umask at opening.
    default_mode: u32,
    syncer: Syncer,
    /// Drafts in use: one handle for each key, so that `settle` finds the file by the key.
    open: Mutex<HashMap<Key, Weak<TreeDraft>>>,
    /// Drafts whose sync failed: the kernel forgets unwritten pages after telling once, so these may
    /// never be called durable. Leaves with the draft.
    poisoned: Mutex<HashSet<Key>>,
    /// Per device: whether it tells names apart by every byte.
    exact_names: Mutex<HashMap<u64, bool>>,
    /// Held over steps that one call cannot do on this file system.
    alone: Mutex<()>,
    /// For tests: behaves as on a file system without `renameat2` flags.
    without_rename_flags: AtomicBool,
}

impl Tree {
    /// Opens the storage folder, making it and its `.gfl` where missing. The umask is read now.
    ///
    /// # Errors
    /// `ReadOnlyStorage`, `NotADirectory` or `Internal` when the folder cannot be opened or written.
    pub fn open(storage_dir: &Path, durability: Durability) -> Result<Arc<Tree>> {
        let fail = |errno: Errno| errno::error(errno, "open", About::Storage);
        std::fs::create_dir_all(storage_dir)
            .map_err(|e| fail(e.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)))?;
        // Links on the way to the folder are the administrator's; those below it are not followed here.
        let dir = openat(CWD, storage_dir, READ_DIR, Mode::empty()).map_err(fail)?;
        let own = own_dir(&dir, root::OWN).map_err(fail)?;
        let [drafts, groups, kept] =
            ["drafts", "groups", "kept"].map(|name| own_dir(&own, name).map(Arc::new));
        let inner = Inner {
            root: Root::new(dir, own.as_fd()).map_err(fail)?,
            drafts: drafts.map_err(fail)?,
            groups: groups.map_err(fail)?,
            kept: kept.map_err(fail)?,
            own: Arc::new(own),
            durability,
            default_mode: 0o644 & !umask(),
            syncer: Syncer::default(),
            open: Mutex::default(),
            poisoned: Mutex::default(),
            exact_names: Mutex::default(),
            alone: Mutex::default(),
            without_rename_flags: AtomicBool::new(false),
        };
        if durability != Durability::None {
            inner.sync_own().map_err(fail)?;
        }
        Ok(Arc::new(Tree {
            inner: Arc::new(inner),
        }))
    }

    /// For tests: behaves as on a kernel without `openat2`.
    #[cfg(any(test, feature = "testing"))]
    pub fn pretend_no_openat2(&self) {
        self.inner.root.forget_openat2();
    }

    /// For tests: behaves as on a file system without `RENAME_NOREPLACE` and `RENAME_EXCHANGE`.
    #[cfg(any(test, feature = "testing"))]
    pub fn pretend_no_rename_flags(&self) {
        self.inner
            .without_rename_flags
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        hop(move || work(&inner)).await
    }
}

/// A directory that can be listed and synced, reached through no link.
const READ_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Makes and opens one of the server's own folders.
fn own_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(parent.as_fd(), name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        // A read-only folder that has everything may still be served.
        Err(Errno::ROFS) => {}
        Err(errno) => return Err(errno),
    }
    openat(
        parent.as_fd(),
        name,
        READ_DIR | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// The umask, read from proc because the system call can only read it by changing it for all threads.
fn umask() -> u32 {
    const CAUTIOUS: u32 = 0o022;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return CAUTIOUS;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(CAUTIOUS)
}

/// Runs blocking work on a thread that may block. The work goes on when the caller goes away.
async fn hop<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => {
                Err(Error::new(Kind::Unavailable, "the server is shutting down").caused_by(error))
            }
        },
    }
}

impl Inner {
    fn names<'a>(&'a self, doing: &'static str, path: &'a FilePath) -> Names<'a> {
        Names {
            inner: self,
            doing,
            path,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Tree {
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>> {
        let key = key.clone();
        self.run(move |inner| Ok(handle(inner.create(&key, size_hint)?)))
            .await
    }

    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)> {
        let key = key.clone();
        self.run(move |inner| {
            let (draft, stamp) = inner.create_whole(&key, &data, mtime_ns, mode)?;
            Ok((handle(draft), stamp))
        })
        .await
    }

    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>> {
        let (key, from, from_key) = (key.clone(), from.clone(), from_key.cloned());
        self.run(move |inner| Ok(handle(inner.create_copy(&key, &from, from_key.as_ref())?)))
            .await
    }

    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>> {
        let key = key.clone();
        self.run(move |inner| Ok(inner.reopen(&key)?.map(handle)))
            .await
    }

    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()> {
        if self.inner.durability == Durability::None || drafts.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = drafts.iter().map(|draft| draft.key().clone()).collect();
        settle::settle(&self.inner, keys).await
    }

    async fn discard(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.run(move |inner| inner.discard(&key)).await
    }

    async fn publish(&self, publish: &Publish) -> Result<Published> {
        let p = publish.clone();
        self.run(move |inner| redo::publish(&inner.names("publish", &p.path), &p))
            .await
    }

    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool> {
        let (path, key) = (path.clone(), key.clone());
        self.run(move |inner| redo::retire(&inner.names("delete", &path), &path, ino, &key))
            .await
    }

    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool> {
        let (path, key) = (path.clone(), key.clone());
        self.run(move |inner| redo::unretire(&inner.names("restore", &path), &key, ino, &path))
            .await
    }

    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool> {
        let (from, to, over) = (from.clone(), to.clone(), over.cloned());
        self.run(move |inner| {
            let moved = redo::rename(&inner.names("move to", &to), &from, ino, &to, over.as_ref());
            match moved {
                // The kernel has one code for both.
                Err(e) if e.kind() == Kind::NameNotStorable && inner.root.is_inside(&to, &from) => {
                    Err(redo::into_itself(&from, &to))
                }
                moved => moved,
            }
        })
        .await
    }

    async fn make_dir(&self, path: &FilePath) -> Result<bool> {
        let path = path.clone();
        self.run(move |inner| inner.make_dir(&path)).await
    }

    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        let path = path.clone();
        self.run(move |inner| inner.set_meta(&path, mtime_ns, mode))
            .await
    }

    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        if self.inner.durability == Durability::None {
            return Ok(());
        }
        let dirs = dirs.to_vec();
        self.run(move |inner| inner.sync_dirs(&dirs)).await
    }

    async fn remove_kept(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.run(move |inner| inner.remove_kept(&key)).await
    }

    async fn stat(&self, path: &FilePath) -> Result<Found> {
        let path = path.clone();
        self.run(move |inner| inner.stat(&path)).await
    }

    async fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>> {
        let (place, at) = (place.clone(), at.clone());
        self.run(move |inner| inner.link(&place, &at)).await
    }

    async fn stat_kept(&self, key: &Key) -> Result<Found> {
        let key = key.clone();
        self.run(move |inner| inner.stat_kept(&key)).await
    }

    async fn open(&self, place: &Place) -> Result<Arc<dyn Content>> {
        let place = place.clone();
        self.run(move |inner| Ok(Arc::new(inner.open(&place)?) as Arc<dyn Content>))
            .await
    }

    async fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Listed> {
        let (dir, after) = (dir.clone(), after.map(str::to_owned));
        self.run(move |inner| inner.list(&dir, after.as_deref(), limit))
            .await
    }

    async fn collides(&self, path: &FilePath) -> Result<Option<String>> {
        let path = path.clone();
        self.run(move |inner| inner.collides(&path)).await
    }

    async fn drafts(&self) -> Result<Vec<Key>> {
        self.run(|inner| inner.draft_keys()).await
    }

    async fn space(&self) -> Result<Space> {
        self.run(|inner| inner.space()).await
    }

    async fn probe(&self) -> Result<()> {
        self.run(|inner| inner.probe()).await
    }
}

fn handle(draft: Arc<TreeDraft>) -> Arc<dyn Draft> {
    Arc::new(DraftHandle(draft))
}
