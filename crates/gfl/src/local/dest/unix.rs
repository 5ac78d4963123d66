//! Open folders by file descriptor.

use super::There;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// An open folder.
pub(super) struct Handle(OwnedFd);

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Where a program finds what it has open (proc(5)).
#[cfg(target_os = "linux")]
const OPEN_FILES: &str = "/proc/self/fd";

impl Handle {
    /// Opens a folder as the user named it.
    pub(super) fn named(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, FOLDER, Mode::empty())?))
    }

    /// Opens a folder in this one, made if need be. Whether it was made.
    pub(super) fn child(&self, name: &str, mode: u32) -> io::Result<(Self, bool)> {
        let flags = FOLDER.union(OFlags::NOFOLLOW);
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {}
            other => return Ok((Self(other?), false)),
        }
        let is_new = match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode)) {
            Ok(()) => true,
            // Another download of ours got there first.
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let made = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        Ok((Self(made), is_new))
    }

    /// The folder as a file, for its time and mode.
    pub(super) fn as_file(&self) -> io::Result<File> {
        Ok(File::from(self.0.try_clone()?))
    }

    /// What a name is.
    pub(super) fn there(&self, name: &str) -> io::Result<Option<There>> {
        let stat = match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => other?,
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode as _) {
            FileType::RegularFile => There::File {
                size: u64::try_from(stat.st_size).unwrap_or(0),
                mtime_ns: (stat.st_mtime as i64)
                    .saturating_mul(1_000_000_000)
                    .saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
                mode: Some(stat.st_mode & 0o777),
            },
            FileType::Directory => There::Dir,
            _ => There::Other,
        }))
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        self.open_as(name, OFlags::RDWR)
    }

    /// Opens a file for reading; its owner may also change its time and mode.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        self.open_as(name, OFlags::RDONLY)
    }

    /// Makes a file where nothing is, for reading and writing.
    pub(super) fn create_new(&self, name: &str) -> io::Result<File> {
        self.open_as(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// A file without a name, which is gone with the program however that ends; none where there is no such thing.
    #[cfg(target_os = "linux")]
    pub(super) fn create_nameless(&self) -> io::Result<Option<File>> {
        use rustix::io::Errno;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
        if !Path::new(OPEN_FILES).exists() {
            return Ok(None);
        }
        match rustix::fs::openat(&self.0, ".", flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A file without a name, which only Linux has.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn create_nameless(&self) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Gives a nameless file a name; false if something has it.
    #[cfg(target_os = "linux")]
    pub(super) fn link(&self, file: &File, name: &str) -> io::Result<bool> {
        use std::os::fd::AsRawFd;
        let ours = format!("{OPEN_FILES}/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        match rustix::fs::linkat(rustix::fs::CWD, ours, &self.0, name, follow) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a nameless file a name; there are none here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn link(&self, _: &File, _: &str) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_as(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // A pipe nobody writes into must not keep us waiting.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o666);
        Ok(File::from(rustix::fs::openat(&self.0, name, flags, mode)?))
    }

    /// The [`id_of`] what has a name.
    pub(super) fn id(&self, name: &str) -> io::Result<Option<u64>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => Ok(None),
            other => Ok(Some(other?.st_ino)),
        }
    }

    /// Renames inside the folder.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Makes the folder's names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Makes everything written below durable: one call for thousands of files.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_all_below(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    /// Makes everything written below durable.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_all_below(&self) -> io::Result<()> {
        rustix::fs::sync();
        Ok(())
    }
}

/// What tells a file from all others in its folder as long as it is there.
pub(super) fn id_of(file: &File) -> io::Result<u64> {
    Ok(std::os::unix::fs::MetadataExt::ino(&file.metadata()?))
}
