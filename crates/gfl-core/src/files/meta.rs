//! Changing mtime and mode without touching content.

use super::look::{Looked, not_found};
use super::put::file_mode;
use super::shared::Shared;
use super::{FileMeta, Stat};
use crate::auth::{Caller, Verb};
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::catalog::versions;
use crate::error::{Error, Result};
use crate::store::Found;
use gfl_api::path::FilePath;

impl Shared {
    /// Sets mtime and mode of a file or a directory.
    pub(crate) async fn set_meta(
        &self,
        caller: &Caller,
        path: &FilePath,
        meta: &FileMeta,
    ) -> Result<Stat> {
        let grant = caller.may(Verb::Overwrite, path)?;
        let mode = meta.mode.map(|m| m & 0o777);
        let _lock = self.locks.exclusive(path).await;
        let looked = self.look(path).await?;
        let (version, ino, entry) = match &looked {
            Looked::Nothing { .. } => return Err(not_found(path)),
            Looked::Dir { ino, known, .. } => (None, *ino, known.as_ref().map(|k| k.entry.id)),
            Looked::File(file) => (
                file.version().cloned(),
                file.stamp.ino,
                file.known.as_ref().map(|k| k.entry.id),
            ),
        };
        // The row first: a crash in between leaves an intent, not a file that looks edited by hand.
        let values = version.as_ref().map(|v| {
            (
                v.id.clone(),
                meta.mtime_ns.unwrap_or(v.mtime_ns),
                mode.unwrap_or(file_mode(Some(v.mode))),
            )
        });
        let step = Step::Meta {
            mtime_ns: meta.mtime_ns,
            mode,
            version: version.as_ref().map(|v| v.id.clone()),
        };
        let event = Event {
            kind: EventKind::MetaChanged,
            path: path.clone(),
            target: None,
            entry,
            version: version.as_ref().map(|v| v.id.clone()),
            size: None,
            who: grant.user().to_owned(),
        };
        let args = (self.clock.now_ms(), ino, values, step, event);
        let (intent, event) = self
            .db
            .write(
                "set metadata",
                args,
                |tx, (now_ms, ino, values, step, event)| {
                    Box::pin(async move {
                        if let Some((key, mtime_ns, mode)) = values {
                            versions::set_meta(tx, key, *mtime_ns, *mode).await?;
                        }
                        let intent =
                            intents::insert(tx, &event.path, *ino, &event.who, step).await?;
                        Ok::<_, Error>((intent, events::record(tx, *now_ms, event).await?))
                    })
                },
            )
            .await?;
        match self.store.set_meta(path, meta.mtime_ns, mode).await {
            Ok(Found::File { stamp, mode }) => {
                let key = version.as_ref().map(|v| v.id.clone());
                self.restamp(&key, meta.mtime_ns, &stamp).await?;
                self.unsettled
                    .push(intent, &[path], key.map(|key| (key, stamp)));
                let file = super::look::LookedFile {
                    stamp,
                    mode,
                    known: None,
                };
                let version = version.map(|v| crate::catalog::versions::VersionRow {
                    mtime_ns: stamp.mtime_ns,
                    ..v
                });
                Ok(super::look::file_stat(
                    path,
                    &file.stamp,
                    mode,
                    version.as_ref(),
                ))
            }
            Ok(found) => {
                self.unsettled.push(intent, &[path], None);
                let (mtime_ns, mode) = match found {
                    Found::Dir { mtime_ns, mode, .. } => (mtime_ns, mode),
                    _ => return Err(not_found(path)),
                };
                Ok(Stat {
                    path: path.clone(),
                    node: super::Node::Dir,
                    mtime_ns,
                    mode,
                })
            }
            Err(error) => {
                let before = version.map(|v| (v.id, v.mtime_ns, v.mode));
                self.db
                    .write("take metadata back", (before, intent, event), |tx, args| {
                        Box::pin(async move {
                            if let Some((key, mtime_ns, mode)) = &args.0 {
                                versions::set_meta(tx, key, *mtime_ns, *mode).await?;
                            }
                            intents::remove(tx, args.1).await?;
                            events::unrecord(tx, args.2).await
                        })
                    })
                    .await?;
                Err(error)
            }
        }
    }

    /// A file system with coarse times keeps another mtime than asked for: the row follows it.
    async fn restamp(
        &self,
        key: &Option<crate::id::Key>,
        asked: Option<i64>,
        stamp: &crate::store::Stamp,
    ) -> Result<()> {
        let (Some(key), Some(asked)) = (key, asked) else {
            return Ok(());
        };
        if asked == stamp.mtime_ns {
            return Ok(());
        }
        self.db
            .write(
                "coarse mtime",
                (key.clone(), stamp.mtime_ns),
                |tx, (key, mtime_ns)| Box::pin(versions::set_mtime(tx, key, *mtime_ns)),
            )
            .await
    }
}
