//! What a path names: the tree's word, with what the catalog knows about it.
//! Call with the path's lock held, so that no rename of ours is under way.

use super::shared::Shared;
use super::{Node, Stat, weak_etag};
use crate::catalog::entries::{self, Known};
use crate::catalog::versions::{Fit, VersionRow};
use crate::error::{Error, Kind, Result};
use crate::store::{Found, Stamp};
use gfl_api::path::FilePath;

/// The tree's word, with the catalog's.
#[derive(Debug, Clone)]
pub(crate) enum Looked {
    /// Nothing is there; `known` tells of a row whose file somebody removed.
    Nothing { known: Option<Known> },
    /// A directory.
    Dir {
        mtime_ns: i64,
        mode: u32,
        ino: u64,
        known: Option<Known>,
    },
    /// A file.
    File(LookedFile),
    /// What is neither served nor written to, see [`Found::Other`].
    Other { known: Option<Known> },
}

/// A file and its row.
#[derive(Debug, Clone)]
pub(crate) struct LookedFile {
    pub(crate) stamp: Stamp,
    pub(crate) mode: u32,
    pub(crate) known: Option<Known>,
}

impl LookedFile {
    /// How the file fits the row's version; `Edited` when there is no version.
    pub(crate) fn fit(&self) -> Fit {
        self.known
            .as_ref()
            .and_then(|k| k.version.as_ref())
            .map_or(Fit::Edited, |v| v.fit(&self.stamp))
    }

    /// The version that the file still is.
    pub(crate) fn version(&self) -> Option<&VersionRow> {
        let version = self.known.as_ref()?.version.as_ref()?;
        (version.fit(&self.stamp) != Fit::Edited).then_some(version)
    }

    /// For the caller. Bytes that may have been edited under an unchanged size and time are not told as ours before
    /// they were hashed: a strong validator that lies joins ranges of two contents (RFC 9110 section 8.8.1).
    pub(crate) fn stat(&self, path: &FilePath) -> Stat {
        let mut stat = file_stat(path, &self.stamp, self.mode, self.version());
        if self.fit() == Fit::Plausible {
            stat.distrust(&self.stamp);
        }
        stat
    }
}

/// A file's answer from its stamp and its version, if it has one.
pub(crate) fn file_stat(
    path: &FilePath,
    stamp: &Stamp,
    mode: u32,
    version: Option<&VersionRow>,
) -> Stat {
    let b3 = version.and_then(|v| v.b3);
    Stat {
        path: path.clone(),
        node: Node::File {
            size: stamp.size,
            version: version.map(|v| v.id.clone()),
            b3,
            sha256: version.and_then(|v| v.sha256),
            etag: b3.map_or_else(|| weak_etag(stamp), |b3| b3.etag()),
        },
        mtime_ns: stamp.mtime_ns,
        mode,
    }
}

impl Looked {
    /// For the caller; `NotFound` when nothing is there.
    pub(crate) fn stat(&self, path: &FilePath) -> Result<Stat> {
        match self {
            Looked::Nothing { .. } => Err(not_found(path)),
            Looked::Dir { mtime_ns, mode, .. } => Ok(Stat {
                path: path.clone(),
                node: Node::Dir,
                mtime_ns: *mtime_ns,
                mode: *mode,
            }),
            Looked::File(file) => Ok(file.stat(path)),
            Looked::Other { .. } => Err(unserved(path)),
        }
    }

    /// The entity tag of what is there.
    pub(crate) fn etag(&self, path: &FilePath) -> Option<String> {
        match self {
            Looked::File(file) => file.stat(path).etag().map(str::to_owned),
            Looked::Nothing { .. } | Looked::Dir { .. } | Looked::Other { .. } => None,
        }
    }
}

/// The usual answer.
pub(crate) fn not_found(path: &FilePath) -> Error {
    Error::new(Kind::NotFound, format!("{path}: no such file or directory"))
}

/// What is there is nothing that files can be made of.
pub(crate) fn unserved(path: &FilePath) -> Error {
    Error::new(
        Kind::InvalidPath,
        format!(
            "{path}: is neither a file nor a folder on the server, but a device, a pipe, a socket, or a link that \
             leads nowhere or out of the storage folder; a link can be deleted, all else only be changed there"
        ),
    )
}

/// A row of a name under which nothing is, and of which this was not recorded yet.
fn is_stale(known: Option<&Known>) -> bool {
    known.is_some_and(|known| !known.entry.gone)
}

impl Shared {
    /// Looks, and remembers what a person changed so that the adoption job records it.
    pub(crate) async fn look(&self, path: &FilePath) -> Result<Looked> {
        let found = match self.store.stat(path).await {
            // A file stands where a directory of the path should be: nothing can be there.
            Err(e) if e.kind() == Kind::NotADirectory => Found::Nothing,
            other => other?,
        };
        let known = self
            .db
            .read("look", path.clone(), |tx, path| {
                Box::pin(entries::find_known(tx, path))
            })
            .await?;
        let looked = match found {
            Found::Nothing => {
                if is_stale(known.as_ref()) {
                    self.noticed.push(path.clone());
                }
                Looked::Nothing { known }
            }
            Found::Dir {
                mtime_ns,
                mode,
                ino,
            } => {
                if known.as_ref().is_some_and(|k| !k.entry.is_dir) {
                    self.noticed.push(path.clone());
                }
                Looked::Dir {
                    mtime_ns,
                    mode,
                    ino,
                    known,
                }
            }
            Found::File { stamp, mode } => {
                let file = LookedFile { stamp, mode, known };
                let unhashed = file.version().is_none_or(|v| v.b3.is_none());
                if unhashed || file.fit() != Fit::Exact {
                    self.noticed.push(path.clone());
                }
                Looked::File(file)
            }
            Found::Other => {
                if is_stale(known.as_ref()) {
                    self.noticed.push(path.clone());
                }
                Looked::Other { known }
            }
        };
        Ok(looked)
    }

    /// `NotADirectory` when a file stands where one of the path's parents should be.
    pub(crate) async fn check_parents(&self, path: &FilePath) -> Result<()> {
        let mut at = path.parent();
        while let Some(dir) = at.filter(|dir| !dir.is_root()) {
            match self.store.stat(&dir).await {
                Ok(Found::Dir { .. }) => return Ok(()),
                Ok(Found::File { .. } | Found::Other) => {
                    return Err(Error::new(
                        Kind::NotADirectory,
                        format!("{dir}: is a file, so nothing can be stored below it"),
                    ));
                }
                Ok(Found::Nothing) => {}
                Err(e) if e.kind() == Kind::NotADirectory => {}
                Err(e) => return Err(e),
            }
            at = dir.parent();
        }
        Ok(())
    }
}
