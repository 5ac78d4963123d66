//! The application object: everything a protocol may call.
//!
//! Each verb that changes something runs as a task of its own: a client that goes away in the middle
//! ends its request, never a commit.

use crate::auth::Tokens;
pub use crate::auth::{Caller, Challenge, Credential};
use crate::ballast::Ballast;
use crate::catalog::{Db, MIGRATIONS, SyncMode};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
pub use crate::files::Spool;
use crate::files::*;
use crate::id::Key;
use crate::jobs::Jobs;
use crate::lock::DirLock;
use crate::settings::{Durability, Settings};
use crate::store::Store;
use crate::store::tree::Tree;
use gfl_api::path::FilePath;
use std::future::Future;
use std::sync::Arc;

/// Beside the store's own folders, where nothing is listed or addressed.
const STORAGE_LOCK: &str = ".gfl/lock";

/// The application. Cheap to share.
pub struct App {
    pub(crate) shared: Arc<Shared>,
    tokens: Tokens,
    /// `None` in tests that do by hand, in their order, what the jobs do.
    jobs: Option<Jobs>,
    /// Keeps a second server off the same folders.
    _locks: Vec<DirLock>,
}

impl App {
    /// Opens catalog and store, finishes what a crash left, starts the jobs.
    ///
    /// # Errors
    /// `Busy` when another server has the folders, `ReadOnlyStorage`, `Unavailable` (database), …
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<App>> {
        let mut locks = vec![DirLock::take(&settings.meta_dir.join("lock"))?];
        let store = Tree::open(&settings.storage_dir, settings.durability)?;
        // Two servers with two meta folders would take each other's files for edits by hand.
        match DirLock::take(&settings.storage_dir.join(STORAGE_LOCK)) {
            Ok(lock) => locks.push(lock),
            Err(error) if error.kind() == Kind::ReadOnlyStorage => {
                tracing::warn!(error = ?error, "the storage folder cannot be locked");
            }
            Err(error) => return Err(error),
        }
        let db = match &settings.database {
            Some(url) => {
                let db = Db::open_postgres(url, settings.database_connections_max).await?;
                db.claim().await?;
                db
            }
            None => {
                let sync = match settings.durability {
                    Durability::Batch | Durability::Strict => SyncMode::Full,
                    Durability::None => SyncMode::Off,
                };
                let ballast = Ballast::aboard(&settings.meta_dir);
                Db::open_sqlite_with(&settings.meta_dir.join("catalog.db"), sync, ballast).await?
            }
        };
        App::with_parts(settings, clock, store, db, locks).await
    }

    /// Over a given store and database (tests, other stores).
    pub async fn with_parts(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        db: Db,
        locks: Vec<DirLock>,
    ) -> Result<Arc<App>> {
        let mut app = App::begin(settings, clock, store, db, locks).await?;
        let shared = app.shared.clone();
        // Listed before the first request, so that no new draft is among them.
        let drafts = shared.store.drafts().await?;
        let collector = shared.clone();
        tokio::spawn(async move {
            match collector.collect_drafts(drafts).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed {count} drafts of broken requests"),
                Err(error) => tracing::warn!(error = ?error, "old drafts could not be removed"),
            }
        });
        if let Err(error) = shared.measure().await {
            tracing::warn!(error = ?error, "the room of the disk cannot be measured");
        }
        app.jobs = Some(Jobs::start(&shared));
        Ok(Arc::new(app))
    }

    /// Without jobs; what a crash left is finished.
    pub(crate) async fn begin(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        db: Db,
        locks: Vec<DirLock>,
    ) -> Result<App> {
        db.migrate(MIGRATIONS).await?;
        let tokens = Tokens::new(settings.tokens_file.clone(), &*clock);
        let shared = Shared::new(db, store, clock, settings);
        shared.recover().await?;
        Ok(App {
            shared,
            tokens,
            jobs: None,
            _locks: locks,
        })
    }

    /// Ends jobs, checkpoints uploads, settles, closes the catalog.
    pub async fn close(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.stop().await;
        }
        let shared = &self.shared;
        for done in [
            shared.checkpoint_due(0).await,
            shared.flush_access().await,
            shared.settle_round().await.map(|_| ()),
        ] {
            if let Err(error) = done {
                tracing::warn!(error = ?error, "not settled at the end; the next start does it");
            }
        }
        shared.db.close().await;
    }

    /// Runs to its end whatever becomes of the request.
    pub(crate) async fn detached<T, Fut>(&self, work: impl FnOnce(Arc<Shared>) -> Fut) -> Result<T>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        tokio::spawn(work(self.shared.clone()))
            .await
            .map_err(|e| Error::new(Kind::Internal, "the operation failed").caused_by(e))?
    }

    /// False when no tokens file is configured: then every caller is `anonymous` with `*`.
    pub fn auth_enabled(&self) -> bool {
        self.tokens.enabled()
    }

    /// Who this is. `peer` is the address without port. The message of `Unauthenticated` is v0's: for a
    /// token what follows `Authentication failed: `, otherwise the whole text.
    pub fn authenticate(&self, credential: &Credential, peer: &str) -> Result<Caller> {
        self.tokens
            .authenticate(credential, peer, self.shared.clock.now_ms())
    }

    /// What has become of the token with this id since it let somebody in.
    pub fn token_standing(&self, id: &str) -> crate::auth::Standing {
        self.tokens.standing(id, self.shared.clock.now_ms())
    }

    pub(crate) fn token_counts(&self) -> Option<crate::gauges::TokenCounts> {
        self.tokens.counts(self.shared.clock.now_ms())
    }

    /// A fresh challenge.
    pub fn challenge(&self) -> Result<Challenge> {
        self.tokens.challenge(&*self.shared.clock)
    }

    /// Catalog and store can be written (readiness).
    pub async fn ready(&self) -> Result<()> {
        self.shared.store.probe().await?;
        self.shared.ready().await
    }

    /// The time, unix ms.
    pub fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What a path names.
    pub async fn stat(&self, caller: &Caller, path: &FilePath) -> Result<Stat> {
        self.shared.stat(caller, path).await
    }

    /// Opens a file, or one of its kept versions.
    pub async fn open_file(
        &self,
        caller: &Caller,
        path: &FilePath,
        version: Option<&Key>,
    ) -> Result<OpenFile> {
        self.shared.open_file(caller, path, version).await
    }

    /// A page of a directory.
    pub async fn list(&self, caller: &Caller, query: &ListQuery) -> Result<ListPage> {
        self.shared.list(caller, query).await
    }

    /// Stores a whole file.
    pub async fn put(&self, caller: &Caller, put: Put, body: BodyStream) -> Result<Committed> {
        let caller = caller.clone();
        let path = put.path.clone();
        self.detached(|s| async move { s.put(&caller, put, body).await })
            .await
            .map_err(|error| error.about(&path))
    }

    /// Makes a directory and its parents; true when it is new.
    pub async fn mkdir(&self, caller: &Caller, path: &FilePath) -> Result<bool> {
        let (caller, path) = (caller.clone(), path.clone());
        self.detached(|s| async move { s.mkdir(&caller, &path).await })
            .await
    }

    /// Deletes; kept for undo.
    pub async fn delete(&self, caller: &Caller, path: &FilePath, how: &Delete) -> Result<()> {
        let (caller, path, how) = (caller.clone(), path.clone(), how.clone());
        self.detached(|s| async move { s.delete(&caller, &path, &how).await })
            .await
    }

    /// Moves a file or a directory.
    pub async fn rename(
        &self,
        caller: &Caller,
        from: &FilePath,
        to: &FilePath,
        how: &Relocate,
    ) -> Result<Committed> {
        let (caller, from, to, how) = (caller.clone(), from.clone(), to.clone(), how.clone());
        self.detached(|s| async move { s.rename(&caller, &from, &to, &how).await })
            .await
    }

    /// Copies a file (a directory is copied by its files, one call each).
    pub async fn copy(
        &self,
        caller: &Caller,
        from: &FilePath,
        to: &FilePath,
        how: &Relocate,
    ) -> Result<Committed> {
        let (caller, from, to, how) = (caller.clone(), from.clone(), to.clone(), how.clone());
        self.detached(|s| async move { s.copy(&caller, &from, &to, &how).await })
            .await
    }

    /// Changes mtime and mode.
    pub async fn set_meta(
        &self,
        caller: &Caller,
        path: &FilePath,
        meta: &FileMeta,
    ) -> Result<Stat> {
        let (caller, path, meta) = (caller.clone(), path.clone(), meta.clone());
        self.detached(|s| async move { s.set_meta(&caller, &path, &meta).await })
            .await
    }

    /// A page of the versions of a path, newest first; of a directory: of the deleted things directly in it.
    pub async fn versions(&self, caller: &Caller, query: &VersionsQuery) -> Result<VersionPage> {
        self.shared.versions(caller, query).await
    }

    /// Brings a kept version back (`None`: the newest deleted one).
    pub async fn restore(
        &self,
        caller: &Caller,
        path: &FilePath,
        version: Option<&Key>,
    ) -> Result<Stat> {
        let (caller, path, version) = (caller.clone(), path.clone(), version.cloned());
        self.detached(|s| async move { s.restore(&caller, &path, version.as_ref()).await })
            .await
    }

    /// Begins (true) or finds again (false) an upload session.
    pub async fn upload_begin(
        &self,
        caller: &Caller,
        begin: Begin,
    ) -> Result<(UploadStatus, bool)> {
        let caller = caller.clone();
        let path = begin.path.clone();
        self.detached(|s| async move { s.upload_begin(&caller, begin).await })
            .await
            .map_err(|error| error.about(&path))
    }

    /// The caller's sessions after id `after`.
    pub async fn upload_list(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UploadStatus>> {
        self.shared.upload_list(caller, after, limit).await
    }

    /// What is durable now. Disturbs nobody.
    pub async fn upload_status(&self, caller: &Caller, id: &str) -> Result<UploadStatus> {
        self.shared.upload_status(caller, id).await
    }

    /// Ends running writers, checkpoints, and says what is durable then (HEAD).
    pub async fn upload_fence(&self, caller: &Caller, id: &str) -> Result<UploadStatus> {
        let (caller, id) = (caller.clone(), id.to_owned());
        self.detached(|s| async move { s.upload_fence(&caller, &id).await })
            .await
    }

    /// Receives one part. What arrived before an error stays received (`ClientGone` when the body broke),
    /// unless a digest of the part was announced.
    pub async fn upload_part(
        &self,
        caller: &Caller,
        id: &str,
        part: Part,
        body: BodyStream,
    ) -> Result<UploadStatus> {
        let (caller, id) = (caller.clone(), id.to_owned());
        self.detached(|s| async move { s.upload_part(&caller, &id, part, body).await })
            .await
    }

    /// Receives bytes at the contiguous end, of unknown length; `offset` must be that end.
    pub async fn upload_append(
        &self,
        caller: &Caller,
        id: &str,
        offset: u64,
        body: BodyStream,
    ) -> Result<UploadStatus> {
        let (caller, id) = (caller.clone(), id.to_owned());
        self.detached(|s| async move { s.upload_append(&caller, &id, offset, body).await })
            .await
    }

    /// Completes: verifies (also the digests that were announced at the beginning), commits, publishes.
    /// The same answer again for 24 hours.
    pub async fn upload_complete(
        &self,
        caller: &Caller,
        id: &str,
        expected: Expected,
    ) -> Result<Committed> {
        let (caller, id) = (caller.clone(), id.to_owned());
        self.detached(|s| async move { s.upload_complete(&caller, &id, expected).await })
            .await
    }

    /// Cancels.
    pub async fn upload_cancel(&self, caller: &Caller, id: &str) -> Result<()> {
        let (caller, id) = (caller.clone(), id.to_owned());
        self.detached(|s| async move { s.upload_cancel(&caller, &id).await })
            .await
    }

    /// Starts receiving a v0 chunk. The permission is checked when its path is known, in `v0_chunk`.
    pub fn v0_spool(&self, _caller: &Caller) -> Result<Spool> {
        Ok(self.shared.v0_spool())
    }

    /// Files a v0 chunk; completes the upload with the last one (`Some`).
    pub async fn v0_chunk(
        &self,
        caller: &Caller,
        chunk: V0Chunk,
        spool: Spool,
    ) -> Result<Option<Committed>> {
        let caller = caller.clone();
        let path = chunk.path.clone();
        self.detached(|s| async move { s.v0_chunk(&caller, chunk, spool).await })
            .await
            .map_err(|error| error.about(&path))
    }

    /// State of the caller's v0 upload to a path, `None` without a session.
    pub async fn v0_status(&self, caller: &Caller, path: &FilePath) -> Result<Option<V0Status>> {
        self.shared.v0_status(caller, path).await
    }
}
