//! What a path names, and its bytes.

use super::look::{Looked, file_stat, not_found, unserved};
use super::shared::Shared;
use super::{Node, OpenFile, Stat};
use crate::auth::{Caller, Verb};
use crate::catalog::versions::{Fit, VersionRow};
use crate::catalog::{Tx, entries, kept, versions};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::{Found, Place};
use gfl_api::path::FilePath;

/// Looks again this often when a person changes the file between our look and our open.
const OPEN_TRIES: usize = 4;

impl Shared {
    /// What a path names.
    pub(crate) async fn stat(&self, caller: &Caller, path: &FilePath) -> Result<Stat> {
        // Whoever may read content may also know its size.
        if caller.may(Verb::Download, path).is_err() {
            caller.may(Verb::List, path)?;
        }
        let _lock = self.locks.shared(path).await;
        self.look(path).await?.stat(path)
    }

    /// Opens the current version, or a kept one.
    pub(crate) async fn open_file(
        &self,
        caller: &Caller,
        path: &FilePath,
        version: Option<&Key>,
    ) -> Result<OpenFile> {
        caller.may(Verb::Download, path)?;
        let _lock = self.locks.shared(path).await;
        match version {
            None => self.open_current(path).await,
            Some(key) => self.open_version(path, key).await,
        }
    }

    async fn open_current(&self, path: &FilePath) -> Result<OpenFile> {
        for _ in 0..OPEN_TRIES {
            let file = match self.look(path).await? {
                Looked::Nothing { .. } => return Err(not_found(path)),
                Looked::Other { .. } => return Err(unserved(path)),
                Looked::Dir { .. } => {
                    return Err(Error::new(
                        Kind::IsADirectory,
                        format!("{path}: is a directory"),
                    ));
                }
                Looked::File(file) => file,
            };
            match self.store.open(&Place::Visible(path.clone())).await {
                // The stamp proves that what is open is what was looked at.
                Ok(content) if content.stamp() == file.stamp => {
                    return Ok(OpenFile {
                        stat: file.stat(path),
                        content,
                    });
                }
                Ok(_) => {}
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(
            Kind::Busy,
            format!("{path}: is being changed, try again"),
        ))
    }

    async fn open_version(&self, path: &FilePath, key: &Key) -> Result<OpenFile> {
        let args = (path.clone(), key.clone());
        let found = self
            .db
            .read("open version", args, |tx, (path, key)| {
                Box::pin(async move {
                    let current = entries::find_known(tx, path).await?.and_then(|k| k.version);
                    if current.as_ref().is_some_and(|v| v.id == *key) {
                        return Ok::<_, Error>(None);
                    }
                    let Some(row) = kept::get(tx, key).await? else {
                        return Err(no_version(path));
                    };
                    let parent = match path.parent() {
                        Some(parent) => entries::find(tx, &parent).await?,
                        None => None,
                    };
                    // A version of another path stays unreachable through this one, whatever the id.
                    let here = parent.is_some_and(|p| p.id == row.parent)
                        && path.name() == Some(row.name.as_str())
                        && !row.is_dir;
                    if !here {
                        return Err(no_version(path));
                    }
                    versions::get(tx, key).await
                })
            })
            .await?;
        let Some(version) = found else {
            let open = self.open_current(path).await?;
            // Edited by hand since: what is there now is another version.
            return match &open.stat.node {
                Node::File { version, .. } if version.as_ref() == Some(key) => Ok(open),
                _ => Err(no_version(path)),
            };
        };
        let content = match self.store.open(&Place::Kept(key.clone())).await {
            Err(e) if e.kind() == Kind::NotFound => return Err(self.no_content(path, key).await?),
            content => content?,
        };
        let stamp = content.stamp();
        // Edited in place right before it was kept: these bytes are not the row's.
        let edited = version.fit(&stamp) == Fit::Edited;
        let version = VersionRow {
            b3: version.b3.filter(|_| !edited),
            sha256: version.sha256.filter(|_| !edited),
            ..version
        };
        let stat = file_stat(path, &stamp, version.mode, Some(&version));
        Ok(OpenFile { stat, content })
    }
}

impl Shared {
    /// Why a kept version cannot be read.
    async fn no_content(&self, path: &FilePath, key: &Key) -> Result<Error> {
        Ok(match self.store.stat_kept(key).await? {
            Found::Other => Error::new(
                Kind::NotFound,
                format!(
                    "{path}: this version is a link, without content of its own; restore it to have it back"
                ),
            ),
            _ => no_version(path),
        })
    }
}

pub(crate) fn no_version(path: &FilePath) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "{path}: no such version is kept; it may have been pruned (see the list of versions)"
        ),
    )
}

/// What was deleted with its folder is kept with it.
pub(crate) async fn no_version_of_its_own(tx: &mut Tx<'_>, path: &FilePath) -> Result<Error> {
    let mut at = path.parent();
    while let Some(dir) = at {
        at = dir.parent();
        let Some(above) = &at else { break };
        let (Some(parent), Some(name)) = (entries::find(tx, above).await?, dir.name()) else {
            continue;
        };
        let kept = kept::last_deleted(tx, parent.id, name).await?;
        return Ok(match kept.filter(|row| row.is_dir) {
            Some(_) => Error::new(
                Kind::NotFound,
                format!("{path}: was deleted together with {dir}; restore that one"),
            ),
            None => no_version(path),
        });
    }
    Ok(no_version(path))
}

pub(crate) fn nothing_deleted(path: &FilePath) -> Error {
    Error::new(
        Kind::NotFound,
        format!(
            "{path}: nothing deleted is kept for it; name a version to restore another (what is kept goes after \
             undo_days, and earlier on a disk that is nearly full)"
        ),
    )
}
