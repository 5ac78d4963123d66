//! Folders by path, for systems without `openat`. Untested; looks before it steps, which an attacker on the same
//! machine could race.

use super::There;
use crate::local::Stamp;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A folder.
pub(super) struct Handle(PathBuf);

impl Handle {
    /// A folder as the user named it.
    pub(super) fn named(path: &Path) -> io::Result<Self> {
        fs::canonicalize(path).map(Self)
    }

    /// A folder in this one, made if need be.
    pub(super) fn child(&self, name: &str) -> io::Result<Self> {
        let path = self.path(name)?;
        match self.there(name)? {
            Some(There::Dir) => {}
            None => fs::create_dir(&path)?,
            Some(_) => return Err(io::Error::other("is not a folder")),
        }
        Ok(Self(path))
    }

    /// What a name is.
    pub(super) fn there(&self, name: &str) -> io::Result<Option<There>> {
        let meta = match fs::symlink_metadata(self.path(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let stamp = Stamp::of(&meta);
        Ok(Some(if meta.is_file() {
            There::File {
                size: stamp.size,
                mtime_ns: stamp.mtime_ns,
            }
        } else if meta.is_dir() {
            There::Dir
        } else {
            There::Other
        }))
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(&self, name: &str, create: bool) -> io::Result<File> {
        if self.there(name)? == Some(There::Other) {
            return Err(io::Error::other("is not a regular file"));
        }
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(self.path(name)?)
    }

    /// Renames inside the folder.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    /// Nothing to be done here.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing to be done here.
    pub(super) fn sync_all_below(&self) -> io::Result<()> {
        Ok(())
    }

    /// Names that mean something else to this system are refused.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.contains(['\\', ':', '/']) || matches!(name, "." | "..") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this system cannot store such a name",
            ));
        }
        Ok(self.0.join(name))
    }
}
