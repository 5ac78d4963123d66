//! Reading what is sent: piece by piece, hashed on the way, on threads of their own.

use super::sum::{FileSum, PartHasher};
use crate::local::pieces::{PIECE_BYTES, Pieces};
use crate::local::{Source, Stamp};
use crate::remote::body::{Broken, Feed};
use gfl_api::Root;
use std::fs::File;
use std::ops::Range;

/// Reads a range piece by piece, hashes it if there is a hasher, and sends it as long as somebody takes it.
pub(super) fn send_range(
    file: &File,
    range: Range<u64>,
    pieces: &Pieces,
    feed: Option<&Feed>,
    mut hasher: Option<PartHasher>,
) -> std::io::Result<Option<PartHasher>> {
    let mut feed = feed;
    let mut at = range.start;
    while at < range.end && (feed.is_some() || hasher.is_some()) {
        // Pieces end at multiples of their size, so that groups of the hash are not cut.
        let step = PIECE_BYTES as u64;
        let end = ((at / step + 1) * step).min(range.end);
        let piece = match pieces.read(file, at, usize::try_from(end - at).unwrap_or(PIECE_BYTES)) {
            Ok(piece) => piece,
            Err(error) => {
                if let Some(feed) = feed {
                    let _ =
                        feed.blocking_send(Err(Broken(format!("cannot read the file: {error}"))));
                }
                return Err(error);
            }
        };
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        // The connection is gone: what is left is only hashed.
        if feed.is_some_and(|feed| feed.blocking_send(Ok(piece)).is_err()) {
            feed = None;
        }
        at = end;
    }
    Ok(hasher)
}

/// The root of an open file.
pub(super) fn hash_file(source: &Source, pieces: &Pieces) -> std::io::Result<Root> {
    let hasher = send_range(
        &source.file,
        0..source.stamp.size,
        pieces,
        None,
        Some(PartHasher::new(0)),
    )?;
    let mut sum = FileSum::default();
    if let Some(hasher) = hasher {
        sum.add(hasher.finish());
    }
    sum.finish(source.stamp.size)
        .ok_or_else(|| std::io::Error::other("the file could not be hashed"))
}

/// The root of an open file, from its beginning.
pub(super) fn hash_open(file: File, pieces: &Pieces) -> std::io::Result<Root> {
    let stamp = Stamp::now(&file)?;
    hash_file(&Source { file, stamp }, pieces)
}
