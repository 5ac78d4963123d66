//! After the answer: makes the directories of recent renames durable, fills the stamps and drops the
//! intents. Until then a restart redoes them.
//!
//! A redo recognises by inode whether its step is done. That is only unambiguous while no later step has
//! moved the same thing again (there and back looks like never), so a path has at most one intent at a time:
//! who wants to change a path again before it is settled settles it first ([`Shared::quiet`]).

use super::rows::forget_parts;
use super::shared::Shared;
use crate::catalog::{Tx, intents, versions};
use crate::error::Result;
use crate::id::Key;
use crate::store::Stamp;
use gfl_api::path::FilePath;
use parking_lot::Mutex;

/// One rename that was done and is not yet certainly on the disk.
#[derive(Debug, Clone)]
struct Done {
    intent: i64,
    paths: Vec<FilePath>,
    dirs: Vec<FilePath>,
    stamp: Option<(Key, Stamp)>,
    /// The upload whose parts are not needed any more.
    upload: Option<String>,
}

#[derive(Default)]
struct State {
    /// Since the last round.
    waiting: Vec<Done>,
    /// Paths of the round that is under way.
    under_way: Vec<FilePath>,
}

/// Renames that are done and not yet settled.
#[derive(Default)]
pub(crate) struct Unsettled {
    state: Mutex<State>,
    /// One round at a time.
    round: tokio::sync::Mutex<()>,
}

/// What the next step does to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It changes what the path itself names.
    Name,
    /// It takes everything below along.
    Subtree,
}

impl Reach {
    /// Whether a step at `path` must wait for one at `other`.
    pub(super) fn covers(self, path: &FilePath, other: &FilePath) -> bool {
        other == path || (self == Reach::Subtree && other.starts_with(path))
    }
}

/// Rows per transaction, so that other writers are not held up.
const ROWS_PER_STEP: usize = 256;

impl Unsettled {
    /// A file got its place.
    pub(crate) fn push_file(
        &self,
        intent: i64,
        path: &FilePath,
        stamp: Option<(Key, Stamp)>,
        upload: Option<String>,
    ) {
        self.add(intent, &[path], stamp, upload);
    }

    /// Something changed at these paths.
    pub(crate) fn push(&self, intent: i64, paths: &[&FilePath], stamp: Option<(Key, Stamp)>) {
        self.add(intent, paths, stamp, None);
    }

    /// A directory was renamed: what was done in it is made durable where it is now.
    pub(crate) fn moved(&self, from: &FilePath, to: &FilePath) {
        for done in self.state.lock().waiting.iter_mut() {
            let now: Vec<FilePath> = done
                .dirs
                .iter()
                .filter_map(|dir| dir.as_str().strip_prefix(from.as_str()))
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .filter_map(|rest| FilePath::parse(&format!("{to}{rest}")).ok())
                .collect();
            done.dirs.extend(now);
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().waiting.len()
    }

    fn touches(&self, path: &FilePath, reach: Reach) -> bool {
        let same = |other: &FilePath| reach.covers(path, other);
        let state = self.state.lock();
        state.under_way.iter().any(same) || state.waiting.iter().flat_map(|d| &d.paths).any(same)
    }

    fn add(
        &self,
        intent: i64,
        paths: &[&FilePath],
        stamp: Option<(Key, Stamp)>,
        upload: Option<String>,
    ) {
        // Parents may be new as well, and a new directory is durable only when its own parent is.
        let mut dirs = vec![FilePath::root()];
        for path in paths {
            dirs.extend(path.ancestors());
        }
        self.state.lock().waiting.push(Done {
            intent,
            paths: paths.iter().map(|path| (*path).clone()).collect(),
            dirs,
            stamp,
            upload,
        });
    }
}

impl Shared {
    /// One round; returns how many intents it settled.
    pub(crate) async fn settle_round(&self) -> Result<usize> {
        let _round = self.unsettled.round.lock().await;
        let done = {
            let mut state = self.unsettled.state.lock();
            let done = std::mem::take(&mut state.waiting);
            state.under_way = done.iter().flat_map(|d| d.paths.clone()).collect();
            done
        };
        if done.is_empty() {
            return Ok(0);
        }
        let mut dirs: Vec<FilePath> = done.iter().flat_map(|d| d.dirs.clone()).collect();
        dirs.sort();
        dirs.dedup();
        let count = done.len();
        let settled = self.settle_all(&dirs, &done).await;
        let mut state = self.unsettled.state.lock();
        state.under_way.clear();
        if let Err(error) = settled {
            // The intents stay: the next round, or a restart, does it. Before what came meanwhile, so that
            // the later stamp of a version stays the one that counts.
            state.waiting.splice(0..0, done);
            return Err(error);
        }
        Ok(count)
    }

    /// Waits until nothing unsettled is left of `path` (and below it, or above it when that was moved as a
    /// whole). Called with the path's lock held, so that nothing new can come up.
    pub(crate) async fn quiet(&self, path: &FilePath, reach: Reach) -> Result<()> {
        self.finish_at(path, reach).await?;
        while self.unsettled.touches(path, reach) {
            self.settle_round().await?;
        }
        Ok(())
    }

    async fn settle_all(&self, dirs: &[FilePath], done: &[Done]) -> Result<()> {
        self.store.sync_dirs(dirs).await?;
        for step in done.chunks(ROWS_PER_STEP) {
            self.db
                .write("settle", step.to_vec(), |tx, step| {
                    Box::pin(settle_rows(tx, step))
                })
                .await?;
        }
        Ok(())
    }
}

async fn settle_rows(tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
    for one in done {
        if let Some((key, stamp)) = &one.stamp {
            versions::set_stamp(tx, key, stamp.ino, Some(stamp.ctime_ns)).await?;
        }
        forget_parts(tx, one.upload.as_deref()).await?;
        intents::remove(tx, one.intent).await?;
    }
    Ok(())
}
