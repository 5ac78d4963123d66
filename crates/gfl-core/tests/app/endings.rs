//! How upload sessions end: completed, refused, cancelled, expired.

use crate::bed::{Bed, DAY_MS, caller, fails, path};
use crate::bodies::{GROUP, body, bytes, sha256, stuck};
use crate::sessions::wait_for;
use gfl_api::http::EtagList;
use gfl_api::tree::Root;
use gfl_core::Kind;
use gfl_core::error::Fact;
use gfl_core::files::{Begin, Expected, FileMeta, Part, Preconditions, UploadState};

crate::cases! {
    completing_twice_answers_the_same
    completing_too_early_names_the_gaps
    a_wrong_digest_ends_the_session
    an_unknown_length_is_what_came
    cancelling_frees_everything
    sessions_expire
    foreign_sessions_are_gone
    the_same_fingerprint_finds_the_session
    the_world_changes_meanwhile
    a_failed_condition_leaves_the_session_usable
    a_finished_session_takes_nothing
    impossible_parts_are_refused
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
    wait_for(bed, &id, 5).await;
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
