//! A disk that is full in the middle of a body: history gives way for it, and where there is none the error is
//! clear and what was received stays.

use crate::bed::{Bed, fails, path};
use crate::bodies::{GROUP, KIB, MIB, body, bytes, framed};
use gfl_core::files::{Put, UploadState};
use gfl_core::store::fault::{Fault, Op};
use gfl_core::{Kind, Result};

crate::cases! {
    history_gives_way_inside_a_body
    history_gives_way_inside_a_part
    history_gives_way_inside_a_v0_chunk
    history_gives_way_for_a_copy
    without_history_a_session_stays_usable
    a_body_takes_no_more_history_than_its_tries
    even_what_was_deleted_just_now_gives_way
    what_is_owed_a_rename_does_not_give_way
}

const FULL: [Fault; 2] = [Fault::Full, Fault::Short];

/// Replaces a file so often that so many versions of it are kept.
async fn history(bed: &Bed, versions: usize) {
    for n in 0..=versions {
        bed.put("old", format!("version {n}").as_bytes()).await;
    }
    bed.jobs().await;
    assert_eq!(kept(bed).await, versions);
}

async fn kept(bed: &Bed) -> usize {
    let all = bed.version_page("old", None, 1000).await.versions;
    all.iter().filter(|v| v.kept.is_some()).count()
}

async fn put_unannounced(bed: &Bed, data: &[u8]) -> Result<()> {
    let put = Put {
        len: None,
        ..bed.put_of("f", data)
    };
    let done = bed.app().put(&bed.me, put, framed(data, 100_000)).await;
    done.map(drop)
}

async fn history_gives_way_inside_a_body(bed: &Bed) {
    let data = bytes(1, 2 * MIB + 9);
    for op in [Op::Write, Op::Groups] {
        for fault in FULL {
            for skip in 0..3 {
                history(bed, 1).await;
                bed.faults.fail(op, fault, skip, 1);
                put_unannounced(bed, &data).await.unwrap();
                assert_eq!(bed.faults.armed(), 0, "{op:?} {skip} was not met");
                assert_eq!(kept(bed).await, 0);
                bed.has("f", &data).await;
                bed.check().await;
                bed.delete("f").await.unwrap();
                bed.delete("old").await.unwrap();
                bed.clock.advance_ms(8 * crate::bed::DAY_MS);
                bed.jobs().await;
            }
        }
    }
}

async fn history_gives_way_inside_a_part(bed: &Bed) {
    let data = bytes(1, 9 * GROUP + 5);
    for (n, fault) in FULL.into_iter().enumerate() {
        let at = format!("f{n}");
        history(bed, 1).await;
        let id = bed.begin(&at, None).await;
        bed.faults.fail(Op::Write, fault, 1, 1);
        let half = data.len() / 2;
        let first = framed(&data[..half], 70_000);
        bed.part_of(&id, 0, half, first).await.unwrap();
        let rest = body(&data[half..]);
        let app = bed.app();
        let told = app.upload_append(&bed.me, &id, half as u64, rest).await;
        assert_eq!(told.unwrap().offset, data.len() as u64);
        assert_eq!((bed.faults.armed(), kept(bed).await), (0, 0));
        bed.complete(&id).await.unwrap();
        bed.has(&at, &data).await;
        bed.delete("old").await.unwrap();
        bed.clock.advance_ms(8 * crate::bed::DAY_MS);
        bed.jobs().await;
    }
}

async fn history_gives_way_inside_a_v0_chunk(bed: &Bed) {
    let pieces = [bytes(1, MIB), bytes(2, MIB), bytes(3, 100 * KIB)];
    for (op, skip) in [(Op::Create, 1), (Op::Write, 3), (Op::Write, 9)] {
        history(bed, 1).await;
        bed.faults.fail(op, Fault::Full, skip, 1);
        for (id, piece) in (0..).zip(&pieces) {
            crate::v0::send(bed, "f", id, 3, piece).await.unwrap();
        }
        assert_eq!((bed.faults.armed(), kept(bed).await), (0, 0), "{op:?}");
        bed.has("f", &pieces.concat()).await;
        bed.check().await;
        bed.delete("f").await.unwrap();
        bed.delete("old").await.unwrap();
        bed.clock.advance_ms(8 * crate::bed::DAY_MS);
        bed.jobs().await;
    }
}

async fn history_gives_way_for_a_copy(bed: &Bed) {
    history(bed, 1).await;
    bed.faults.fail(Op::Create, Fault::Full, 0, 1);
    bed.copy("old", "new", false).await.unwrap();
    bed.has("new", b"version 1").await;
    assert_eq!(kept(bed).await, 0);
}

async fn without_history_a_session_stays_usable(bed: &Bed) {
    let data = bytes(1, 9 * GROUP + 5);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    for fault in FULL {
        bed.faults.fail(Op::Write, fault, 1, 1);
        let part = bed.part_of(&id, 0, data.len(), framed(&data, 70_000)).await;
        let error = part.unwrap_err();
        assert_eq!(error.kind(), Kind::StorageFull);
        assert!(error.message().starts_with("f: "), "{error}");
        bed.faults.clear();
        assert_eq!(bed.status(&id).await.unwrap().state, UploadState::Receiving);
    }
    fails(bed.complete(&id).await, Kind::UploadIncomplete);
    bed.part(&id, 0, &data).await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
    bed.faults.fail(Op::Write, Fault::Full, 1, 1);
    fails(put_unannounced(bed, &data).await, Kind::StorageFull);
    bed.has("f", &data).await;
}

/// A body that nobody knows the end of must not destroy everybody's history in one go.
async fn a_body_takes_no_more_history_than_its_tries(bed: &Bed) {
    history(bed, 140).await;
    bed.faults.fail(Op::Write, Fault::Full, 0, u64::MAX);
    let data = bytes(1, 2 * MIB);
    fails(put_unannounced(bed, &data).await, Kind::StorageFull);
    bed.faults.clear();
    assert_eq!(kept(bed).await, 140 - 8 * 16);
    bed.has("old", b"version 140").await;
}

async fn even_what_was_deleted_just_now_gives_way(bed: &Bed) {
    bed.put("f", b"in the way of something larger").await;
    bed.delete("f").await.unwrap();
    // Not settled yet.
    assert_eq!(bed.app().open_intents().await.unwrap(), 1);
    bed.faults.fail(Op::Create, Fault::Full, 0, 1);
    bed.put("larger", &bytes(1, MIB)).await;
    assert!(bed.kept("f").await.is_empty());
    bed.check().await;
}

/// The retirement is recorded and its rename still to come: who prunes now would leave bytes without a row.
async fn what_is_owed_a_rename_does_not_give_way(bed: &Bed) {
    use crate::hooks::{Dies, Step};
    bed.put("f", b"going").await;
    bed.jobs().await;
    bed.hooks.die(Step::Retire, Dies::Before);
    let (app, me) = (bed.app(), bed.me.clone());
    let how = gfl_core::files::Delete::default();
    tokio::spawn(async move { app.delete(&me, &path("f"), &how).await });
    bed.hooks.dead().await;
    bed.faults.fail(Op::Create, Fault::Full, 0, 1);
    fails(bed.try_put("g", b"x").await, Kind::StorageFull);
    bed.restart().await;
    bed.is_gone("f").await;
    assert_eq!(bed.kept("f").await.len(), 1);
    bed.restore("f", None).await.unwrap();
    bed.has("f", b"going").await;
}
