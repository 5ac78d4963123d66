//! What several verbs write alike: directories on the way, rows that a person's change made untrue, and what
//! a rename brought out. Runs inside a verb's transaction.

use super::KeptReason;
use super::look::{Looked, LookedFile};
use crate::catalog::entries::{self, EntryRow, Known};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{Intent, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::versions::{self, VersionRow};
use crate::catalog::{Tx, uploads};
use crate::error::Result;
use crate::id::Key;
use crate::store::{CameOut, Stamp};
use gfl_api::path::FilePath;

/// Recorded as the one who did what was done by hand.
pub(crate) const BY_HAND: &str = "";

/// The row of a directory, and what had to be made for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirRow {
    pub(crate) id: i64,
    /// The highest row that is new or means something else now; those below it down to `id` are, too.
    made: Option<i64>,
}

/// The row of a directory, made with its parents where missing. A row that says "file" where the tree has a
/// directory is corrected: a person replaced it, so the file has vanished.
pub(crate) async fn ensure_dir(tx: &mut Tx<'_>, path: &FilePath, now_ms: i64) -> Result<DirRow> {
    let mut at = DirRow {
        id: entries::ROOT,
        made: None,
    };
    let mut walked = FilePath::root();
    for name in path.components() {
        walked = walked.join(name).unwrap_or(walked);
        // Almost always it is there: asking first keeps the write-ahead log free of rows that did not change.
        let row = entries::child(tx, at.id, name).await?;
        if let Some(row) = row.as_ref().filter(|row| row.is_dir && !row.gone) {
            at.id = row.id;
            continue;
        }
        if let Some(file) = row.filter(|row| !row.is_dir) {
            vanish(tx, &walked, &file, now_ms).await?;
        }
        at.id = entries::put_dir(tx, at.id, name, now_ms).await?;
        at.made.get_or_insert(at.id);
    }
    Ok(at)
}

impl DirRow {
    /// The change it was for could not be made: rows of directories that never came to be would be told as vanished.
    pub(crate) async fn take_back(self, tx: &mut Tx<'_>) -> Result<()> {
        let Some(top) = self.made else { return Ok(()) };
        let mut at = self.id;
        // Others may have put something there meanwhile.
        while !entries::has_below(tx, at).await? {
            let parent = entries::by_id(tx, at).await?.map(|(row, _)| row.parent);
            entries::close_dir(tx, at).await?;
            match parent {
                Some(parent) if at != top => at = parent,
                _ => break,
            }
        }
        Ok(())
    }
}

/// Records that a file or a directory was removed by hand. The caller removes or reuses the entry; rows below a
/// directory's are removed in steps of their own.
pub(crate) async fn vanish(
    tx: &mut Tx<'_>,
    path: &FilePath,
    entry: &EntryRow,
    now_ms: i64,
) -> Result<()> {
    if let Some(version) = &entry.version {
        versions::remove(tx, version).await?;
    }
    let event = Event {
        kind: EventKind::Vanished,
        path: path.clone(),
        target: None,
        entry: Some(entry.id),
        version: entry.version.clone(),
        size: None,
        who: BY_HAND.to_owned(),
    };
    events::record(tx, now_ms, &event).await?;
    Ok(())
}

/// What the catalog said of a path before a change, and whether that was still true.
#[derive(Debug, Clone)]
pub(crate) enum Before {
    /// No row.
    Nothing,
    /// A row that a person's removal made untrue.
    Vanished(EntryRow),
    /// A row whose version a person's edit or replacement made untrue.
    Stale(Known),
    /// A row that was true.
    True(EntryRow),
}

impl Before {
    pub(crate) fn of(looked: &Looked) -> Before {
        match looked {
            Looked::Nothing { known: Some(known) } | Looked::Other { known: Some(known) }
                if !known.entry.gone =>
            {
                Before::Vanished(known.entry.clone())
            }
            Looked::File(file) => Before::of_file(file),
            Looked::Nothing { known } | Looked::Dir { known, .. } | Looked::Other { known } => {
                match known {
                    Some(known) => Before::True(known.entry.clone()),
                    None => Before::Nothing,
                }
            }
        }
    }

    pub(crate) fn of_file(file: &LookedFile) -> Before {
        match &file.known {
            None => Before::Nothing,
            Some(known) if known.entry.is_dir && !known.entry.gone => {
                Before::Vanished(known.entry.clone())
            }
            Some(known) if file.version().is_some() || known.entry.is_dir => {
                Before::True(known.entry.clone())
            }
            Some(known) => Before::Stale(known.clone()),
        }
    }

    /// Removes what is not true any more. First thing in a change's transaction.
    pub(crate) async fn forget(&self, tx: &mut Tx<'_>, path: &FilePath, now_ms: i64) -> Result<()> {
        match self {
            // The entry stays: what is kept of this name belongs to it.
            Before::Vanished(entry) => vanish(tx, path, entry, now_ms).await,
            // The bytes are the person's doing and gone with the edit.
            Before::Stale(known) => match &known.entry.version {
                Some(version) => versions::remove(tx, version).await,
                None => Ok(()),
            },
            Before::Nothing | Before::True(_) => Ok(()),
        }
    }

    /// Makes the rows as they were. `made` is the entry that the change gave the name.
    pub(crate) async fn put_back(
        &self,
        tx: &mut Tx<'_>,
        name: &str,
        made: i64,
        now_ms: i64,
    ) -> Result<()> {
        match self {
            // That it vanished stays true. What was kept in a directory is found by its row.
            Before::Vanished(entry) if entry.is_dir => {
                let gone = EntryRow {
                    gone: true,
                    ..entry.clone()
                };
                entries::put_back(tx, &gone, name, now_ms).await
            }
            Before::Nothing | Before::Vanished(_) => entries::remove(tx, made).await,
            Before::True(entry) => entries::put_back(tx, entry, name, now_ms).await,
            Before::Stale(known) => {
                entries::put_back(tx, &known.entry, name, now_ms).await?;
                if let Some(version) = &known.version
                    && versions::get(tx, &version.id).await?.is_none()
                {
                    versions::insert(tx, version).await?;
                }
                Ok(())
            }
        }
    }
}

/// A row for a file that a person made, at the moment it needs one.
pub(crate) fn version_of_edit(key: Key, file: &LookedFile, now_ms: i64) -> VersionRow {
    let Stamp {
        size,
        mtime_ns,
        ino,
        ctime_ns,
    } = file.stamp;
    VersionRow {
        id: key,
        entry: 0,
        size,
        b3: None,
        sha256: None,
        mtime_ns,
        mode: file.mode,
        owner: BY_HAND.to_owned(),
        uploaded_ms: now_ms,
        ino,
        ctime_ns: Some(ctime_ns),
    }
}

/// A person's file, kept when a write of ours took its place.
#[derive(Clone)]
pub(crate) struct Edited {
    pub(crate) key: Key,
    pub(crate) stamp: Stamp,
    pub(crate) mode: u32,
    pub(crate) who: String,
}

/// Records a person's file that came out: it can be brought back like any other.
pub(crate) async fn insert_edited(
    tx: &mut Tx<'_>,
    edited: &Edited,
    entry: &EntryRow,
    name: &str,
    now_ms: i64,
) -> Result<()> {
    let version = VersionRow {
        id: edited.key.clone(),
        entry: entry.id,
        size: edited.stamp.size,
        b3: None,
        sha256: None,
        mtime_ns: edited.stamp.mtime_ns,
        mode: edited.mode,
        owner: BY_HAND.to_owned(),
        uploaded_ms: now_ms,
        ino: edited.stamp.ino,
        ctime_ns: None,
    };
    versions::insert(tx, &version).await?;
    let row = KeptRow {
        id: edited.key.clone(),
        parent: entry.parent,
        name: name.to_owned(),
        is_dir: false,
        entry: entry.id,
        ino: edited.stamp.ino,
        reason: KeptReason::Edited,
        retired_ms: now_ms,
        by: edited.who.clone(),
    };
    kept::insert(tx, &row).await
}

/// Makes the kept rows say what publishing really brought out. True of the first publishing and of a redo.
pub(crate) async fn correct_publish(
    tx: &mut Tx<'_>,
    intent: &Intent,
    came_out: &CameOut,
    mode: u32,
    now_ms: i64,
) -> Result<()> {
    let Step::Publish {
        version,
        replaces,
        edit_key,
    } = &intent.step
    else {
        return Ok(());
    };
    if *came_out != CameOut::Ours
        && let Some((old, _)) = replaces
        && kept::remove(tx, old).await?
    {
        versions::remove(tx, old).await?;
    }
    let CameOut::Edited(stamp) = came_out else {
        return forget_kept(tx, edit_key).await;
    };
    if let Some(row) = versions::get(tx, edit_key).await? {
        if (row.size, row.mtime_ns) == (stamp.size, stamp.mtime_ns) {
            return Ok(());
        }
        forget_kept(tx, edit_key).await?;
    }
    let Some(version) = versions::get(tx, version).await? else {
        return Ok(());
    };
    if let Some((entry, name)) = entries::by_id(tx, version.entry).await? {
        let edited = Edited {
            key: edit_key.clone(),
            stamp: *stamp,
            mode,
            who: intent.who.clone(),
        };
        insert_edited(tx, &edited, &entry, &name, now_ms).await?;
    }
    Ok(())
}

/// Removes the rows of something kept whose bytes are not there.
pub(crate) async fn forget_kept(tx: &mut Tx<'_>, key: &Key) -> Result<()> {
    let Some(row) = kept::get(tx, key).await? else {
        return Ok(());
    };
    kept::remove(tx, key).await?;
    entries::drop_gone(tx, row.parent).await?;
    if row.is_dir {
        // The rows below are swept in steps; nothing can reach them any more.
        entries::relocate(tx, row.entry, entries::SWEEP, row.id.as_str()).await
    } else {
        versions::remove(tx, key).await
    }
}

/// Forgets the parts of uploads whose commit is certain now.
pub(crate) async fn forget_parts(tx: &mut Tx<'_>, upload: Option<&str>) -> Result<()> {
    match upload {
        Some(id) => uploads::clear_parts(tx, id).await,
        None => Ok(()),
    }
}
