//! Putting a draft at its path.

use super::{RACES_MAX, Seen, Shelf, Step, What, exists, ino, is_directory, not_a_file, unsettled};
use crate::error::{Error, Kind, Result};
use crate::store::{CameOut, Publish, Published, Stamp};

/// See [`crate::store::Store::publish`].
///
/// States found: the draft with our inode (nothing happened; or, where names are made by links, the path
/// has it too); the draft's name with another inode (exchanged, what came out not yet kept); no draft (done).
pub(in crate::store) fn publish<S: Shelf>(shelf: &S, p: &Publish) -> Result<Published> {
    let draft = shelf.draft_spot(&p.key);
    for _ in 0..RACES_MAX {
        let Some(seen) = shelf.look(&draft)? else {
            return published_before(shelf, p);
        };
        if seen.stamp.ino != p.ino {
            return keep_what_came_out(shelf, p, &draft, seen);
        }
        let Some(spot) = shelf.spot(&p.path, true)? else {
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
        What::File | What::Link => {}
        What::Dir => return Err(is_directory(&p.path)),
        What::Other => return Err(not_a_file(&p.path)),
    }
    match shelf.exchange(draft, spot)? {
        Step::Done => match shelf.look(draft)? {
            Some(out) => keep_what_came_out(shelf, p, draft, out).map(Some),
            None => Ok(Some(published(p, shelf.look(spot)?, CameOut::Nothing))),
        },
        Step::Missing | Step::Exists => Ok(None),
        Step::Unsupported => replace_without_exchange(shelf, p, draft, spot),
    }
}

/// After an exchange: what stands at the draft's name goes to its kept place.
fn keep_what_came_out<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    out: Seen,
) -> Result<Published> {
    let spot = shelf.spot(&p.path, false)?;
    if !out.what.is_replaceable() {
        // A person put a folder there between our look and the exchange. Back with it.
        put_back(shelf, p, draft, spot.as_ref())?;
        return Err(if out.what == What::Dir {
            is_directory(&p.path)
        } else {
            not_a_file(&p.path)
        });
    }
    let came_out = match keep(shelf, p, draft, out) {
        Ok(came_out) => came_out,
        Err(error) => {
            // An error must mean "not published": the caller takes its row back.
            put_back(shelf, p, draft, spot.as_ref())?;
            return Err(error);
        }
    };
    let now = match &spot {
        Some(spot) => shelf.look(spot)?,
        None => None,
    };
    Ok(published(p, now, came_out))
}

/// Undoes an exchange, unless somebody replaced our file meanwhile.
fn put_back<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    spot: Option<&S::Spot>,
) -> Result<()> {
    if let Some(spot) = spot
        && ino(shelf.look(spot)?) == Some(p.ino)
    {
        shelf.exchange(draft, spot)?;
    }
    Ok(())
}

/// Moves the old file from `from` to the kept place that says whose it is. A link is always a person's.
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
/// draft is renamed over it. A person's edit that slips in between these two calls is lost; where there are no
/// hard links either, the path is empty for that instant.
fn replace_without_exchange<S: Shelf>(
    shelf: &S,
    p: &Publish,
    draft: &S::Spot,
    spot: &S::Spot,
) -> Result<Option<Published>> {
    let _alone = shelf.alone();
    let there = shelf.look(spot)?;
    let Some(there) = there.filter(|seen| seen.what.is_replaceable()) else {
        return Ok(None);
    };
    let ours = p
        .replaces
        .as_ref()
        .filter(|(_, stamp)| same_file(&there.stamp, stamp));
    let kept = shelf.kept_spot(ours.map_or(&p.edit_key, |(key, _)| key));
    // Exists: an earlier run stopped here.
    if matches!(shelf.link(spot, &kept)?, Step::Missing | Step::Unsupported) {
        shelf.move_new(spot, &kept)?;
    }
    if shelf.move_over(draft, spot)? != Step::Done {
        return Ok(None);
    }
    let came_out = match ours {
        Some(_) => CameOut::Ours,
        None => CameOut::Edited(shelf.look(&kept)?.map_or(there.stamp, |s| s.stamp)),
    };
    Ok(Some(published(p, shelf.look(spot)?, came_out)))
}

/// A redo that finds no draft: everything was done. Says again what came out.
fn published_before<S: Shelf>(shelf: &S, p: &Publish) -> Result<Published> {
    let now = match shelf.spot(&p.path, false)? {
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
