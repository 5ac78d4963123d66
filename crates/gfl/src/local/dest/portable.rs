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

    /// A folder in this one, made if need be. Whether it was made.
    pub(super) fn child(&self, name: &str, _mode: u32) -> io::Result<(Self, bool)> {
        let path = self.path(name)?;
        let there = self.there(name)?;
        match there {
            Some(There::Dir) => {}
            None => fs::create_dir(&path)?,
            Some(_) => return Err(io::Error::other("is not a folder")),
        }
        Ok((Self(path), there.is_none()))
    }

    /// Not everywhere can a folder be opened as a file.
    pub(super) fn as_file(&self) -> io::Result<File> {
        File::open(&self.0)
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
                mode: stamp.mode,
            }
        } else if meta.is_dir() {
            There::Dir
        } else {
            There::Other
        }))
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        if self.there(name)? == Some(There::Other) {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut options = File::options();
        options.read(true).write(true).open(self.path(name)?)
    }

    /// Opens a file for reading, and for its time where that is allowed.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                File::open(self.path(name)?)
            }
            other => other,
        }
    }

    /// Makes a file where nothing is, for reading and writing.
    pub(super) fn create_new(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        let options = options.read(true).write(true).create_new(true);
        options.open(self.path(name)?)
    }

    /// A file without a name: there is none here.
    pub(super) fn create_nameless(&self) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Gives a nameless file a name; there are none here.
    pub(super) fn link(&self, _: &File, _: &str) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The [`id_of`] what has a name.
    pub(super) fn id(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(self.path(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => id_in(&other?).map(Some),
        }
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

/// What tells a file from all others in its folder: the time it was made, in the small units of this system.
pub(super) fn id_of(file: &File) -> io::Result<u64> {
    id_in(&file.metadata()?)
}

fn id_in(meta: &fs::Metadata) -> io::Result<u64> {
    let made = meta.created()?.duration_since(std::time::UNIX_EPOCH);
    Ok(made.map_or(0, |made| u64::try_from(made.as_nanos()).unwrap_or(0)))
}
