//! Reads folders in bounded memory: one pass over the names keeps only the smallest that are asked for.
//! Must not know what names mean to the catalog.

use super::errno::{self, About};
use super::root::{OWN, file_type};
use super::stat::found;
use super::{Inner, READ_DIR};
use crate::error::{Kind, Result};
use crate::limits::LIST_CHUNK_NAMES;
use crate::store::{Found, Named, Names};
use gfl_api::path::FilePath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, RawDir, openat, statat};
use rustix::io::Errno;
use std::collections::BinaryHeap;
use std::mem::MaybeUninit;

/// What the kernel fills in one call.
const NAMES_BYTES: usize = 32 * 1024;
/// Passes when everything a pass chose vanished before it was looked at.
const PASSES_MAX: usize = 8;

/// Calls `each` with every name but `.` and `..` and the type the folder says it has (maybe `Unknown`).
pub(super) fn each_name(
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&[u8], FileType) -> Result<(), Errno>,
) -> Result<(), Errno> {
    // Opened anew: the position of a descriptor is shared by all who use it.
    let dir = openat(dir, ".", READ_DIR, Mode::empty())?;
    let mut buffer: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); NAMES_BYTES];
    let mut names = RawDir::new(dir, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = match entry {
            // Removed while it was read.
            Err(Errno::NOENT) => break,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// One pass over a folder.
struct Pass {
    /// The smallest names after the wanted one, largest on top.
    smallest: BinaryHeap<String>,
    limit: usize,
    more: bool,
    skipped: u64,
}

impl Pass {
    fn offer(&mut self, name: &str) {
        if self.smallest.len() < self.limit {
            self.smallest.push(name.to_owned());
            return;
        }
        self.more = true;
        if let Some(mut largest) = self.smallest.peek_mut()
            && name < largest.as_str()
        {
            // `more` is true of the one that leaves as well.
            *largest = name.to_owned();
        }
    }
}

impl Inner {
    /// See [`crate::store::Store::list`]. At most [`LIST_CHUNK_NAMES`] at once.
    pub(super) fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Names> {
        let fd = self
            .root
            .open(dir, READ_DIR)
            .map_err(|lost| lost.error("list", dir))?;
        let limit = limit.min(LIST_CHUNK_NAMES);
        let mut after = after.map(str::to_owned);
        let mut names = Names::default();
        for _ in 0..PASSES_MAX {
            let pass = self
                .pass(&fd, dir, after.as_deref(), limit)
                .map_err(|e| errno::error(e, "list", About::Path(dir)))?;
            (names.more, names.skipped) = (pass.more, pass.skipped);
            for name in pass.smallest.into_sorted_vec() {
                let state = self.state_of(&fd, dir, &name)?;
                match state {
                    Found::Nothing => {}
                    // Changed into something unserved between the two looks.
                    Found::Other => names.skipped += 1,
                    found => names.names.push(Named {
                        name: name.clone(),
                        found,
                    }),
                }
                after = Some(name);
            }
            // An empty page with more behind it would leave the caller without a place to go on.
            if !names.names.is_empty() || !names.more || limit == 0 {
                break;
            }
        }
        Ok(names)
    }

    fn pass(
        &self,
        fd: &OwnedFd,
        dir: &FilePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Pass, Errno> {
        let mut pass = Pass {
            smallest: BinaryHeap::new(),
            limit,
            more: false,
            skipped: 0,
        };
        each_name(fd.as_fd(), |name, kind| {
            if dir.is_root() && name.eq_ignore_ascii_case(OWN.as_bytes()) {
                return Ok(());
            }
            match std::str::from_utf8(name).ok() {
                Some(name) if self.is_shown(fd, dir, name, kind)? => {
                    if after.is_none_or(|after| name > after) {
                        pass.offer(name);
                    }
                }
                _ => pass.skipped += 1,
            }
            Ok(())
        })?;
        Ok(pass)
    }

    /// Whether a name is a file or a folder, links inside the root followed. Costs a call only for links
    /// and where the file system does not tell types.
    fn is_shown(
        &self,
        fd: &OwnedFd,
        dir: &FilePath,
        name: &str,
        kind: FileType,
    ) -> Result<bool, Errno> {
        Ok(match kind {
            // Deeper or longer than any path may be.
            _ if dir.join(name).is_err() => false,
            FileType::RegularFile | FileType::Directory => true,
            FileType::Symlink | FileType::Unknown => match self.state_of(fd, dir, name) {
                Ok(found) => !matches!(found, Found::Other | Found::Nothing),
                Err(_) => false,
            },
            _ => false,
        })
    }

    /// What a name of an open folder names.
    fn state_of(&self, fd: &OwnedFd, dir: &FilePath, name: &str) -> Result<Found> {
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(e) => return Err(errno::error(e, "look at", About::Path(dir))),
        };
        if file_type(&stat) != FileType::Symlink {
            return Ok(found(&stat));
        }
        let Ok(path) = dir.join(name) else {
            return Ok(Found::Other);
        };
        match self.stat(&path) {
            // It leads to where the server may not look.
            Err(error) if error.kind() == Kind::StoragePermission => Ok(Found::Other),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_smallest_names_whatever_the_order() {
        let all: Vec<String> = (0..100).map(|i| format!("{:02}", i * 37 % 100)).collect();
        for limit in [0, 1, 7, 100, 200] {
            let mut pass = Pass {
                smallest: BinaryHeap::new(),
                limit,
                more: false,
                skipped: 0,
            };
            all.iter().for_each(|name| pass.offer(name));
            let mut want = all.clone();
            want.sort();
            want.truncate(limit);
            assert_eq!(pass.smallest.into_sorted_vec(), want);
            assert_eq!(pass.more, limit < 100);
        }
    }
}
