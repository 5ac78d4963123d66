//! Content open for reading. Knows nothing of who reads.

use super::errno::{self, About};
use super::io::read_some;
use super::root::file_type;
use super::stat::{mode, stamp};
use super::{Inner, hop};
use crate::error::{Error, Kind, Result};
use crate::store::{Content, Place, Stamp};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::sync::Arc;

/// An open file. The descriptor keeps its bytes, whatever happens to the name.
#[derive(Debug)]
pub(super) struct TreeContent {
    file: Arc<OwnedFd>,
    stamp: Stamp,
    mode: u32,
}

impl Inner {
    /// See [`crate::store::Store::open`].
    pub(super) fn open(&self, place: &Place) -> Result<TreeContent> {
        // A FIFO must not block the opening, a terminal must not become ours.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let about = match place {
            Place::Visible(path) => About::Path(path),
            Place::Kept(_) => About::Kept,
        };
        let fail = |errno: Errno| errno::error(errno, "open", about);
        let file = match place {
            Place::Visible(path) => self
                .root
                .open(path, flags)
                .map_err(|lost| lost.error("open", path))?,
            Place::Kept(key) => {
                openat(
                    &*self.kept,
                    key.as_str(),
                    flags | OFlags::NOFOLLOW,
                    Mode::empty(),
                )
                .map_err(|errno| match errno {
                    // A person's link that was deleted.
                    Errno::LOOP => not_served(about),
                    errno => fail(errno),
                })?
            }
        };
        let stat = fstat(&file).map_err(fail)?;
        match file_type(&stat) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(fail(Errno::ISDIR)),
            _ => return Err(not_served(about)),
        }
        Ok(TreeContent {
            file: Arc::new(file),
            stamp: stamp(&stat),
            mode: mode(&stat),
        })
    }
}

fn not_served(about: About<'_>) -> Error {
    Error::new(
        Kind::NotFound,
        format!("{about} is neither a file nor a folder that is served"),
    )
}

impl TreeContent {
    /// The file itself.
    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Whether the file still has the size and mtime of its opening.
    pub(super) fn is_unchanged(&self) -> Result<bool, Errno> {
        let now = stamp(&fstat(&*self.file)?);
        Ok((now.size, now.mtime_ns) == (self.stamp.size, self.stamp.mtime_ns))
    }
}

#[async_trait]
impl Content for TreeContent {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let file = Arc::clone(&self.file);
        hop(move || {
            read_some(file.as_fd(), offset, len)
                .map(Bytes::from)
                .map_err(|e| errno::error(e, "read", About::Content))
        })
        .await
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn mode(&self) -> u32 {
        self.mode
    }

    async fn unchanged(&self) -> Result<bool> {
        // One call on an open descriptor answers from memory: no hop.
        self.is_unchanged()
            .map_err(|e| errno::error(e, "look at", About::Content))
    }
}
