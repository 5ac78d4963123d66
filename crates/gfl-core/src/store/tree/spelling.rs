//! Finds names that the file system takes for the same although they are spelled differently (letter case,
//! normalisation). Asks the file system instead of folding by itself: folding rules differ between vfat,
//! ntfs, casefolded ext4 and network mounts, and ours would be right on none of them.
//!
//! A look-up of the wanted name finds nothing: no collision, whatever the file system (one call). It finds
//! something: on a file system that tells every byte apart that is the name itself (known per device from one
//! probe, plus the folder's casefold flag). Otherwise the folder is read until the found inode's own spelling
//! stands there.

use super::errno::{self, About};
use super::list::each_name;
use super::root::{Spot, file_type, look};
use super::{Inner, READ_DIR};
use crate::error::Result;
use gfl_api::path::FilePath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags};
use rustix::fs::{fstat, ioctl_getflags, openat, statat, unlinkat};
use rustix::io::Errno;

/// `FS_CASEFOLD_FL`: this folder folds case (ext4, f2fs, tmpfs).
const CASEFOLD: IFlags = IFlags::from_bits_retain(0x4000_0000);
/// A name and what folding file systems would take for it: another case, another normal form.
const PROBES: [(&str, &str); 2] = [
    ("case-probe-x", "CASE-PROBE-X"),
    ("form-probe-\u{e9}", "form-probe-e\u{301}"),
];

impl Inner {
    /// See [`crate::store::Store::collides`]. Looks at the last name only; the folders above have their own.
    pub(super) fn collides(&self, path: &FilePath) -> Result<Option<String>> {
        let fail = |errno: Errno| errno::error(errno, "look for names like", About::Path(path));
        let Some(spot) = self.root.spot(path, false)? else {
            return Ok(None);
        };
        let Some(found) = spot.look().map_err(fail)? else {
            return Ok(None);
        };
        let dir = openat(&*spot.dir, ".", READ_DIR, Mode::empty()).map_err(fail)?;
        if self.tells_names_apart(&dir).map_err(fail)? {
            return Ok(None);
        }
        self.spelling(&spot, found.st_ino).map_err(fail)
    }

    /// The listed name of inode `ino` when `spot`'s exact name is not listed.
    pub(super) fn spelling(&self, spot: &Spot, ino: u64) -> Result<Option<String>, Errno> {
        let mut candidates = Vec::new();
        let mut listed = false;
        each_name(spot.dir.as_fd(), |name, kind| {
            listed |= name == spot.name.as_slice();
            // Compared without the number that getdents tells, which some file systems invent.
            if !listed && similar(name, &spot.name) {
                candidates.push((name.to_vec(), kind));
            }
            Ok(())
        })?;
        if listed {
            return Ok(None);
        }
        for (name, _) in candidates {
            if look(spot.dir.as_fd(), &name)?.is_some_and(|stat| stat.st_ino == ino) {
                return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
            }
        }
        // It was found a moment ago under no listed name: spelled in a way that `similar` does not see.
        Ok(Some(String::from_utf8_lossy(&spot.name).into_owned()))
    }

    /// Whether this folder tells names apart by every byte.
    fn tells_names_apart(&self, dir: &OwnedFd) -> Result<bool, Errno> {
        // Not every file system has flags; those without have no casefolded folders either.
        if ioctl_getflags(dir).is_ok_and(|flags| flags.contains(CASEFOLD)) {
            return Ok(false);
        }
        let device = fstat(dir)?.st_dev;
        if let Some(exact) = self.exact_names.lock().get(&device) {
            return Ok(*exact);
        }
        let own = self.own.as_fd();
        if fstat(own)?.st_dev != device {
            // Another disk mounted below the root: never written to by a probe.
            return Ok(false);
        }
        let exact = PROBES.iter().try_fold(true, |exact, (name, other)| {
            Ok::<_, Errno>(exact && !takes_for_same(own, name, other)?)
        })?;
        self.exact_names.lock().insert(device, exact);
        Ok(exact)
    }
}

/// Whether `dir` finds a file called `name` as `other`.
fn takes_for_same(dir: BorrowedFd<'_>, name: &str, other: &str) -> Result<bool, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
    let ino = fstat(&file)?.st_ino;
    let found = statat(dir, other, AtFlags::SYMLINK_NOFOLLOW);
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    Ok(found.is_ok_and(|s| s.st_ino == ino && file_type(&s) == FileType::RegularFile))
}

/// Might a file system take these for the same? Generous: it only keeps the list of candidates short. ASCII
/// letters must agree but for case; how everything else folds is not ours to know.
fn similar(a: &[u8], b: &[u8]) -> bool {
    let ascii =
        |name: &[u8]| -> Option<Vec<u8>> { name.is_ascii().then(|| name.to_ascii_lowercase()) };
    match (ascii(a), ascii(b)) {
        (Some(a), Some(b)) => a == b || a.contains(&b'~') || b.contains(&b'~'),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_never_too_few() {
        assert!(similar(b"Report.TXT", b"report.txt"));
        assert!(!similar(b"a", b"b"));
        assert!(similar("Stra\u{df}e".as_bytes(), b"STRASSE"));
        assert!(similar("\u{e9}".as_bytes(), "e\u{301}".as_bytes()));
        assert!(similar(b"PROGRA~1", b"program files"));
    }
}
