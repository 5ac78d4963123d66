//! This machine's files: what is sent, and where downloads go.
//!
//! Knows nothing of servers. What differs between systems stays in the small `cfg` functions here and in `dest`.

pub(crate) mod below;
pub(crate) mod dest;
pub(crate) mod holes;
pub(crate) mod pieces;
pub(crate) mod walk;

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// What whoever stores a folder must be able to do with it: list it, write into it and enter it.
pub(crate) const OWNER_FOLDER_BITS: u32 = 0o700;
/// What whoever stores a file must be able to do with it: read it.
pub(crate) const OWNER_FILE_BITS: u32 = 0o400;

/// What tells whether a file is still the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Time of the last change, ns since the epoch.
    pub(crate) mtime_ns: i64,
    /// Permission bits, where the system has them.
    pub(crate) mode: Option<u32>,
}

impl Stamp {
    /// The stamp of an open or found file.
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime_ns: mtime_ns(meta),
            mode: mode(meta),
        }
    }

    /// The stamp of an open file as it is now.
    pub(crate) fn now(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::of(&meta))
    }
}

/// An open file that is to be sent.
pub(crate) struct Source {
    /// The file.
    pub(crate) file: File,
    /// As it was when opened.
    pub(crate) stamp: Stamp,
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true);
        // A pipe nobody writes into must not keep us waiting.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
        );
        let file = options.open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other(
                "not a regular file; name a file or a folder",
            ));
        }
        Ok(Self {
            file,
            stamp: Stamp::of(&meta),
        })
    }

    /// Whether somebody changed it since it was opened.
    pub(crate) fn has_changed(&self) -> io::Result<bool> {
        Ok(Stamp::now(&self.file)? != self.stamp)
    }
}

fn mtime_ns(meta: &Metadata) -> i64 {
    let Ok(time) = meta.modified() else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

#[cfg(unix)]
fn mode(meta: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(meta.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_: &Metadata) -> Option<u32> {
    None
}

/// Reads exactly `buf` at an offset, whatever others read of the same file.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, at)
}

/// Reads exactly `buf` at an offset, whatever others read of the same file.
#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buf, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buf = &mut buf[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Writes all of `bytes` at an offset.
#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Writes all of `bytes` at an offset.
#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        bytes = &bytes[n..];
        at += n as u64;
    }
    Ok(())
}
