//! A store that fails on demand, for tests of everything above. Must not change what succeeds.

use super::{Content, Draft, Found, Link, Names, Place, Publish, Published, Space, Stamp, Store};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::path::FilePath;
use gfl_api::tree::Cv;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// What may fail. Each is one method or a small family of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `create`, `create_whole`, `create_copy`.
    Create,
    /// `reopen`, `drafts`.
    Reopen,
    /// [`Draft::write_at`].
    Write,
    /// [`Draft::read_at`] and [`Content::read_at`].
    Read,
    /// [`Draft::write_groups`] and [`Draft::read_groups`].
    Groups,
    /// [`Draft::sync`]. A failure poisons the draft, as a failed fsync does.
    Sync,
    /// [`Draft::finish`].
    Finish,
    /// [`Store::settle`]. A failure poisons its drafts.
    Settle,
    /// [`Store::discard`].
    Discard,
    /// [`Store::publish`].
    Publish,
    /// [`Store::retire`].
    Retire,
    /// [`Store::unretire`].
    Unretire,
    /// [`Store::rename`].
    Rename,
    /// [`Store::make_dir`].
    MakeDir,
    /// [`Store::set_meta`].
    SetMeta,
    /// [`Store::sync_dirs`].
    SyncDirs,
    /// [`Store::remove_kept`].
    RemoveKept,
    /// `stat`, `link`, `stat_kept`, `list`, `collides`.
    Look,
    /// [`Store::open`].
    Open,
    /// `space`, `probe`.
    Probe,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `StorageFull`, nothing done.
    Full,
    /// `Internal`, nothing done.
    Io,
    /// For `Write`: the first half is written, then `StorageFull`. Elsewhere like `Full`.
    Short,
    /// Everything done, then `Internal`: the answer was lost.
    Lost,
}

#[derive(Debug)]
struct Rule {
    op: Op,
    fault: Fault,
    skip: u64,
    times: u64,
}

/// The switchboard. Shared by the store and its drafts; may be changed while they work.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    poisoned: Mutex<HashSet<Key>>,
    denied: Mutex<HashSet<FilePath>>,
}

impl Faults {
    /// Lets `op` succeed `skip` times, then fail `times` times with `fault`.
    pub fn fail(&self, op: Op, fault: Fault, skip: u64, times: u64) {
        self.rules.lock().push(Rule {
            op,
            fault,
            skip,
            times,
        });
    }

    /// From now on the server may not open `path`, nor reach anything below it, as if it had mode 0.
    pub fn deny(&self, path: FilePath) {
        self.denied.lock().insert(path);
    }

    /// Nothing fails any more (poisoned drafts stay so).
    pub fn clear(&self) {
        self.rules.lock().clear();
        self.denied.lock().clear();
    }

    /// Whether `path` can be reached; with `open` also whether it can be opened.
    fn admit(&self, path: &FilePath, open: bool) -> Result<()> {
        let hides = |denied: &FilePath| path.starts_with(denied) && (open || path != denied);
        if !self.denied.lock().iter().any(hides) {
            return Ok(());
        }
        let text = format!("cannot open {path}: no permission (injected)");
        Err(Error::new(Kind::StoragePermission, text))
    }

    fn admit_place(&self, place: &Place) -> Result<()> {
        match place {
            Place::Visible(path) => self.admit(path, true),
            Place::Kept(_) => Ok(()),
        }
    }

    /// Failures still to come.
    pub fn armed(&self) -> u64 {
        self.rules.lock().iter().map(|rule| rule.times).sum()
    }

    fn next(&self, op: Op) -> Option<Fault> {
        let mut rules = self.rules.lock();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.op == op && rule.times > 0)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault)
    }

    /// Runs `work` unless it is to fail.
    async fn run<T>(&self, op: Op, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next(op) {
            None => work.await,
            Some(Fault::Lost) => {
                work.await?;
                Err(io())
            }
            Some(Fault::Full | Fault::Short) => Err(full()),
            Some(Fault::Io) => Err(io()),
        }
    }

    /// Like `run` for syncs, which never succeed again once they failed.
    async fn sync(
        &self,
        op: Op,
        keys: &[Key],
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        self.refuse_poisoned(keys)?;
        let done = self.run(op, work).await;
        if done.is_err() {
            self.poisoned.lock().extend(keys.iter().cloned());
        }
        done
    }

    fn refuse_poisoned(&self, keys: &[Key]) -> Result<()> {
        let poisoned = self.poisoned.lock();
        if keys.iter().any(|key| poisoned.contains(key)) {
            Err(io())
        } else {
            Ok(())
        }
    }
}

fn full() -> Error {
    Error::new(Kind::StorageFull, "no space left on the storage (injected)")
}

fn io() -> Error {
    Error::new(Kind::Internal, "the storage failed (injected)")
}

/// A store that fails on demand.
pub struct Faulty {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
}

impl Faulty {
    /// Around `inner`; fails nothing until told.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner,
            faults: Arc::default(),
        })
    }

    /// The switchboard.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    fn draft(&self, inner: Arc<dyn Draft>) -> Arc<dyn Draft> {
        Arc::new(FaultyDraft {
            inner,
            faults: Arc::clone(&self.faults),
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Faulty {
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>> {
        let draft = self
            .faults
            .run(Op::Create, self.inner.create(key, size_hint))
            .await?;
        Ok(self.draft(draft))
    }

    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)> {
        let work = self.inner.create_whole(key, data, mtime_ns, mode);
        let (draft, stamp) = self.faults.run(Op::Create, work).await?;
        Ok((self.draft(draft), stamp))
    }

    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>> {
        self.faults.admit_place(from)?;
        let work = self.inner.create_copy(key, from, from_key);
        Ok(self.draft(self.faults.run(Op::Create, work).await?))
    }

    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>> {
        let draft = self.faults.run(Op::Reopen, self.inner.reopen(key)).await?;
        Ok(draft.map(|draft| self.draft(draft)))
    }

    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()> {
        let keys: Vec<Key> = drafts.iter().map(|draft| draft.key().clone()).collect();
        let work = async {
            let mut inner = Vec::with_capacity(keys.len());
            for key in &keys {
                // The wrapped store must see its own drafts, not ours.
                let gone = || Error::new(Kind::NotFound, "the received data is gone");
                inner.push(self.inner.reopen(key).await?.ok_or_else(gone)?);
            }
            self.inner.settle(&inner).await
        };
        self.faults.sync(Op::Settle, &keys, work).await
    }

    async fn discard(&self, key: &Key) -> Result<()> {
        self.faults.run(Op::Discard, self.inner.discard(key)).await
    }

    async fn publish(&self, publish: &Publish) -> Result<Published> {
        self.faults
            .run(Op::Publish, self.inner.publish(publish))
            .await
    }

    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool> {
        self.faults
            .run(Op::Retire, self.inner.retire(path, ino, key))
            .await
    }

    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool> {
        self.faults
            .run(Op::Unretire, self.inner.unretire(key, ino, path))
            .await
    }

    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool> {
        self.faults
            .run(Op::Rename, self.inner.rename(from, ino, to, over))
            .await
    }

    async fn make_dir(&self, path: &FilePath) -> Result<bool> {
        self.faults
            .run(Op::MakeDir, self.inner.make_dir(path))
            .await
    }

    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        self.faults
            .run(Op::SetMeta, self.inner.set_meta(path, mtime_ns, mode))
            .await
    }

    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        self.faults
            .run(Op::SyncDirs, self.inner.sync_dirs(dirs))
            .await
    }

    async fn remove_kept(&self, key: &Key) -> Result<()> {
        self.faults
            .run(Op::RemoveKept, self.inner.remove_kept(key))
            .await
    }

    async fn stat(&self, path: &FilePath) -> Result<Found> {
        self.faults.admit(path, false)?;
        self.faults.run(Op::Look, self.inner.stat(path)).await
    }

    async fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>> {
        self.faults.run(Op::Look, self.inner.link(place, at)).await
    }

    async fn stat_kept(&self, key: &Key) -> Result<Found> {
        self.faults.run(Op::Look, self.inner.stat_kept(key)).await
    }

    async fn open(&self, place: &Place) -> Result<Arc<dyn Content>> {
        self.faults.admit_place(place)?;
        let inner = self.faults.run(Op::Open, self.inner.open(place)).await?;
        Ok(Arc::new(FaultyContent {
            inner,
            faults: Arc::clone(&self.faults),
        }))
    }

    async fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Names> {
        self.faults.admit(dir, true)?;
        self.faults
            .run(Op::Look, self.inner.list(dir, after, limit))
            .await
    }

    async fn collides(&self, path: &FilePath) -> Result<Option<String>> {
        self.faults.run(Op::Look, self.inner.collides(path)).await
    }

    async fn drafts(&self) -> Result<Vec<Key>> {
        self.faults.run(Op::Reopen, self.inner.drafts()).await
    }

    async fn space(&self) -> Result<Space> {
        self.faults.run(Op::Probe, self.inner.space()).await
    }

    async fn probe(&self) -> Result<()> {
        self.faults.run(Op::Probe, self.inner.probe()).await
    }
}

struct FaultyDraft {
    inner: Arc<dyn Draft>,
    faults: Arc<Faults>,
}

/// The first half of the bytes.
fn half(data: Vec<Bytes>) -> Vec<Bytes> {
    let mut left = data.iter().map(Bytes::len).sum::<usize>() / 2;
    let cut = |piece: Bytes| {
        let piece = piece.slice(..piece.len().min(left));
        left -= piece.len();
        piece
    };
    data.into_iter().map(cut).collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Draft for FaultyDraft {
    fn key(&self) -> &Key {
        self.inner.key()
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        match self.faults.next(Op::Write) {
            None => self.inner.write_at(offset, data).await,
            Some(Fault::Short) => {
                self.inner.write_at(offset, half(data)).await?;
                Err(full())
            }
            Some(Fault::Lost) => {
                self.inner.write_at(offset, data).await?;
                Err(io())
            }
            Some(Fault::Full) => Err(full()),
            Some(Fault::Io) => Err(io()),
        }
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.faults
            .run(Op::Read, self.inner.read_at(offset, len))
            .await
    }

    async fn write_groups(&self, first: u64, values: &[Cv]) -> Result<()> {
        self.faults
            .run(Op::Groups, self.inner.write_groups(first, values))
            .await
    }

    async fn read_groups(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>> {
        self.faults
            .run(Op::Groups, self.inner.read_groups(first, count))
            .await
    }

    async fn sync(&self) -> Result<()> {
        let key = std::slice::from_ref(self.inner.key());
        self.faults.sync(Op::Sync, key, self.inner.sync()).await
    }

    async fn finish(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp> {
        self.faults
            .run(Op::Finish, self.inner.finish(size, mtime_ns, mode))
            .await
    }
}

struct FaultyContent {
    inner: Arc<dyn Content>,
    faults: Arc<Faults>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Content for FaultyContent {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.faults
            .run(Op::Read, self.inner.read_at(offset, len))
            .await
    }

    fn stamp(&self) -> Stamp {
        self.inner.stamp()
    }

    fn mode(&self) -> u32 {
        self.inner.mode()
    }

    async fn unchanged(&self) -> Result<bool> {
        self.faults.run(Op::Read, self.inner.unchanged()).await
    }
}
