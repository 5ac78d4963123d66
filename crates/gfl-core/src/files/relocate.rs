//! Moving and copying.

use super::commit::Candidate;
use super::doubt::Then;
use super::finish::{Fate, ino_of};
use super::look::{Looked, LookedFile, not_found, unserved};
use super::put::file_mode;
use super::rows::{self, Before, DirRow, version_of_edit};
use super::settle::Reach;
use super::shared::Shared;
use super::{Committed, KeptReason, Preconditions, Relocate, precondition};
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, Fit, VersionRow};
use crate::catalog::{Tx, entries};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::Place;
use crate::stream::root_of_draft;
use gfl_api::http::EtagList;
use gfl_api::path::FilePath;

/// No entry has this id.
const NO_ENTRY: i64 = 0;
/// A copy starts again this often when its source is replaced meanwhile.
const COPY_TRIES: usize = 3;

#[derive(Clone)]
struct Rows {
    now_ms: i64,
    from: Grant,
    to: Grant,
    to_parent: FilePath,
    to_name: String,
    ino: u64,
    /// The moved file's version; `true` when its row is made now.
    version: Option<(VersionRow, bool)>,
    /// The file at the target that is kept; `true` when its row is made now.
    over: Option<(VersionRow, bool)>,
    /// For compensation.
    from_before: Before,
    to_before: Before,
}

#[derive(Clone, Copy)]
struct Written {
    entry: i64,
    to_parent: DirRow,
    /// Where the entry was, for compensation.
    from_parent: i64,
    intent: i64,
    event: i64,
}

impl Shared {
    /// Renames a file or a directory.
    pub(crate) async fn rename(
        &self,
        caller: &Caller,
        from: &FilePath,
        to: &FilePath,
        how: &Relocate,
    ) -> Result<Committed> {
        let from_grant = caller.may(Verb::Move, from)?;
        if from == to || to.starts_with(from) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{from}: cannot be moved to {to}, which is the same or lies inside it"),
            ));
        }
        let (Some(to_parent), Some(to_name)) = (to.parent(), to.name()) else {
            return Err(Error::new(
                Kind::AlreadyExists,
                "/: the root cannot be replaced",
            ));
        };
        let _lock = self.locks.exclusive_pair(from, to).await;
        self.quiet(from, Reach::Subtree).await?;
        self.quiet(to, Reach::Name).await?;
        let source = self.look(from).await?;
        precondition::check(&how.pre, source.etag(from).as_deref(), from)?;
        let target = self.look(to).await?;
        let to_grant = self
            .may_take_place(caller, &source, &target, to, how)
            .await?;
        let now_ms = self.clock.now_ms();
        let version = match &source {
            Looked::File(file) => Some(self.version_or_new(file, now_ms)),
            Looked::Nothing { .. } | Looked::Dir { .. } | Looked::Other { .. } => None,
        };
        let ino = match &source {
            Looked::Nothing { .. } => return Err(not_found(from)),
            Looked::Other { .. } => return Err(unserved(from)),
            Looked::Dir { ino, .. } => {
                caller.may_below(Verb::Move, from)?;
                *ino
            }
            Looked::File(file) => file.stamp.ino,
        };
        self.check_link(from, to, ino, &target).await?;
        let over = match &target {
            Looked::File(file) => Some(self.version_or_new(file, now_ms)),
            Looked::Nothing { .. } | Looked::Dir { .. } | Looked::Other { .. } => None,
        };
        let created = over.is_none();
        let rows = Rows {
            now_ms,
            from: from_grant,
            to: to_grant,
            to_parent,
            to_name: to_name.to_owned(),
            ino,
            version,
            over,
            from_before: Before::of(&source),
            to_before: Before::of(&target),
        };
        self.rename_now(rows).await?;
        let stat = self.look(to).await?.stat(to)?;
        Ok(Committed { stat, created })
    }

    /// A link is moved by its name; from its new place it must lead to what it leads to now (`ino`).
    async fn check_link(
        &self,
        from: &FilePath,
        to: &FilePath,
        ino: u64,
        target: &Looked,
    ) -> Result<()> {
        let place = Place::Visible(from.clone());
        let Some(link) = self.store.link(&place, to).await? else {
            return Ok(());
        };
        let onto_it = matches!(target, Looked::File(file) if file.stamp.ino == ino);
        if ino_of(&link.leads_to) == Some(ino) && !onto_it {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            format!(
                "{from}: is a link on the server, and as {to} it would not lead to the same thing any more; \
                 copy it, or move what it leads to"
            ),
        ))
    }

    fn version_or_new(&self, file: &LookedFile, now_ms: i64) -> (VersionRow, bool) {
        match file.version() {
            Some(v) => (
                VersionRow {
                    ino: file.stamp.ino,
                    ..v.clone()
                },
                false,
            ),
            None => (version_of_edit(Key::new(&*self.clock), file, now_ms), true),
        }
    }

    /// Whether the target may be taken.
    async fn may_take_place(
        &self,
        caller: &Caller,
        source: &Looked,
        target: &Looked,
        to: &FilePath,
        how: &Relocate,
    ) -> Result<Grant> {
        match target {
            Looked::Nothing { .. } => {
                self.check_parents(to).await?;
                if let Some(other) = self.store.collides(to).await? {
                    return Err(Error::new(
                        Kind::NameCollision,
                        format!("{to}: the file system here takes it for '{other}', which exists"),
                    ));
                }
                let verb = if matches!(source, Looked::Dir { .. }) {
                    Verb::Mkdir
                } else {
                    Verb::Create
                };
                caller.may(verb, to)
            }
            Looked::File(_) if how.overwrite && matches!(source, Looked::File(_)) => {
                caller.may(Verb::Overwrite, to)
            }
            Looked::Other { .. } => Err(unserved(to)),
            Looked::File(_) | Looked::Dir { .. } => Err(Error::new(
                Kind::AlreadyExists,
                format!("{to}: exists already"),
            )),
        }
    }

    async fn rename_now(&self, rows: Rows) -> Result<()> {
        let written = self
            .db
            .write("move", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await
            .map_err(|error| {
                let paths = [rows.from.path(), rows.to.path()];
                self.doubted(error, &paths, Then::change())
            })?;
        let over = rows.over.as_ref().map(|(v, _)| v.id.clone());
        let (from, to) = (rows.from.path().clone(), rows.to.path().clone());
        let moved = self.store.rename(&from, rows.ino, &to, over.as_ref()).await;
        let (fate, error) = match moved {
            Ok(true) => return self.renamed(&rows, written).await,
            Ok(false) => {
                let error = Error::new(Kind::Conflict, format!("{from}: changed meanwhile"));
                (Fate::NotDone, error)
            }
            Err(error) => (self.fate_of_rename(&from, rows.ino).await, error),
        };
        let back = self.db.write(
            "take a move back",
            (rows, written),
            |tx, (rows, written)| Box::pin(unwrite_rows(tx, rows, *written)),
        );
        self.settle_fate(written.intent, &[&from, &to], fate, error, back)
            .await
    }

    async fn renamed(&self, rows: &Rows, written: Written) -> Result<()> {
        let (from, to) = (rows.from.path(), rows.to.path());
        let version = rows.version.as_ref().map(|(v, _)| v.id.clone());
        // Without a stamp the file is verified when somebody looks; the move itself is done.
        let stamp = self
            .stamp_of(to, rows.ino, version.as_ref())
            .await
            .unwrap_or_default();
        if version.is_none() {
            self.unsettled.moved(from, to);
        }
        self.unsettled.push(written.intent, &[from, to], stamp);
        Ok(())
    }

    /// Copies a file. Disk blocks are shared where the file system can.
    pub(crate) async fn copy(
        &self,
        caller: &Caller,
        from: &FilePath,
        to: &FilePath,
        how: &Relocate,
    ) -> Result<Committed> {
        caller.may(Verb::Download, from)?;
        let mut pre = Preconditions::default();
        if !how.overwrite {
            pre.if_none_match = Some(EtagList::Any);
        }
        if from == to {
            return Err(Error::new(
                Kind::Invalid,
                format!("{from}: cannot be copied onto itself"),
            ));
        }
        self.check_target(caller, to, &pre)
            .await
            .map_err(|e| exists_instead(e, to))?;
        for _ in 0..COPY_TRIES {
            let before = self.stat_file(from, how).await?;
            let key = Key::new(&*self.clock);
            let copied = self.copy_draft(&key, from, &before).await;
            let candidate = match copied {
                Ok(Some(candidate)) => candidate,
                Ok(None) => {
                    self.forget_draft(&key).await;
                    continue;
                }
                Err(error) => {
                    self.forget_draft(&key).await;
                    if error.kind() == Kind::Conflict {
                        continue;
                    }
                    return Err(error);
                }
            };
            let candidate = Candidate {
                path: to.clone(),
                pre: pre.clone(),
                ..candidate
            };
            let committed = self.commit(caller, candidate).await;
            return committed.map_err(|e| exists_instead(e, to));
        }
        Err(Error::new(
            Kind::Busy,
            format!("{from}: keeps changing, try again"),
        ))
    }

    async fn stat_file(&self, from: &FilePath, how: &Relocate) -> Result<LookedFile> {
        let _lock = self.locks.shared(from).await;
        let looked = self.look(from).await?;
        precondition::check(&how.pre, looked.etag(from).as_deref(), from)?;
        match looked {
            Looked::File(file) => Ok(file),
            Looked::Nothing { .. } => Err(not_found(from)),
            Looked::Other { .. } => Err(unserved(from)),
            Looked::Dir { .. } => Err(Error::new(
                Kind::IsADirectory,
                format!("{from}: is a directory; copy what is in it file by file"),
            )),
        }
    }

    /// A draft with the source's content; `None` when the source changed while it was copied.
    async fn copy_draft(
        &self,
        key: &Key,
        from: &FilePath,
        before: &LookedFile,
    ) -> Result<Option<Candidate>> {
        // What may have been edited under an unchanged size and time is hashed anew.
        let version = before.version().filter(|_| before.fit() == Fit::Exact);
        let place = Place::Visible(from.clone());
        let draft = self
            .store
            .create_copy(key, &place, version.map(|v| &v.id))
            .await?;
        let mode = file_mode(Some(before.mode));
        let root = match version.and_then(|v| v.b3) {
            Some(root) => root,
            None => root_of_draft(&*draft, before.stamp.size, false).await?.0,
        };
        let stamp = draft
            .finish(before.stamp.size, before.stamp.mtime_ns, Some(mode))
            .await?;
        let after = self.stat_file(from, &Relocate::default()).await?;
        if after.stamp != before.stamp {
            return Ok(None);
        }
        Ok(Some(Candidate {
            path: from.clone(),
            draft,
            stamp,
            mode,
            root: Some(root),
            sha256: version.and_then(|v| v.sha256),
            pre: Preconditions::default(),
            upload: None,
            keep_draft: false,
            event: None,
        }))
    }
}

/// A copy's "create only" is its default and not the caller's condition: name it for what it is.
fn exists_instead(error: Error, to: &FilePath) -> Error {
    if error.kind() == Kind::PreconditionFailed {
        return Error::new(Kind::AlreadyExists, format!("{to}: exists already"));
    }
    error
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    let (from, to) = (rows.from.path(), rows.to.path());
    let who = rows.from.user().to_owned();
    rows.from_before.forget(tx, from, rows.now_ms).await?;
    rows.to_before.forget(tx, to, rows.now_ms).await?;
    let (from_parent, entry) = source_row(tx, rows).await?;
    let to_dir = rows::ensure_dir(tx, &rows.to_parent, rows.now_ms).await?;
    let to_parent = to_dir.id;
    if let Some((version, new)) = &rows.over {
        let id = entries::put_file(tx, to_parent, &rows.to_name, &version.id, rows.now_ms).await?;
        if *new {
            insert_version(tx, version, id).await?;
        }
        kept::insert(tx, &kept_row(rows, to_parent, id, version, *new)).await?;
    }
    entries::relocate(tx, entry, to_parent, &rows.to_name).await?;
    if rows.version.is_some() {
        kept::follow(tx, entry, to_parent, &rows.to_name).await?;
    }
    let step = Step::Rename {
        to: to.clone(),
        over: rows.over.as_ref().map(|(v, _)| v.id.clone()),
        version: rows.version.as_ref().map(|(v, _)| v.id.clone()),
    };
    let intent = intents::insert(tx, from, rows.ino, &who, &step).await?;
    let event = Event {
        kind: EventKind::Moved,
        path: from.clone(),
        target: Some(to.clone()),
        entry: Some(entry),
        version: rows.version.as_ref().map(|(v, _)| v.id.clone()),
        size: rows.version.as_ref().map(|(v, _)| v.size),
        who,
    };
    let event = events::record(tx, rows.now_ms, &event).await?;
    Ok(Written {
        entry,
        to_parent: to_dir,
        from_parent,
        intent,
        event,
    })
}

/// The entry that moves, made now when only the tree knew it; and its parent.
async fn source_row(tx: &mut Tx<'_>, rows: &Rows) -> Result<(i64, i64)> {
    let from = rows.from.path();
    let (Some(parent), Some(name)) = (from.parent(), from.name()) else {
        return Err(Error::new(Kind::Invalid, "/: the root cannot be moved"));
    };
    let parent = rows::ensure_dir(tx, &parent, rows.now_ms).await?.id;
    let Some((version, new)) = &rows.version else {
        return Ok((parent, rows::ensure_dir(tx, from, rows.now_ms).await?.id));
    };
    let entry = entries::put_file(tx, parent, name, &version.id, rows.now_ms).await?;
    if *new {
        insert_version(tx, version, entry).await?;
    }
    // The rename changes the inode's change time; filled in when it is settled.
    versions::set_stamp(tx, &version.id, rows.ino, None).await?;
    Ok((parent, entry))
}

async fn insert_version(tx: &mut Tx<'_>, version: &VersionRow, entry: i64) -> Result<()> {
    let row = VersionRow {
        entry,
        ..version.clone()
    };
    versions::insert(tx, &row).await
}

fn kept_row(rows: &Rows, parent: i64, entry: i64, version: &VersionRow, new: bool) -> KeptRow {
    KeptRow {
        id: version.id.clone(),
        parent,
        name: rows.to_name.clone(),
        is_dir: false,
        entry,
        ino: version.ino,
        reason: if new {
            KeptReason::Edited
        } else {
            KeptReason::Replaced
        },
        retired_ms: rows.now_ms,
        by: rows.to.user().to_owned(),
    }
}

async fn unwrite_rows(tx: &mut Tx<'_>, rows: &Rows, written: Written) -> Result<()> {
    let name = rows.from.path().name().unwrap_or_default();
    let now_ms = rows.now_ms;
    // The moved entry leaves the target before what was there takes its name again.
    entries::relocate(tx, written.entry, written.from_parent, name).await?;
    if let Some((version, new)) = &rows.version {
        kept::follow(tx, written.entry, written.from_parent, name).await?;
        if *new {
            versions::remove(tx, &version.id).await?;
        } else {
            versions::set_stamp(tx, &version.id, rows.ino, version.ctime_ns).await?;
        }
        rows.from_before
            .put_back(tx, name, written.entry, now_ms)
            .await?;
    }
    if let Some((version, new)) = &rows.over {
        kept::remove(tx, &version.id).await?;
        if *new {
            versions::remove(tx, &version.id).await?;
        }
        rows.to_before
            .put_back(tx, &rows.to_name, NO_ENTRY, now_ms)
            .await?;
    }
    written.to_parent.take_back(tx).await?;
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
