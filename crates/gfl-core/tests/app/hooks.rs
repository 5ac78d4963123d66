//! A store at whose steps a test can do something: a person's change at the worst moment, or the end of the
//! process before or after the step.

use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::path::FilePath;
use gfl_core::Result;
use gfl_core::id::Key;
use gfl_core::store::{
    Content, Draft, Found, Link, Names, Place, Publish, Published, Space, Stamp, Store,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The steps a transaction owes the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Publish,
    Retire,
    Unretire,
    Rename,
    MakeDir,
    SetMeta,
    RemoveKept,
}

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dies {
    Before,
    After,
}

type Act = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Hooks {
    acts: Mutex<HashMap<Step, Act>>,
    deaths: Mutex<HashMap<Step, Dies>>,
    dead: Notify,
}

impl Hooks {
    /// Does something right before the next such step.
    pub(crate) fn before(&self, step: Step, act: impl FnOnce() + Send + 'static) {
        self.acts.lock().insert(step, Box::new(act));
    }

    /// The next such step never returns.
    pub(crate) fn die(&self, step: Step, when: Dies) {
        self.deaths.lock().insert(step, when);
    }

    /// No step is special any more.
    pub(crate) fn clear(&self) {
        self.acts.lock().clear();
        self.deaths.lock().clear();
    }

    /// Resolves once the process has "died".
    pub(crate) async fn dead(&self) {
        self.dead.notified().await;
    }

    async fn run<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
        let act = self.acts.lock().remove(&step);
        if let Some(act) = act {
            act();
        }
        let death = self.deaths.lock().remove(&step);
        if death == Some(Dies::Before) {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        let done = work.await;
        if death == Some(Dies::After) {
            self.dead.notify_one();
            std::future::pending::<()>().await;
        }
        done
    }
}

pub(crate) struct Hooked {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) hooks: Arc<Hooks>,
}

#[async_trait]
impl Store for Hooked {
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>> {
        self.inner.create(key, size_hint).await
    }
    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)> {
        self.inner.create_whole(key, data, mtime_ns, mode).await
    }
    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>> {
        self.inner.create_copy(key, from, from_key).await
    }
    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>> {
        self.inner.reopen(key).await
    }
    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()> {
        self.inner.settle(drafts).await
    }
    async fn discard(&self, key: &Key) -> Result<()> {
        self.inner.discard(key).await
    }
    async fn publish(&self, publish: &Publish) -> Result<Published> {
        self.hooks
            .run(Step::Publish, self.inner.publish(publish))
            .await
    }
    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool> {
        self.hooks
            .run(Step::Retire, self.inner.retire(path, ino, key))
            .await
    }
    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool> {
        self.hooks
            .run(Step::Unretire, self.inner.unretire(key, ino, path))
            .await
    }
    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool> {
        self.hooks
            .run(Step::Rename, self.inner.rename(from, ino, to, over))
            .await
    }
    async fn make_dir(&self, path: &FilePath) -> Result<bool> {
        self.hooks
            .run(Step::MakeDir, self.inner.make_dir(path))
            .await
    }
    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        self.hooks
            .run(Step::SetMeta, self.inner.set_meta(path, mtime_ns, mode))
            .await
    }
    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        self.inner.sync_dirs(dirs).await
    }
    async fn remove_kept(&self, key: &Key) -> Result<()> {
        self.hooks
            .run(Step::RemoveKept, self.inner.remove_kept(key))
            .await
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
