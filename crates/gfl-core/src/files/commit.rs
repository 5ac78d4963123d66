//! Only commit makes things true. One transaction holds everything: version, entry, what is kept, the
//! session's state, the event and the intent to publish; then the tree is made to agree (DESIGN 1 and 3).
//!
//! Order, and why: bytes and the draft's name durable (settle) -> the transaction (now the truth; a
//! restart redoes the rest) -> the rename -> the answer. The path's lock is held from before the
//! decision to after the rename, so no reader of ours sees the gap.

use super::doubt::Then;
use super::finish::{Fate, maybe_written};
use super::look::{Looked, file_stat, unserved};
use super::rows::{self, Before, DirRow, Edited, correct_publish, insert_edited};
use super::settle::Reach;
use super::shared::Shared;
use super::{Committed, KeptReason, Preconditions, precondition};
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Intent, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, VersionRow};
use crate::catalog::{Tx, entries, uploads};
use crate::error::{Error, Kind, Result};
use crate::files::UploadState;
use crate::id::Key;
use crate::store::{CameOut, Draft, Found, Publish, Published, Stamp};
use gfl_api::path::FilePath;
use gfl_api::tree::Root;
use std::sync::Arc;

/// A finished draft and what it is to become.
pub(crate) struct Candidate {
    pub(crate) path: FilePath,
    pub(crate) draft: Arc<dyn Draft>,
    pub(crate) stamp: Stamp,
    pub(crate) mode: u32,
    pub(crate) root: Option<Root>,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) pre: Preconditions,
    /// The session this completes.
    pub(crate) upload: Option<Completes>,
    /// The draft outlives a failed commit: it belongs to a session that can be completed again.
    pub(crate) keep_draft: bool,
    /// `Restored`, or what creating and replacing are called.
    pub(crate) event: Option<EventKind>,
}

/// A session that a commit completes.
#[derive(Debug, Clone)]
pub(crate) struct Completes {
    pub(crate) id: String,
    /// Its length as announced, for when the commit is taken back.
    pub(crate) len: Option<u64>,
}

/// Everything the transaction writes.
#[derive(Clone)]
struct Rows {
    now_ms: i64,
    path: FilePath,
    parent: FilePath,
    name: String,
    version: VersionRow,
    /// Our version that goes to kept.
    replaces: Option<VersionRow>,
    /// A person's file that goes to kept.
    edited: Option<Edited>,
    edit_key: Key,
    /// For compensation.
    before: Before,
    who: String,
    event: EventKind,
    upload: Option<Completes>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    entry: i64,
    parent: DirRow,
    intent: i64,
    event: i64,
}

/// How a commit failed.
struct Failed {
    error: Error,
    /// Nothing refers to the draft, certainly.
    draft_is_free: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed {
            error,
            draft_is_free: true,
        }
    }
}

impl Rows {
    fn step(&self) -> Step {
        Step::Publish {
            version: self.version.id.clone(),
            replaces: self.replaces.as_ref().map(|v| (v.id.clone(), v.stamp())),
            edit_key: self.edit_key.clone(),
        }
    }

    fn intent(&self, written: Written) -> Intent {
        Intent {
            id: written.intent,
            path: self.path.clone(),
            ino: self.version.ino,
            who: self.who.clone(),
            step: self.step(),
        }
    }
}

impl Shared {
    /// Makes a candidate the current version of its path, or fails and leaves everything as it was
    /// (with `keep_draft` the draft too, so that a session can be completed again).
    pub(crate) async fn commit(&self, caller: &Caller, c: Candidate) -> Result<Committed> {
        // Boxed, like what follows a failure: the task of an upload does not carry it while the body comes.
        match Box::pin(self.try_commit(caller, &c)).await {
            Ok(committed) => Ok(committed),
            Err(failed) => {
                // When a row may refer to it, the draft is the only copy of what the row promises.
                if failed.draft_is_free && !c.keep_draft {
                    self.forget_draft(c.draft.key()).await;
                }
                Err(failed.error)
            }
        }
    }

    async fn try_commit(&self, caller: &Caller, c: &Candidate) -> Result<Committed, Failed> {
        self.store.settle(std::slice::from_ref(&c.draft)).await?;
        let _lock = self.locks.exclusive(&c.path).await;
        self.quiet(&c.path, Reach::Name).await?;
        let looked = self.look(&c.path).await?;
        let grant = self.may_commit(caller, c, &looked).await?;
        let rows = self.rows(&grant, c, &looked)?;
        let written = self
            .db
            .write("commit file", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await
            .map_err(|error: Error| Failed {
                draft_is_free: !maybe_written(&error),
                error: self.doubted(error, &[&c.path], in_doubt(c)),
            })?;
        let create_only = precondition::create_only(&c.pre);
        let publish = Publish {
            key: rows.version.id.clone(),
            ino: c.stamp.ino,
            path: c.path.clone(),
            replaces: rows.replaces.as_ref().map(|v| (v.id.clone(), v.stamp())),
            edit_key: rows.edit_key.clone(),
            create_only,
        };
        match self.store.publish(&publish).await {
            Ok(published) => self.published(&rows, written, &published).await,
            Err(error) => {
                let error = if create_only && error.kind() == Kind::AlreadyExists {
                    precondition::exists(&c.path)
                } else {
                    error
                };
                let failed =
                    self.publish_failed(rows.clone(), written, &publish, own_draft(c), error);
                Box::pin(failed).await?;
            }
        }
        let created = matches!(looked, Looked::Nothing { .. });
        let stat = file_stat(&c.path, &c.stamp, c.mode, Some(&rows.version));
        Ok(Committed { stat, created })
    }

    /// All that can refuse a commit.
    async fn may_commit(&self, caller: &Caller, c: &Candidate, looked: &Looked) -> Result<Grant> {
        let path = &c.path;
        let verb = match looked {
            Looked::Dir { .. } => {
                return Err(Error::new(
                    Kind::IsADirectory,
                    format!("{path}: is a directory, a file cannot take its place"),
                ));
            }
            Looked::Other { .. } => return Err(unserved(path)),
            Looked::File(_) => Verb::Overwrite,
            Looked::Nothing { .. } => Verb::Create,
        };
        let grant = caller.may(verb, path)?;
        precondition::check(&c.pre, looked.etag(path).as_deref(), path)?;
        if matches!(looked, Looked::Nothing { .. }) {
            self.check_parents(path).await?;
        }
        if let Some(other) = self.store.collides(path).await? {
            return Err(Error::new(
                Kind::NameCollision,
                format!(
                    "{path}: the file system here takes it for '{other}', which exists; choose another name"
                ),
            ));
        }
        Ok(grant)
    }

    fn rows(&self, grant: &Grant, c: &Candidate, looked: &Looked) -> Result<Rows> {
        let path = grant.path();
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(Kind::IsADirectory, "/: the root is a directory"));
        };
        let now_ms = self.clock.now_ms();
        let who = grant.user().to_owned();
        let edit_key = Key::new(&*self.clock);
        let (replaces, edited) = match looked {
            Looked::File(file) => match file.version() {
                // A restored backup has another inode than the row: the tree's counts.
                Some(version) => {
                    let ino = file.stamp.ino;
                    (
                        Some(VersionRow {
                            ino,
                            ..version.clone()
                        }),
                        None,
                    )
                }
                None => {
                    let edited = Edited {
                        key: edit_key.clone(),
                        stamp: file.stamp,
                        mode: file.mode,
                        who: who.clone(),
                    };
                    (None, Some(edited))
                }
            },
            Looked::Nothing { .. } | Looked::Dir { .. } | Looked::Other { .. } => (None, None),
        };
        let event = if matches!(looked, Looked::Nothing { .. }) {
            EventKind::Created
        } else {
            EventKind::Replaced
        };
        Ok(Rows {
            now_ms,
            path: path.clone(),
            parent,
            name: name.to_owned(),
            version: VersionRow {
                id: c.draft.key().clone(),
                entry: 0,
                size: c.stamp.size,
                b3: c.root,
                sha256: c.sha256,
                mtime_ns: c.stamp.mtime_ns,
                mode: c.mode,
                owner: who.clone(),
                uploaded_ms: now_ms,
                ino: c.stamp.ino,
                ctime_ns: None,
            },
            replaces,
            edited,
            edit_key,
            before: Before::of(looked),
            who,
            event: c.event.unwrap_or(event),
            upload: c.upload.clone(),
        })
    }

    /// After the rename: usually nothing but the stamp is left to do, later and in groups.
    async fn published(&self, rows: &Rows, written: Written, p: &Published) {
        let expected = match (&rows.replaces, &rows.edited, &p.came_out) {
            (Some(_), _, out) => *out == CameOut::Ours,
            (None, Some(edited), CameOut::Edited(stamp)) => {
                (edited.stamp.size, edited.stamp.mtime_ns) == (stamp.size, stamp.mtime_ns)
            }
            (None, Some(_), _) => false,
            (None, None, out) => *out == CameOut::Nothing,
        };
        // A person may change the path between our look and the rename. The record follows the tree.
        if !expected && let Err(error) = self.record_came_out(rows.intent(written), p.clone()).await
        {
            tracing::warn!(path = %rows.path, error = ?error, "what an upload replaced is not recorded yet");
            self.unfinished.push(written.intent, &[&rows.path]);
            return;
        }
        self.unsettled.push_file(
            written.intent,
            &rows.path,
            p.stamp.map(|stamp| (rows.version.id.clone(), stamp)),
            rows.upload.as_ref().map(|u| u.id.clone()),
        );
    }

    /// Makes the kept rows agree with what publishing brought out.
    pub(crate) async fn record_came_out(&self, intent: Intent, p: Published) -> Result<()> {
        let mode = match (&p.came_out, &intent.step) {
            (CameOut::Edited(_), Step::Publish { edit_key, .. }) => {
                match self.store.stat_kept(edit_key).await? {
                    Found::File { mode, .. } => mode & 0o777,
                    _ => 0o644,
                }
            }
            _ => 0o644,
        };
        let args = (intent, p.came_out, mode, self.clock.now_ms());
        self.db
            .write(
                "record what came out",
                args,
                |tx, (intent, came_out, mode, now_ms)| {
                    Box::pin(correct_publish(tx, intent, came_out, *mode, *now_ms))
                },
            )
            .await
    }

    /// The store says it could not publish. Either nothing has happened, and the rows go, or it is done.
    async fn publish_failed(
        &self,
        rows: Rows,
        written: Written,
        publish: &Publish,
        draft: Option<Key>,
        error: Error,
    ) -> Result<(), Failed> {
        tracing::warn!(path = %rows.path, error = ?error, "publishing failed");
        let sure = match self.fate_of_publish(publish).await {
            Fate::Done => {
                match self.store.publish(publish).await {
                    Ok(published) => self.published(&rows, written, &published).await,
                    // The new content is visible, its row is true: what is left is redone later.
                    Err(_) => self.unfinished.push(written.intent, &[&publish.path]),
                }
                return Ok(());
            }
            Fate::NotDone => self.take_back(rows, written).await,
            Fate::Unknown => Err(Error::new(Kind::Internal, "the storage does not answer")),
        };
        if let Err(second) = &sure {
            self.not_taken_back(written.intent, &[&publish.path], draft, second);
        }
        Err(Failed {
            error,
            draft_is_free: sure.is_ok(),
        })
    }

    async fn take_back(&self, rows: Rows, written: Written) -> Result<()> {
        self.db
            .write(
                "take a commit back",
                (rows, written),
                |tx, (rows, written)| Box::pin(unwrite_rows(tx, rows, *written)),
            )
            .await
    }
}

/// What becomes of a candidate whose commit is in doubt.
fn in_doubt(c: &Candidate) -> Then {
    Then::Change {
        draft: own_draft(c),
        upload: c.upload.as_ref().map(|upload| upload.id.clone()),
    }
}

/// The draft that goes when the commit fails; a session's stays with it.
fn own_draft(c: &Candidate) -> Option<Key> {
    (!c.keep_draft).then(|| c.draft.key().clone())
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    rows.before.forget(tx, &rows.path, rows.now_ms).await?;
    let dir = rows::ensure_dir(tx, &rows.parent, rows.now_ms).await?;
    let parent = dir.id;
    let entry = entries::put_file(tx, parent, &rows.name, &rows.version.id, rows.now_ms).await?;
    versions::insert(
        tx,
        &VersionRow {
            entry,
            ..rows.version.clone()
        },
    )
    .await?;
    if let Some(old) = &rows.replaces {
        kept::insert(tx, &kept_row(rows, parent, entry, old)).await?;
    }
    if let Some(edited) = &rows.edited {
        let row = entries::EntryRow {
            id: entry,
            parent,
            is_dir: false,
            gone: false,
            version: None,
        };
        insert_edited(tx, edited, &row, &rows.name, rows.now_ms).await?;
    }
    if let Some(upload) = &rows.upload {
        finish_upload(tx, rows, upload).await?;
    }
    let intent = intents::insert(tx, &rows.path, rows.version.ino, &rows.who, &rows.step()).await?;
    let event = Event {
        kind: rows.event,
        path: rows.path.clone(),
        target: None,
        entry: Some(entry),
        version: Some(rows.version.id.clone()),
        size: Some(rows.version.size),
        who: rows.who.clone(),
    };
    let event = events::record(tx, rows.now_ms, &event).await?;
    Ok(Written {
        entry,
        parent: dir,
        intent,
        event,
    })
}

async fn finish_upload(tx: &mut Tx<'_>, rows: &Rows, upload: &Completes) -> Result<()> {
    let outcome = if rows.event == EventKind::Created {
        "created"
    } else {
        "replaced"
    };
    if !uploads::finish(tx, &upload.id, UploadState::Done, outcome, rows.now_ms).await? {
        return Err(Error::new(
            Kind::Conflict,
            "the upload was completed or cancelled elsewhere",
        ));
    }
    uploads::set_length(tx, &upload.id, Some(rows.version.size)).await
}

fn kept_row(rows: &Rows, parent: i64, entry: i64, old: &VersionRow) -> KeptRow {
    KeptRow {
        id: old.id.clone(),
        parent,
        name: rows.name.clone(),
        is_dir: false,
        entry,
        ino: old.ino,
        reason: KeptReason::Replaced,
        retired_ms: rows.now_ms,
        by: rows.who.clone(),
    }
}

/// The compensating transaction: the rename could not be done, so nothing has happened.
async fn unwrite_rows(tx: &mut Tx<'_>, rows: &Rows, written: Written) -> Result<()> {
    rows.before
        .put_back(tx, &rows.name, written.entry, rows.now_ms)
        .await?;
    written.parent.take_back(tx).await?;
    versions::remove(tx, &rows.version.id).await?;
    if let Some(old) = &rows.replaces {
        kept::remove(tx, &old.id).await?;
    }
    if rows.edited.is_some() {
        kept::remove(tx, &rows.edit_key).await?;
        versions::remove(tx, &rows.edit_key).await?;
    }
    if let Some(upload) = &rows.upload {
        uploads::reopen(tx, &upload.id, upload.len, rows.now_ms).await?;
    }
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
