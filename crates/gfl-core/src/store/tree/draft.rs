//! Bytes being received: positioned writes into one file, and the outboard beside it.
//! Knows no names but its own key.

use super::errno::{self, About};
use super::io::{read_zeroed, write_all, write_slices};
use super::stat::{mtime, stamp};
use super::{Inner, hop};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::settings::Durability;
use crate::store::{Draft, Stamp, file_mode};
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::tree::Cv;
use parking_lot::Mutex;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::fs::{
    fallocate, fchmod, fdatasync, fstat, fsync, ftruncate, futimens, openat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use std::io::IoSlice;
use std::sync::{Arc, Weak};

/// Bytes of one subtree value in the outboard.
const CV_BYTES: usize = size_of::<Cv>();
/// Space is reserved on disk from this size on; for smaller files it costs more than it gives.
const RESERVE_BYTES_MIN: u64 = 1024 * 1024;

/// An open draft.
#[derive(Debug)]
pub(super) struct TreeDraft {
    inner: Arc<Inner>,
    key: Key,
    file: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The outboard, from the first value on.
    groups: Option<Arc<OwnedFd>>,
    /// Which directory entries are durable.
    named: Named,
    /// Blocks past the end were reserved.
    reserved: bool,
}

/// Durable directory entries of a draft.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named {
    pub(super) draft: bool,
    pub(super) groups: bool,
}

/// What becomes of a handle that is known for the same key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is the handle of the same file.
    Wins,
    /// It is the handle of a file that was discarded.
    Replaced,
}

impl Inner {
    /// See [`crate::store::Store::create`].
    pub(super) fn create(self: &Arc<Self>, key: &Key, hint: Option<u64>) -> Result<Arc<TreeDraft>> {
        let hint = hint.unwrap_or(0);
        let free = if hint >= RESERVE_BYTES_MIN {
            self.space()?.free_bytes
        } else {
            u64::MAX
        };
        if hint > free {
            return Err(Error::new(
                Kind::StorageFull,
                format!(
                    "the storage has {free} bytes free and the upload needs {hint}; free some space"
                ),
            ));
        }
        let file = self.create_file(key, 0o600)?;
        let mut state = State::default();
        if hint >= RESERVE_BYTES_MIN {
            match retry_on_intr(|| fallocate(&file, FallocateFlags::KEEP_SIZE, 0, hint)) {
                Ok(()) => state.reserved = true,
                // These mean that the upload could never end well.
                Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                    self.remove_draft_file(key)?;
                    return Err(errno::error(errno, "reserve space for", About::Draft));
                }
                Err(_) => {}
            }
        }
        Ok(self.register(key, file, state, Known::Replaced))
    }

    /// See [`crate::store::Store::create_whole`].
    pub(super) fn create_whole(
        self: &Arc<Self>,
        key: &Key,
        data: &[Bytes],
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<TreeDraft>, Stamp)> {
        // The kernel applies the umask, which saves a call; nobody else can enter the folder.
        let file = self.create_file(key, 0o644)?;
        let done = write_all(file.as_fd(), 0, data).and_then(|()| {
            if let Some(mode) = mode {
                fchmod(&file, Mode::from_raw_mode(file_mode(mode)))?;
            }
            futimens(&file, &mtime(mtime_ns))?;
            fstat(&file)
        });
        match done {
            Ok(stat) => Ok((
                self.register(key, file, State::default(), Known::Replaced),
                stamp(&stat),
            )),
            Err(errno) => {
                self.remove_draft_file(key)?;
                Err(errno::error(errno, "write", About::Draft))
            }
        }
    }

    /// See [`crate::store::Store::reopen`].
    pub(super) fn reopen(self: &Arc<Self>, key: &Key) -> Result<Option<Arc<TreeDraft>>> {
        if let Some(draft) = self.live(key) {
            return Ok(Some(draft));
        }
        let fail = |errno: Errno| errno::error(errno, "open", About::Draft);
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = |access| openat(&*self.drafts, key.as_str(), flags | access, Mode::empty());
        let file = match open(OFlags::RDWR) {
            // Finished with a read-only mode: reading and publishing is all that is left to do.
            Err(Errno::ACCESS) => open(OFlags::RDONLY),
            other => other,
        };
        let file = match file {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(fail(errno)),
        };
        let groups = self.open_groups(key, false).map_err(fail)?.map(Arc::new);
        // An earlier run may have reserved space.
        let state = State {
            groups,
            named: Named::default(),
            reserved: true,
        };
        Ok(Some(self.register(key, file, state, Known::Wins)))
    }

    /// See [`crate::store::Store::discard`].
    pub(super) fn discard(&self, key: &Key) -> Result<()> {
        // The outboard goes first, and only with its draft: without one the key was published and
        // the outboard belongs to its version.
        let spot = super::root::look(self.drafts.as_fd(), key.as_str().as_bytes());
        if spot
            .map_err(|e| errno::error(e, "discard", About::Draft))?
            .is_some()
        {
            self.remove_groups(key)?;
            self.remove_draft_file(key)?;
        }
        self.poisoned.lock().remove(key);
        self.open.lock().remove(key);
        Ok(())
    }

    /// See [`crate::store::Store::drafts`].
    pub(super) fn draft_keys(&self) -> Result<Vec<Key>> {
        let fail = |errno: Errno| errno::error(errno, "list", About::Draft);
        let mut keys = Vec::new();
        super::list::each_name(self.drafts.as_fd(), |name, _| {
            keys.extend(std::str::from_utf8(name).ok().and_then(Key::parse));
            Ok(())
        })
        .map_err(fail)?;
        Ok(keys)
    }

    /// Removes the outboard of `key`, if there is one.
    pub(super) fn remove_groups(&self, key: &Key) -> Result<()> {
        missing_is_fine(unlinkat(&*self.groups, key.as_str(), AtFlags::empty()))
            .map_err(|e| errno::error(e, "remove", About::Kept))
    }

    fn remove_draft_file(&self, key: &Key) -> Result<()> {
        missing_is_fine(unlinkat(&*self.drafts, key.as_str(), AtFlags::empty()))
            .map_err(|e| errno::error(e, "discard", About::Draft))
    }

    fn create_file(&self, key: &Key, mode: u32) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(
            &*self.drafts,
            key.as_str(),
            flags,
            Mode::from_raw_mode(mode),
        )
        .map_err(|errno| match errno {
            Errno::NOENT => Error::new(
                Kind::Unavailable,
                "the server's own folder, .gfl in the storage, was removed while it ran; restart the server",
            ),
            errno => errno::error(errno, "store", About::Draft),
        })
    }

    /// The outboard file, made when `make`.
    pub(super) fn open_groups(&self, key: &Key, make: bool) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let flags = if make { flags | OFlags::CREATE } else { flags };
        match openat(
            &*self.groups,
            key.as_str(),
            flags,
            Mode::from_raw_mode(0o600),
        ) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) if !make => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The handle of `key` that somebody holds.
    pub(super) fn live(&self, key: &Key) -> Option<Arc<TreeDraft>> {
        let open = self.open.lock();
        open.get(key).and_then(Weak::upgrade)
    }

    fn register(
        self: &Arc<Self>,
        key: &Key,
        file: OwnedFd,
        state: State,
        known: Known,
    ) -> Arc<TreeDraft> {
        let mut open = self.open.lock();
        if known == Known::Wins
            && let Some(draft) = open.get(key).and_then(Weak::upgrade)
        {
            return draft;
        }
        let state = Mutex::new(state);
        let draft = Arc::new(TreeDraft {
            inner: Arc::clone(self),
            key: key.clone(),
            file,
            state,
        });
        open.insert(key.clone(), Arc::downgrade(&draft));
        draft
    }
}

impl Drop for TreeDraft {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock();
        // Another handle may have taken the place meanwhile.
        if open
            .get(&self.key)
            .is_some_and(|weak| weak.strong_count() == 0)
        {
            open.remove(&self.key);
        }
    }
}

impl TreeDraft {
    /// Its key.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The data file.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The outboard, if one was made.
    fn groups(&self) -> Option<Arc<OwnedFd>> {
        self.state.lock().groups.clone()
    }

    fn groups_or_new(&self) -> Result<Arc<OwnedFd>> {
        let mut state = self.state.lock();
        if let Some(groups) = &state.groups {
            return Ok(Arc::clone(groups));
        }
        let made = self.inner.open_groups(&self.key, true);
        let file = made.and_then(|file| file.map(Arc::new).ok_or(Errno::NOENT));
        let file = file.map_err(|e| errno::error(e, "store hashes of", About::Draft))?;
        state.groups = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Which names still have to be made durable: those of files that exist and were not synced.
    pub(super) fn unnamed(&self) -> Named {
        let state = self.state.lock();
        Named {
            draft: !state.named.draft,
            groups: state.groups.is_some() && !state.named.groups,
        }
    }

    /// The names that `unnamed` told are durable now.
    pub(super) fn set_named(&self, what: Named) {
        let mut state = self.state.lock();
        state.named.draft |= what.draft;
        state.named.groups |= what.groups;
    }

    /// Makes bytes, size and outboard durable; with `meta` also mtime and mode, which `fdatasync` leaves out.
    pub(super) fn flush(&self, meta: bool) -> Result<(), Errno> {
        let sync =
            |fd: BorrowedFd<'_>| retry_on_intr(|| if meta { fsync(fd) } else { fdatasync(fd) });
        sync(self.file.as_fd())?;
        self.groups().map_or(Ok(()), |groups| sync(groups.as_fd()))
    }

    /// See [`Inner::poisoned`].
    pub(super) fn poison(&self) {
        self.inner.poisoned.lock().insert(self.key.clone());
    }

    pub(super) fn refuse_poisoned(&self) -> Result<()> {
        if self.inner.poisoned.lock().contains(&self.key) {
            return Err(Error::new(
                Kind::Internal,
                "the storage failed to keep the received data; start this upload anew",
            ));
        }
        Ok(())
    }

    fn sync_now(&self) -> Result<()> {
        self.refuse_poisoned()?;
        let unnamed = self.unnamed();
        let done = self
            .flush(false)
            .and_then(|()| self.inner.sync_names(unnamed));
        match done {
            Ok(()) => {
                self.set_named(unnamed);
                Ok(())
            }
            Err(errno) => {
                self.poison();
                Err(errno::error(errno, "keep", About::Draft))
            }
        }
    }

    fn finish_now(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp> {
        self.refuse_poisoned()?;
        let done = || -> Result<Stamp, Errno> {
            let now = stamp(&fstat(&self.file)?);
            // Also at equal size, because it gives back blocks reserved past the end.
            if now.size != size || self.state.lock().reserved {
                match retry_on_intr(|| ftruncate(&self.file, size)) {
                    // A draft finished read-only before and opened again for its redo.
                    Err(Errno::INVAL | Errno::BADF) if now.size == size => {}
                    other => other?,
                }
            }
            let mode = file_mode(mode.unwrap_or(self.inner.default_mode));
            fchmod(&self.file, Mode::from_raw_mode(mode))?;
            futimens(&self.file, &mtime(mtime_ns))?;
            Ok(stamp(&fstat(&self.file)?))
        };
        done().map_err(|e| errno::error(e, "finish", About::Draft))
    }

    fn write_groups_now(&self, first: u64, values: &[u8]) -> Result<()> {
        let groups = self.groups_or_new()?;
        let piece = [IoSlice::new(values)];
        groups_offset(first)
            .and_then(|at| write_slices(groups.as_fd(), at, &mut piece.to_vec()))
            .map_err(|e| errno::error(e, "store hashes of", About::Draft))
    }

    fn read_groups_now(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>> {
        let Some(groups) = self.groups() else {
            return Ok(vec![None; count]);
        };
        let bytes = groups_offset(first)
            .and_then(|at| read_zeroed(groups.as_fd(), at, count.saturating_mul(CV_BYTES)))
            .map_err(|e| errno::error(e, "read hashes of", About::Draft))?;
        let (values, _) = bytes.as_chunks::<CV_BYTES>();
        Ok(values
            .iter()
            .map(|cv| (*cv != [0; CV_BYTES]).then_some(*cv))
            .collect())
    }
}

#[async_trait]
impl Draft for DraftHandle {
    fn key(&self) -> &Key {
        self.0.key()
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        self.run(move |draft| {
            write_all(draft.file(), offset, &data)
                .map_err(|e| errno::error(e, "write", About::Draft))
        })
        .await
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.run(move |draft| {
            read_zeroed(draft.file(), offset, len)
                .map(Bytes::from)
                .map_err(|e| errno::error(e, "read", About::Draft))
        })
        .await
    }

    async fn write_groups(&self, first: u64, values: &[Cv]) -> Result<()> {
        let values = values.as_flattened().to_vec();
        self.run(move |draft| draft.write_groups_now(first, &values))
            .await
    }

    async fn read_groups(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>> {
        self.run(move |draft| draft.read_groups_now(first, count))
            .await
    }

    async fn sync(&self) -> Result<()> {
        if self.0.inner.durability == Durability::None {
            return Ok(());
        }
        self.run(TreeDraft::sync_now).await
    }

    async fn finish(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp> {
        self.run(move |draft| draft.finish_now(size, mtime_ns, mode))
            .await
    }
}

/// What callers hold: cheap to send to a blocking thread.
#[derive(Debug)]
pub(super) struct DraftHandle(pub(super) Arc<TreeDraft>);

impl DraftHandle {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TreeDraft) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let draft = Arc::clone(&self.0);
        hop(move || work(&draft)).await
    }
}

fn missing_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) {
        Ok(())
    } else {
        result
    }
}

fn groups_offset(first: u64) -> Result<u64, Errno> {
    first.checked_mul(CV_BYTES as u64).ok_or(Errno::FBIG)
}
