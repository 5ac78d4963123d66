//! Changes of which nobody knows whether they are recorded, because the answer to their commit was lost.
//!
//! The caller is told just that. What became of such a commit is asked until it is told; before that nothing is
//! built upon the paths it is about. If it stands, its intents are finished like any others; if it does not,
//! what was made for it goes.

use super::finish::names;
use super::settle::Reach;
use super::shared::Shared;
use crate::catalog::intents::{self, Intent};
use crate::catalog::{DbError, Doubt, uploads};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use gfl_api::path::FilePath;
use parking_lot::Mutex;

/// What a commit in doubt was to do.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// A change of paths: if it stands, it is still to be carried out.
    Change {
        /// Goes if it does not stand.
        draft: Option<Key>,
        /// The session that it completed.
        upload: Option<String>,
    },
    /// The taking back of a change: if that does not stand, the change does.
    TakeBack {
        /// The change's.
        intent: i64,
        /// Goes if it stands.
        draft: Option<Key>,
    },
    /// The pruning of these: if it stands, their bytes are still to be removed.
    Prune(Vec<Key>),
}

impl Then {
    /// A change that has made nothing beforehand.
    pub(crate) fn change() -> Then {
        Then::Change {
            draft: None,
            upload: None,
        }
    }

    /// The beginning of a session with this draft: if it stands, its owner goes on with it or it expires.
    pub(crate) fn begun(draft: &Key) -> Then {
        Then::Change {
            draft: Some(draft.clone()),
            upload: None,
        }
    }
}

#[derive(Debug, Clone)]
struct InDoubt {
    number: u64,
    doubt: Doubt,
    paths: Vec<FilePath>,
    then: Then,
}

#[derive(Default)]
struct List {
    open: Vec<InDoubt>,
    next_number: u64,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Doubts {
    list: Mutex<List>,
    /// One after the other: who waits finds it settled.
    settling: tokio::sync::Mutex<()>,
}

impl Doubts {
    fn push(&self, doubt: &Doubt, paths: &[&FilePath], then: Then) {
        let mut list = self.list.lock();
        let number = list.next_number;
        list.next_number += 1;
        list.open.push(InDoubt {
            number,
            doubt: doubt.clone(),
            paths: paths.iter().map(|path| (*path).clone()).collect(),
            then,
        });
    }

    fn all(&self) -> Vec<InDoubt> {
        self.list.lock().open.clone()
    }

    fn remove(&self, number: u64) {
        self.list.lock().open.retain(|one| one.number != number);
    }

    fn has(&self, number: u64) -> bool {
        self.list.lock().open.iter().any(|one| one.number == number)
    }
}

/// The commit that an error leaves in doubt.
fn doubt_of(error: &Error) -> Option<&Doubt> {
    std::error::Error::source(error)?
        .downcast_ref::<DbError>()?
        .doubt()
}

impl Shared {
    /// Takes note of a change that may be recorded although its transaction failed, and says so in the error.
    pub(crate) fn doubted(&self, error: Error, paths: &[&FilePath], then: Then) -> Error {
        let Some(doubt) = doubt_of(&error) else {
            return error;
        };
        self.doubts.push(doubt, paths, then);
        let Some(path) = paths.first() else {
            return error;
        };
        let text = "the server cannot tell whether this was done; look before you try again";
        Error::new(Kind::OutcomeUnknown, format!("{path}: {text}")).caused_by(error)
    }

    /// A change could not be taken back: it is finished instead, unless it is taken back all the same.
    pub(super) fn not_taken_back(
        &self,
        intent: i64,
        paths: &[&FilePath],
        draft: Option<Key>,
        error: &Error,
    ) {
        tracing::error!(error = ?error, "a failed change is not taken back yet");
        match doubt_of(error) {
            Some(doubt) => self
                .doubts
                .push(doubt, paths, Then::TakeBack { intent, draft }),
            None => self.unfinished.push(intent, paths),
        }
    }

    /// Settles what is in doubt of a path, whose lock is held; an error while nobody can.
    pub(super) async fn certain(&self, path: &FilePath, reach: Reach) -> Result<()> {
        for one in self.doubts.all() {
            let met = |other: &FilePath| reach.covers(path, other) || path.starts_with(other);
            if !one.paths.iter().any(met) {
                continue;
            }
            self.settle_doubt(&one).await.map_err(|error| {
                let text =
                    "nobody can tell yet whether an earlier change was made; try again later";
                Error::new(Kind::Unavailable, format!("{path}: {text}")).caused_by(error)
            })?;
        }
        Ok(())
    }

    /// One try at everything in doubt; an error while something is.
    pub(super) async fn settle_doubts(&self) -> Result<()> {
        let mut certain = Ok(());
        for one in self.doubts.all() {
            if let Err(error) = self.settle_doubt(&one).await {
                certain = Err(error);
            }
        }
        certain
    }

    async fn settle_doubt(&self, one: &InDoubt) -> Result<()> {
        let _settling = self.doubts.settling.lock().await;
        if !self.doubts.has(one.number) {
            return Ok(());
        }
        let stands = self.db.outcome(&one.doubt).await?;
        tracing::warn!(paths = ?one.paths, stands, "the outcome of a commit is known now");
        match (&one.then, stands) {
            (Then::Change { draft, upload }, true) => {
                for path in &one.paths {
                    self.owe(intents_about(self, path).await?);
                }
                if let Some(id) = upload {
                    self.upload_stands(id, draft.as_ref()).await?;
                }
            }
            (Then::Change { draft, .. }, false) | (Then::TakeBack { draft, .. }, true) => {
                if let Some(key) = draft {
                    self.forget_draft(key).await;
                }
            }
            (Then::TakeBack { intent, .. }, false) => {
                let paths: Vec<&FilePath> = one.paths.iter().collect();
                self.unfinished.push(*intent, &paths);
            }
            (Then::Prune(keys), true) => {
                for key in keys {
                    self.owe(intents_over(self, key).await?);
                }
            }
            (Then::Prune(_), false) => {}
        }
        // Last, so that nobody finds the path neither in doubt nor owed anything.
        self.doubts.remove(one.number);
        Ok(())
    }

    fn owe(&self, owed: Vec<Intent>) {
        for intent in owed {
            self.unfinished.push(intent.id, &names(&intent));
        }
    }

    /// A session has been completed after all: nothing more is received, and its parts are not needed.
    /// `made` is the draft that became the file where that is not the session's own.
    async fn upload_stands(&self, id: &str, made: Option<&Key>) -> Result<()> {
        if let Some(session) = self.sessions.get(id) {
            self.end_session(&session);
        }
        for key in self.v0_left_over(id, made).await? {
            self.forget_draft(&key).await;
        }
        self.db
            .write("ended upload", id.to_owned(), |tx, id| {
                Box::pin(uploads::clear_parts(tx, id))
            })
            .await
    }
}

async fn intents_about(shared: &Shared, path: &FilePath) -> Result<Vec<Intent>> {
    shared
        .db
        .read("intents of a path", path.clone(), |tx, path| {
            Box::pin(intents::about(tx, path))
        })
        .await
}

async fn intents_over(shared: &Shared, key: &Key) -> Result<Vec<Intent>> {
    shared
        .db
        .read("intents of a key", key.clone(), |tx, key| {
            Box::pin(intents::over(tx, key))
        })
        .await
}
