//! Publishing, retiring and renaming as *redo* steps, written once for every store that has names
//! ([`super::tree`] on a disk, [`super::memory`] in tests, whose recorded disk proves every crash point).
//! Knows no system call; must not know what a catalog is.
//!
//! Each function first looks how far an earlier run came, by inode, and goes on from there. Between any two
//! calls of [`Shelf`] the machine may stop; the states that can then be found are named where they are handled.
//! Nothing is ever removed here: what comes out of a path is renamed to its kept place.

use super::{CameOut, Publish, Published, Stamp};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use gfl_api::path::FilePath;

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

    /// The spot of a path. `None` when a parent is missing and `make` is off. `follow`: a link at the
    /// path leads to the spot of what it names.
    fn spot(&self, path: &FilePath, make: bool, follow: bool) -> Result<Option<Self::Spot>>;
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
    /// Removes one of two names of a file.
    fn unlink(&self, spot: &Self::Spot) -> Result<()>;
}

fn ino(seen: Option<Seen>) -> Option<u64> {
    seen.map(|s| s.stamp.ino)
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

/// See [`super::Store::publish`].
///
/// States found: the draft with our inode (nothing happened; or, where names are made by links, the path
/// has it too); the draft's name with another inode (exchanged, what came out not yet kept); no draft (done).
pub(super) fn publish<S: Shelf>(shelf: &S, p: &Publish) -> Result<Published> {
    let draft = shelf.draft_spot(&p.key);
    for _ in 0..RACES_MAX {
        let Some(seen) = shelf.look(&draft)? else {
            return published_before(shelf, p);
        };
        if seen.stamp.ino != p.ino {
            return keep_what_came_out(shelf, p, &draft, seen);
        }
        let Some(spot) = shelf.spot(&p.path, true, true)? else {
            continue;
        };
        match shelf.move_new(&draft, &spot)? {
            Step::Done => return Ok(published(p, shelf.look(&spot)?, CameOut::Nothing)),
            // The folder was moved away, or the draft: look again.
            Step::Missing => {}
            Step::Exists | Step::Unsupported => {
                if let Some(done) = replace(shelf, p, &draft, &spot)? {
                    return Ok(done);
                }
            }
        }
    }
    Err(unsettled(&p.path))
}

/// Puts the draft in the place of what is at `spot`; `None` when it went away meanwhile.
fn replace<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    spot: &S::Spot,
) -> Result<Option<Published>> {
    let Some(there) = shelf.look(spot)? else {
        return Ok(None);
    };
    if there.stamp.ino == p.ino {
        // Made by a link, and stopped before the draft's name went.
        shelf.unlink(draft)?;
        return Ok(Some(published(p, shelf.look(spot)?, CameOut::Nothing)));
    }
    if p.create_only {
        return Err(exists(&p.path));
    }
    // Looking first keeps folders and devices from vanishing for an instant; what comes out is
    // looked at again, because a person may put one there right now.
    match there.what {
        What::File => {}
        What::Dir => return Err(is_directory(&p.path)),
        What::Link => return Ok(None),
        What::Other => return Err(not_a_file(&p.path)),
    }
    match shelf.exchange(draft, spot)? {
        Step::Done => match shelf.look(draft)? {
            Some(out) => keep_what_came_out(shelf, p, draft, out).map(Some),
            None => Ok(Some(published(p, shelf.look(spot)?, CameOut::Nothing))),
        },
        Step::Missing | Step::Exists => Ok(None),
        Step::Unsupported => replace_without_exchange(shelf, p, draft, spot, there).map(Some),
    }
}

/// After an exchange: what stands at the draft's name goes to its kept place.
fn keep_what_came_out<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    out: Seen,
) -> Result<Published> {
    let spot = shelf.spot(&p.path, false, true)?;
    if out.what != What::File {
        // A person put a folder there between our look and the exchange. Back with it.
        if let Some(spot) = &spot
            && ino(shelf.look(spot)?) == Some(p.ino)
        {
            shelf.exchange(draft, spot)?;
        }
        return Err(if out.what == What::Dir {
            is_directory(&p.path)
        } else {
            not_a_file(&p.path)
        });
    }
    let came_out = keep(shelf, p, draft, out)?;
    let now = match &spot {
        Some(spot) => shelf.look(spot)?,
        None => None,
    };
    Ok(published(p, now, came_out))
}

/// Moves the old file from `from` to the kept place that says whose it is.
fn keep<S: Shelf>(shelf: &S, p: &Publish, from: &S::Spot, out: Seen) -> Result<CameOut> {
    if let Some((key, stamp)) = &p.replaces
        && same_file(&out.stamp, stamp)
        && shelf.move_new(from, &shelf.kept_spot(key))? != Step::Exists
    {
        return Ok(CameOut::Ours);
    }
    let kept = shelf.kept_spot(&p.edit_key);
    if shelf.move_new(from, &kept)? == Step::Exists {
        return Err(Error::new(
            Kind::Internal,
            format!("what was at {} cannot be kept: its place is taken", p.path),
        ));
    }
    // Renaming changed its ctime.
    Ok(CameOut::Edited(
        shelf.look(&kept)?.map_or(out.stamp, |s| s.stamp),
    ))
}

/// Without `RENAME_EXCHANGE` (NFS, old FUSE): the old file gets its kept name as a second name first, then the
/// draft is renamed over it. An edit that slips in between these two calls is lost; where there are no hard
/// links either, the path is empty for that instant.
fn replace_without_exchange<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    spot: &S::Spot,
    there: Seen,
) -> Result<Published> {
    let ours = p
        .replaces
        .as_ref()
        .filter(|(_, stamp)| same_file(&there.stamp, stamp));
    let kept = shelf.kept_spot(ours.map_or(&p.edit_key, |(key, _)| key));
    match shelf.link(spot, &kept)? {
        // Exists: an earlier run stopped here.
        Step::Done | Step::Exists => {}
        Step::Missing | Step::Unsupported => {
            shelf.move_new(spot, &kept)?;
        }
    }
    shelf.move_over(draft, spot)?;
    let came_out = match ours {
        Some(_) => CameOut::Ours,
        None => CameOut::Edited(shelf.look(&kept)?.map_or(there.stamp, |s| s.stamp)),
    };
    Ok(published(p, shelf.look(spot)?, came_out))
}

/// A redo that finds no draft: everything was done. Says again what came out.
fn published_before<S: Shelf>(shelf: &S, p: &Publish) -> Result<Published> {
    let now = match shelf.spot(&p.path, false, true)? {
        Some(spot) => shelf.look(&spot)?,
        None => None,
    };
    let mut came_out = CameOut::Nothing;
    if let Some((key, _)) = &p.replaces
        && shelf.look(&shelf.kept_spot(key))?.is_some()
    {
        came_out = CameOut::Ours;
    }
    if let Some(seen) = shelf.look(&shelf.kept_spot(&p.edit_key))? {
        came_out = CameOut::Edited(seen.stamp);
    }
    Ok(published(p, now, came_out))
}

fn published(p: &Publish, now: Option<Seen>, came_out: CameOut) -> Published {
    let stamp = now.map(|s| s.stamp).filter(|s| s.ino == p.ino);
    Published { stamp, came_out }
}

/// ctime is left out: our own renames change it.
fn same_file(a: &Stamp, b: &Stamp) -> bool {
    (a.ino, a.size, a.mtime_ns) == (b.ino, b.size, b.mtime_ns)
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
        let Some(spot) = shelf.spot(path, false, false)? else {
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
            let spot = shelf.spot(path, false, false)?;
            return match spot {
                Some(spot) => is_it(shelf, path, shelf.look(&spot)?, wanted),
                None => Ok(false),
            };
        };
        if !is_kept_as(seen, wanted) {
            return Ok(false);
        }
        let Some(spot) = shelf.spot(path, true, false)? else {
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

/// See [`super::Store::rename`]. States found: `from` has the inode (not begun); `to` has it, and `from`
/// holds what came out of `to` (exchanged, not yet kept); `to` has it and nothing is at `from` (done); the
/// passing name has it (the middle of a change of letter case).
pub(super) fn rename<S: Shelf>(
    shelf: &S,
    from: &FilePath,
    wanted: u64,
    to: &FilePath,
    over: Option<&Key>,
) -> Result<bool> {
    if to == from || to.starts_with(from) {
        let text = format!("{from} cannot be moved onto or into itself");
        return Err(Error::new(Kind::Invalid, text));
    }
    for _ in 0..RACES_MAX {
        let source = shelf.spot(from, false, false)?;
        let seen = match &source {
            Some(spot) => shelf.look(spot)?,
            None => None,
        };
        let Some(spot) = source.filter(|_| seen.is_some()) else {
            return renamed_before(shelf, None, wanted, to, over);
        };
        if !is_it(shelf, from, seen, wanted)? {
            return renamed_before(shelf, Some((&spot, seen)), wanted, to, over);
        }
        let Some(target) = shelf.spot(to, true, false)? else {
            continue;
        };
        match shelf.move_new(&spot, &target)? {
            Step::Done => return Ok(true),
            Step::Missing => {}
            Step::Exists | Step::Unsupported => {
                if let Some(done) = rename_over(shelf, &spot, seen, &target, to, over)? {
                    return Ok(done);
                }
            }
        }
    }
    Err(unsettled(to))
}

/// `to` is taken; `None` when it went away meanwhile.
fn rename_over<S: Shelf>(
    shelf: &S,
    from: &S::Spot,
    seen: Option<Seen>,
    target: &S::Spot,
    to: &FilePath,
    over: Option<&Key>,
) -> Result<Option<bool>> {
    let Some(there) = shelf.look(target)? else {
        return Ok(None);
    };
    if let Some(seen) = seen
        && there.stamp.ino == seen.stamp.ino
        && !shelf.is_listed(target)?
    {
        // One name in two spellings. A direct rename is a no-op to some kernels, so it passes through a name of
        // ours; `renamed_before` finishes it after a crash.
        let passing = shelf.passing_spot(seen.stamp.ino);
        shelf.move_over(from, &passing)?;
        return Ok(Some(shelf.move_new(&passing, target)? == Step::Done));
    }
    let Some(key) = over else {
        return Err(exists(to));
    };
    match there.what {
        What::File => {}
        What::Dir => return Err(is_directory(to)),
        What::Link | What::Other => return Err(not_a_file(to)),
    }
    let kept = shelf.kept_spot(key);
    match shelf.exchange(from, target)? {
        Step::Done => {}
        Step::Missing | Step::Exists => return Ok(None),
        Step::Unsupported => {
            if shelf.link(target, &kept)? == Step::Unsupported {
                shelf.move_new(target, &kept)?;
            }
            return Ok(Some(shelf.move_over(from, target)? == Step::Done));
        }
    }
    // What came out of `to` is now at `from`.
    match shelf.look(from)? {
        Some(out) if out.what != What::File => {
            shelf.exchange(from, target)?;
            Err(if out.what == What::Dir {
                is_directory(to)
            } else {
                not_a_file(to)
            })
        }
        Some(_) => keep_renamed_over(shelf, from, &kept, to).map(Some),
        None => Ok(Some(true)),
    }
}

fn keep_renamed_over<S: Shelf>(
    shelf: &S,
    from: &S::Spot,
    kept: &S::Spot,
    to: &FilePath,
) -> Result<bool> {
    if shelf.move_new(from, kept)? == Step::Exists {
        let text = format!("what was at {to} cannot be kept: its place is taken");
        return Err(Error::new(Kind::Internal, text));
    }
    Ok(true)
}

/// `from` has not our inode: done before, or half, or somebody else's doing.
fn renamed_before<S: Shelf>(
    shelf: &S,
    from: Option<(&S::Spot, Option<Seen>)>,
    wanted: u64,
    to: &FilePath,
    over: Option<&Key>,
) -> Result<bool> {
    let Some(target) = shelf.spot(to, false, false)? else {
        return Ok(false);
    };
    let there = shelf.look(&target)?;
    if there.is_none() {
        let passing = shelf.passing_spot(wanted);
        let half = ino(shelf.look(&passing)?) == Some(wanted);
        return Ok(half && shelf.move_new(&passing, &target)? == Step::Done);
    }
    if !is_it(shelf, to, there, wanted)? {
        return Ok(false);
    }
    if let (Some(key), Some((spot, Some(seen)))) = (over, from)
        && seen.what == What::File
    {
        let kept = shelf.kept_spot(key);
        if shelf.look(&kept)?.is_none() {
            return keep_renamed_over(shelf, spot, &kept, to);
        }
    }
    Ok(true)
}
