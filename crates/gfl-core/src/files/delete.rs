//! Deleting: one row and one rename into kept, for a file or a whole folder. Undone by restore.

use super::doubt::Then;
use super::look::{Looked, LookedFile, not_found, unserved};
use super::rows::{self, Before, version_of_edit};
use super::settle::Reach;
use super::shared::Shared;
use super::{Delete, KeptReason, precondition};
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, VersionRow};
use crate::catalog::{Tx, entries};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::Place;
use gfl_api::path::FilePath;

/// Mode of every link.
const LINK_MODE: u32 = 0o777;

/// What goes.
#[derive(Clone)]
enum Doomed {
    /// A file with its version; `new` when a person had made it and its row is made now.
    File { version: VersionRow, new: bool },
    /// A directory.
    Dir { ino: u64 },
}

#[derive(Clone)]
struct Rows {
    now_ms: i64,
    grant: Grant,
    parent: FilePath,
    name: String,
    key: Key,
    doomed: Doomed,
    /// For compensation.
    before: Before,
}

#[derive(Clone, Copy)]
struct Written {
    entry: i64,
    parent: i64,
    intent: i64,
    event: i64,
}

impl Rows {
    fn ino(&self) -> u64 {
        match &self.doomed {
            Doomed::File { version, .. } => version.ino,
            Doomed::Dir { ino } => *ino,
        }
    }
}

impl Shared {
    /// Deletes a file, or a directory with `recursive` or when it is empty.
    pub(crate) async fn delete(
        &self,
        caller: &Caller,
        path: &FilePath,
        how: &Delete,
    ) -> Result<()> {
        let grant = caller.may(Verb::Delete, path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(Kind::Invalid, "/: the root cannot be deleted"));
        };
        let name = name.to_owned();
        let _lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Subtree).await?;
        let looked = self.look(path).await?;
        precondition::check(&how.pre, looked.etag(path).as_deref(), path)?;
        let now_ms = self.clock.now_ms();
        let before = Before::of(&looked);
        let (key, doomed) = match looked {
            Looked::Nothing { .. } => return Err(not_found(path)),
            Looked::Dir { ino, .. } => {
                caller.may_below(Verb::Delete, path)?;
                self.may_delete_dir(path, how).await?;
                (Key::new(&*self.clock), Doomed::Dir { ino })
            }
            Looked::File(_) | Looked::Other { .. } if how.must_be_dir == Some(true) => {
                return Err(Error::new(
                    Kind::NotADirectory,
                    format!("{path}: is not a directory"),
                ));
            }
            Looked::Other { .. } => {
                let key = Key::new(&*self.clock);
                let link = self.broken_link(path).await?;
                let version = version_of_edit(key.clone(), &link, now_ms);
                (key, Doomed::File { version, new: true })
            }
            Looked::File(file) => match file.version() {
                // The inode is the tree's: a restored backup has another than the row.
                Some(v) => (
                    v.id.clone(),
                    Doomed::File {
                        version: VersionRow {
                            ino: file.stamp.ino,
                            ..v.clone()
                        },
                        new: false,
                    },
                ),
                None => {
                    let key = Key::new(&*self.clock);
                    let version = version_of_edit(key.clone(), &file, now_ms);
                    (key, Doomed::File { version, new: true })
                }
            },
        };
        let rows = Rows {
            now_ms,
            grant,
            parent,
            name,
            key,
            doomed,
            before,
        };
        self.delete_now(path, rows).await
    }

    /// A link that leads nowhere, or where nobody may go: a thing to delete and nothing else.
    async fn broken_link(&self, path: &FilePath) -> Result<LookedFile> {
        let place = Place::Visible(path.clone());
        match self.store.link(&place, path).await? {
            Some(link) => Ok(LookedFile {
                stamp: link.stamp,
                mode: LINK_MODE,
                known: None,
            }),
            None => Err(unserved(path)),
        }
    }

    async fn may_delete_dir(&self, path: &FilePath, how: &Delete) -> Result<()> {
        if how.must_be_dir == Some(false) {
            return Err(Error::new(
                Kind::IsADirectory,
                format!("{path}: is a directory; delete it as '{path}/'"),
            ));
        }
        if how.recursive {
            return Ok(());
        }
        let inside = self.store.list(path, None, 1).await?;
        if inside.names.is_empty() && inside.skipped == 0 {
            return Ok(());
        }
        // It is the link that goes, and nothing of what it leads to.
        let place = Place::Visible(path.clone());
        if self.store.link(&place, path).await?.is_some() {
            return Ok(());
        }
        Err(Error::new(
            Kind::NotEmpty,
            format!(
                "{path}: is not empty; ask for recursive deletion to delete it with its content"
            ),
        ))
    }

    async fn delete_now(&self, path: &FilePath, rows: Rows) -> Result<()> {
        let written = self
            .db
            .write("delete", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await
            .map_err(|error| self.doubted(error, &[path], Then::change()))?;
        match self.store.retire(path, rows.ino(), &rows.key).await {
            Ok(true) => {
                self.unsettled.push(written.intent, &[path], None);
                Ok(())
            }
            // A person was faster: it is gone as asked, and there is nothing to keep.
            Ok(false) => {
                let args = (rows.key, written.intent);
                self.db
                    .write("nothing was kept", args, |tx, (key, intent)| {
                        Box::pin(async move {
                            rows::forget_kept(tx, key).await?;
                            intents::remove(tx, *intent).await
                        })
                    })
                    .await
                    .inspect_err(|_| self.unfinished.push(written.intent, &[path]))
            }
            Err(error) => {
                let fate = self.fate_of_retire(&rows.key).await;
                let back = self.db.write(
                    "take a deletion back",
                    (rows, written),
                    |tx, (rows, written)| Box::pin(unwrite_rows(tx, rows, *written)),
                );
                self.settle_fate(written.intent, &[path], fate, error, back)
                    .await
            }
        }
    }
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    let path = rows.grant.path();
    rows.before.forget(tx, path, rows.now_ms).await?;
    let parent = rows::ensure_dir(tx, &rows.parent, rows.now_ms).await?.id;
    let (entry, size) = match &rows.doomed {
        Doomed::File { version, new } => {
            let entry = entries::put_file(tx, parent, &rows.name, &rows.key, rows.now_ms).await?;
            if *new {
                versions::insert(
                    tx,
                    &VersionRow {
                        entry,
                        ..version.clone()
                    },
                )
                .await?;
            }
            entries::remove(tx, entry).await?;
            (entry, Some(version.size))
        }
        Doomed::Dir { .. } => {
            let entry = rows::ensure_dir(tx, path, rows.now_ms).await?.id;
            entries::relocate(tx, entry, entries::LIMBO, rows.key.as_str()).await?;
            (entry, None)
        }
    };
    let who = rows.grant.user().to_owned();
    let row = KeptRow {
        id: rows.key.clone(),
        parent,
        name: rows.name.clone(),
        is_dir: matches!(rows.doomed, Doomed::Dir { .. }),
        entry,
        ino: rows.ino(),
        reason: KeptReason::Deleted,
        retired_ms: rows.now_ms,
        by: who.clone(),
    };
    kept::insert(tx, &row).await?;
    let step = Step::Retire {
        key: rows.key.clone(),
    };
    let intent = intents::insert(tx, path, rows.ino(), &who, &step).await?;
    let event = Event {
        kind: EventKind::Deleted,
        path: path.clone(),
        target: None,
        entry: Some(entry),
        version: (!row.is_dir).then(|| rows.key.clone()),
        size,
        who,
    };
    let event = events::record(tx, rows.now_ms, &event).await?;
    Ok(Written {
        entry,
        parent,
        intent,
        event,
    })
}

async fn unwrite_rows(tx: &mut Tx<'_>, rows: &Rows, written: Written) -> Result<()> {
    let (name, now_ms) = (&rows.name, rows.now_ms);
    match &rows.doomed {
        Doomed::File { new, .. } => {
            rows.before
                .put_back(tx, name, written.entry, now_ms)
                .await?;
            if *new {
                versions::remove(tx, &rows.key).await?;
            }
        }
        Doomed::Dir { .. } => {
            entries::relocate(tx, written.entry, written.parent, name).await?;
        }
    }
    kept::remove(tx, &rows.key).await?;
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
