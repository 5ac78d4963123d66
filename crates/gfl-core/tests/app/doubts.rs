//! Commits whose answer is lost: the caller is told so, nothing is built upon them before they are certain, and
//! then they are carried out whole or not at all.

use crate::bed::{Bed, DAY_MS, fails, path};
use crate::bodies::{GROUP, MIB, bytes};
use gfl_core::catalog::fault::Lost;
use gfl_core::files::{Expected, KeptReason, UploadState};
use gfl_core::store::fault::{Fault, Op};
use gfl_core::{Kind, Result};

crate::cases! {
    every_change_is_carried_out_or_not
    a_path_in_doubt_waits_and_others_do_not
    what_lies_below_a_folder_in_doubt_waits
    an_uncertain_completion
    an_uncertain_v0_completion
    an_uncertain_beginning_leaves_nothing
    an_uncertain_taking_back
    an_uncertain_prune
    a_restart_settles_it
    a_catalog_that_is_certainly_away_leaves_no_draft
}

const LOST: [Lost; 3] = [Lost::Done, Lost::NotDone, Lost::Late];

/// A change, and the transaction that records it.
const CHANGES: [(&str, &str); 11] = [
    ("new", "commit file"),
    ("replace", "commit file"),
    ("large", "commit file"),
    ("copy", "commit file"),
    ("restore over", "commit file"),
    ("delete", "delete"),
    ("delete folder", "delete"),
    ("move", "move"),
    ("mkdir", "make directory"),
    ("meta", "set metadata"),
    ("restore", "restore"),
];

async fn change(bed: &Bed, what: &str) -> Result<()> {
    match what {
        "new" => bed.try_put("new", b"new").await.map(drop),
        "replace" => bed.try_put("f", b"newer").await.map(drop),
        "large" => bed.try_put("f", &bytes(3, MIB + 7)).await.map(drop),
        "copy" => bed.copy("f", "g", true).await.map(drop),
        "restore over" => bed.restore("g", None).await.map(drop),
        "delete" => bed.delete("f").await,
        "delete folder" => bed.delete("d").await,
        "move" => bed.rename("f", "g", true).await.map(drop),
        "mkdir" => bed.app().mkdir(&bed.me, &path("x/y")).await.map(drop),
        "meta" => bed.set_meta("f", Some(5_000), Some(0o600)).await.map(drop),
        _ => bed.restore("gone", None).await.map(drop),
    }
}

async fn prepare(bed: &Bed) {
    bed.put("f", b"old").await;
    bed.put("g", b"deleted").await;
    bed.delete("g").await.unwrap();
    // Of one millisecond the history has no order.
    bed.clock.advance_ms(1);
    bed.put("g", b"other").await;
    bed.put("d/x", b"below").await;
    bed.put("gone", b"gone").await;
    bed.delete("gone").await.unwrap();
    bed.clock.advance_ms(1);
    bed.jobs().await;
}

/// Everything that can be seen, and the history.
async fn seen(bed: &Bed) -> Vec<String> {
    let mut all = Vec::new();
    for at in ["f", "g", "new", "d", "d/x", "x", "x/y", "gone"] {
        let kept = bed.kept(at).await;
        all.push(match bed.stat(at).await {
            Ok(stat) => {
                let content = bed
                    .get(at)
                    .await
                    .map(|data| (data.len(), data.first().copied()));
                let mode = stat.mode & 0o77;
                let dated = stat.mtime_ns == 5_000;
                format!("{at}: {:?} {mode:o} {dated} {kept:?}", content.ok())
            }
            Err(error) => format!("{at}: {:?} {kept:?}", error.kind()),
        });
    }
    all.extend(bed.events().await);
    all
}

async fn every_change_is_carried_out_or_not(bed: &Bed) {
    for (what, tx) in CHANGES {
        for lost in LOST {
            prepare(bed).await;
            let before = seen(bed).await;
            bed.app().commits().lose(tx, lost, 1);
            fails(change(bed, what).await, Kind::OutcomeUnknown);
            assert_eq!(bed.app().commits().armed(), 0, "{what}");
            // The first time nobody can tell; the second time somebody can.
            bed.app().finish().await.unwrap_err();
            bed.app().finish().await.unwrap();
            bed.check().await;
            if lost == Lost::NotDone {
                assert_eq!(seen(bed).await, before, "{what}");
                change(bed, what).await.unwrap();
                bed.check().await;
            }
            let after = seen(bed).await;
            let calm = twin(bed, what).await;
            assert_eq!(after[..8], calm[..8], "{what} {lost:?}");
            assert_eq!(after.last(), calm.last(), "{what} {lost:?}: its event");
            for at in ["f", "g", "new", "d", "x", "gone"] {
                let _not_there = bed.delete(at).await;
            }
            bed.clock.advance_ms(8 * DAY_MS);
            bed.jobs().await;
        }
    }
}

/// What the same change does when nothing is lost.
async fn twin(bed: &Bed, what: &str) -> Vec<String> {
    let calm = if bed.memory_store().is_some() {
        Bed::memory().await
    } else {
        Bed::tree().await
    };
    prepare(&calm).await;
    change(&calm, what).await.unwrap();
    calm.jobs().await;
    seen(&calm).await
}

async fn a_path_in_doubt_waits_and_others_do_not(bed: &Bed) {
    bed.put("f", b"old").await;
    for lost in LOST {
        bed.clock.advance_ms(1);
        bed.app().commits().lose("commit file", lost, 2);
        let error = bed.try_put("f", b"new").await.unwrap_err();
        assert_eq!(error.kind(), Kind::OutcomeUnknown);
        assert!(error.message().starts_with("f: "), "{error}");
        for _ in 0..2 {
            fails(bed.delete("f").await, Kind::Unavailable);
            bed.put("other", b"not in doubt").await;
        }
        // Now it can be told, and what comes builds upon it.
        bed.clock.advance_ms(1);
        bed.put("f", b"newest").await;
        let kept: Vec<Vec<u8>> = bed
            .kept("f")
            .await
            .into_iter()
            .map(|(_, data)| data)
            .collect();
        let wanted: &[&[u8]] = match lost {
            Lost::Done | Lost::Late => &[b"new", b"old"],
            Lost::NotDone => &[b"old"],
        };
        assert_eq!(kept, wanted, "{lost:?}");
        bed.check().await;
        bed.delete("f").await.unwrap();
        bed.clock.advance_ms(8 * DAY_MS);
        bed.jobs().await;
        bed.put("f", b"old").await;
    }
}

async fn what_lies_below_a_folder_in_doubt_waits(bed: &Bed) {
    bed.put("d/x", b"x").await;
    bed.app().commits().lose("delete", Lost::Late, 1);
    fails(bed.delete("d").await, Kind::OutcomeUnknown);
    fails(bed.try_put("d/y", b"y").await, Kind::Unavailable);
    // It is certain now, and still to be done.
    fails(bed.try_put("d/y", b"y").await, Kind::Unavailable);
    bed.app().finish().await.unwrap();
    bed.is_gone("d").await;
    bed.put("d/y", b"y").await;
    bed.is_gone("d/x").await;
    bed.check().await;
    bed.has("d/y", b"y").await;
}

async fn an_uncertain_completion(bed: &Bed) {
    let data = bytes(1, 3 * GROUP + 5);
    for lost in LOST {
        let id = bed.begin("f", Some(data.len() as u64)).await;
        bed.part(&id, 0, &data).await.unwrap();
        bed.app().commits().lose("commit file", lost, 1);
        fails(bed.complete(&id).await, Kind::OutcomeUnknown);
        bed.app().finish().await.unwrap_err();
        bed.app().finish().await.unwrap();
        bed.check().await;
        let state = bed.status(&id).await.unwrap().state;
        if lost == Lost::NotDone {
            assert_eq!(state, UploadState::Receiving);
            bed.is_gone("f").await;
        } else {
            assert_eq!(state, UploadState::Done);
            fails(bed.part(&id, 0, b"more").await, Kind::Conflict);
        }
        // Asked again it answers as if nothing had been.
        assert!(bed.complete(&id).await.unwrap().created);
        bed.has("f", &data).await;
        bed.check().await;
        bed.delete("f").await.unwrap();
    }
}

async fn an_uncertain_v0_completion(bed: &Bed) {
    for sizes in [[50_000, 50_000, 7], [50_000, 7, 50_000]] {
        for lost in LOST {
            let pieces = sizes.map(|n| bytes(n as u8, n));
            for id in 0..2 {
                let piece = &pieces[id as usize];
                crate::v0::send(bed, "f", id, 3, piece).await.unwrap();
            }
            bed.app().commits().lose("commit file", lost, 0);
            let last = crate::v0::send(bed, "f", 2, 3, &pieces[2]).await;
            fails(last, Kind::OutcomeUnknown);
            bed.app().finish().await.unwrap();
            bed.check().await;
            if lost == Lost::NotDone {
                bed.is_gone("f").await;
                let done = crate::v0::send(bed, "f", 2, 3, &pieces[2]).await;
                assert!(done.unwrap().is_some());
            }
            bed.has("f", &pieces.concat()).await;
            bed.check().await;
            bed.delete("f").await.unwrap();
        }
    }
}

async fn an_uncertain_beginning_leaves_nothing(bed: &Bed) {
    let begin = async || {
        let begin = gfl_core::files::Begin {
            path: path("f"),
            len: Some(5),
            fingerprint: Some("mine".to_owned()),
            meta: gfl_core::files::FileMeta::default(),
            expected: Expected::default(),
            pre: gfl_core::files::Preconditions::default(),
        };
        bed.app().upload_begin(&bed.me, begin).await
    };
    bed.app().commits().lose("begin upload", Lost::NotDone, 0);
    fails(begin().await, Kind::OutcomeUnknown);
    bed.app().finish().await.unwrap();
    assert_eq!(bed.drafts().await, 0);
    bed.app().commits().lose("begin upload", Lost::Done, 0);
    fails(begin().await, Kind::OutcomeUnknown);
    bed.app().finish().await.unwrap();
    let (status, new) = begin().await.unwrap();
    assert!(!new, "the same one, found again");
    bed.part(&status.id, 0, b"hello").await.unwrap();
    bed.complete(&status.id).await.unwrap();
    bed.has("f", b"hello").await;
}

/// The storage does not do it, and whether it is taken back is in doubt.
async fn an_uncertain_taking_back(bed: &Bed) {
    for lost in LOST {
        bed.put("f", b"old").await;
        bed.faults.fail(Op::Publish, Fault::Io, 0, 1);
        bed.app().commits().lose("take a commit back", lost, 1);
        fails(bed.try_put("f", b"new").await, Kind::Internal);
        fails(bed.delete("f").await, Kind::Unavailable);
        bed.jobs().await;
        let wanted: &[u8] = if lost == Lost::NotDone {
            b"new"
        } else {
            b"old"
        };
        bed.has("f", wanted).await;
        bed.faults.fail(Op::Retire, Fault::Io, 0, 1);
        bed.app().commits().lose("take a deletion back", lost, 0);
        fails(bed.delete("f").await, Kind::Internal);
        bed.jobs().await;
        if lost == Lost::NotDone {
            bed.is_gone("f").await;
        } else {
            bed.has("f", wanted).await;
        }
        bed.check().await;
    }
}

async fn an_uncertain_prune(bed: &Bed) {
    for lost in LOST {
        bed.put("f", b"one").await;
        bed.put("f", b"two!").await;
        bed.jobs().await;
        let key = bed.versions("f").await[1].id.clone();
        bed.clock.advance_ms(8 * DAY_MS);
        bed.app().commits().lose("prune", lost, 0);
        fails(bed.app().prune().await, Kind::OutcomeUnknown);
        bed.app().finish().await.unwrap();
        let gone = lost != Lost::NotDone;
        assert_eq!(bed.kept_bytes(&key).await, !gone, "{lost:?}");
        assert_eq!(bed.kept("f").await.is_empty(), gone);
        bed.jobs().await;
        assert!(!bed.kept_bytes(&key).await);
        bed.check().await;
    }
}

async fn a_restart_settles_it(bed: &Bed) {
    bed.put("f", b"old").await;
    bed.app()
        .commits()
        .lose("commit file", Lost::Done, u32::MAX);
    fails(bed.try_put("f", b"new").await, Kind::OutcomeUnknown);
    bed.restart().await;
    bed.has("f", b"new").await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Replaced, b"old".to_vec())]
    );
    bed.app().commits().lose("delete", Lost::NotDone, u32::MAX);
    fails(bed.delete("f").await, Kind::OutcomeUnknown);
    bed.restart().await;
    bed.has("f", b"new").await;
}

/// The catalog goes away between the body and the commit, which then certainly does not happen.
async fn a_catalog_that_is_certainly_away_leaves_no_draft(bed: &Bed) {
    let (app, data) = (bed.app(), bytes(1, MIB));
    let rest = data[1000..].to_vec();
    let first = futures_util::stream::iter([Ok(data[..1000].to_vec().into())]);
    let last = futures_util::stream::once(async move {
        app.close().await;
        Ok(rest.into())
    });
    let body = Box::pin(futures_util::StreamExt::chain(first, last));
    let put = bed.put_of("f", &data);
    fails(bed.app().put(&bed.me, put, body).await, Kind::Unavailable);
    assert_eq!(bed.drafts().await, 0);
    bed.restart().await;
    bed.is_gone("f").await;
}
