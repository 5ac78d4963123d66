//! Time and permission bits where no content travels: of folders, once all they hold is there, and of files that are
//! there already.

use super::{Transfer, blocking};
use crate::local::below::Below;
use crate::local::dest::Tree;
use crate::local::{OWNER_FOLDER_BITS, Stamp};
use crate::remote::{FileMeta, Kind, Listed, Naming};
use anyhow::Result;
use futures_util::stream::{self, StreamExt};
use gfl_api::FilePath;
use gfl_api::http::parse_mode;
use std::path::Path;
use tokio::sync::{Mutex, mpsc};

/// A remote path and what it is to get.
pub(super) type Change = (FilePath, FileMeta);

/// A local folder that was made, and what it is to get.
pub(super) struct Made {
    pub(super) below: Below,
    pub(super) meta: FileMeta,
}

impl Transfer<'_> {
    /// Changes files on the server whose content is there, until the queue is closed.
    pub(super) async fn change_each(&self, queue: &Mutex<mpsc::Receiver<Change>>) -> Result<()> {
        loop {
            let change = queue.lock().await.recv().await;
            let Some((path, meta)) = change else {
                return Ok(());
            };
            match self.v1.set_meta(&path, meta).await {
                Ok(_) => {
                    self.tally.updated(1);
                    self.ui.detail(format!("{path} (time and mode)"));
                }
                Err(error) => {
                    self.tally.set_out();
                    let error = anyhow::Error::from(error.naming(&path));
                    let what = format!("cannot set the mode of {path} on the server");
                    self.set_aside(error.context(what))?;
                }
            }
        }
    }

    /// Gives folders on the server their time and mode. That they have their content counts for more: what fails is
    /// told and is no failure.
    pub(super) async fn finish_remote(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.ui.progress().say("times and modes of folders");
        }
        let setting = |(path, meta): Change| async move {
            let failed = self.v1.set_meta(&path, meta).await.err();
            failed.map(|error| (path.clone(), error.naming(&path)))
        };
        let mut left = changes.len();
        let setting = stream::iter(changes).map(setting);
        let mut done = setting.buffer_unordered(self.options.parallel);
        let mut first = None;
        while let Some(failed) = done.next().await {
            let Some(failed) = failed else {
                left -= 1;
                continue;
            };
            let is_gone = failed.1.kind == Kind::Network;
            first.get_or_insert(failed);
            if is_gone {
                // It was waited for; no other folder can fare better.
                break;
            }
        }
        if let Some((path, error)) = first {
            let others = match left {
                1 => String::new(),
                _ => format!(", and {} more", left - 1),
            };
            self.ui.warn(format_args!(
                "the folder {path} on the server did not get its time and mode: {error}{others}"
            ));
        }
    }

    /// Gives folders here their time and mode, the innermost first.
    pub(super) async fn finish_local(&self, local: &Path, made: Vec<Made>) -> Result<()> {
        let root = local.to_owned();
        blocking(move || {
            let Ok(mut tree) = Tree::named(&root) else {
                return;
            };
            for Made { below, meta } in made.iter().rev() {
                // What this disk cannot hold is no reason to fail.
                let _ = tree.finish(below, meta.mtime_ns, meta.mode);
            }
        })
        .await
    }
}

/// What a listed folder is to look like here.
pub(super) fn wanted(listed: &Listed) -> FileMeta {
    FileMeta {
        mtime_ns: listed.mtime_ns(),
        mode: listed.entry.mode.as_deref().and_then(parse_mode),
    }
}

/// What a folder on the server must get: all of it if this run makes it, else its mode if that differs. An earlier run
/// may have been broken off before it came to that.
pub(super) fn folder_change(ours: &Stamp, there: Option<&Listed>) -> Option<FileMeta> {
    let Some(there) = there else {
        return Some(FileMeta {
            mtime_ns: Some(ours.mtime_ns),
            mode: ours.mode,
        });
    };
    let (ours_mode, theirs) = (ours.mode?, wanted(there).mode?);
    // A server keeps the bits it needs itself.
    let is_same = ours_mode | OWNER_FOLDER_BITS == theirs & 0o777;
    (!is_same).then_some(FileMeta {
        mtime_ns: None,
        mode: ours.mode,
    })
}
