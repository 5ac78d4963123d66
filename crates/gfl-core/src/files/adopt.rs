//! What people change by hand becomes history too: new files get a version and a hash, edited files a
//! new version, removed files and folders an event. Happens beside requests, one file after the other, for paths
//! that were noticed when somebody looked.

use super::look::{Looked, LookedFile};
use super::rows::{self, BY_HAND, Before, version_of_edit};
use super::settle::Reach;
use super::shared::Shared;
use crate::catalog::entries::{EntryRow, Known};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::versions::{self, Fit, VersionRow};
use crate::catalog::{Tx, entries};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::limits::{ADOPTION_QUEUE_MAX, IO_BYTES_MAX, PRUNE_BATCH};
use crate::store::{Content, Found, Place};
use gfl_api::path::FilePath;
use gfl_api::tree::{Root, TreeHasher};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use tokio::sync::Notify;

#[derive(Default)]
struct Queue {
    order: VecDeque<FilePath>,
    waiting: HashSet<FilePath>,
}

/// Paths where the tree and the catalog differ. Bounded: what does not fit is noticed again.
#[derive(Default)]
pub(crate) struct Noticed {
    queue: Mutex<Queue>,
    more: Notify,
}

impl Noticed {
    pub(crate) fn push(&self, path: FilePath) {
        let mut queue = self.queue.lock();
        if queue.order.len() < ADOPTION_QUEUE_MAX && queue.waiting.insert(path.clone()) {
            queue.order.push_back(path);
            drop(queue);
            self.more.notify_one();
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.queue.lock().order.len()
    }

    fn pop(&self) -> Option<FilePath> {
        let mut queue = self.queue.lock();
        let path = queue.order.pop_front()?;
        queue.waiting.remove(&path);
        Some(path)
    }

    /// Waits until there is something.
    pub(crate) async fn wait(&self) {
        self.more.notified().await;
    }
}

/// What adoption writes.
struct Rows {
    now_ms: i64,
    path: FilePath,
    parent: FilePath,
    name: String,
    what: What,
}

struct NewVersion {
    version: VersionRow,
    before: Before,
}

enum What {
    /// A new version for what a person made or changed.
    New(Box<NewVersion>),
    /// The file is ours after all (other inode, same bytes), or its root is known now.
    Confirmed {
        key: Key,
        root: Root,
        ino: u64,
        ctime_ns: i64,
    },
    /// The file or the directory is gone. With `dir`: a directory has the file's place.
    Gone { entry: EntryRow, dir: bool },
}

impl Shared {
    /// Records the next noticed path; false when there is none.
    pub(crate) async fn adopt_one(&self) -> Result<bool> {
        let Some(path) = self.noticed.pop() else {
            return Ok(false);
        };
        match self.adopt(&path).await {
            Ok(()) => {}
            // Changed while it was read, gone, or not readable here: whoever looks next notices it again.
            Err(e)
                if matches!(
                    e.kind(),
                    Kind::NotFound
                        | Kind::Busy
                        | Kind::IsADirectory
                        | Kind::InvalidPath
                        | Kind::StoragePermission
                ) => {}
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    async fn adopt(&self, path: &FilePath) -> Result<()> {
        let path = &self.highest_missing(path).await?;
        if self.forget_some_below(path).await? {
            // More of it, when others have had their turn.
            self.noticed.push(path.clone());
            return Ok(());
        }
        // Hashing takes long, so it happens without the lock; the stamp proves that nothing changed.
        let hashed = {
            let looked = {
                let _lock = self.locks.shared(path).await;
                self.look_quietly(path).await?
            };
            match looked {
                Looked::File(file) if needs_hash(&file) => Some(self.hash_visible(path).await?),
                _ => None,
            }
        };
        let _lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Subtree).await?;
        let what = match self.look_quietly(path).await? {
            Looked::File(file) => match hashed {
                Some((root, content)) if content.stamp() == file.stamp => {
                    self.what_became(&file, root)
                }
                _ => return Ok(()),
            },
            Looked::Nothing {
                known: Some(Known { entry, .. }),
            }
            | Looked::Other {
                known: Some(Known { entry, .. }),
            } if !entry.gone => What::Gone { entry, dir: false },
            Looked::Dir {
                known: Some(Known { entry, .. }),
                ..
            } if !entry.is_dir => What::Gone { entry, dir: true },
            Looked::Nothing { .. } | Looked::Dir { .. } | Looked::Other { .. } => return Ok(()),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(());
        };
        let rows = Rows {
            now_ms: self.clock.now_ms(),
            path: path.clone(),
            parent,
            name: name.to_owned(),
            what,
        };
        self.db
            .write("adopt", rows, |tx, rows| Box::pin(write_rows(tx, rows)))
            .await
    }

    /// Who removes a folder removes all that is in it: one event, for the highest name that is missing.
    async fn highest_missing(&self, path: &FilePath) -> Result<FilePath> {
        let mut highest = path.clone();
        if self.store.stat(path).await? != Found::Nothing {
            return Ok(highest);
        }
        while let Some(parent) = highest.parent().filter(|parent| !parent.is_root()) {
            if self.store.stat(&parent).await? != Found::Nothing {
                break;
            }
            highest = parent;
        }
        Ok(highest)
    }

    /// Removes some of the rows below a path that is no directory (any more); true when there may be more of them.
    async fn forget_some_below(&self, path: &FilePath) -> Result<bool> {
        if !self.has_rows_below(path).await? {
            return Ok(false);
        }
        let _lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Subtree).await?;
        let entry = match self.look_quietly(path).await? {
            Looked::Dir { .. } => return Ok(false),
            Looked::Nothing { known } | Looked::Other { known } => known,
            Looked::File(file) => file.known,
        };
        let Some(Known { entry, .. }) = entry else {
            return Ok(false);
        };
        let done = self
            .db
            .write("forget rows below", entry.id, |tx, id| {
                Box::pin(entries::forget_below(tx, *id, PRUNE_BATCH))
            })
            .await?;
        Ok(!done)
    }

    async fn has_rows_below(&self, path: &FilePath) -> Result<bool> {
        self.db
            .read("rows below", path.clone(), |tx, path| {
                Box::pin(async move {
                    match entries::find(tx, path).await? {
                        Some(row) => entries::has_below(tx, row.id).await,
                        None => Ok::<_, Error>(false),
                    }
                })
            })
            .await
    }

    /// A look that does not queue what it sees.
    async fn look_quietly(&self, path: &FilePath) -> Result<Looked> {
        let looked = self.look(path).await?;
        let mut queue = self.noticed.queue.lock();
        if queue.waiting.remove(path) {
            queue.order.retain(|p| p != path);
        }
        Ok(looked)
    }

    fn what_became(&self, file: &LookedFile, root: Root) -> What {
        let row = file.known.as_ref().and_then(|k| k.version.as_ref());
        if let Some(v) = row
            && v.fit(&file.stamp) != Fit::Edited
            && v.b3.is_none_or(|b3| b3 == root)
        {
            return What::Confirmed {
                key: v.id.clone(),
                root,
                ino: file.stamp.ino,
                ctime_ns: file.stamp.ctime_ns,
            };
        }
        let mut version = version_of_edit(Key::new(&*self.clock), file, self.clock.now_ms());
        version.b3 = Some(root);
        // What looked like ours and is not: its version is gone as with any edit.
        let before = match &file.known {
            Some(known) if !known.entry.is_dir => Before::Stale(known.clone()),
            _ => Before::of_file(file),
        };
        What::New(Box::new(NewVersion { version, before }))
    }

    async fn hash_visible(&self, path: &FilePath) -> Result<(Root, std::sync::Arc<dyn Content>)> {
        let content = self.store.open(&Place::Visible(path.clone())).await?;
        let mut tree = TreeHasher::new();
        let mut at = 0;
        loop {
            let bytes = content.read_at(at, IO_BYTES_MAX).await?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            tree.update(&bytes, |_, _| {});
        }
        if at != content.stamp().size || !content.unchanged().await? {
            return Err(Error::new(
                Kind::Busy,
                format!("{path}: changed while it was read"),
            ));
        }
        Ok((tree.finish(|_, _| {}), content))
    }
}

fn needs_hash(file: &LookedFile) -> bool {
    file.fit() != Fit::Exact || file.version().is_none_or(|v| v.b3.is_none())
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<()> {
    match &rows.what {
        What::Confirmed {
            key,
            root,
            ino,
            ctime_ns,
        } => {
            versions::set_digests(tx, key, *root, None).await?;
            versions::set_stamp(tx, key, *ino, Some(*ctime_ns)).await
        }
        What::Gone { entry, dir } => {
            if *dir {
                rows::ensure_dir(tx, &rows.path, rows.now_ms).await?;
                return Ok(());
            }
            rows::vanish(tx, &rows.path, entry, rows.now_ms).await?;
            if entry.is_dir {
                return entries::close_dir(tx, entry.id).await;
            }
            entries::remove(tx, entry.id).await
        }
        What::New(new) => {
            let NewVersion { version, before } = &**new;
            before.forget(tx, &rows.path, rows.now_ms).await?;
            let parent = rows::ensure_dir(tx, &rows.parent, rows.now_ms).await?.id;
            let entry = entries::put_file(tx, parent, &rows.name, &version.id, rows.now_ms).await?;
            versions::insert(
                tx,
                &VersionRow {
                    entry,
                    ..version.clone()
                },
            )
            .await?;
            let event = Event {
                kind: EventKind::Adopted,
                path: rows.path.clone(),
                target: None,
                entry: Some(entry),
                version: Some(version.id.clone()),
                size: Some(version.size),
                who: BY_HAND.to_owned(),
            };
            events::record(tx, rows.now_ms, &event).await?;
            Ok(())
        }
    }
}
