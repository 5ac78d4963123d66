//! Resolves virtual paths beneath the storage folder. Knows nothing of drafts or publishing.
//!
//! Invariant 9: every path is opened by one `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
//! RESOLVE_NO_SYMLINKS`, so the kernel itself guarantees that nothing outside is reached, whatever changes
//! meanwhile. Only when it meets a symlink (`ELOOP`) is the path *expanded as text* first, link by link, and
//! the resulting link-free path opened the same way: what was read from a link decides which path is tried,
//! never what is permitted. Because the path that is finally opened is free of links, its first segment tells
//! whether it lies in the server's own folder, so links into `.gfl` give no access to it.
//! Absolute links are refused even when they point back inside, as `RESOLVE_BENEATH` does.
//!
//! Kernels without `openat2` (before 5.6, some sandboxes): the link-free path is walked segment by segment
//! with `O_NOFOLLOW`, which gives the same guarantee with one call per segment.

use super::errno::{self, About};
use crate::error::{Error, Kind, Result};
use gfl_api::path::FilePath;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::fs::{fstat, mkdirat, openat, openat2, readlinkat, statat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The server's own folder at the root.
pub(super) const OWN: &str = gfl_api::path::RESERVED_NAME;
/// Symlinks followed while resolving one path (the kernel's own limit).
const LINKS_MAX: usize = 40;
/// How often a path is resolved anew because links changed under us.
const RACES_MAX: usize = 8;
/// A directory to resolve from: no permission to read it is needed.
const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Why a path could not be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// A link leads out of the root.
    Escapes,
    /// It lies in the server's own folder.
    Reserved,
    /// A link leads to nothing.
    Dangling,
    /// The kernel refused.
    Os(Errno),
}

impl From<Errno> for Lost {
    fn from(errno: Errno) -> Lost {
        if errno == Errno::XDEV {
            Lost::Escapes
        } else {
            Lost::Os(errno)
        }
    }
}

impl Lost {
    /// As an error about `path`.
    pub(super) fn error(self, doing: &str, path: &FilePath) -> Error {
        match self {
            Lost::Escapes | Lost::Dangling => errno::leaves(path),
            Lost::Reserved => errno::reserved(path),
            Lost::Os(errno) => errno::error(errno, doing, About::Path(path)),
        }
    }

    /// There is simply nothing.
    pub(super) fn is_missing(self) -> bool {
        matches!(
            self,
            Lost::Os(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
        )
    }
}

/// A name in an open directory: what renames work on.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) name: Vec<u8>,
}

impl Spot {
    /// What is there, without following a link; `None` if nothing.
    pub(super) fn look(&self) -> Result<Option<Stat>, Errno> {
        look(self.dir.as_fd(), &self.name)
    }
}

/// `lstat`, with `None` for nothing.
pub(super) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What a mode says the thing is.
pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A path as text without links.
struct Real {
    segments: Vec<Vec<u8>>,
    /// How many of the segments exist.
    existing: usize,
}

impl Real {
    fn path(&self) -> Vec<u8> {
        self.segments.join(&b'/')
    }
}

/// The storage folder.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    /// Device and inode of the server's own folder.
    own: (u64, u64),
    /// False once the kernel said that it has none.
    has_openat2: AtomicBool,
}

impl Root {
    /// `dir` is the open storage folder, `own` the open `.gfl` in it.
    pub(super) fn new(dir: OwnedFd, own: BorrowedFd<'_>) -> Result<Root, Errno> {
        let stat = fstat(own)?;
        let own = (stat.st_dev, stat.st_ino);
        Ok(Root {
            dir,
            own,
            has_openat2: AtomicBool::new(true),
        })
    }

    /// For tests: behaves as on a kernel without `openat2`.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn forget_openat2(&self) {
        self.has_openat2.store(false, Ordering::Relaxed);
    }

    /// Opens what `path` names, links inside the root followed.
    pub(super) fn open(&self, path: &FilePath, flags: OFlags) -> Result<OwnedFd, Lost> {
        self.open_text(path.as_str().as_bytes(), flags)
    }

    fn open_text(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Lost> {
        self.refuse_own(path)?;
        match self.open_exact(path, flags) {
            Err(Errno::LOOP) => {}
            other => return Ok(other?),
        }
        for _ in 0..RACES_MAX {
            let real = self.real(path)?;
            if real.existing < real.segments.len() {
                return Err(Lost::Os(Errno::NOENT));
            }
            match self.open_exact(&real.path(), flags) {
                // Somebody put a link where none was: look again.
                Err(Errno::LOOP) => {}
                other => return Ok(other?),
            }
        }
        Err(Lost::Os(Errno::LOOP))
    }

    /// Where `path`'s name stands, to be looked at and renamed. `None` when a parent is missing (or is
    /// not a directory) and `make` is off. Links on the way are followed, one at the path itself is not.
    pub(super) fn spot(&self, path: &FilePath, make: bool) -> Result<Option<Spot>> {
        let fail = |lost: Lost| lost.error("resolve", path);
        let (Some(name), Some(parent)) = (path.name(), path.parent()) else {
            return Err(Error::new(
                Kind::Invalid,
                "the storage folder itself cannot be replaced, moved or deleted",
            ));
        };
        self.refuse_own(path.as_str().as_bytes()).map_err(fail)?;
        let dir = match self.open(&parent, DIR) {
            Ok(dir) => dir,
            Err(lost) if make && lost == Lost::Os(Errno::NOENT) => self.make_dirs(&parent)?.0,
            Err(lost) if !make && lost.is_missing() => return Ok(None),
            // Names the parent, which is what stands in the way.
            Err(lost) => return Err(lost.error("resolve", &parent)),
        };
        Ok(Some(Spot {
            dir: Arc::new(dir),
            name: name.as_bytes().to_vec(),
        }))
    }

    /// Whether links lead from `path` to below `top`.
    pub(super) fn is_inside(&self, path: &FilePath, top: &FilePath) -> bool {
        let real = |path: &FilePath| self.real(path.as_str().as_bytes());
        match (real(path), real(top)) {
            (Ok(path), Ok(top)) => path.segments.starts_with(&top.segments),
            _ => false,
        }
    }

    /// Opens what a link with this text would lead to if it stood in `dir`, the end of which may be missing yet.
    pub(super) fn open_from(
        &self,
        dir: &FilePath,
        text: &[u8],
        flags: OFlags,
    ) -> Result<OwnedFd, Lost> {
        if text.starts_with(b"/") {
            return Err(Lost::Escapes);
        }
        let mut path = self.real(dir.as_str().as_bytes())?;
        for part in text.split(|b| *b == b'/') {
            // What is missing is no link: there `..` is what it looks like.
            if part == b".." && path.segments.len() > path.existing {
                path.segments.pop();
            } else {
                path.segments.push(part.to_vec());
            }
        }
        let real = self.real(&path.path())?;
        if real.existing < real.segments.len() {
            return Err(Lost::Os(Errno::NOENT));
        }
        Ok(self.open_exact(&real.path(), flags)?)
    }

    /// Makes `path` and its parents where missing (0755 under the umask); also says whether the last
    /// one is new. A file in the way is `NotADirectory`, naming it.
    pub(super) fn make_dirs(&self, path: &FilePath) -> Result<(OwnedFd, bool)> {
        let fail = |lost: Lost| lost.error("make the folder", path);
        self.refuse_own(path.as_str().as_bytes()).map_err(fail)?;
        let real = self
            .real(path.as_str().as_bytes())
            .map_err(|lost| match lost {
                Lost::Os(Errno::NOTDIR) => self.in_the_way(path),
                lost => fail(lost),
            })?;
        let mut dir = openat(&self.dir, ".", DIR, Mode::empty()).map_err(|e| fail(e.into()))?;
        let mut new = false;
        for segment in &real.segments {
            new = false;
            dir = match self.step(dir.as_fd(), segment) {
                Err(Errno::NOENT) => {
                    match mkdirat(&dir, segment.as_slice(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => new = true,
                        // Somebody made it meanwhile, which is as good.
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno::naming(errno, "make the folder", path)),
                    }
                    self.step(dir.as_fd(), segment)
                }
                other => other,
            }
            .map_err(|errno| match errno {
                Errno::NOTDIR | Errno::LOOP => self.in_the_way(path),
                errno => fail(errno.into()),
            })?;
        }
        Ok((dir, new))
    }

    /// One directory down, never through a link.
    fn step(&self, dir: BorrowedFd<'_>, segment: &[u8]) -> Result<OwnedFd, Errno> {
        openat(dir, segment, DIR | OFlags::NOFOLLOW, Mode::empty())
    }

    /// The error that names which part of `path` is no directory.
    fn in_the_way(&self, path: &FilePath) -> Error {
        let all = path.ancestors().chain([path.clone()]);
        let culprit = all.into_iter().find(|part| {
            self.open(part, OFlags::PATH | OFlags::CLOEXEC)
                .is_ok_and(|fd| fstat(&fd).is_ok_and(|s| file_type(&s) != FileType::Directory))
        });
        errno::error(
            Errno::NOTDIR,
            "use as a folder",
            About::Path(culprit.as_ref().unwrap_or(path)),
        )
    }

    /// Opens a path that must hold no link; `ELOOP` when it does.
    fn open_exact(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if path.is_empty() {
            return openat(&self.dir, ".", flags, Mode::empty());
        }
        if !self.has_openat2.load(Ordering::Relaxed) {
            return self.walk(path, flags);
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        for _ in 0..RACES_MAX {
            match openat2(&self.dir, path, flags, Mode::empty(), resolve) {
                // A rename elsewhere made the kernel unsure, or a signal came.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => {
                    self.has_openat2.store(false, Ordering::Relaxed);
                    return self.walk(path, flags);
                }
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// [`Root::open_exact`] without `openat2`.
    fn walk(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut segments: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let last = segments.pop().unwrap_or_default();
        let mut dir = openat(&self.dir, ".", DIR, Mode::empty())?;
        for segment in segments {
            dir = match self.step(dir.as_fd(), segment) {
                Err(Errno::NOTDIR) if is_link(dir.as_fd(), segment) => return Err(Errno::LOOP),
                other => other?,
            };
        }
        let found = openat(&dir, last, flags | OFlags::NOFOLLOW, Mode::empty());
        match found {
            Err(Errno::NOTDIR) if is_link(dir.as_fd(), last) => Err(Errno::LOOP),
            // O_PATH opens the link itself.
            Ok(fd) if file_type(&fstat(&fd)?) == FileType::Symlink => Err(Errno::LOOP),
            other => other,
        }
    }

    /// Expands the links of `path` as text. Grants nothing: see the module.
    fn real(&self, path: &[u8]) -> Result<Real, Lost> {
        // Segments to do, and whether they come from a link.
        let mut todo: VecDeque<(Vec<u8>, bool)> = path
            .split(|b| *b == b'/')
            .map(|s| (s.to_vec(), false))
            .collect();
        let mut real = Real {
            segments: Vec::new(),
            existing: 0,
        };
        let mut dir = self.open_exact(b"", DIR)?;
        let mut links = 0;
        while let Some((segment, linked)) = todo.pop_front() {
            match segment.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    real.segments.pop().ok_or(Lost::Escapes)?;
                    dir = self.open_exact(&real.path(), DIR)?;
                    continue;
                }
                _ => {}
            }
            let Some(stat) = look(dir.as_fd(), &segment)? else {
                if linked {
                    return Err(Lost::Dangling);
                }
                real.existing = real.segments.len();
                real.segments.push(segment);
                real.segments.extend(todo.into_iter().map(|(s, _)| s));
                return Ok(real);
            };
            match file_type(&stat) {
                FileType::Symlink => {
                    links += 1;
                    let target = readlinkat(&dir, segment.as_slice(), Vec::new())?.into_bytes();
                    if links > LINKS_MAX {
                        return Err(Lost::Os(Errno::LOOP));
                    }
                    if target.starts_with(b"/") {
                        return Err(Lost::Escapes);
                    }
                    for part in target.split(|b| *b == b'/').rev() {
                        todo.push_front((part.to_vec(), true));
                    }
                    continue;
                }
                FileType::Directory => dir = self.step(dir.as_fd(), &segment)?,
                _ if todo.iter().any(|(s, _)| !s.is_empty()) => {
                    return Err(Lost::Os(Errno::NOTDIR));
                }
                _ => {}
            }
            real.segments.push(segment);
            if real.segments.len() == 1 {
                self.refuse_own(&real.segments[0])?;
            }
        }
        real.existing = real.segments.len();
        Ok(real)
    }

    /// Refuses paths whose first segment is the server's own folder, by name or (where the file system
    /// folds case, normalises, or has short names such as `GFL~1`) by another spelling.
    fn refuse_own(&self, path: &[u8]) -> Result<(), Lost> {
        let first = path.split(|b| *b == b'/').next().unwrap_or_default();
        if first.eq_ignore_ascii_case(OWN.as_bytes()) {
            return Err(Lost::Reserved);
        }
        let plain = first.is_ascii() && !first.starts_with(b".") && !first.contains(&b'~');
        if plain {
            return Ok(());
        }
        match look(self.dir.as_fd(), first)? {
            Some(stat) if (stat.st_dev, stat.st_ino) == self.own => Err(Lost::Reserved),
            _ => Ok(()),
        }
    }
}

fn is_link(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    matches!(look(dir, name), Ok(Some(stat)) if file_type(&stat) == FileType::Symlink)
}
