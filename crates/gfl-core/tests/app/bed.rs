//! An application over a store and a database of its own, and a person with a shell beside it.

use crate::bodies::{body, framed, statement};
use crate::ground::{Ground, NEXT, database, open, person_writes};
use crate::hooks::{Hooked, Hooks};
use gfl_api::path::FilePath;
use gfl_api::tree::Root;
use gfl_core::auth::{Caller, Rule};
use gfl_core::catalog::Db;
use gfl_core::clock::{Clock, ManualClock};
use gfl_core::files::*;
use gfl_core::id::Key;
use gfl_core::settings::{Durability, Settings};
use gfl_core::store::fault::{Faults, Faulty};
use gfl_core::store::memory::Memory;
use gfl_core::store::tree::Tree;
use gfl_core::store::{Place, Store};
use gfl_core::{App, Kind, Result};
use parking_lot::Mutex;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use tempfile::TempDir;

/// When tests begin, unix ms.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

pub(crate) struct Bed {
    app: Mutex<Arc<App>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) me: Caller,
    ground: Ground,
    schema: Option<String>,
    _temp: TempDir,
}

/// See [`Bed::reopened_with`].
pub(crate) struct Other {
    pub(crate) app: Arc<App>,
    pub(crate) me: Caller,
}

impl Other {
    pub(crate) fn put_of(&self, at: &str, data: &[u8]) -> Put {
        put_of(at, data)
    }

    pub(crate) async fn try_put(&self, at: &str, data: &[u8]) -> Result<Committed> {
        self.app
            .put(&self.me, put_of(at, data), framed(data, 10_007))
            .await
    }
}

fn put_of(at: &str, data: &[u8]) -> Put {
    Put {
        path: path(at),
        len: Some(data.len() as u64),
        meta: FileMeta::default(),
        expected: Expected::default(),
        pre: Preconditions::default(),
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::parse(text).unwrap()
}

/// A caller with these permissions at the root.
pub(crate) fn caller(user: &str, peer: &str, permissions: &[&str]) -> Caller {
    let rule = Rule {
        prefix: FilePath::root(),
        allow: true,
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
    };
    Caller::new(user, None, peer, None, vec![rule])
}

#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(result: Result<T>, kind: Kind) {
    match result {
        Err(error) if error.kind() == kind => {}
        other => panic!("expected {kind:?}, got {other:?}"),
    }
}

impl Bed {
    pub(crate) async fn tree() -> Bed {
        Bed::make(true, None).await
    }

    pub(crate) async fn memory() -> Bed {
        Bed::make(false, None).await
    }

    pub(crate) async fn postgres() -> Option<Bed> {
        let Ok(url) = std::env::var("GFL_TEST_PG") else {
            static ONCE: Once = Once::new();
            // Past the harness, which swallows what a passing test prints.
            ONCE.call_once(|| {
                let loud =
                    b"\n!!! GFL_TEST_PG is not set: the app was NOT tested on PostgreSQL !!!\n";
                std::io::stderr().write_all(loud).unwrap();
            });
            return None;
        };
        Some(Bed::make(true, Some(url)).await)
    }

    async fn make(tree: bool, postgres: Option<String>) -> Bed {
        let temp = TempDir::new().unwrap();
        let mut settings = Settings::new(temp.path().join("storage"), temp.path().join("meta"));
        std::fs::create_dir_all(&settings.meta_dir).unwrap();
        settings.undo_free_percent_min = 0;
        let mut schema = None;
        if let Some(url) = postgres {
            let name = format!(
                "app_{}_{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            statement(&url, format!("CREATE SCHEMA {name}")).await;
            let joint = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{joint}options=-c%20search_path%3D{name}");
            settings.database = Some(url.parse().unwrap());
            schema = Some(name);
        }
        let (ground, inner): (Ground, Arc<dyn Store>) = if tree {
            let dir = settings.storage_dir.clone();
            let store = Tree::open(&dir, Durability::None).unwrap();
            (Ground::Tree(dir), store)
        } else {
            let memory = Memory::new();
            (Ground::Memory(memory.clone()), memory)
        };
        let faulty = Faulty::new(inner);
        let hooks: Arc<Hooks> = Arc::default();
        let faults = faulty.faults().clone();
        let store: Arc<dyn Store> = Arc::new(Hooked {
            inner: faulty,
            hooks: hooks.clone(),
        });
        let clock = Arc::new(ManualClock::new(START_MS, 7));
        let app = open(&settings, &clock, &store).await;
        Bed {
            app: Mutex::new(app),
            clock,
            faults,
            hooks,
            store,
            settings,
            me: caller("me", "10.0.0.1", &["*"]),
            ground,
            schema,
            _temp: temp,
        }
    }

    pub(crate) fn app(&self) -> Arc<App> {
        self.app.lock().clone()
    }

    /// The process ends here and now; another starts.
    pub(crate) async fn restart(&self) {
        let app = open(&self.settings, &self.clock, &self.store).await;
        *self.app.lock() = app;
    }

    /// The power goes, and of the changes of names the first `survivors` are on the disk. Memory only.
    pub(crate) async fn power_cut(&self, survivors: usize) {
        if let Ground::Memory(memory) = &self.ground {
            memory.crash_keeping(survivors);
        }
        self.restart().await;
    }

    /// A second application over the same store and database, with other settings.
    pub(crate) async fn reopened_with(&self, settings: Settings) -> Other {
        Other {
            app: open(&settings, &self.clock, &self.store).await,
            me: self.me.clone(),
        }
    }

    pub(crate) fn memory_store(&self) -> Option<Arc<Memory>> {
        match &self.ground {
            Ground::Memory(memory) => Some(memory.clone()),
            Ground::Tree(_) => None,
        }
    }

    pub(crate) fn dir(&self) -> Option<PathBuf> {
        match &self.ground {
            Ground::Tree(dir) => Some(dir.clone()),
            Ground::Memory(_) => None,
        }
    }

    /// The catalog's database by a way of its own.
    pub(crate) async fn database(&self) -> Db {
        database(&self.settings).await
    }

    pub(crate) async fn jobs(&self) {
        self.app().run_jobs().await.unwrap();
    }

    /// Catalog and store agree, and nothing is left over.
    #[track_caller]
    pub(crate) fn check(&self) -> impl Future<Output = ()> {
        let app = self.app();
        let place = std::panic::Location::caller();
        async move {
            app.run_jobs().await.unwrap();
            let wrong = app.audit().await.unwrap();
            assert!(wrong.is_empty(), "audit at {place}: {wrong:#?}");
        }
    }

    pub(crate) async fn leave(self) {
        self.check().await;
        self.app().close().await;
        if let (Some(schema), Ok(url)) = (&self.schema, std::env::var("GFL_TEST_PG")) {
            statement(&url, format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    // --- verbs, shortened ---

    pub(crate) async fn put(&self, at: &str, data: &[u8]) -> Committed {
        self.try_put(at, data).await.unwrap()
    }

    pub(crate) async fn try_put(&self, at: &str, data: &[u8]) -> Result<Committed> {
        self.app()
            .put(&self.me, self.put_of(at, data), framed(data, 10_007))
            .await
    }

    pub(crate) fn put_of(&self, at: &str, data: &[u8]) -> Put {
        put_of(at, data)
    }

    pub(crate) async fn get(&self, at: &str) -> Result<Vec<u8>> {
        self.get_version(at, None).await
    }

    pub(crate) async fn get_version(&self, at: &str, version: Option<&Key>) -> Result<Vec<u8>> {
        let open = self.app().open_file(&self.me, &path(at), version).await?;
        let mut out = Vec::new();
        loop {
            let piece = open.content.read_at(out.len() as u64, 300_000).await?;
            if piece.is_empty() {
                break;
            }
            out.extend_from_slice(&piece);
        }
        assert!(open.content.unchanged().await?);
        let Node::File { size, b3, .. } = &open.stat.node else {
            panic!("a directory was opened");
        };
        assert_eq!(*size, out.len() as u64);
        assert!(
            b3.is_none_or(|b3| b3 == Root::of(&out)),
            "{at}: the b3 is of other bytes"
        );
        Ok(out)
    }

    pub(crate) async fn stat(&self, at: &str) -> Result<Stat> {
        self.app().stat(&self.me, &path(at)).await
    }

    pub(crate) async fn has(&self, at: &str, data: &[u8]) {
        let got = self.get(at).await.unwrap();
        assert!(
            got == data,
            "{at}: {} bytes instead of {}",
            got.len(),
            data.len()
        );
    }

    pub(crate) async fn is_gone(&self, at: &str) {
        fails(self.stat(at).await, Kind::NotFound);
    }

    pub(crate) async fn is_dir(&self, at: &str) {
        assert!(
            matches!(self.stat(at).await.unwrap().node, Node::Dir),
            "{at}"
        );
    }

    pub(crate) async fn mkdir(&self, at: &str) -> bool {
        self.app().mkdir(&self.me, &path(at)).await.unwrap()
    }

    pub(crate) async fn delete(&self, at: &str) -> Result<()> {
        let how = Delete {
            recursive: true,
            ..Delete::default()
        };
        self.app().delete(&self.me, &path(at), &how).await
    }

    pub(crate) async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<Committed> {
        let how = Relocate {
            overwrite,
            ..Relocate::default()
        };
        self.app()
            .rename(&self.me, &path(from), &path(to), &how)
            .await
    }

    pub(crate) async fn copy(&self, from: &str, to: &str, overwrite: bool) -> Result<Committed> {
        let how = Relocate {
            overwrite,
            ..Relocate::default()
        };
        self.app()
            .copy(&self.me, &path(from), &path(to), &how)
            .await
    }

    pub(crate) async fn restore(&self, at: &str, version: Option<&Key>) -> Result<Stat> {
        self.app().restore(&self.me, &path(at), version).await
    }

    pub(crate) async fn set_meta(
        &self,
        at: &str,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Stat> {
        let meta = FileMeta { mtime_ns, mode };
        self.app().set_meta(&self.me, &path(at), &meta).await
    }

    /// Events as "Kind path" or "Kind path > target".
    pub(crate) async fn events(&self) -> Vec<String> {
        let all = self.app().events().await.unwrap();
        all.into_iter()
            .map(|e| match e.target {
                Some(target) => format!("{} {} > {target}", e.kind, e.path),
                None => format!("{} {}", e.kind, e.path),
            })
            .collect()
    }

    pub(crate) async fn drafts(&self) -> usize {
        self.store.drafts().await.unwrap().len()
    }

    // --- a person with a shell ---

    pub(crate) fn person_writes(&self, at: &str, data: &[u8]) {
        person_writes(&self.ground, at, data);
    }

    /// The same as a value that can be moved into a hook.
    pub(crate) fn person_will_write(
        &self,
        at: &str,
        data: &[u8],
    ) -> impl FnOnce() + Send + 'static {
        let (ground, at, data) = (self.ground.clone(), at.to_owned(), data.to_vec());
        move || person_writes(&ground, &at, &data)
    }

    pub(crate) fn person_removes(&self, at: &str) {
        match &self.ground {
            Ground::Memory(memory) => memory.person_removes(&path(at)),
            Ground::Tree(dir) => {
                let full = dir.join(at);
                if full.is_dir() {
                    std::fs::remove_dir_all(full).unwrap();
                } else {
                    std::fs::remove_file(full).unwrap();
                }
            }
        }
    }

    /// What is kept under a key, whatever the catalog says.
    pub(crate) async fn kept_bytes(&self, key: &Key) -> bool {
        self.store.open(&Place::Kept(key.clone())).await.is_ok()
    }

    pub(crate) async fn begin(&self, at: &str, len: Option<u64>) -> String {
        self.begin_with(at, len, |_| {}).await
    }

    pub(crate) async fn begin_with(
        &self,
        at: &str,
        len: Option<u64>,
        f: impl FnOnce(&mut Begin),
    ) -> String {
        let mut begin = Begin {
            path: path(at),
            len,
            fingerprint: None,
            meta: FileMeta::default(),
            expected: Expected::default(),
            pre: Preconditions::default(),
        };
        f(&mut begin);
        self.app().upload_begin(&self.me, begin).await.unwrap().0.id
    }

    pub(crate) async fn part(&self, id: &str, start: usize, data: &[u8]) -> Result<UploadStatus> {
        self.part_of(id, start, data.len(), body(data)).await
    }

    pub(crate) async fn part_of(
        &self,
        id: &str,
        start: usize,
        len: usize,
        body: BodyStream,
    ) -> Result<UploadStatus> {
        let part = Part {
            start: start as u64,
            end: (start + len) as u64,
            total: None,
            expected: Expected::default(),
        };
        self.app().upload_part(&self.me, id, part, body).await
    }

    pub(crate) async fn complete(&self, id: &str) -> Result<Committed> {
        self.app()
            .upload_complete(&self.me, id, Expected::default())
            .await
    }

    pub(crate) async fn status(&self, id: &str) -> Result<UploadStatus> {
        self.app().upload_status(&self.me, id).await
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
