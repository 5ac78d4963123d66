//! What became of a step that the store said it could not do, and finishing later what could be neither
//! done nor taken back. The rows are the truth then; the tree is made to agree as soon as it can be.

use super::settle::Reach;
use super::shared::Shared;
use crate::catalog::intents::{self, Intent, Step};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::{Found, Publish};
use gfl_api::path::FilePath;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done, only its answer was lost (or its last, invisible part is open).
    Done,
    /// Nothing has happened.
    NotDone,
    /// The store does not say.
    Unknown,
}

impl Fate {
    fn done_if(found: Result<bool>) -> Fate {
        match found {
            Ok(true) => Fate::Done,
            Ok(false) => Fate::NotDone,
            Err(_) => Fate::Unknown,
        }
    }
}

/// Whether a transaction that failed may have been committed all the same: then nothing that its rows
/// refer to may be removed.
pub(crate) fn maybe_written(error: &Error) -> bool {
    error.kind() == Kind::OutcomeUnknown
}

/// An intent whose step is still owed.
#[derive(Debug, Clone)]
struct Owed {
    paths: Vec<FilePath>,
    /// It may still move what is below its paths, and will soon.
    to_come: bool,
}

/// Intents whose step could be neither done nor taken back, with the paths they are about.
#[derive(Default)]
pub(crate) struct Unfinished(Mutex<BTreeMap<i64, Owed>>);

impl Unfinished {
    pub(crate) fn push(&self, intent: i64, paths: &[&FilePath]) {
        self.add(intent, paths, true);
    }

    /// Only the invisible part of its step may still be open.
    fn push_done(&self, intent: i64, paths: &[&FilePath]) {
        self.add(intent, paths, false);
    }

    fn add(&self, intent: i64, paths: &[&FilePath], to_come: bool) {
        let paths = paths.iter().map(|path| (*path).clone()).collect();
        self.0.lock().insert(intent, Owed { paths, to_come });
    }

    fn all(&self) -> Vec<i64> {
        self.0.lock().keys().copied().collect()
    }

    /// Those about a path, in order.
    fn at(&self, path: &FilePath, reach: Reach) -> Vec<i64> {
        let unfinished = self.0.lock();
        let here = unfinished
            .iter()
            .filter(|(_, owed)| owed.paths.iter().any(|other| reach.covers(path, other)));
        here.map(|(id, _)| *id).collect()
    }

    /// A folder above is still to be moved, deleted or made: what comes now might go along with it.
    fn is_above(&self, path: &FilePath) -> bool {
        let above = |other: &FilePath| other != path && path.starts_with(other);
        let unfinished = self.0.lock();
        unfinished
            .values()
            .any(|owed| owed.to_come && owed.paths.iter().any(above))
    }

    fn has(&self, intent: i64) -> bool {
        self.0.lock().contains_key(&intent)
    }

    fn failed(&self, intent: i64, kind: Kind) {
        if let Some(owed) = self.0.lock().get_mut(&intent) {
            // What a person has put in the way may stay there for ever.
            owed.to_come &= !is_in_the_way(kind);
        }
    }

    fn remove(&self, intent: i64) {
        self.0.lock().remove(&intent);
    }
}

impl Shared {
    /// The new content is at its path, or the draft is gone from where it would still be.
    pub(crate) async fn fate_of_publish(&self, publish: &Publish) -> Fate {
        Fate::done_if(match self.store.stat(&publish.path).await {
            Ok(Found::File { stamp, .. }) => Ok(stamp.ino == publish.ino),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        })
    }

    pub(crate) async fn fate_of_retire(&self, key: &Key) -> Fate {
        let found = self.store.stat_kept(key).await;
        Fate::done_if(found.map(|found| found != Found::Nothing))
    }

    pub(crate) async fn fate_of_unretire(&self, key: &Key) -> Fate {
        let found = self.store.stat_kept(key).await;
        Fate::done_if(found.map(|found| found == Found::Nothing))
    }

    /// Whether what has this inode is still at `from`.
    pub(crate) async fn fate_of_rename(&self, from: &FilePath, ino: u64) -> Fate {
        let found = self.store.stat(from).await;
        Fate::done_if(found.map(|found| ino_of(&found) != Some(ino)))
    }

    pub(crate) async fn fate_of_make_dir(&self, path: &FilePath) -> Fate {
        let found = self.store.stat(path).await;
        Fate::done_if(found.map(|found| matches!(found, Found::Dir { .. })))
    }

    /// One try at everything unfinished.
    pub(crate) async fn finish_round(&self) -> Result<()> {
        let certain = self.settle_doubts().await;
        for id in self.unfinished.all() {
            let Some(intent) = self.unfinished_intent(id).await? else {
                continue;
            };
            let _lock = match &intent.step {
                Step::Rename { to, .. } => self.locks.exclusive_pair(&intent.path, to).await.into(),
                // About no path.
                Step::Remove { .. } => None,
                _ => Some(self.locks.exclusive(&intent.path).await),
            };
            // Who had the lock before may have finished it.
            if !self.unfinished.has(id) {
                continue;
            }
            match self.redo(&intent).await {
                Ok(()) => self.unfinished.remove(id),
                // Why was logged at first.
                Err(error) => self.unfinished.failed(id, error.kind()),
            }
        }
        certain
    }

    /// Finishes what is unfinished of a path, whose lock is held: nothing new may be built upon it before.
    pub(super) async fn finish_at(&self, path: &FilePath, reach: Reach) -> Result<()> {
        self.certain(path, reach).await?;
        if self.unfinished.is_above(path) {
            let text = "a change of a folder above it is not finished yet, try again";
            return Err(Error::new(Kind::Unavailable, format!("{path}: {text}")));
        }
        for id in self.unfinished.at(path, reach) {
            let Some(intent) = self.unfinished_intent(id).await? else {
                continue;
            };
            match self.redo(&intent).await {
                Ok(()) => self.unfinished.remove(id),
                // A person's doing is in the way: what comes now takes its place, and with its row the intent.
                Err(error) if is_in_the_way(error.kind()) => {}
                Err(error) => {
                    let text = "an earlier change could not be finished yet, try again later";
                    let later = Error::new(Kind::Unavailable, format!("{path}: {text}"));
                    return Err(later.caused_by(error));
                }
            }
        }
        Ok(())
    }

    async fn unfinished_intent(&self, id: i64) -> Result<Option<Intent>> {
        let intent = self
            .db
            .read("intent", id, |tx, id| Box::pin(intents::get(tx, *id)))
            .await?;
        if intent.is_none() {
            self.unfinished.remove(id);
        }
        Ok(intent)
    }

    /// A step answered with an error. Says whether it is done all the same; otherwise it is taken back with
    /// `back`, or finished later when that cannot be done either.
    pub(crate) async fn settle_fate(
        &self,
        intent: i64,
        paths: &[&FilePath],
        fate: Fate,
        error: Error,
        back: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        tracing::warn!(error = ?error, ?fate, "a step of the storage failed");
        match fate {
            Fate::Done => {
                // Redone, so that its invisible part is done as well.
                self.unfinished.push_done(intent, paths);
                Ok(())
            }
            Fate::NotDone => {
                if let Err(second) = back.await {
                    self.not_taken_back(intent, paths, None, &second);
                }
                Err(error)
            }
            Fate::Unknown => {
                self.unfinished.push(intent, paths);
                Err(error)
            }
        }
    }
}

/// Trying again will not help as long as what is at the path stays there.
fn is_in_the_way(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::IsADirectory
            | Kind::NotADirectory
            | Kind::AlreadyExists
            | Kind::Conflict
            | Kind::InvalidPath
            | Kind::NameNotStorable
    )
}

/// The inode of what was found.
pub(crate) fn ino_of(found: &Found) -> Option<u64> {
    match found {
        Found::File { stamp, .. } => Some(stamp.ino),
        Found::Dir { ino, .. } => Some(*ino),
        Found::Nothing | Found::Other => None,
    }
}

/// The paths an intent is about.
pub(crate) fn names(intent: &Intent) -> Vec<&FilePath> {
    match &intent.step {
        Step::Rename { to, .. } => vec![&intent.path, to],
        Step::Remove { .. } => Vec::new(),
        _ => vec![&intent.path],
    }
}
