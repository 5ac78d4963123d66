//! The suite that every store passes: one function for each promise of the contract in [`super`]. A store's
//! tests make a [`Bed`] for each and call [`all`]. Failures panic, as tests do.

pub mod drafts;
pub mod looks;
pub mod moves;
pub mod publishing;

use super::{CameOut, Found, Place, Publish, Stamp, Store};
use crate::clock::ManualClock;
use crate::error::{Error, Kind};
use crate::id::Key;
use bytes::Bytes;
use gfl_api::path::FilePath;
use std::any::Any;
use std::sync::Arc;

/// A person with access to the folder, who knows nothing of us.
pub trait Person: Send + Sync {
    /// Puts a new file at a path, as editors that rename do. Makes parents.
    fn writes(&self, path: &FilePath, data: &[u8]);
    /// Removes a file or a folder.
    fn removes(&self, path: &FilePath);
}

/// A fresh, empty store to test.
pub struct Bed {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Somebody to interfere; `None` where nobody can (object stores).
    pub person: Option<Arc<dyn Person>>,
    /// Keeps a temporary folder.
    pub guard: Box<dyn Any + Send + Sync>,
    /// Makes keys.
    pub clock: ManualClock,
}

impl Bed {
    /// A bed around a store.
    pub fn new(
        store: Arc<dyn Store>,
        person: Option<Arc<dyn Person>>,
        guard: impl Any + Send + Sync,
    ) -> Bed {
        let clock = ManualClock::new(1_700_000_000_000, 7);
        Bed {
            store,
            person,
            guard: Box::new(guard),
            clock,
        }
    }

    /// A new key.
    pub fn key(&self) -> Key {
        Key::new(&self.clock)
    }

    /// A settled draft with this content.
    pub async fn settled(&self, data: &[u8]) -> (Key, Stamp) {
        let key = self.key();
        let data = vec![Bytes::copy_from_slice(data)];
        let (draft, stamp) = self
            .store
            .create_whole(&key, data, MTIME, None)
            .await
            .expect("create_whole");
        self.store.settle(&[draft]).await.expect("settle");
        (key, stamp)
    }

    /// How to publish a settled draft.
    pub fn publication(&self, draft: &(Key, Stamp), to: &str) -> Publish {
        Publish {
            key: draft.0.clone(),
            ino: draft.1.ino,
            path: path(to),
            replaces: None,
            edit_key: self.key(),
            create_only: false,
        }
    }

    /// Publishes new content at a path where nothing was.
    pub async fn published(&self, to: &str, data: &[u8]) -> (Key, Stamp) {
        let draft = self.settled(data).await;
        let done = self
            .store
            .publish(&self.publication(&draft, to))
            .await
            .expect("publish");
        assert_eq!(done.came_out, CameOut::Nothing, "{to} was free");
        (draft.0, done.stamp.expect("nobody interfered"))
    }

    /// The content at a path.
    pub async fn content(&self, at: &str) -> Vec<u8> {
        self.read(&Place::Visible(path(at))).await
    }

    /// The content of a place.
    pub async fn read(&self, place: &Place) -> Vec<u8> {
        let content = self.store.open(place).await.expect("open");
        let size = content.stamp().size;
        let mut out = Vec::new();
        while (out.len() as u64) < size {
            let bytes = content
                .read_at(out.len() as u64, 100_000)
                .await
                .expect("read_at");
            assert!(!bytes.is_empty(), "the end came before the size");
            out.extend_from_slice(&bytes);
        }
        assert!(
            content
                .read_at(size, 10)
                .await
                .expect("read at the end")
                .is_empty()
        );
        out
    }

    /// What is at a path.
    pub async fn found(&self, at: &str) -> Found {
        self.store.stat(&path(at)).await.expect("stat")
    }

    async fn names(&self, dir: &str) -> Vec<String> {
        let names = self
            .store
            .list(&path(dir), None, 1000)
            .await
            .expect("list")
            .names;
        names.into_iter().map(|named| named.name).collect()
    }
}

/// Any time.
pub const MTIME: i64 = 1_600_000_000_123_456_789;

/// A path from a literal.
pub fn path(text: &str) -> FilePath {
    FilePath::parse(text).expect("a valid path")
}

fn bytes_like(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed)
        .collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> Kind {
    let error = result.expect_err("must be refused");
    let text = error.message();
    assert!(text.starts_with(char::is_lowercase) || text.contains('/') || text.contains(' '));
    assert!(!text.ends_with('.'), "{text}");
    error.kind()
}

/// Runs everything, each on a fresh bed.
pub async fn all(make: impl Fn() -> Bed) {
    drafts::drafts_take_writes_in_any_order(&make()).await;
    drafts::drafts_are_sparse(&make()).await;
    drafts::outboards_remember(&make()).await;
    drafts::whole_drafts_of_all_sizes(&make()).await;
    drafts::drafts_come_back_and_go(&make()).await;
    publishing::publish_creates(&make()).await;
    publishing::publish_replaces(&make()).await;
    publishing::publish_refuses(&make()).await;
    publishing::publish_keeps_edits(&make()).await;
    publishing::publish_is_redone(&make()).await;
    publishing::concurrent_publishes_leave_one_whole(&make()).await;
    publishing::settles_many_at_once(&make()).await;
    moves::retires_and_unretires(&make()).await;
    moves::retires_folders(&make()).await;
    moves::renames(&make()).await;
    moves::renames_over(&make()).await;
    moves::renames_folders(&make()).await;
    looks::makes_folders(&make()).await;
    looks::lists_in_pages(&make()).await;
    looks::sets_attributes(&make()).await;
    drafts::copies(&make()).await;
    drafts::open_content_outlives_its_name(&make()).await;
    looks::looks_at_nothing(&make()).await;
}
