//! Publishing, retiring and renaming as *redo* steps, written once for every store that has names
//! ([`super::tree`] on a disk, [`super::memory`] in tests, whose recorded disk proves every crash point).
//! Knows no system call; must not know what a catalog is.
//!
//! Each function first looks how far an earlier run came, by inode, and goes on from there. Between any two
//! calls of [`Shelf`] the machine may stop; the states that can then be found are named where they are handled.
//! Nothing is ever removed here: what comes out of a path is renamed to its kept place.

mod publish;
mod rename;

pub(super) use self::publish::publish;
pub(super) use self::rename::rename;

use super::Stamp;
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use gfl_api::path::FilePath;
use parking_lot::MutexGuard;

/// A step is tried again this often while people change the same names.
const RACES_MAX: usize = 16;

/// How a single step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Done.
    Done,
    /// Not done: the target exists.
    Exists,
    /// Not done: the source, or the target of an exchange, is missing.
    Missing,
    /// Not done: this file system cannot.
    Unsupported,
}

/// What a name names, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    File,
    Dir,
    Link,
    Other,
}

/// What stands at a spot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) what: What,
    pub(super) stamp: Stamp,
}

/// Names and the atomic steps on them.
pub(super) trait Shelf {
    /// A name in a directory that is held fast.
    type Spot;

    /// The spot of a path, a link at its end not followed. `None` when a parent is missing and `make` is off.
    fn spot(&self, path: &FilePath, make: bool) -> Result<Option<Self::Spot>>;
    /// The spot of a draft.
    fn draft_spot(&self, key: &Key) -> Self::Spot;
    /// The spot of kept content.
    fn kept_spot(&self, key: &Key) -> Self::Spot;
    /// A name of the store's own, for the middle of a rename that changes only the letter case.
    fn passing_spot(&self, ino: u64) -> Self::Spot;
    /// What stands there.
    fn look(&self, spot: &Self::Spot) -> Result<Option<Seen>>;
    /// The inode a path leads to when links are followed.
    fn followed(&self, path: &FilePath) -> Result<Option<u64>>;
    /// Whether exactly this name is listed, rather than one the file system takes for the same.
    fn is_listed(&self, spot: &Self::Spot) -> Result<bool>;
    /// Renames; never replaces. Atomic, or (by link and unlink) leaves both names of one inode.
    fn move_new(&self, from: &Self::Spot, to: &Self::Spot) -> Result<Step>;
    /// Renames, replacing what is there. Atomic.
    fn move_over(&self, from: &Self::Spot, to: &Self::Spot) -> Result<Step>;
    /// Exchanges two names. Atomic.
    fn exchange(&self, a: &Self::Spot, b: &Self::Spot) -> Result<Step>;
    /// A second name for a file.
    fn link(&self, from: &Self::Spot, to: &Self::Spot) -> Result<Step>;
    /// Keeps this store's other operations away from what cannot be done in one step.
    fn alone(&self) -> MutexGuard<'_, ()>;
    /// Removes one of two names of a file.
    fn unlink(&self, spot: &Self::Spot) -> Result<()>;
}

fn ino(seen: Option<Seen>) -> Option<u64> {
    seen.map(|s| s.stamp.ino)
}

/// For stores that find that one path leads, through links, into the other.
pub(super) fn into_itself(from: &FilePath, to: &FilePath) -> Error {
    let text = format!("{from} cannot be moved onto or into itself, where {to} leads");
    Error::new(Kind::Invalid, text)
}

fn unsettled(path: &FilePath) -> Error {
    Error::new(
        Kind::Conflict,
        format!("{path} is being changed by others all the time; try again"),
    )
}

fn is_directory(path: &FilePath) -> Error {
    Error::new(
        Kind::IsADirectory,
        format!("{path} is a folder; a file cannot replace it"),
    )
}

fn not_a_file(path: &FilePath) -> Error {
    Error::new(
        Kind::Conflict,
        format!("{path} is neither a file nor a folder on the server; remove it there first"),
    )
}

fn exists(path: &FilePath) -> Error {
    Error::new(Kind::AlreadyExists, format!("{path} exists already"))
}

impl What {
    /// Whether something else may take its name. A person's link is replaced as a file is: by its name.
    fn is_replaceable(self) -> bool {
        matches!(self, What::File | What::Link)
    }
}

/// Whether `path` (a link at its end followed) is the thing with inode `wanted`.
fn is_it<S: Shelf>(shelf: &S, path: &FilePath, seen: Option<Seen>, wanted: u64) -> Result<bool> {
    match seen {
        Some(s) if s.stamp.ino == wanted => Ok(true),
        // A person's link: it is the link that is moved or deleted, as `mv` and `rm` do.
        Some(s) if s.what == What::Link => Ok(shelf.followed(path)? == Some(wanted)),
        _ => Ok(false),
    }
}

/// See [`super::Store::retire`]. States found: the path has the inode (not begun); the key has it (done).
pub(super) fn retire<S: Shelf>(shelf: &S, path: &FilePath, wanted: u64, key: &Key) -> Result<bool> {
    let kept = shelf.kept_spot(key);
    for _ in 0..RACES_MAX {
        let Some(spot) = shelf.spot(path, false)? else {
            return Ok(shelf.look(&kept)?.is_some_and(|s| is_kept_as(s, wanted)));
        };
        let there = shelf.look(&spot)?;
        if let Some(seen) = shelf.look(&kept)? {
            if ino(there) == Some(wanted) && seen.stamp.ino == wanted {
                // Made by a link, and stopped before the visible name went.
                shelf.unlink(&spot)?;
            }
            return Ok(is_kept_as(seen, wanted));
        }
        let (true, Some(before)) = (is_it(shelf, path, there, wanted)?, there) else {
            return Ok(false);
        };
        if shelf.move_new(&spot, &kept)? != Step::Done {
            continue;
        }
        if ino(shelf.look(&kept)?) == Some(before.stamp.ino) {
            return Ok(true);
        }
        // A person replaced it between our look and the rename: it is not ours to take.
        shelf.move_new(&kept, &spot)?;
    }
    Err(unsettled(path))
}

/// A retired link stands under its key by its own inode.
fn is_kept_as(seen: Seen, wanted: u64) -> bool {
    seen.stamp.ino == wanted || seen.what == What::Link
}

/// See [`super::Store::unretire`].
pub(super) fn unretire<S: Shelf>(
    shelf: &S,
    key: &Key,
    wanted: u64,
    path: &FilePath,
) -> Result<bool> {
    let kept = shelf.kept_spot(key);
    for _ in 0..RACES_MAX {
        let Some(seen) = shelf.look(&kept)? else {
            let spot = shelf.spot(path, false)?;
            return match spot {
                Some(spot) => is_it(shelf, path, shelf.look(&spot)?, wanted),
                None => Ok(false),
            };
        };
        if !is_kept_as(seen, wanted) {
            return Ok(false);
        }
        let Some(spot) = shelf.spot(path, true)? else {
            continue;
        };
        match shelf.move_new(&kept, &spot)? {
            Step::Done => return Ok(true),
            Step::Missing | Step::Unsupported => {}
            Step::Exists => match shelf.look(&spot)? {
                Some(there) if there.stamp.ino == wanted => {
                    shelf.unlink(&kept)?;
                    return Ok(true);
                }
                Some(_) => return Err(exists(path)),
                None => {}
            },
        }
    }
    Err(unsettled(path))
}
