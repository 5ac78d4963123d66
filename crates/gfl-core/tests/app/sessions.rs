//! Upload sessions: parts in any order, what is announced, and how they end.

use crate::bed::{Bed, DAY_MS, caller, fails, path};
use crate::bodies::{GROUP, KIB, MIB, body, broken, bytes, framed, sha256, stuck};
use gfl_api::http::EtagList;
use gfl_api::tree::Root;
use gfl_core::Kind;
use gfl_core::error::Fact;
use gfl_core::files::{Begin, Expected, FileMeta, Part, Preconditions, UploadState};

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
    completing_twice_answers_the_same
    completing_too_early_names_the_gaps
    a_wrong_digest_ends_the_session
    an_unknown_length_is_what_came
    appending_goes_on_at_the_end
    offsets_beyond_a_terabyte
    cancelling_frees_everything
    sessions_expire
    foreign_sessions_are_gone
    the_same_fingerprint_finds_the_session
    the_world_changes_meanwhile
    a_failed_condition_leaves_the_session_usable
    a_finished_session_takes_nothing
    impossible_parts_are_refused
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
async fn wait_for(bed: &Bed, id: &str, offset: u64) {
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

async fn completing_twice_answers_the_same(bed: &Bed) {
    let id = bed.begin("f", Some(3)).await;
    bed.part(&id, 0, b"abc").await.unwrap();
    let first = bed.complete(&id).await.unwrap();
    for _ in 0..2 {
        let again = bed.complete(&id).await.unwrap();
        assert_eq!(
            (again.created, again.stat.etag()),
            (first.created, first.stat.etag())
        );
        let status = bed.status(&id).await.unwrap();
        assert_eq!(
            (status.state, status.offset, status.len),
            (UploadState::Done, 3, Some(3))
        );
        assert_eq!(status.received, [(0, 3)]);
        bed.jobs().await;
        bed.restart().await;
    }
    // Also when it is not the current version any more.
    bed.put("f", b"newer").await;
    assert_eq!(
        bed.complete(&id).await.unwrap().stat.etag(),
        first.stat.etag()
    );
    assert_eq!(bed.events().await, ["Created f", "Replaced f"]);
}

async fn completing_too_early_names_the_gaps(bed: &Bed) {
    let data = bytes(1, 1000);
    let id = bed.begin("f", Some(1000)).await;
    bed.part(&id, 100, &data[100..200]).await.unwrap();
    bed.part(&id, 300, &data[300..400]).await.unwrap();
    let error = bed.complete(&id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UploadIncomplete);
    let gaps = Fact::Ranges(vec![(0, 100), (200, 300), (400, 1000)]);
    assert_eq!(error.facts(), [("missing", gaps)]);
    bed.part(&id, 0, &data).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
}

async fn a_wrong_digest_ends_the_session(bed: &Bed) {
    for (b3, sha) in [(Some(Root([1; 32])), None), (None, Some([1; 32]))] {
        let id = bed
            .begin_with("f", Some(200_000), |b| {
                b.expected = Expected { b3, sha256: sha };
            })
            .await;
        bed.part(&id, 0, &bytes(1, 200_000)).await.unwrap();
        for _ in 0..2 {
            fails(bed.complete(&id).await, Kind::DigestMismatch);
            assert_eq!(bed.status(&id).await.unwrap().state, UploadState::Failed);
        }
        fails(bed.part(&id, 0, b"x").await, Kind::Conflict);
        bed.is_gone("f").await;
        assert_eq!(bed.drafts().await, 0);
    }
    let data = bytes(1, 200_000);
    let id = bed
        .begin_with("f", Some(200_000), |b| {
            b.expected = Expected {
                b3: Some(Root::of(&data)),
                sha256: Some(sha256(&data)),
            };
            b.meta = FileMeta {
                mtime_ns: Some(42_000),
                mode: Some(0o700),
            };
        })
        .await;
    bed.part(&id, 0, &data).await.unwrap();
    let done = bed.complete(&id).await.unwrap();
    assert_eq!((done.stat.mtime_ns, done.stat.mode), (42_000, 0o700));
}

async fn an_unknown_length_is_what_came(bed: &Bed) {
    let data = bytes(1, 2 * GROUP + 1);
    let id = bed.begin("f", None).await;
    bed.part(&id, GROUP, &data[GROUP..]).await.unwrap();
    fails(bed.complete(&id).await, Kind::UploadIncomplete);
    bed.part(&id, 0, &data[..GROUP]).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
    assert_eq!(bed.status(&id).await.unwrap().len, Some(data.len() as u64));
    // Nothing at all is an empty file.
    let id = bed.begin("empty", None).await;
    bed.complete(&id).await.unwrap();
    bed.has("empty", b"").await;
    // The first part that names the total decides.
    let id = bed.begin("g", None).await;
    let part = |start, end, total| Part {
        start,
        end,
        total,
        expected: Expected::default(),
    };
    let send =
        async |p: Part, data: &[u8]| bed.app().upload_part(&bed.me, &id, p, body(data)).await;
    send(part(0, 2, Some(4)), b"ab").await.unwrap();
    fails(send(part(2, 4, Some(5)), b"cd").await, Kind::LengthMismatch);
    fails(
        send(part(4, 5, None), b"e").await,
        Kind::RangeNotSatisfiable,
    );
    send(part(2, 4, None), b"cd").await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("g", b"abcd").await;
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

async fn cancelling_frees_everything(bed: &Bed) {
    let id = bed.begin("f", Some(10)).await;
    bed.part(&id, 0, b"hello").await.unwrap();
    bed.jobs().await;
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    fails(bed.status(&id).await, Kind::UploadGone);
    fails(bed.part(&id, 5, b"hello").await, Kind::UploadGone);
    fails(bed.complete(&id).await, Kind::UploadGone);
    fails(
        bed.app().upload_cancel(&bed.me, &id).await,
        Kind::UploadGone,
    );
    // Ends a writer that would never end, and after a restart as well.
    let id = bed.begin("f", Some(10)).await;
    let (app, me, id2) = (bed.app(), bed.me.clone(), id.clone());
    let part = Part {
        start: 0,
        end: 10,
        total: None,
        expected: Expected::default(),
    };
    let writer =
        tokio::spawn(async move { app.upload_part(&me, &id2, part, stuck(b"12345")).await });
    wait_for(bed, &id, 0).await;
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    assert!(matches!(
        writer.await.unwrap().unwrap_err().kind(),
        Kind::Conflict | Kind::UploadGone
    ));
    let id = bed.begin("f", Some(10)).await;
    bed.restart().await;
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    assert_eq!(bed.drafts().await, 0);
    assert_eq!(bed.app().count("upload").await.unwrap(), 0);
}

async fn sessions_expire(bed: &Bed) {
    let idle = bed.begin("idle", Some(10)).await;
    let busy = bed.begin("busy", Some(10)).await;
    let done = bed.begin("done", Some(1)).await;
    bed.part(&done, 0, b"x").await.unwrap();
    bed.complete(&done).await.unwrap();
    bed.clock.advance_ms(DAY_MS / 2);
    bed.part(&busy, 0, b"12345").await.unwrap();
    bed.clock.advance_ms(DAY_MS / 2 + 1);
    bed.jobs().await;
    fails(bed.status(&idle).await, Kind::UploadGone);
    fails(bed.status(&done).await, Kind::UploadGone);
    assert_eq!(bed.status(&busy).await.unwrap().offset, 5);
    assert_eq!(bed.drafts().await, 1);
    bed.restart().await;
    bed.clock.advance_ms(DAY_MS + 1);
    bed.jobs().await;
    fails(bed.status(&busy).await, Kind::UploadGone);
    assert_eq!(bed.drafts().await, 0);
    assert_eq!(bed.app().count("upload").await.unwrap(), 0);
    bed.has("done", b"x").await;
}

async fn foreign_sessions_are_gone(bed: &Bed) {
    let id = bed.begin("f", Some(1)).await;
    let other = caller("other", "10.0.0.1", &["*", "admin"]);
    let app = bed.app();
    fails(app.upload_status(&other, &id).await, Kind::UploadGone);
    fails(app.upload_fence(&other, &id).await, Kind::UploadGone);
    fails(
        app.upload_complete(&other, &id, Expected::default()).await,
        Kind::UploadGone,
    );
    fails(app.upload_cancel(&other, &id).await, Kind::UploadGone);
    fails(
        app.upload_append(&other, &id, 0, body(b"x")).await,
        Kind::UploadGone,
    );
    fails(bed.status("nonsense").await, Kind::UploadGone);
    assert!(app.upload_list(&other, None, 10).await.unwrap().is_empty());
    assert_eq!(app.upload_list(&bed.me, None, 10).await.unwrap().len(), 1);
    bed.part(&id, 0, b"x").await.unwrap();
    bed.complete(&id).await.unwrap();
    fails(
        app.upload_complete(&other, &id, Expected::default()).await,
        Kind::UploadGone,
    );
}

async fn the_same_fingerprint_finds_the_session(bed: &Bed) {
    let begin = |at: &str, len, mark: Option<&str>| Begin {
        path: path(at),
        len,
        fingerprint: mark.map(str::to_owned),
        meta: FileMeta::default(),
        expected: Expected::default(),
        pre: Preconditions::default(),
    };
    let start = async |b: Begin| bed.app().upload_begin(&bed.me, b).await;
    let (first, new) = start(begin("f", Some(9), Some("m"))).await.unwrap();
    assert!(new);
    bed.part(&first.id, 0, b"abc").await.unwrap();
    bed.jobs().await;
    for _ in 0..2 {
        let (again, new) = start(begin("f", Some(9), Some("m"))).await.unwrap();
        assert_eq!(
            (again.id.as_str(), new, again.offset),
            (first.id.as_str(), false, 3)
        );
        bed.restart().await;
    }
    for other in [
        begin("f", Some(8), Some("m")),
        begin("f", Some(9), Some("n")),
        begin("g", Some(9), Some("m")),
        begin("f", Some(9), None),
    ] {
        assert!(start(other).await.unwrap().1);
    }
    fails(
        start(begin("f", None, Some("two words"))).await,
        Kind::Invalid,
    );
    fails(
        start(begin("f", None, Some(&"x".repeat(257)))).await,
        Kind::Invalid,
    );
    let listed = bed.app().upload_list(&bed.me, None, 3).await.unwrap();
    let rest = bed
        .app()
        .upload_list(&bed.me, Some(&listed[2].id), 10)
        .await
        .unwrap();
    assert_eq!((listed.len(), rest.len()), (3, 2));
    for status in listed.iter().chain(&rest) {
        bed.app().upload_cancel(&bed.me, &status.id).await.unwrap();
    }
}

async fn the_world_changes_meanwhile(bed: &Bed) {
    // The path is deleted: it is made again.
    bed.put("d/f", b"old").await;
    let id = bed.begin("d/f", Some(3)).await;
    bed.part(&id, 0, b"new").await.unwrap();
    bed.delete("d").await.unwrap();
    assert!(bed.complete(&id).await.unwrap().created);
    bed.has("d/f", b"new").await;
    // A directory is put at the path: refused, and fine when it is gone again.
    let id = bed.begin("x", Some(3)).await;
    bed.part(&id, 0, b"new").await.unwrap();
    bed.mkdir("x").await;
    fails(bed.complete(&id).await, Kind::IsADirectory);
    bed.delete("x").await.unwrap();
    bed.complete(&id).await.unwrap();
    // A file is put where a parent should be.
    let id = bed.begin("p/q", Some(3)).await;
    bed.part(&id, 0, b"new").await.unwrap();
    bed.put("p", b"file").await;
    fails(bed.complete(&id).await, Kind::NotADirectory);
    bed.rename("p", "elsewhere", false).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("p/q", b"new").await;
}

async fn a_failed_condition_leaves_the_session_usable(bed: &Bed) {
    for len in [Some(3), None] {
        let id = bed
            .begin_with("f", len, |b| b.pre.if_none_match = EtagList::parse("*"))
            .await;
        bed.part(&id, 0, b"abc").await.unwrap();
        bed.put("f", b"in the way").await;
        for _ in 0..2 {
            fails(bed.complete(&id).await, Kind::PreconditionFailed);
            let status = bed.status(&id).await.unwrap();
            assert_eq!((status.state, status.len), (UploadState::Receiving, len));
            bed.restart().await;
            bed.part(&id, 0, b"abc").await.unwrap();
        }
        bed.delete("f").await.unwrap();
        assert!(bed.complete(&id).await.unwrap().created);
        bed.has("f", b"abc").await;
        bed.delete("f").await.unwrap();
    }
}

async fn a_finished_session_takes_nothing(bed: &Bed) {
    let id = bed.begin("f", None).await;
    bed.part(&id, 0, b"abc").await.unwrap();
    bed.complete(&id).await.unwrap();
    fails(bed.part(&id, 3, b"def").await, Kind::Conflict);
    fails(
        bed.app().upload_append(&bed.me, &id, 3, body(b"def")).await,
        Kind::Conflict,
    );
    bed.has("f", b"abc").await;
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    fails(bed.complete(&id).await, Kind::UploadGone);
    bed.has("f", b"abc").await;
}

async fn impossible_parts_are_refused(bed: &Bed) {
    let id = bed.begin("f", Some(100)).await;
    let part = |start, end, total| Part {
        start,
        end,
        total,
        expected: Expected::default(),
    };
    for (p, kind) in [
        (part(5, 5, None), Kind::Invalid),
        (part(9, 5, None), Kind::Invalid),
        (part(90, 101, None), Kind::RangeNotSatisfiable),
        (part(0, 10, Some(99)), Kind::LengthMismatch),
        (part(0, u64::MAX, None), Kind::TooLarge),
    ] {
        fails(
            bed.app().upload_part(&bed.me, &id, p, body(b"")).await,
            kind,
        );
    }
    let reader = caller("me", "", &["download"]);
    let p = part(0, 1, None);
    fails(
        bed.app().upload_part(&reader, &id, p, body(b"x")).await,
        Kind::Forbidden,
    );
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
}
