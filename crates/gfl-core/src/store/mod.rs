//! Where bytes live. A store knows keys, drafts and (the tree only) visible paths; it knows nothing
//! of users, rows or protocols.
//!
//! The contract, which `conformance` tests for every store:
//! - A *draft* is written at any offset by any number of writers and is not visible.
//! - [`Store::settle`] makes drafts durable, bytes and name. Nothing else does.
//! - [`Store::publish`], [`Store::retire`] and [`Store::rename`] are *redo* steps: each names the inode
//!   it is about, so that calling it again after a crash finishes or finds it finished, and never
//!   touches what a person put in its place.
//! - A symlink inside the root is *followed* by what reads (`stat`, `open`, `list`, `create_copy`), by
//!   [`Store::set_meta`], and on the way to a name. The steps that change a name change the name itself: they move
//!   or keep the link and never touch what it leads to.
//! - Errors: `StorageFull`, `ReadOnlyStorage`, `StoragePermission`, `NotFound`, `NameNotStorable`, `IsADirectory`, … or
//!   `Internal` with the cause. A failed step leaves nothing half visible.

use crate::error::Result;
use crate::id::Key;
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::path::FilePath;
use gfl_api::tree::Cv;
use std::sync::Arc;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod redo;
pub mod roomy;
pub mod tree;

/// What identifies a file's content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Inode number.
    pub ino: u64,
    /// Inode change time, nanoseconds since the epoch.
    pub ctime_ns: i64,
}

/// What a visible path names right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A directory.
    Dir {
        /// Modification time, ns.
        mtime_ns: i64,
        /// Permission bits.
        mode: u32,
        /// Inode number.
        ino: u64,
    },
    /// A regular file.
    File {
        /// See [`Stamp`].
        stamp: Stamp,
        /// Permission bits.
        mode: u32,
    },
    /// Something that is neither served nor touched: FIFO, device, socket, a symlink out of the root.
    Other,
}

/// A symlink, as a thing of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its own stamp; the size is that of its text.
    pub stamp: Stamp,
    /// What it leads to; [`Found::Nothing`] or [`Found::Other`] when that cannot be served.
    pub leads_to: Found,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name (UTF-8; others are skipped and counted).
    pub name: String,
    /// What it is.
    pub found: Found,
}

/// Part of a directory, in byte order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// At most as many as asked for.
    pub names: Vec<Named>,
    /// There are more after the last one.
    pub more: bool,
    /// Names that cannot be shown (not UTF-8, devices, FIFOs, links that leave the root), in the whole directory.
    pub skipped: u64,
}

/// How to publish a draft at a path.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The draft.
    pub key: Key,
    /// Its inode number as [`Draft::finish`] told.
    pub ino: u64,
    /// The path. Missing parents are made.
    pub path: FilePath,
    /// What the catalog believes is at the path: our version to keep, and its stamp.
    pub replaces: Option<(Key, Stamp)>,
    /// Under which key something unexpected that came out is kept.
    pub edit_key: Key,
    /// Refuse (`AlreadyExists`) when anything is at the path.
    pub create_only: bool,
}

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The stamp of the now visible file; `None` when a redo found that somebody changed it since.
    pub stamp: Option<Stamp>,
    /// What was there before.
    pub came_out: CameOut,
}

/// What was at the path before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameOut {
    /// Nothing.
    Nothing,
    /// Our version, now kept under its key.
    Ours,
    /// A person's file, now kept under `edit_key`.
    Edited(Stamp),
}

/// Where content is to be read.
#[derive(Debug, Clone)]
pub enum Place {
    /// At its visible path.
    Visible(FilePath),
    /// Retired: replaced or deleted.
    Kept(Key),
}

/// Space of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes free to us.
    pub free_bytes: u64,
}

/// Permission bits a client may set. Set-id and sticky bits are dropped.
const MODE_BITS: u32 = 0o777;

/// The bits that a file gets for a client's mode: permission bits only, and readable for the server, which serves it.
pub fn file_mode(mode: u32) -> u32 {
    (mode & MODE_BITS) | 0o400
}

/// The bits that a directory gets: as for a file, and the server can list it and write into it.
pub fn dir_mode(mode: u32) -> u32 {
    (mode & MODE_BITS) | 0o700
}

/// Bytes being received.
#[async_trait]
pub trait Draft: Send + Sync {
    /// Its key.
    fn key(&self) -> &Key;
    /// Writes `data`, one piece after the other, at `offset`. All of it or an error; after an error
    /// the bytes of this range are undefined, others untouched.
    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()>;
    /// Reads exactly `len` bytes (holes and everything past the end read as zero bytes).
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;
    /// Writes subtree values of the groups from `first` on into the outboard.
    async fn write_groups(&self, first: u64, values: &[Cv]) -> Result<()>;
    /// Reads `count` subtree values; `None` where none was written (or zeros were).
    async fn read_groups(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>>;
    /// Makes everything written so far durable, outboard included (a checkpoint). The name is made
    /// durable with the first one.
    async fn sync(&self) -> Result<()>;
    /// Cuts or extends to `size`, sets mtime and mode (`None`: 0644 under the umask), and says what the
    /// file will be recognised by. Not yet durable: see [`Store::settle`].
    async fn finish(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp>;
}

/// Content open for reading. Keeps its bytes readable while it is held, whatever happens to the name.
#[async_trait]
pub trait Content: Send + Sync {
    /// Reads up to `len` bytes; fewer only at the end.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;
    /// The stamp when it was opened.
    fn stamp(&self) -> Stamp;
    /// Permission bits when it was opened.
    fn mode(&self) -> u32;
    /// Size and mtime are still those of the opening (ctime changes when we rename it ourselves).
    async fn unchanged(&self) -> Result<bool>;
}

/// A place for bytes. See the module's contract.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A new, empty draft. `size_hint` lets the store reserve space and refuse early with `StorageFull`.
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>>;
    /// A draft with these bytes in one step (small files): created, written and finished.
    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)>;
    /// A draft with the content of `from`, sharing disk blocks where the file system can.
    /// The outboard is copied when there is one.
    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>>;
    /// The draft of an earlier run, or `None`.
    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>>;
    /// Makes these drafts durable: bytes, outboards and names. Groups with others that wait.
    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()>;
    /// Removes a draft that will not be published. Missing is fine (and then its outboard stays: it belongs
    /// to the published version).
    async fn discard(&self, key: &Key) -> Result<()>;

    /// Puts a settled draft at its path. Redo-safe. After an error the path shows what it showed before and the
    /// draft is as it was, so that the caller may take its row back.
    async fn publish(&self, publish: &Publish) -> Result<Published>;
    /// Moves what is at `path`, if it has this inode, to kept as `key` (files and whole directories).
    /// Returns whether `key` holds it now. Redo-safe.
    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool>;
    /// Moves kept `key`, if it has this inode, to `path`, where nothing may be. Redo-safe. Makes parents.
    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool>;
    /// Renames `from`, if it has this inode, to `to`. When `over` is given, the file at `to` is kept
    /// under that key; otherwise nothing may be there (`AlreadyExists`). Makes parents. Redo-safe.
    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool>;
    /// Makes a directory and its parents. True when the last one is new.
    async fn make_dir(&self, path: &FilePath) -> Result<bool>;
    /// Sets mtime and mode of a visible file or directory, durably; returns the new state. What the server
    /// needs to serve it (owner may read, and for a directory write and search) stays set.
    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found>;
    /// Makes renames in these directories, those above them, and in the store's own, durable. Missing ones
    /// are fine.
    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()>;
    /// Removes kept content (a file or a whole directory) and its outboard. Missing is fine.
    async fn remove_kept(&self, key: &Key) -> Result<()>;

    /// What is at a path. Below a file there is nothing.
    async fn stat(&self, path: &FilePath) -> Result<Found>;
    /// The link that stands at a place itself, if it is one, and what it would lead to if it stood at `at`.
    async fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>>;
    /// What is kept under a key.
    async fn stat_kept(&self, key: &Key) -> Result<Found>;
    /// Opens content.
    async fn open(&self, place: &Place) -> Result<Arc<dyn Content>>;
    /// Names of `dir` after `after` (exclusive), at most `limit`, in byte order.
    async fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Names>;
    /// A name of `path`'s directory that this file system takes for the same although it is another
    /// (case or normalisation), if there is one.
    async fn collides(&self, path: &FilePath) -> Result<Option<String>>;
    /// Keys of all drafts (for collecting those without a row).
    async fn drafts(&self) -> Result<Vec<Key>>;
    /// Space left.
    async fn space(&self) -> Result<Space>;
    /// Proves that the store can be written (readiness).
    async fn probe(&self) -> Result<()>;
}
