//! New drafts with old content: shared blocks where the file system can, else copied inside the kernel.

use super::Inner;
use super::draft::TreeDraft;
use super::errno::{self, About};
use super::io::{read_some, write_all};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::limits::IO_BYTES_MAX;
use crate::store::{Content, Place};
use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{SeekFrom, copy_file_range, fstat, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, retry_on_intr};
use std::sync::Arc;

/// One `copy_file_range`; small enough that a thread is not gone for minutes.
const STEP_BYTES: u64 = 64 * 1024 * 1024;

impl Inner {
    /// See [`crate::store::Store::create_copy`].
    pub(super) fn create_copy(
        self: &Arc<Self>,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<TreeDraft>> {
        let source = self.open(from)?;
        let size = source.stamp().size;
        let draft = self.create(key, None)?;
        let copied = copy_all(source.file(), draft.file(), size)
            .and_then(|()| self.copy_groups(from_key, key))
            .map_err(|e| errno::error(e, "copy", About::Draft))
            .and_then(|()| match source.is_unchanged() {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::new(
                    Kind::Conflict,
                    "the file changed on the server while it was copied; try again",
                )),
                Err(e) => Err(errno::error(e, "copy", About::Draft)),
            });
        match copied {
            // The handle was made before the outboard and must know it.
            Ok(()) => {
                drop(draft);
                self.reopen(key)?
                    .ok_or_else(|| Error::new(Kind::Internal, "the copy vanished from the storage"))
            }
            Err(error) => {
                self.discard(key)?;
                Err(error)
            }
        }
    }

    fn copy_groups(&self, from: Option<&Key>, to: &Key) -> Result<(), Errno> {
        let Some(from) = from else { return Ok(()) };
        let Some(source) = self.open_groups(from, false)? else {
            return Ok(());
        };
        let Some(target) = self.open_groups(to, true)? else {
            return Err(Errno::NOENT);
        };
        let size = u64::try_from(fstat(&source)?.st_size).unwrap_or(0);
        copy_all(&source, target.as_fd(), size)
    }
}

/// Copies `size` bytes; holes stay holes.
fn copy_all(from: &OwnedFd, to: impl AsFd, size: u64) -> Result<(), Errno> {
    if ioctl_ficlone(to.as_fd(), from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let (start, end) = match data_after(from, at, size)? {
            Some(range) => range,
            None => break,
        };
        copy_range(from, &to, start, end)?;
        at = end;
    }
    // A hole at the end.
    retry_on_intr(|| ftruncate(to.as_fd(), size))
}

/// The next stretch of data from `at` on.
fn data_after(from: &OwnedFd, at: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    let start = match seek(from, SeekFrom::Data(at)) {
        Ok(start) => start.max(at),
        Err(Errno::NXIO) => return Ok(None),
        // This file system does not tell holes.
        Err(_) => return Ok(Some((at, size))),
    };
    let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
    Ok((start < end).then_some((start, end)))
}

fn copy_range(from: &OwnedFd, to: impl AsFd, start: u64, end: u64) -> Result<(), Errno> {
    let (mut at, mut target) = (start, start);
    while at < end {
        let step = usize::try_from((end - at).min(STEP_BYTES)).unwrap_or(IO_BYTES_MAX);
        match copy_file_range(from, Some(&mut at), to.as_fd(), Some(&mut target), step) {
            // It got shorter; the caller notices.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these file systems, or not at all.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::IO) => {
                return copy_by_hand(from, to, at, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: impl AsFd, start: u64, end: u64) -> Result<(), Errno> {
    let mut at = start;
    while at < end {
        let len = usize::try_from(end - at)
            .unwrap_or(IO_BYTES_MAX)
            .min(IO_BYTES_MAX);
        let bytes = Bytes::from(read_some(from.as_fd(), at, len)?);
        if bytes.is_empty() {
            return Ok(());
        }
        at += bytes.len() as u64;
        let offset = at - bytes.len() as u64;
        write_all(to.as_fd(), offset, &[bytes])?;
    }
    Ok(())
}
