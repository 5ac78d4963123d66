//! A store on a disk that may be full: a step that finds no room runs again for as long as somebody makes some,
//! and what fills the disk may be refused although there is room. Knows not how room is made.

use super::{Content, Draft, Found, Link, Names, Place, Publish, Published, Space, Stamp, Store};
use crate::error::{Kind, Result};
use crate::id::Key;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gfl_api::path::FilePath;
use gfl_api::tree::Cv;
use std::sync::Arc;

/// What room is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A file of so many bytes: pointless when it could not fit at all.
    File(u64),
    /// A piece of one whose length nobody knows.
    Piece,
}

/// Who makes room.
#[async_trait]
pub trait Rooms: Send + Sync {
    /// `StorageFull` while nothing may be added.
    async fn admit(&self) -> Result<()>;
    /// How often room was made so far.
    fn made(&self) -> u64;
    /// Makes some, unless somebody has since `made` was so many; false when there is none to make. `tries`
    /// counts how often that was not enough.
    async fn make(&self, wanted: Wanted, made: u64, tries: u32) -> Result<bool>;
    /// The last resort of a step without which no disk is emptied; false when it is spent.
    fn let_go(&self) -> bool;
}

/// See the module.
pub struct Roomy {
    inner: Arc<dyn Store>,
    rooms: Arc<dyn Rooms>,
}

impl Roomy {
    /// Around `inner`.
    pub fn new(inner: Arc<dyn Store>, rooms: Arc<dyn Rooms>) -> Roomy {
        Roomy { inner, rooms }
    }

    fn draft(&self, inner: Arc<dyn Draft>) -> Arc<dyn Draft> {
        Arc::new(RoomyDraft {
            inner,
            rooms: Arc::clone(&self.rooms),
        })
    }
}

/// Runs a step that needs room.
async fn find<'a, T>(
    rooms: &dyn Rooms,
    wanted: Wanted,
    step: impl Fn() -> BoxFuture<'a, Result<T>> + Sync,
) -> Result<T> {
    let mut tries = 0;
    loop {
        let made = rooms.made();
        let done = match rooms.admit().await {
            Ok(()) => step().await,
            Err(error) => Err(error),
        };
        match done {
            Err(error) if error.kind() == Kind::StorageFull => {
                if !rooms.make(wanted, made, tries).await? {
                    return Err(error);
                }
                tries += 1;
            }
            done => return done,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Roomy {
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>> {
        let wanted = Wanted::File(size_hint.unwrap_or(0));
        let step = || self.inner.create(key, size_hint);
        Ok(self.draft(find(&*self.rooms, wanted, step).await?))
    }

    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)> {
        let wanted = Wanted::File(data.iter().map(|piece| piece.len() as u64).sum());
        let step = || self.inner.create_whole(key, data.clone(), mtime_ns, mode);
        let (draft, stamp) = find(&*self.rooms, wanted, step).await?;
        Ok((self.draft(draft), stamp))
    }

    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>> {
        let wanted = Wanted::File(self.inner.open(from).await?.stamp().size);
        let step = || self.inner.create_copy(key, from, from_key);
        Ok(self.draft(find(&*self.rooms, wanted, step).await?))
    }

    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>> {
        let draft = self.inner.reopen(key).await?;
        Ok(draft.map(|draft| self.draft(draft)))
    }

    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()> {
        self.inner.settle(drafts).await
    }

    async fn discard(&self, key: &Key) -> Result<()> {
        self.inner.discard(key).await
    }

    async fn publish(&self, publish: &Publish) -> Result<Published> {
        self.inner.publish(publish).await
    }

    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool> {
        match self.inner.retire(path, ino, key).await {
            Err(error) if error.kind() == Kind::StorageFull && self.rooms.let_go() => {
                self.inner.retire(path, ino, key).await
            }
            done => done,
        }
    }

    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool> {
        self.inner.unretire(key, ino, path).await
    }

    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool> {
        self.inner.rename(from, ino, to, over).await
    }

    async fn make_dir(&self, path: &FilePath) -> Result<bool> {
        self.inner.make_dir(path).await
    }

    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        self.inner.set_meta(path, mtime_ns, mode).await
    }

    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        self.inner.sync_dirs(dirs).await
    }

    async fn remove_kept(&self, key: &Key) -> Result<()> {
        self.inner.remove_kept(key).await
    }

    async fn stat(&self, path: &FilePath) -> Result<Found> {
        self.inner.stat(path).await
    }

    async fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>> {
        self.inner.link(place, at).await
    }

    async fn stat_kept(&self, key: &Key) -> Result<Found> {
        self.inner.stat_kept(key).await
    }

    async fn open(&self, place: &Place) -> Result<Arc<dyn Content>> {
        self.inner.open(place).await
    }

    async fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Names> {
        self.inner.list(dir, after, limit).await
    }

    async fn collides(&self, path: &FilePath) -> Result<Option<String>> {
        self.inner.collides(path).await
    }

    async fn drafts(&self) -> Result<Vec<Key>> {
        self.inner.drafts().await
    }

    async fn space(&self) -> Result<Space> {
        self.inner.space().await
    }

    async fn probe(&self) -> Result<()> {
        self.inner.probe().await
    }
}

struct RoomyDraft {
    inner: Arc<dyn Draft>,
    rooms: Arc<dyn Rooms>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Draft for RoomyDraft {
    fn key(&self) -> &Key {
        self.inner.key()
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let step = || self.inner.write_at(offset, data.clone());
        find(&*self.rooms, Wanted::Piece, step).await
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.inner.read_at(offset, len).await
    }

    async fn write_groups(&self, first: u64, values: &[Cv]) -> Result<()> {
        let step = || self.inner.write_groups(first, values);
        find(&*self.rooms, Wanted::Piece, step).await
    }

    async fn read_groups(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>> {
        self.inner.read_groups(first, count).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    async fn finish(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp> {
        self.inner.finish(size, mtime_ns, mode).await
    }
}
