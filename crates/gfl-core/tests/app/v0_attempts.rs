//! v0 uploads that were cut off and begun again: chunks of two contents never become one file.

use crate::bed::{Bed, MINUTE_MS, path};
use crate::bodies::{bytes, sha256};
use crate::v0::{nothing_left, send, split};
use bytes::Bytes;
use gfl_core::files::V0Chunk;

crate::cases! {
    the_first_chunk_begins_anew_at_once
    the_same_first_chunk_begins_anew_as_well
    a_first_chunk_after_a_silence_begins_anew
    a_changed_chunk_after_a_silence_begins_anew
    who_goes_on_after_a_silence_may
    who_asked_what_is_missing_may_send_it
    a_slow_line_is_not_silent
    a_retry_of_the_newest_chunk_is_no_beginning
    after_a_restart_the_first_chunk_begins_anew
}

const SIZE: usize = 50_000;

fn content(seed: u8, chunks: usize) -> Vec<Vec<u8>> {
    split(&bytes(seed, chunks * SIZE - 7), SIZE)
}

/// Sends these chunks; none of them completes the file.
async fn leave_behind(bed: &Bed, pieces: &[Vec<u8>], ids: &[usize]) {
    for id in ids {
        let done = send(bed, "f", *id as u32, pieces.len() as u32, &pieces[*id]).await;
        assert!(done.unwrap().is_none(), "complete with chunk {id}");
    }
}

/// Sends these chunks; the last of them, and none before, completes the file, which is these chunks.
async fn finish(bed: &Bed, pieces: &[Vec<u8>], ids: &[usize]) {
    let (last, others) = ids.split_last().unwrap();
    leave_behind(bed, pieces, others).await;
    let done = send(bed, "f", *last as u32, pieces.len() as u32, &pieces[*last]).await;
    assert!(done.unwrap().is_some(), "not complete");
    bed.has("f", &pieces.concat()).await;
    nothing_left(bed).await;
    bed.delete("f").await.unwrap();
}

async fn received(bed: &Bed) -> Vec<bool> {
    let status = bed.app().v0_status(&bed.me, &path("f")).await.unwrap();
    status.unwrap().received
}

const IN_ORDER: [usize; 4] = [0, 1, 2, 3];

async fn the_first_chunk_begins_anew_at_once(bed: &Bed) {
    let (old, new) = (content(1, 4), content(2, 4));
    for left in [&[0, 1, 2][..], &[0, 2, 3], &[3, 1, 0]] {
        leave_behind(bed, &old, left).await;
        leave_behind(bed, &new, &[0]).await;
        assert_eq!(received(bed).await, [true, false, false, false]);
        // In whatever order it goes on.
        finish(bed, &new, &[3, 2, 1]).await;
    }
}

async fn the_same_first_chunk_begins_anew_as_well(bed: &Bed) {
    let (old, mut new) = (content(1, 4), content(2, 4));
    new[0] = old[0].clone();
    for left in [&[0, 1, 2][..], &[0, 2, 3]] {
        leave_behind(bed, &old, left).await;
        finish(bed, &new, &IN_ORDER).await;
    }
}

async fn a_first_chunk_after_a_silence_begins_anew(bed: &Bed) {
    let (old, new) = (content(1, 4), content(2, 4));
    leave_behind(bed, &old, &[2, 1, 3]).await;
    bed.clock.advance_ms(MINUTE_MS);
    finish(bed, &new, &IN_ORDER).await;
    // Not out of order in one go.
    leave_behind(bed, &old, &[2, 1, 3]).await;
    bed.clock.advance_ms(MINUTE_MS - 1);
    finish(bed, &old, &[0]).await;
}

async fn a_changed_chunk_after_a_silence_begins_anew(bed: &Bed) {
    let (old, new) = (content(1, 4), content(2, 4));
    for first in [1, 3] {
        leave_behind(bed, &old, &[0, 1]).await;
        bed.clock.advance_ms(MINUTE_MS);
        let rest: Vec<usize> = IN_ORDER.into_iter().filter(|id| *id != first).collect();
        leave_behind(bed, &new, &[first]).await;
        finish(bed, &new, &[&rest[1..], &rest[..1]].concat()).await;
    }
}

async fn who_goes_on_after_a_silence_may(bed: &Bed) {
    let pieces = content(1, 4);
    leave_behind(bed, &pieces, &[0, 1]).await;
    bed.clock.advance_ms(60 * MINUTE_MS);
    leave_behind(bed, &pieces, &[2]).await;
    bed.clock.advance_ms(60 * MINUTE_MS);
    finish(bed, &pieces, &[3]).await;
}

async fn who_asked_what_is_missing_may_send_it(bed: &Bed) {
    let pieces = content(1, 4);
    leave_behind(bed, &pieces, &[3, 1]).await;
    bed.clock.advance_ms(60 * MINUTE_MS);
    assert_eq!(received(bed).await, [false, true, false, true]);
    bed.clock.advance_ms(MINUTE_MS - 1);
    finish(bed, &pieces, &[2, 0]).await;
}

async fn a_slow_line_is_not_silent(bed: &Bed) {
    let pieces = content(1, 3);
    leave_behind(bed, &pieces, &[2]).await;
    let mut spool = bed.app().v0_spool(&bed.me).unwrap();
    bed.clock.advance_ms(60 * MINUTE_MS);
    spool.write(Bytes::from(pieces[0].clone())).await.unwrap();
    let chunk = V0Chunk {
        path: path("f"),
        chunk_id: 0,
        total: 3,
        sha256: Some(sha256(&pieces[0])),
    };
    bed.app().v0_chunk(&bed.me, chunk, spool).await.unwrap();
    finish(bed, &pieces, &[1]).await;
}

async fn a_retry_of_the_newest_chunk_is_no_beginning(bed: &Bed) {
    let pieces = content(1, 4);
    leave_behind(bed, &pieces, &[0, 1, 2]).await;
    // Its answer was lost, and the client noticed late.
    bed.clock.advance_ms(2 * MINUTE_MS);
    leave_behind(bed, &pieces, &[2]).await;
    bed.clock.advance_ms(MINUTE_MS - 1);
    leave_behind(bed, &pieces, &[1]).await;
    finish(bed, &pieces, &[3]).await;
}

async fn after_a_restart_the_first_chunk_begins_anew(bed: &Bed) {
    let (old, new) = (content(1, 3), content(2, 3));
    leave_behind(bed, &old, &[0, 2]).await;
    bed.restart().await;
    finish(bed, &new, &[0, 1, 2]).await;
}
