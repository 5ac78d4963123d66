//! What a bed stands on: where its bytes and its rows are.

use crate::bed::path;
use gfl_core::App;
use gfl_core::catalog::{Db, SyncMode};
use gfl_core::clock::ManualClock;
use gfl_core::settings::Settings;
use gfl_core::store::Store;
use gfl_core::store::memory::Memory;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers whatever needs a name of its own.
pub(crate) static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Clone)]
pub(crate) enum Ground {
    Tree(PathBuf),
    Memory(Arc<Memory>),
}

pub(crate) fn person_writes(ground: &Ground, at: &str, data: &[u8]) {
    match ground {
        Ground::Memory(memory) => memory.person_writes(&path(at), data),
        Ground::Tree(dir) => {
            let full = dir.join(at);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            let new = dir.join(format!(".new-{}~", NEXT.fetch_add(1, Ordering::Relaxed)));
            std::fs::write(&new, data).unwrap();
            std::fs::rename(new, full).unwrap();
        }
    }
}

pub(crate) async fn database(settings: &Settings) -> Db {
    match &settings.database {
        Some(url) => Db::open_postgres(url, 8).await,
        None => Db::open_sqlite(&settings.meta_dir.join("catalog.db"), SyncMode::Off).await,
    }
    .unwrap()
}

pub(crate) async fn open(
    settings: &Settings,
    clock: &Arc<ManualClock>,
    store: &Arc<dyn Store>,
) -> Arc<App> {
    let db = database(settings).await;
    App::open_quiet(settings.clone(), clock.clone(), store.clone(), db)
        .await
        .unwrap()
}
