//! Moving a file or a folder, maybe over a file.

use super::{
    RACES_MAX, Seen, Shelf, Step, What, exists, ino, is_directory, is_it, not_a_file, unsettled,
};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use gfl_api::path::FilePath;

/// See [`crate::store::Store::rename`]. States found: `from` has the inode (not begun); `to` has it, and `from`
/// holds what came out of `to` (exchanged, not yet kept); `to` has it and nothing is at `from` (done); the
/// passing name has it (the middle of a change of letter case).
pub(in crate::store) fn rename<S: Shelf>(
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
        let source = shelf.spot(from, false)?;
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
        let Some(target) = shelf.spot(to, true)? else {
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
        What::File | What::Link => {}
        What::Dir => return Err(is_directory(to)),
        What::Other => return Err(not_a_file(to)),
    }
    let kept = shelf.kept_spot(key);
    match shelf.exchange(from, target)? {
        Step::Done => {}
        Step::Missing | Step::Exists => return Ok(None),
        Step::Unsupported => {
            let _alone = shelf.alone();
            if shelf.link(target, &kept)? == Step::Unsupported {
                shelf.move_new(target, &kept)?;
            }
            return Ok(Some(shelf.move_over(from, target)? == Step::Done));
        }
    }
    // What came out of `to` is now at `from`.
    match shelf.look(from)? {
        Some(out) if !out.what.is_replaceable() => {
            shelf.exchange(from, target)?;
            Err(if out.what == What::Dir {
                is_directory(to)
            } else {
                not_a_file(to)
            })
        }
        Some(_) => match keep_renamed_over(shelf, from, &kept, to) {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                // An error must mean "not moved": the caller takes its row back.
                shelf.exchange(from, target)?;
                Err(error)
            }
        },
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
    let Some(target) = shelf.spot(to, false)? else {
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
        && seen.what.is_replaceable()
    {
        let kept = shelf.kept_spot(key);
        if shelf.look(&kept)?.is_none() {
            return keep_renamed_over(shelf, spot, &kept, to);
        }
    }
    Ok(true)
}
