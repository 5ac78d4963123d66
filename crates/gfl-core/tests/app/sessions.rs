//! Upload sessions: parts in any order, takeovers, and what is announced.

use crate::bed::{Bed, fails};
use crate::bodies::{GROUP, KIB, MIB, body, broken, bytes, framed, sha256, stuck};
use gfl_api::tree::Root;
use gfl_core::Kind;
use gfl_core::error::Fact;
use gfl_core::files::{Expected, Part, UploadState};

crate::cases! {
    parts_in_any_order_and_of_any_shape
    overlapping_repeats_are_compared
    a_rejected_part_leaves_no_value_behind
    a_stuck_writer_is_taken_over
    a_writer_stuck_at_its_end_is_taken_over
    head_ends_writers_and_announces_all
    only_what_is_checkpointed_is_announced
    what_was_announced_survives_a_crash
    a_broken_part_stays_received
    appending_goes_on_at_the_end
    offsets_beyond_a_terabyte
}

/// A cheap, repeatable shuffle.
fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for i in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(i, (state % (i as u64 + 1)) as usize);
    }
    items
}

async fn parts_in_any_order_and_of_any_shape(bed: &Bed) {
    let mut seed = 0;
    for len in [1, GROUP, GROUP + 1, 5 * GROUP, MIB + 12_345] {
        for step in [GROUP, 3 * GROUP, 50_001, 200_000] {
            seed += 1;
            let data = bytes(seed as u8, len);
            let id = bed.begin("s/f", Some(len as u64)).await;
            let starts: Vec<usize> = (0..len).step_by(step).collect();
            for start in shuffled(starts, seed) {
                let piece = &data[start..(start + step).min(len)];
                let sent = framed(piece, 33_333);
                bed.part_of(&id, start, piece.len(), sent).await.unwrap();
            }
            let done = bed.complete(&id).await.unwrap();
            assert_eq!(
                done.stat.etag(),
                Some(Root::of(&data).etag().as_str()),
                "{len} in {step}"
            );
            bed.has("s/f", &data).await;
        }
    }
    assert_eq!(bed.drafts().await, 0);
}

async fn overlapping_repeats_are_compared(bed: &Bed) {
    let data = bytes(1, 4 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    bed.part(&id, 10, &data[10..100_000]).await.unwrap();
    // The same bytes again, exactly, inside, and reaching over on both sides.
    bed.part(&id, 10, &data[10..100_000]).await.unwrap();
    bed.part(&id, 500, &data[500..600]).await.unwrap();
    bed.part(&id, 0, &data[..150_000]).await.unwrap();
    // Other bytes where something was received: refused, nothing changed.
    let mut other = data[..200_000].to_vec();
    other[50_000] ^= 1;
    fails(bed.part(&id, 0, &other).await, Kind::RangeOverlap);
    bed.part(&id, 140_000, &data[140_000..]).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
}

/// A rejected part of whole groups writes their values; unaligned parts that then bring the right bytes
/// must not find these values again.
async fn a_rejected_part_leaves_no_value_behind(bed: &Bed) {
    let data = bytes(1, 4 * GROUP);
    let wrong = bytes(2, 4 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let part = Part {
        start: 0,
        end: data.len() as u64,
        total: None,
        expected: Expected {
            b3: Some(Root::of(&data)),
            sha256: Some(sha256(&data)),
        },
    };
    let sent = framed(&wrong, GROUP);
    fails(
        bed.app()
            .upload_part(&bed.me, &id, part.clone(), sent)
            .await,
        Kind::DigestMismatch,
    );
    assert!(
        bed.app()
            .upload_fence(&bed.me, &id)
            .await
            .unwrap()
            .received
            .is_empty()
    );
    let middle = GROUP + 5;
    bed.part(&id, middle, &data[middle..]).await.unwrap();
    bed.part(&id, 0, &data[..middle]).await.unwrap();
    let done = bed.complete(&id).await.unwrap();
    assert_eq!(done.stat.etag(), Some(Root::of(&data).etag().as_str()));
    bed.has("f", &data).await;
    // With the right bytes a digest is just a digest.
    let id = bed.begin("g", Some(data.len() as u64)).await;
    bed.app()
        .upload_part(&bed.me, &id, part, framed(&data, 70_000))
        .await
        .unwrap();
    bed.complete(&id).await.unwrap();
}

async fn a_stuck_writer_is_taken_over(bed: &Bed) {
    let data = bytes(1, 5 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let (app, me, id2) = (bed.app(), bed.me.clone(), id.clone());
    let part = Part {
        start: 0,
        end: data.len() as u64,
        total: None,
        expected: Expected::default(),
    };
    let half = stuck(&data[..3 * GROUP]);
    let first = tokio::spawn(async move { app.upload_part(&me, &id2, part, half).await });
    wait_for(bed, &id, 2 * GROUP as u64).await;
    // Another connection sends the whole again: what came is compared, the rest written.
    bed.part(&id, 0, &data).await.unwrap();
    fails(first.await.unwrap(), Kind::Conflict);
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
}

/// Until so many bytes have arrived.
pub(crate) async fn wait_for(bed: &Bed, id: &str, offset: u64) {
    loop {
        bed.app().checkpoint().await.unwrap();
        if bed.status(id).await.unwrap().offset >= offset {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn a_writer_stuck_at_its_end_is_taken_over(bed: &Bed) {
    let data = bytes(1, 2 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let (app, me, id2) = (bed.app(), bed.me.clone(), id.clone());
    let part = Part {
        start: 0,
        end: data.len() as u64,
        total: None,
        expected: Expected::default(),
    };
    let whole = stuck(&data);
    let first = tokio::spawn(async move { app.upload_part(&me, &id2, part, whole).await });
    wait_for(bed, &id, 2 * GROUP as u64).await;
    bed.complete(&id).await.unwrap();
    fails(first.await.unwrap(), Kind::Conflict);
    bed.has("f", &data).await;
}

async fn head_ends_writers_and_announces_all(bed: &Bed) {
    let data = bytes(1, 8 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let (app, me, id2) = (bed.app(), bed.me.clone(), id.clone());
    let part = Part {
        start: 0,
        end: data.len() as u64,
        total: None,
        expected: Expected::default(),
    };
    let half = stuck(&data[..300_000]);
    let writer = tokio::spawn(async move { app.upload_part(&me, &id2, part, half).await });
    wait_for(bed, &id, 262_144).await;
    let status = bed.app().upload_fence(&bed.me, &id).await.unwrap();
    assert_eq!(status.received, [(0, 300_000)]);
    fails(writer.await.unwrap(), Kind::Conflict);
}

async fn only_what_is_checkpointed_is_announced(bed: &Bed) {
    let data = bytes(1, 3 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    assert!(
        bed.part(&id, 0, &data[..GROUP])
            .await
            .unwrap()
            .received
            .is_empty()
    );
    assert_eq!(bed.status(&id).await.unwrap().offset, 0);
    bed.app().checkpoint().await.unwrap();
    assert_eq!(bed.status(&id).await.unwrap().offset, GROUP as u64);
    bed.part(&id, 2 * GROUP, &data[2 * GROUP..]).await.unwrap();
    let fenced = bed.app().upload_fence(&bed.me, &id).await.unwrap();
    let group = GROUP as u64;
    assert_eq!(fenced.received, [(0, group), (2 * group, 3 * group)]);
    assert_eq!(
        (fenced.offset, fenced.state),
        (group, UploadState::Receiving)
    );
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
}

async fn what_was_announced_survives_a_crash(bed: &Bed) {
    let data = bytes(1, 6 * GROUP + 77);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    bed.part(&id, 0, &data[..100_000]).await.unwrap();
    bed.part(&id, 3 * GROUP, &data[3 * GROUP..4 * GROUP])
        .await
        .unwrap();
    let announced = bed.app().upload_fence(&bed.me, &id).await.unwrap().received;
    // Received, not announced: a crash may take it.
    bed.part(&id, 100_000, &data[100_000..150_000])
        .await
        .unwrap();
    for _ in 0..2 {
        bed.power_cut(0).await;
        assert_eq!(bed.status(&id).await.unwrap().received, announced);
    }
    // What the draft holds beyond that, right or wrong, does not matter.
    bed.part(&id, 70_000, &data[70_000..3 * GROUP])
        .await
        .unwrap();
    bed.part(&id, 4 * GROUP, &data[4 * GROUP..]).await.unwrap();
    let done = bed.complete(&id).await.unwrap();
    assert_eq!(done.stat.etag(), Some(Root::of(&data).etag().as_str()));
    bed.has("f", &data).await;
    // A session of which nothing was announced goes on as well.
    let id = bed.begin("g", None).await;
    bed.power_cut(0).await;
    bed.part(&id, 0, b"x").await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("g", b"x").await;
}

async fn a_broken_part_stays_received(bed: &Bed) {
    let data = bytes(1, 4 * GROUP);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let sent = broken(&data[..90_000], 7_000);
    fails(
        bed.part_of(&id, 0, data.len(), sent).await,
        Kind::ClientGone,
    );
    let short = framed(&data[90_000..95_000], 1000);
    fails(
        bed.part_of(&id, 90_000, 10_000, short).await,
        Kind::LengthMismatch,
    );
    assert_eq!(
        bed.app().upload_fence(&bed.me, &id).await.unwrap().offset,
        95_000
    );
    let long = framed(&data[95_000..], 1000);
    fails(
        bed.part_of(&id, 95_000, 10_000, long).await,
        Kind::LengthMismatch,
    );
    assert_eq!(
        bed.app().upload_fence(&bed.me, &id).await.unwrap().offset,
        105_000
    );
    bed.part(&id, 105_000, &data[105_000..]).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
}

async fn appending_goes_on_at_the_end(bed: &Bed) {
    let data = bytes(1, 5 * GROUP + 3);
    let id = bed.begin("f", None).await;
    let append = async |at: usize, stream| {
        bed.app()
            .upload_append(&bed.me, &id, at as u64, stream)
            .await
    };
    assert_eq!(
        append(0, framed(&data[..70_000], 999))
            .await
            .unwrap()
            .offset,
        70_000
    );
    let error = append(0, body(&data)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::OffsetMismatch);
    assert_eq!(error.facts()[0], ("expected-offset", Fact::Number(70_000)));
    fails(
        append(70_000, broken(&data[70_000..90_000], 5_000)).await,
        Kind::ClientGone,
    );
    assert_eq!(
        bed.status(&id).await.unwrap().offset,
        90_000,
        "a broken append is checkpointed"
    );
    append(90_000, body(b"")).await.unwrap();
    bed.restart().await;
    assert_eq!(
        append(90_000, framed(&data[90_000..], 50_000))
            .await
            .unwrap()
            .offset,
        data.len() as u64
    );
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
    // Never more than announced.
    let id = bed.begin("g", Some(5)).await;
    let over = bed
        .app()
        .upload_append(&bed.me, &id, 0, body(b"sixsix"))
        .await;
    fails(over, Kind::LengthMismatch);
    bed.complete(&id).await.unwrap();
    bed.has("g", b"sixsi").await;
}

async fn offsets_beyond_a_terabyte(bed: &Bed) {
    // Reserved space would be real space, so the length is not announced.
    let id = bed.begin("huge", None).await;
    let tib = 1usize << 40;
    let piece = bytes(1, 100 * KIB);
    bed.part(&id, 3 * tib + 17, &piece).await.unwrap();
    bed.part(&id, tib, &piece).await.unwrap();
    let status = bed.app().upload_fence(&bed.me, &id).await.unwrap();
    let (t, n) = (tib as u64, piece.len() as u64);
    assert_eq!(status.received, [(t, t + n), (3 * t + 17, 3 * t + 17 + n)]);
    bed.restart().await;
    assert_eq!(bed.status(&id).await.unwrap().received, status.received);
    bed.part(&id, 3 * tib + 17, &piece).await.unwrap();
    fails(bed.part(&id, tib, &bytes(2, 10)).await, Kind::RangeOverlap);
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    assert_eq!(bed.drafts().await, 0);
}
