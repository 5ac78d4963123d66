//! Changing mtime and mode without touching content.

use super::doubt::Then;
use super::finish::{Fate, ino_of};
use super::look::{Looked, file_stat, not_found, unserved};
use super::put::file_mode;
use super::settle::Reach;
use super::shared::Shared;
use super::{FileMeta, Node, Stat};
use crate::auth::{Caller, Verb};
use crate::catalog::Tx;
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::versions::{self, VersionRow};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::{self, Found, Stamp};
use gfl_api::path::FilePath;

/// What the transaction writes.
#[derive(Clone)]
struct Rows {
    now_ms: i64,
    ino: u64,
    /// The version as it was.
    version: Option<VersionRow>,
    mtime_ns: Option<i64>,
    mode: Option<u32>,
    event: Event,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    intent: i64,
    event: i64,
}

impl Shared {
    /// Sets mtime and mode of a file or a directory.
    pub(crate) async fn set_meta(
        &self,
        caller: &Caller,
        path: &FilePath,
        meta: &FileMeta,
    ) -> Result<Stat> {
        let grant = caller.may(Verb::Overwrite, path)?;
        if path.is_root() {
            return Err(Error::new(
                Kind::Invalid,
                "/: the root belongs to the server; its mode and time cannot be changed",
            ));
        }
        let mode = meta.mode.map(|m| m & 0o777);
        let _lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Name).await?;
        let looked = self.look(path).await?;
        let (version, ino, known) = match looked {
            Looked::Nothing { .. } => return Err(not_found(path)),
            Looked::Other { .. } => return Err(unserved(path)),
            Looked::Dir { ino, known, .. } => (None, ino, known),
            Looked::File(file) => (file.version().cloned(), file.stamp.ino, file.known),
        };
        let event = Event {
            kind: EventKind::MetaChanged,
            path: path.clone(),
            target: None,
            entry: known.map(|k| k.entry.id),
            version: version.as_ref().map(|v| v.id.clone()),
            size: None,
            who: grant.user().to_owned(),
        };
        let rows = Rows {
            now_ms: self.clock.now_ms(),
            ino,
            version,
            mtime_ns: meta.mtime_ns,
            mode,
            event,
        };
        // The row first: a crash in between leaves an intent, not a file that looks edited by hand.
        let written = self
            .db
            .write("set metadata", rows.clone(), |tx, rows| {
                Box::pin(write_rows(tx, rows))
            })
            .await
            .map_err(|error| self.doubted(error, &[path], Then::change()))?;
        let found = match self.store.set_meta(path, meta.mtime_ns, mode).await {
            Ok(found) => found,
            Err(error) => {
                self.meta_failed(path, rows.clone(), written, error).await?;
                self.store.stat(path).await?
            }
        };
        self.meta_set(path, rows, written, found).await
    }

    /// The row follows what the file system really keeps, which may be coarser than what was asked for.
    async fn meta_set(
        &self,
        path: &FilePath,
        rows: Rows,
        written: Written,
        found: Found,
    ) -> Result<Stat> {
        match found {
            Found::File { stamp, mode } => {
                let asked = rows.mtime_ns.is_some_and(|asked| asked != stamp.mtime_ns);
                if let Some(version) = rows.version.as_ref().filter(|_| asked) {
                    let args = (version.id.clone(), stamp.mtime_ns);
                    self.db
                        .write("coarse mtime", args, |tx, (key, mtime_ns)| {
                            Box::pin(versions::set_mtime(tx, key, *mtime_ns))
                        })
                        .await
                        .inspect_err(|_| self.unfinished.push(written.intent, &[path]))?;
                }
                let version = rows.version.map(|v| VersionRow {
                    mtime_ns: stamp.mtime_ns,
                    ..v
                });
                let key: Option<(Key, Stamp)> = version.as_ref().map(|v| (v.id.clone(), stamp));
                self.unsettled.push(written.intent, &[path], key);
                Ok(file_stat(path, &stamp, mode, version.as_ref()))
            }
            Found::Dir { mtime_ns, mode, .. } => {
                self.unsettled.push(written.intent, &[path], None);
                Ok(Stat {
                    path: path.clone(),
                    node: Node::Dir,
                    mtime_ns,
                    mode,
                })
            }
            Found::Nothing | Found::Other => {
                self.unsettled.push(written.intent, &[path], None);
                Err(not_found(path))
            }
        }
    }

    /// `Ok` when it was done all the same.
    async fn meta_failed(
        &self,
        path: &FilePath,
        rows: Rows,
        written: Written,
        error: Error,
    ) -> Result<()> {
        let mut back = rows.version.clone();
        let fate = match self.store.stat(path).await {
            Err(_) => Fate::Unknown,
            Ok(found) => {
                let (mtime_ns, mode) = match &found {
                    Found::File { stamp, mode } => (stamp.mtime_ns, *mode),
                    Found::Dir { mtime_ns, mode, .. } => (*mtime_ns, *mode),
                    Found::Nothing | Found::Other => (0, 0),
                };
                let done = ino_of(&found) == Some(rows.ino)
                    && rows.mtime_ns.is_none_or(|asked| asked == mtime_ns)
                    && rows.mode.is_none_or(|asked| {
                        mode == match &found {
                            Found::Dir { .. } => store::dir_mode(asked),
                            _ => store::file_mode(asked),
                        }
                    });
                // Half done: the row follows the file, or it would look edited by hand.
                if let Some(version) = back.as_mut().filter(|_| ino_of(&found) == Some(rows.ino)) {
                    version.mtime_ns = mtime_ns;
                }
                if done { Fate::Done } else { Fate::NotDone }
            }
        };
        let take_back = self.db.write(
            "take metadata back",
            (back, written),
            |tx, (back, written)| Box::pin(unwrite_rows(tx, back.as_ref(), *written)),
        );
        self.settle_fate(written.intent, &[path], fate, error, take_back)
            .await
    }
}

async fn write_rows(tx: &mut Tx<'_>, rows: &Rows) -> Result<Written> {
    if let Some(v) = &rows.version {
        let mtime_ns = rows.mtime_ns.unwrap_or(v.mtime_ns);
        let mode = rows.mode.unwrap_or(v.mode);
        versions::set_meta(tx, &v.id, mtime_ns, file_mode(Some(mode))).await?;
        // A restored backup has another inode than the row; without its change time that must fit.
        versions::set_stamp(tx, &v.id, rows.ino, None).await?;
    }
    let step = Step::Meta {
        mtime_ns: rows.mtime_ns,
        mode: rows.mode,
        version: rows.version.as_ref().map(|v| v.id.clone()),
    };
    let event = &rows.event;
    let intent = intents::insert(tx, &event.path, rows.ino, &event.who, &step).await?;
    let event = events::record(tx, rows.now_ms, event).await?;
    Ok(Written { intent, event })
}

async fn unwrite_rows(
    tx: &mut Tx<'_>,
    before: Option<&VersionRow>,
    written: Written,
) -> Result<()> {
    if let Some(v) = before {
        versions::set_meta(tx, &v.id, v.mtime_ns, v.mode).await?;
        versions::set_stamp(tx, &v.id, v.ino, v.ctime_ns).await?;
    }
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
