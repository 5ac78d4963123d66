//! Only commit makes things true. One transaction holds everything: version, entry, what is kept, the
//! session's state, the event and the intent to publish; then the tree is made to agree (DESIGN 1 and 3).
//!
//! Order, and why: bytes and the draft's name durable (settle) -> the transaction (now the truth; a
//! restart redoes the rest) -> the rename -> the answer. The path's lock is held from before the
//! decision to after the rename, so no reader of ours sees the gap.

use super::look::{Looked, file_stat};
use super::shared::Shared;
use super::{Committed, KeptReason, Preconditions, precondition};
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, VersionRow};
use crate::catalog::{Tx, entries, uploads};
use crate::error::{Error, Kind, Result};
use crate::files::UploadState;
use crate::id::Key;
use crate::store::{CameOut, Draft, Publish, Published, Stamp};
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
    pub(crate) upload: Option<String>,
    /// `Restored`, or what creating and replacing are called.
    pub(crate) event: Option<EventKind>,
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
    edited: Option<(Stamp, u32)>,
    edit_key: Key,
    /// What the entry pointed at before, for compensation.
    entry_before: Option<Option<Key>>,
    who: String,
    event: EventKind,
    upload: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    entry: i64,
    parent: i64,
    intent: i64,
    event: i64,
}

impl Shared {
    /// Makes a candidate the current version of its path, or fails and leaves everything as it was
    /// (the draft too, so that a session can be completed again).
    pub(crate) async fn commit(&self, caller: &Caller, c: Candidate) -> Result<Committed> {
        self.store.settle(std::slice::from_ref(&c.draft)).await?;
        let _lock = self.locks.exclusive(&c.path).await;
        let looked = self.look(&c.path).await?;
        let grant = self.may_commit(caller, &c, &looked).await?;
        let rows = self.rows(&grant, &c, &looked)?;
        let written = self
            .db
            .write("commit file", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await?;
        let publish = Publish {
            key: rows.version.id.clone(),
            ino: c.stamp.ino,
            path: c.path.clone(),
            replaces: rows.replaces.as_ref().map(|v| (v.id.clone(), v.stamp())),
            edit_key: rows.edit_key.clone(),
            create_only: precondition::create_only(&c.pre),
        };
        match self.store.publish(&publish).await {
            Ok(published) => self.published(&rows, written, &published).await?,
            Err(error) => {
                tracing::warn!(path = %c.path, error = ?error, "publishing failed, taking the commit back");
                self.take_back(rows, written).await?;
                return Err(error);
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
        let (replaces, edited) = match looked {
            Looked::File(file) => match file.version() {
                Some(version) => (Some(version.clone()), None),
                None => (None, Some((file.stamp, file.mode))),
            },
            Looked::Nothing { .. } | Looked::Dir { .. } => (None, None),
        };
        let known = match looked {
            Looked::File(file) => file.known.as_ref(),
            Looked::Nothing { known } | Looked::Dir { known, .. } => known.as_ref(),
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
                owner: grant.user().to_owned(),
                uploaded_ms: now_ms,
                ino: c.stamp.ino,
                ctime_ns: None,
            },
            replaces,
            edited,
            edit_key: Key::new(&*self.clock),
            entry_before: known.map(|k| k.entry.version.clone()),
            who: grant.user().to_owned(),
            event: c.event.unwrap_or(event),
            upload: c.upload.clone(),
        })
    }

    /// After the rename: usually nothing but the stamp is left to do, later and in groups.
    async fn published(&self, rows: &Rows, written: Written, p: &Published) -> Result<()> {
        self.unsettled.push_file(
            written.intent,
            &rows.path,
            p.stamp.map(|stamp| (rows.version.id.clone(), stamp)),
        );
        let expected = match (&rows.replaces, &rows.edited) {
            (Some(_), _) => p.came_out == CameOut::Ours,
            (None, Some(_)) => matches!(p.came_out, CameOut::Edited(_)),
            (None, None) => p.came_out == CameOut::Nothing,
        };
        if expected {
            return Ok(());
        }
        // A person changed the path between our look and the rename. The record follows the tree.
        let args = (rows.clone(), written, p.came_out.clone());
        self.db
            .write(
                "record what came out",
                args,
                |tx, (rows, written, came_out)| {
                    Box::pin(correct_rows(tx, rows, *written, came_out))
                },
            )
            .await
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

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    let parent = entries::ensure_dir(tx, &rows.parent, rows.now_ms).await?;
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
        let ino = old.ino;
        kept::insert(
            tx,
            &kept_row(rows, parent, entry, &old.id, ino, KeptReason::Replaced),
        )
        .await?;
    }
    if let Some((stamp, mode)) = &rows.edited {
        insert_edited(tx, rows, parent, entry, stamp, *mode).await?;
    }
    if let Some(id) = &rows.upload {
        let outcome = if rows.event == EventKind::Created {
            "created"
        } else {
            "replaced"
        };
        if !uploads::finish(tx, id, UploadState::Done, outcome, rows.now_ms).await? {
            return Err(Error::new(
                Kind::Conflict,
                "the upload was completed or cancelled elsewhere",
            ));
        }
    }
    let step = Step::Publish {
        version: rows.version.id.clone(),
        replaces: rows.replaces.as_ref().map(|v| (v.id.clone(), v.stamp())),
        edit_key: rows.edit_key.clone(),
    };
    let intent = intents::insert(tx, &rows.path, rows.version.ino, &rows.who, &step).await?;
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
        parent,
        intent,
        event,
    })
}

fn kept_row(
    rows: &Rows,
    parent: i64,
    entry: i64,
    id: &Key,
    ino: u64,
    reason: KeptReason,
) -> KeptRow {
    KeptRow {
        id: id.clone(),
        parent,
        name: rows.name.clone(),
        is_dir: false,
        entry,
        ino,
        reason,
        retired_ms: rows.now_ms,
        by: rows.who.clone(),
    }
}

/// Records a person's file that our write replaced: it can be brought back like any other.
async fn insert_edited(
    tx: &mut Tx<'_>,
    rows: &Rows,
    parent: i64,
    entry: i64,
    stamp: &Stamp,
    mode: u32,
) -> Result<()> {
    let version = VersionRow {
        id: rows.edit_key.clone(),
        entry,
        size: stamp.size,
        b3: None,
        sha256: None,
        mtime_ns: stamp.mtime_ns,
        mode,
        owner: String::new(),
        uploaded_ms: rows.now_ms,
        ino: stamp.ino,
        ctime_ns: None,
    };
    versions::insert(tx, &version).await?;
    let row = kept_row(
        rows,
        parent,
        entry,
        &rows.edit_key,
        stamp.ino,
        KeptReason::Edited,
    );
    kept::insert(tx, &row).await
}

/// Makes the kept rows say what the rename really brought out.
async fn correct_rows(
    tx: &mut Tx<'_>,
    rows: &Rows,
    written: Written,
    came_out: &CameOut,
) -> Result<()> {
    if *came_out != CameOut::Ours
        && let Some(old) = &rows.replaces
    {
        kept::remove(tx, &old.id).await?;
        versions::remove(tx, &old.id).await?;
    }
    if rows.edited.is_some() {
        kept::remove(tx, &rows.edit_key).await?;
        versions::remove(tx, &rows.edit_key).await?;
    }
    if let CameOut::Edited(stamp) = came_out {
        insert_edited(tx, rows, written.parent, written.entry, stamp, 0o644).await?;
    }
    Ok(())
}

/// The compensating transaction: the rename could not be done, so nothing has happened.
async fn unwrite_rows(tx: &mut Tx<'_>, rows: &Rows, written: Written) -> Result<()> {
    match &rows.entry_before {
        Some(before) => entries::set_version(tx, written.entry, before.as_ref()).await?,
        None => entries::remove(tx, written.entry).await?,
    }
    versions::remove(tx, &rows.version.id).await?;
    if let Some(old) = &rows.replaces {
        kept::remove(tx, &old.id).await?;
    }
    if rows.edited.is_some() {
        kept::remove(tx, &rows.edit_key).await?;
        versions::remove(tx, &rows.edit_key).await?;
    }
    if let Some(id) = &rows.upload {
        uploads::reopen(tx, id, rows.version.size).await?;
    }
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
