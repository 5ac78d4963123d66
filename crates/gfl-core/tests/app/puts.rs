//! One whole file in one request.

use crate::bed::{Bed, START_MS, fails, path};
use crate::bodies::{GROUP, KIB, MIB, body, broken, bytes, framed, sha256};
use gfl_api::http::EtagList;
use gfl_api::tree::Root;
use gfl_core::Kind;
use gfl_core::files::{Expected, FileMeta, Node, Preconditions, Put};

crate::cases! {
    every_size_in_every_framing
    put_answers_with_what_is_there
    a_wrong_length_stores_nothing
    a_broken_body_stores_nothing
    digests_are_verified_on_the_way_in
    preconditions_are_decided_at_commit
    a_directory_or_a_file_in_the_way
    mtime_and_mode_are_carried
    replacing_keeps_the_old_content
    too_large_is_refused_before_and_while_it_comes
}

fn tags(text: &str) -> Option<EtagList> {
    EtagList::parse(text)
}

async fn every_size_in_every_framing(bed: &Bed) {
    let sizes = [
        0,
        1,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        256 * KIB,
        256 * KIB + 1,
        MIB + 1,
    ];
    for (i, size) in sizes.into_iter().enumerate() {
        let data = bytes(i as u8, size);
        for frame in [1_000_003, 65_537, 4099] {
            for len in [Some(size as u64), None] {
                let put = Put {
                    len,
                    ..bed.put_of("sizes/f", &data)
                };
                let done = bed
                    .app()
                    .put(&bed.me, put, framed(&data, frame))
                    .await
                    .unwrap();
                let Node::File { size: got, b3, .. } = &done.stat.node else {
                    panic!("a directory");
                };
                assert_eq!((*got, *b3), (size as u64, Some(Root::of(&data))));
                bed.has("sizes/f", &data).await;
            }
        }
    }
    bed.jobs().await;
    assert_eq!(bed.drafts().await, 0);
}

async fn put_answers_with_what_is_there(bed: &Bed) {
    let done = bed.put("a/b/c", b"one").await;
    assert!(done.created);
    assert_eq!(
        done.stat.etag(),
        bed.stat("a/b/c").await.unwrap().etag(),
        "answer and stat agree"
    );
    let again = bed.put("a/b/c", b"three").await;
    assert!(!again.created);
    bed.jobs().await;
    let stat = bed.stat("a/b/c").await.unwrap();
    assert_eq!(stat.etag(), again.stat.etag());
    assert_eq!(
        (stat.mtime_ns, stat.mode),
        (again.stat.mtime_ns, again.stat.mode)
    );
    bed.is_dir("a/b").await;
    assert_eq!(bed.events().await, ["Created a/b/c", "Replaced a/b/c"]);
}

async fn a_wrong_length_stores_nothing(bed: &Bed) {
    bed.put("f", b"old").await;
    for (announced, size) in [
        (3, 4),
        (4, 3),
        (0, 1),
        (1, 0),
        (MIB, MIB + 1),
        (MIB, MIB - 1),
        (2 * MIB, 5),
    ] {
        let put = Put {
            len: Some(announced as u64),
            ..bed.put_of("f", b"")
        };
        for frame in [size.max(1), 70_000] {
            let sent = framed(&bytes(1, size), frame);
            fails(
                bed.app().put(&bed.me, put.clone(), sent).await,
                Kind::LengthMismatch,
            );
        }
    }
    bed.has("f", b"old").await;
    assert_eq!(bed.drafts().await, 0);
    assert_eq!(bed.events().await, ["Created f"]);
}

async fn a_broken_body_stores_nothing(bed: &Bed) {
    for (size, frame) in [(0, 1), (5, 5), (300 * KIB, 50_000), (2 * MIB, 300_000)] {
        let data = bytes(3, size);
        for len in [None, Some(size as u64), Some(9 * MIB as u64)] {
            let put = Put {
                len,
                ..bed.put_of("new/f", &data)
            };
            let sent = broken(&data, frame);
            fails(bed.app().put(&bed.me, put, sent).await, Kind::ClientGone);
        }
    }
    bed.is_gone("new/f").await;
    bed.is_gone("new").await;
    assert_eq!(
        bed.drafts().await,
        0,
        "the drafts are gone with their requests"
    );
    assert!(bed.events().await.is_empty());
}

async fn digests_are_verified_on_the_way_in(bed: &Bed) {
    for (i, size) in [0, 10, GROUP + 5, MIB].into_iter().enumerate() {
        let at = format!("d{i}");
        let data = bytes(4, size);
        let with = |b3, sha256| Put {
            expected: Expected { b3, sha256 },
            ..bed.put_of(&at, &data)
        };
        let (b3, sha) = (Root::of(&data), sha256(&data));
        for put in [
            with(Some(Root([9; 32])), None),
            with(None, Some([9; 32])),
            with(Some(b3), Some([9; 32])),
            with(Some(Root([9; 32])), Some(sha)),
        ] {
            let sent = framed(&data, 30_000);
            fails(
                bed.app().put(&bed.me, put, sent).await,
                Kind::DigestMismatch,
            );
        }
        bed.is_gone(&at).await;
        let put = with(Some(b3), Some(sha));
        bed.app()
            .put(&bed.me, put, framed(&data, 30_000))
            .await
            .unwrap();
        bed.has(&at, &data).await;
        let Node::File { sha256, .. } = bed.stat(&at).await.unwrap().node else {
            panic!("a directory");
        };
        assert_eq!(sha256, Some(sha));
    }
    assert_eq!(bed.drafts().await, 0);
}

async fn preconditions_are_decided_at_commit(bed: &Bed) {
    let put = |if_match: Option<&str>, if_none_match: Option<&str>| Put {
        pre: Preconditions {
            if_match: if_match.and_then(tags),
            if_none_match: if_none_match.and_then(tags),
        },
        ..bed.put_of("p", b"new")
    };
    let send = async |put: Put| bed.app().put(&bed.me, put, body(b"new")).await;
    fails(send(put(Some("*"), None)).await, Kind::PreconditionFailed);
    assert!(send(put(None, Some("*"))).await.unwrap().created);
    fails(send(put(None, Some("*"))).await, Kind::PreconditionFailed);
    let etag = bed.stat("p").await.unwrap().etag().unwrap().to_owned();
    fails(send(put(None, Some(&etag))).await, Kind::PreconditionFailed);
    fails(
        send(put(Some("\"b3-00\""), None)).await,
        Kind::PreconditionFailed,
    );
    let weak = format!("W/{etag}");
    fails(send(put(Some(&weak), None)).await, Kind::PreconditionFailed);
    assert!(!send(put(Some(&etag), None)).await.unwrap().created);
    send(put(Some(&format!("\"x\", {etag}")), None))
        .await
        .unwrap();
    // A directory has no entity tag.
    bed.mkdir("dir").await;
    let on_dir = Put {
        path: path("dir"),
        ..put(Some("*"), None)
    };
    fails(send(on_dir).await, Kind::IsADirectory);
    // Changed by hand between our look and the rename: create-only does not take it.
    bed.delete("p").await.unwrap();
    bed.hooks.before(
        crate::hooks::Step::Publish,
        bed.person_will_write("p", b"by hand"),
    );
    fails(send(put(None, Some("*"))).await, Kind::PreconditionFailed);
    bed.has("p", b"by hand").await;
}

async fn a_directory_or_a_file_in_the_way(bed: &Bed) {
    bed.mkdir("dir").await;
    bed.put("file", b"x").await;
    fails(bed.try_put("dir", b"y").await, Kind::IsADirectory);
    fails(bed.try_put("", b"y").await, Kind::IsADirectory);
    fails(bed.try_put("file/below", b"y").await, Kind::NotADirectory);
    fails(bed.try_put("file/a/b/c", b"y").await, Kind::NotADirectory);
    bed.has("file", b"x").await;
    bed.is_dir("dir").await;
    assert_eq!(bed.drafts().await, 0);
    assert_eq!(bed.events().await.len(), 2);
}

async fn mtime_and_mode_are_carried(bed: &Bed) {
    for (mode, kept) in [
        (0o755, 0o755),
        (0o600, 0o600),
        (0o6777, 0o777),
        (0o200, 0o600),
    ] {
        let meta = FileMeta {
            mtime_ns: Some(1_234_567_890_123_456_789),
            mode: Some(mode),
        };
        let put = Put {
            meta,
            ..bed.put_of("m", b"m")
        };
        let done = bed.app().put(&bed.me, put, body(b"m")).await.unwrap();
        for stat in [done.stat, bed.stat("m").await.unwrap()] {
            assert_eq!(stat.mtime_ns, 1_234_567_890_123_456_789);
            assert_eq!(stat.mode, kept, "{mode:o}");
        }
    }
    let plain = bed.put("plain", b"m").await;
    assert_eq!(plain.stat.mtime_ns, START_MS * 1_000_000);
    assert_eq!(plain.stat.mode, 0o644);
}

async fn replacing_keeps_the_old_content(bed: &Bed) {
    for i in 0..5u8 {
        bed.put("f", &bytes(i, 100 + usize::from(i))).await;
        bed.clock.advance_ms(1);
    }
    bed.jobs().await;
    let kept: Vec<Vec<u8>> = bed
        .kept("f")
        .await
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    let want: Vec<Vec<u8>> = (0..4u8)
        .rev()
        .map(|i| bytes(i, 100 + usize::from(i)))
        .collect();
    assert!(kept == want);
}

async fn too_large_is_refused_before_and_while_it_comes(bed: &Bed) {
    let mut settings = bed.settings.clone();
    settings.max_file_bytes = 600_000;
    let bed = bed.reopened_with(settings).await;
    let data = bytes(1, 600_001);
    fails(bed.try_put("f", &data).await, Kind::TooLarge);
    let unknown = Put {
        len: None,
        ..bed.put_of("f", b"")
    };
    fails(
        bed.app.put(&bed.me, unknown, framed(&data, 9000)).await,
        Kind::TooLarge,
    );
    bed.app
        .put(&bed.me, bed.put_of("f", &data[1..]), body(&data[1..]))
        .await
        .unwrap();
    bed.app.run_jobs().await.unwrap();
}
