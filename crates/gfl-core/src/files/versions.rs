//! What a path was before, and bringing it back.

use super::commit::Candidate;
use super::doubt::Then;
use super::finish::Fate;
use super::look::{Looked, unserved};
use super::put::file_mode;
use super::read::{no_version, no_version_of_its_own, nothing_deleted};
use super::rows::{self, Before, DirRow};
use super::settle::Reach;
use super::shared::Shared;
use super::{Preconditions, Stat, VersionInfo, VersionMark, VersionPage, VersionsQuery};
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, Fit, VersionRow};
use crate::catalog::{Tx, entries};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::limits::VERSIONS_PAGE_MAX;
use crate::store::{Found, Place, Stamp};
use crate::stream::root_of_draft;
use gfl_api::path::FilePath;

/// A kept row with its version (files).
type Kept = (KeptRow, Option<VersionRow>);

#[derive(Clone)]
struct Rows {
    now_ms: i64,
    grant: Grant,
    parent: FilePath,
    name: String,
    kept: KeptRow,
    ino: u64,
    /// A link comes back: the file that it leads to.
    through_link: Option<Stamp>,
    size: Option<u64>,
    /// A stale row at the path, whose file a person removed.
    before: Before,
}

impl Shared {
    /// A page of the versions of a path, newest first; of a directory: of the deleted things directly in it.
    pub(crate) async fn versions(
        &self,
        caller: &Caller,
        query: &VersionsQuery,
    ) -> Result<VersionPage> {
        let path = &query.path;
        caller.may(Verb::Download, path)?;
        let limit = query.limit.clamp(1, VERSIONS_PAGE_MAX);
        let mut versions = Vec::new();
        if !query.of_directory && query.after.is_none() {
            let _lock = self.locks.shared(path).await;
            if let Looked::File(file) = self.look(path).await?
                && let Some(v) = file.version()
            {
                versions.push(current_info(path, v));
            }
        }
        let room = limit - versions.len();
        // One more than there is room for tells whether there is a next page.
        let args = (query.clone(), i64::try_from(room + 1).unwrap_or(i64::MAX));
        let mut kept = self
            .db
            .read("versions", args, |tx, (query, limit)| {
                Box::pin(kept_of(tx, query, *limit))
            })
            .await?;
        let more = kept.len() > room;
        kept.truncate(room);
        let last = match kept.last() {
            Some((row, _)) => Some(row.mark()),
            None => versions.last().map(|current| VersionMark {
                retired_ms: None,
                id: current.id.clone(),
            }),
        };
        for (row, of) in kept {
            let at = if query.of_directory {
                path.join(&row.name)
            } else {
                Ok(path.clone())
            };
            // A name that has no path any more, because the directory was moved deeper.
            let Ok(at) = at else { continue };
            versions.push(self.kept_info(at, &row, of).await?);
        }
        let next = last.filter(|_| more);
        Ok(VersionPage { versions, next })
    }

    async fn kept_info(&self, path: FilePath, row: &KeptRow, of: Of) -> Result<VersionInfo> {
        let (mtime_ns, uploaded_ms) = match &of {
            Of::File(version) => (
                version.as_ref().map(|v| v.mtime_ns),
                version.as_ref().map(|v| v.uploaded_ms),
            ),
            Of::Dir { made_ms } => match self.store.stat_kept(&row.id).await? {
                Found::Dir { mtime_ns, .. } => (Some(mtime_ns), *made_ms),
                _ => (None, *made_ms),
            },
        };
        let version = of.version();
        Ok(VersionInfo {
            id: row.id.clone(),
            path,
            is_dir: row.is_dir,
            size: version.map_or(0, |v| v.size),
            b3: version.and_then(|v| v.b3),
            mtime_ns,
            kept: Some(row.reason),
            uploaded_ms,
            retired_ms: Some(row.retired_ms),
            by: row.by.clone(),
        })
    }

    /// Brings a kept version back. What is there now, if anything, is kept in its turn.
    pub(crate) async fn restore(
        &self,
        caller: &Caller,
        path: &FilePath,
        version: Option<&Key>,
    ) -> Result<Stat> {
        // Who may not restore here learns nothing of what is kept.
        if caller.may(Verb::Create, path).is_err() && caller.may(Verb::Overwrite, path).is_err() {
            caller.may(Verb::Mkdir, path)?;
        }
        let lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Subtree).await?;
        let args = (path.clone(), version.cloned());
        let (row, version) = self
            .db
            .read("find kept", args, |tx, (path, version)| {
                Box::pin(find_kept(tx, path, version.as_ref()))
            })
            .await?;
        match self.look(path).await? {
            looked @ Looked::Nothing { .. } => {
                let before = Before::of(&looked);
                self.bring_back(caller, path, before, row, version).await
            }
            Looked::File(_) if !row.is_dir => {
                // The commit takes the lock itself.
                drop(lock);
                self.restore_copy(caller, path, &row, version).await
            }
            Looked::Other { .. } => Err(unserved(path)),
            Looked::File(_) | Looked::Dir { .. } => Err(Error::new(
                Kind::AlreadyExists,
                format!("{path}: exists; move it away first, then restore"),
            )),
        }
    }

    /// Nothing is at the path: one rename.
    async fn bring_back(
        &self,
        caller: &Caller,
        path: &FilePath,
        before: Before,
        kept: KeptRow,
        version: Option<VersionRow>,
    ) -> Result<Stat> {
        let verb = if kept.is_dir {
            caller.may_below(Verb::Mkdir, path)?;
            Verb::Mkdir
        } else {
            Verb::Create
        };
        let grant = caller.may(verb, path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(Kind::Invalid, "/: the root needs no restoring"));
        };
        self.check_parents(path).await?;
        let (ino, through_link) = match self.store.stat_kept(&kept.id).await? {
            Found::Dir { ino, .. } => (ino, None),
            Found::File { stamp, .. } => (stamp.ino, None),
            Found::Other => self.through_kept_link(path, &kept).await?,
            Found::Nothing => return Err(no_version(path)),
        };
        let key = kept.id.clone();
        let rows = Rows {
            now_ms: self.clock.now_ms(),
            grant,
            parent,
            name: name.to_owned(),
            kept,
            ino,
            through_link,
            size: version.as_ref().map(|v| v.size),
            before,
        };
        let written = self
            .db
            .write("restore", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await
            .map_err(|error| self.doubted(error, &[path], Then::change()))?;
        let (fate, error) = match self.store.unretire(&key, ino, path).await {
            Ok(true) => (Fate::Done, None),
            Ok(false) => (self.fate_of_unretire(&key).await, Some(no_version(path))),
            Err(error) => (self.fate_of_unretire(&key).await, Some(error)),
        };
        if let Some(error) = error {
            let back = self.db.write(
                "take a restore back",
                (rows, written),
                |tx, (rows, written)| Box::pin(unwrite_rows(tx, rows, *written)),
            );
            self.settle_fate(written.intent, &[path], fate, error, back)
                .await?;
        } else {
            let version = version.as_ref().map(|v| v.id.clone());
            let stamp = self.stamp_of(path, ino, version.as_ref()).await;
            self.unsettled
                .push(written.intent, &[path], stamp.unwrap_or_default());
        }
        self.look(path).await?.stat(path)
    }

    /// The inode that a kept link will lead to, and the file there.
    async fn through_kept_link(
        &self,
        path: &FilePath,
        kept: &KeptRow,
    ) -> Result<(u64, Option<Stamp>)> {
        let place = Place::Kept(kept.id.clone());
        match self
            .store
            .link(&place, path)
            .await?
            .map(|link| link.leads_to)
        {
            Some(Found::Dir { ino, .. }) if kept.is_dir => Ok((ino, None)),
            Some(Found::File { stamp, .. }) if !kept.is_dir => Ok((stamp.ino, Some(stamp))),
            _ => Err(Error::new(
                Kind::NotFound,
                format!(
                    "{path}: what is kept is a link, and what it led to is not there; bring that back first"
                ),
            )),
        }
    }

    /// Something is at the path: the kept content becomes a new version of it, and stays kept.
    async fn restore_copy(
        &self,
        caller: &Caller,
        path: &FilePath,
        row: &KeptRow,
        version: Option<VersionRow>,
    ) -> Result<Stat> {
        caller.may(Verb::Overwrite, path)?;
        let Some(version) = version else {
            return Err(no_version(path));
        };
        let key = Key::new(&*self.clock);
        let place = Place::Kept(row.id.clone());
        match self.restore_draft(path, &key, &place, version).await {
            Ok(candidate) => Ok(self.commit(caller, candidate).await?.stat),
            Err(error) => {
                self.forget_draft(&key).await;
                // Pruned while it was copied.
                Err(if error.kind() == Kind::NotFound {
                    no_version(path)
                } else {
                    error
                })
            }
        }
    }

    async fn restore_draft(
        &self,
        path: &FilePath,
        key: &Key,
        place: &Place,
        version: VersionRow,
    ) -> Result<Candidate> {
        let kept = match self.store.stat_kept(&version.id).await? {
            Found::File { stamp, .. } => stamp,
            Found::Other => {
                return Err(Error::new(
                    Kind::AlreadyExists,
                    format!(
                        "{path}: exists, and what is kept is a link; move away what is there first, then restore"
                    ),
                ));
            }
            Found::Nothing | Found::Dir { .. } => return Err(no_version(path)),
        };
        // Edited in place right before it was kept: what is known of it is of other bytes.
        let b3 = version.b3.filter(|_| version.fit(&kept) != Fit::Edited);
        let outboard = b3.map(|_| &version.id);
        let draft = self.store.create_copy(key, place, outboard).await?;
        let root = match b3 {
            Some(root) => root,
            None => root_of_draft(&*draft, kept.size, false).await?.0,
        };
        let mode = file_mode(Some(version.mode));
        let stamp = draft.finish(kept.size, kept.mtime_ns, Some(mode)).await?;
        Ok(Candidate {
            path: path.clone(),
            draft,
            stamp,
            mode,
            root: Some(root),
            sha256: version.sha256.filter(|_| b3.is_some()),
            pre: Preconditions::default(),
            upload: None,
            keep_draft: false,
            event: Some(EventKind::Restored),
        })
    }
}

/// What is known of something kept.
enum Of {
    /// Its version.
    File(Option<VersionRow>),
    /// When its row was made.
    Dir { made_ms: Option<i64> },
}

impl Of {
    fn version(&self) -> Option<&VersionRow> {
        match self {
            Of::File(version) => version.as_ref(),
            Of::Dir { .. } => None,
        }
    }
}

async fn kept_of(tx: &mut Tx<'_>, query: &VersionsQuery, limit: i64) -> Result<Vec<(KeptRow, Of)>> {
    let path = &query.path;
    let after = query.after.as_ref();
    let rows = if query.of_directory {
        match entries::find(tx, path).await? {
            Some(dir) => kept::deleted_in(tx, dir.id, after, limit).await?,
            None => Vec::new(),
        }
    } else {
        let parent = match path.parent() {
            Some(parent) => entries::find(tx, &parent).await?,
            None => None,
        };
        match (parent, path.name()) {
            (Some(parent), Some(name)) => kept::of_name(tx, parent.id, name, after, limit).await?,
            _ => Vec::new(),
        }
    };
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let of = if row.is_dir {
            let made_ms = entries::created_ms(tx, row.entry).await?;
            Of::Dir { made_ms }
        } else {
            Of::File(versions::get(tx, &row.id).await?)
        };
        out.push((row, of));
    }
    Ok(out)
}

async fn find_kept(tx: &mut Tx<'_>, path: &FilePath, version: Option<&Key>) -> Result<Kept> {
    let parent = match path.parent() {
        Some(parent) => entries::find(tx, &parent).await?,
        None => None,
    };
    let (Some(parent), Some(name)) = (parent, path.name()) else {
        return Err(no_version_of_its_own(tx, path).await?);
    };
    let row = match version {
        // A version of another path stays unreachable through this one, whatever the id.
        Some(key) => kept::get(tx, key)
            .await?
            .filter(|row| row.parent == parent.id && row.name == name)
            .ok_or_else(|| no_version(path))?,
        None => match kept::last_deleted(tx, parent.id, name).await? {
            Some(row) => row,
            None => return Err(nothing_deleted(path)),
        },
    };
    let version = if row.is_dir {
        None
    } else {
        versions::get(tx, &row.id).await?
    };
    Ok((row, version))
}

#[derive(Debug, Clone, Copy)]
struct Written {
    entry: i64,
    parent: DirRow,
    intent: i64,
    event: i64,
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    let path = rows.grant.path();
    let kept = &rows.kept;
    // Whoever removes the row has the bytes: a prune and a restore cannot both.
    if !kept::remove(tx, &kept.id).await? {
        return Err(no_version(path));
    }
    rows.before.forget(tx, path, rows.now_ms).await?;
    let dir = rows::ensure_dir(tx, &rows.parent, rows.now_ms).await?;
    let parent = dir.id;
    let version = (!kept.is_dir).then(|| kept.id.clone());
    if kept.is_dir {
        entries::relocate(tx, kept.entry, parent, &rows.name).await?;
    } else {
        // The entry of old, so that the older versions kept of it stay its own.
        let row = entries::EntryRow {
            id: kept.entry,
            parent,
            is_dir: false,
            gone: false,
            version: version.clone(),
        };
        entries::put_back(tx, &row, &rows.name, rows.now_ms).await?;
        match &rows.through_link {
            Some(stamp) => versions::follow(tx, &kept.id, stamp).await?,
            None => versions::set_stamp(tx, &kept.id, rows.ino, None).await?,
        }
    }
    let step = Step::Unretire {
        key: kept.id.clone(),
        version: version.clone(),
    };
    let intent = intents::insert(tx, path, rows.ino, rows.grant.user(), &step).await?;
    let event = Event {
        kind: EventKind::Restored,
        path: path.clone(),
        target: None,
        entry: Some(kept.entry),
        version,
        size: rows.size,
        who: rows.grant.user().to_owned(),
    };
    Ok(Written {
        entry: kept.entry,
        parent: dir,
        intent,
        event: events::record(tx, rows.now_ms, &event).await?,
    })
}

async fn unwrite_rows(tx: &mut Tx<'_>, rows: &Rows, written: Written) -> Result<()> {
    let kept = &rows.kept;
    if kept.is_dir {
        entries::relocate(tx, kept.entry, entries::LIMBO, kept.id.as_str()).await?;
    } else {
        entries::remove(tx, written.entry).await?;
    }
    kept::insert(tx, kept).await?;
    written.parent.take_back(tx).await?;
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}

fn current_info(path: &FilePath, v: &VersionRow) -> VersionInfo {
    VersionInfo {
        id: v.id.clone(),
        path: path.clone(),
        is_dir: false,
        size: v.size,
        b3: v.b3,
        mtime_ns: Some(v.mtime_ns),
        kept: None,
        uploaded_ms: Some(v.uploaded_ms),
        retired_ms: None,
        by: v.owner.clone(),
    }
}
