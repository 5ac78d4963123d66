//! Removes kept content. A folder of any depth and width goes in constant memory and with few descriptors:
//! what is nested is first renamed up into the top folder, so that nothing here recurses. Links are
//! removed, never followed. Stopped at any point, the next call goes on.

use super::errno::{self, About};
use super::list::each_name;
use super::{Inner, READ_DIR};
use crate::error::Result;
use crate::id::Key;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat};
use rustix::io::Errno;

impl Inner {
    /// See [`crate::store::Store::remove_kept`].
    pub(super) fn remove_kept(&self, key: &Key) -> Result<()> {
        let fail = |errno: Errno| errno::error(errno, "remove", About::Kept);
        // The outboard first: content without one is only slower to serve, the other way round it would
        // stay for ever.
        self.remove_groups(key)?;
        let name = key.as_str();
        match unlinkat(&*self.kept, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => self.remove_dir(name).map_err(fail),
            Err(errno) => Err(fail(errno)),
        }
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        loop {
            match unlinkat(&*self.kept, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let top = open_dir(self.kept.as_fd(), name.as_bytes())?;
            let mut removed = false;
            let mut next = 0u64;
            each_name(top.as_fd(), |name, _| {
                removed = true;
                if !remove_one(top.as_fd(), name)? {
                    hoist(top.as_fd(), name, &mut next)?;
                }
                Ok(())
            })?;
            // Names are left, and yet none is listed: not ours to understand.
            if !removed {
                return Err(Errno::NOTEMPTY);
            }
        }
    }
}

/// Removes a file, a link or an empty folder. False: it is a folder that holds something.
fn remove_one(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Empties `top/name`: what can be removed is, folders move up into `top`, whose pass or next pass meets them.
fn hoist(top: BorrowedFd<'_>, name: &[u8], next: &mut u64) -> Result<(), Errno> {
    let dir = open_dir(top, name)?;
    each_name(dir.as_fd(), |inner, _| {
        if remove_one(dir.as_fd(), inner)? {
            return Ok(());
        }
        loop {
            *next += 1;
            let free = format!("~{next}");
            match rename_new(dir.as_fd(), inner, top, free.as_bytes()) {
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                // A folder without write permission cannot change its parent.
                Err(Errno::ACCESS) => {
                    chmodat(&dir, inner, Mode::RWXU, AtFlags::empty())?;
                    return rename_new(dir.as_fd(), inner, top, free.as_bytes());
                }
                other => return other,
            }
        }
    })?;
    remove_one(top, name).map(|_| ())
}

/// Renames without replacing; where that flag is missing a taken name gives `ENOTEMPTY`, `ENOTDIR` or (an empty
/// folder, which is as good as gone) is replaced.
fn rename_new(
    from: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    new: &[u8],
) -> Result<(), Errno> {
    match renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match rustix::fs::renameat(from, name, to, new) {
                Err(Errno::NOTDIR) => Err(Errno::EXIST),
                other => other,
            }
        }
        other => other,
    }
}

/// Opens a folder that is to be emptied; one without permissions gets them first.
fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = READ_DIR | OFlags::NOFOLLOW;
    let dir = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        dir => dir?,
    };
    // Readable, but maybe not writable; not ours to change is an error of the removing.
    let _ = rustix::fs::fchmod(&dir, Mode::RWXU);
    Ok(dir)
}
