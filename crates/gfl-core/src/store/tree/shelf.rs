//! The single steps of [`crate::store::redo`] on a disk, with what to do where the file system has no
//! `renameat2` flags. Knows one operation's path, for its messages.

use super::Inner;
use super::errno;
use super::root::{Spot, file_type, look};
use super::stat::stamp;
use crate::error::{Error, Result};
use crate::id::Key;
use crate::store::Found;
use crate::store::redo::{Seen, Shelf, Step, What};
use gfl_api::path::FilePath;
use parking_lot::MutexGuard;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The names of the tree during one operation.
pub(super) struct Names<'a> {
    pub(super) inner: &'a Inner,
    /// What is being done ("publish") and to which path.
    pub(super) doing: &'static str,
    pub(super) path: &'a FilePath,
}

/// The file system has no such flag (`EINVAL`), the kernel no such call.
fn lacks_flag(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

impl Names<'_> {
    fn fail(&self, errno: Errno) -> Error {
        errno::naming(errno, self.doing, self.path)
    }

    fn step(&self, result: Result<(), Errno>) -> Result<Step> {
        match result {
            Ok(()) => Ok(Step::Done),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(Step::Exists),
            Err(Errno::NOENT) => Ok(Step::Missing),
            Err(errno) => Err(self.fail(errno)),
        }
    }

    fn flags_work(&self) -> bool {
        !self.inner.without_rename_flags.load(Ordering::Relaxed)
    }

    /// Without `RENAME_NOREPLACE`: files by a second name, which never replaces; folders, which cannot have one,
    /// after a look. The look leaves a gap in which an empty folder put there by a person is replaced.
    fn move_new_plain(&self, from: &Spot, to: &Spot) -> Result<Step> {
        match self.link(from, to)? {
            Step::Done => {
                self.unlink(from)?;
                return Ok(Step::Done);
            }
            Step::Unsupported => {}
            step => return Ok(step),
        }
        if to.look().map_err(|e| self.fail(e))?.is_some() {
            return Ok(Step::Exists);
        }
        self.move_over(from, to)
    }
}

impl Shelf for Names<'_> {
    type Spot = Spot;

    fn spot(&self, path: &FilePath, make: bool) -> Result<Option<Spot>> {
        self.inner.root.spot(path, make)
    }

    fn draft_spot(&self, key: &Key) -> Spot {
        Spot {
            dir: Arc::clone(&self.inner.drafts),
            name: key.as_str().into(),
        }
    }

    fn kept_spot(&self, key: &Key) -> Spot {
        Spot {
            dir: Arc::clone(&self.inner.kept),
            name: key.as_str().into(),
        }
    }

    fn passing_spot(&self, ino: u64) -> Spot {
        Spot {
            dir: Arc::clone(&self.inner.own),
            name: format!("passing-{ino}").into_bytes(),
        }
    }

    fn look(&self, spot: &Spot) -> Result<Option<Seen>> {
        let Some(stat) = spot.look().map_err(|e| self.fail(e))? else {
            return Ok(None);
        };
        let what = match file_type(&stat) {
            FileType::RegularFile => What::File,
            FileType::Directory => What::Dir,
            FileType::Symlink => What::Link,
            _ => What::Other,
        };
        Ok(Some(Seen {
            what,
            stamp: stamp(&stat),
        }))
    }

    fn followed(&self, path: &FilePath) -> Result<Option<u64>> {
        Ok(match self.inner.stat(path)? {
            Found::File { stamp, .. } => Some(stamp.ino),
            Found::Dir { ino, .. } => Some(ino),
            Found::Nothing | Found::Other => None,
        })
    }

    fn is_listed(&self, spot: &Spot) -> Result<bool> {
        let stat = look(spot.dir.as_fd(), &spot.name).map_err(|e| self.fail(e))?;
        let Some(stat) = stat else { return Ok(false) };
        self.inner
            .spelling(spot, stat.st_ino)
            .map(|other| other.is_none())
            .map_err(|e| self.fail(e))
    }

    fn move_new(&self, from: &Spot, to: &Spot) -> Result<Step> {
        if self.flags_work() {
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(&from.dir, &*from.name, &to.dir, &*to.name, flags) {
                // EINVAL also means "into itself"; the plain way tells these apart.
                Err(errno) if lacks_flag(errno) => {}
                result => return self.step(result),
            }
        }
        self.move_new_plain(from, to)
    }

    fn move_over(&self, from: &Spot, to: &Spot) -> Result<Step> {
        self.step(renameat(&from.dir, &*from.name, &to.dir, &*to.name))
    }

    fn exchange(&self, a: &Spot, b: &Spot) -> Result<Step> {
        if !self.flags_work() {
            return Ok(Step::Unsupported);
        }
        match renameat_with(&a.dir, &*a.name, &b.dir, &*b.name, RenameFlags::EXCHANGE) {
            Err(errno) if lacks_flag(errno) => Ok(Step::Unsupported),
            result => self.step(result),
        }
    }

    fn link(&self, from: &Spot, to: &Spot) -> Result<Step> {
        match linkat(&from.dir, &*from.name, &to.dir, &*to.name, AtFlags::empty()) {
            // Folders, file systems without links, too many links, `protected_hardlinks`.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::ACCESS) => {
                Ok(Step::Unsupported)
            }
            result => self.step(result),
        }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.inner.alone.lock()
    }

    fn unlink(&self, spot: &Spot) -> Result<()> {
        match unlinkat(&spot.dir, &*spot.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fail(errno)),
        }
    }
}
