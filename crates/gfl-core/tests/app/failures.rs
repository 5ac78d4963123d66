//! A storage that fails in every step: nothing half visible, nothing lost, and all well when it is well again.

use crate::bed::{Bed, fails, path};
use crate::bodies::{GROUP, MIB, body, bytes, framed};
use crate::hooks::Step;
use gfl_core::Kind;
use gfl_core::files::{KeptReason, UploadState};
use gfl_core::store::fault::{Fault, Op};

crate::cases! {
    a_put_that_fails_anywhere_changes_nothing
    a_lost_answer_of_publishing_is_a_success
    a_session_survives_faults
    a_failed_checkpoint_is_tried_again
    one_bad_draft_does_not_hide_the_others
    failing_moves_and_deletes_change_nothing
    lost_answers_are_successes
    what_cannot_be_taken_back_is_finished
    a_full_disk_refuses_early
    a_pruned_version_that_stays_is_removed_later
}

const STEPS: [Op; 8] = [
    Op::Create,
    Op::Write,
    Op::Groups,
    Op::Finish,
    Op::Settle,
    Op::Publish,
    Op::Look,
    Op::Read,
];

async fn a_put_that_fails_anywhere_changes_nothing(bed: &Bed) {
    let old = bytes(1, MIB + 1);
    bed.put("f", &old).await;
    bed.jobs().await;
    let events = bed.events().await;
    for size in [10, 2 * MIB + 1] {
        for op in STEPS {
            for fault in [Fault::Full, Fault::Io, Fault::Short] {
                for skip in 0..3 {
                    bed.faults.fail(op, fault, skip, 1);
                    let new = bytes(2, size);
                    let done = bed
                        .app()
                        .put(&bed.me, bed.put_of("f", &new), framed(&new, 300_000))
                        .await;
                    bed.faults.clear();
                    match done {
                        Ok(_) => {
                            // The fault was never met.
                            bed.has("f", &new).await;
                            bed.put("f", &old).await;
                        }
                        Err(_) => {
                            bed.has("f", &old).await;
                            let made = bed.try_put("new/f", b"x").await;
                            made.unwrap();
                            bed.delete("new").await.unwrap();
                        }
                    }
                    assert_eq!(bed.drafts().await, 0, "{op:?} {fault:?} {skip}");
                }
            }
        }
    }
    let wanted = |e: &String| !e.contains("new") && *e != "Replaced f";
    assert!(bed.events().await.iter().filter(|e| wanted(e)).eq(&events));
    bed.check().await;
}

async fn a_lost_answer_of_publishing_is_a_success(bed: &Bed) {
    bed.put("f", b"old").await;
    for skip in 0..2 {
        bed.faults.fail(Op::Publish, Fault::Lost, 0, 1 + skip);
        bed.put("f", b"new").await;
        bed.faults.clear();
        bed.has("f", b"new").await;
        bed.jobs().await;
    }
    assert_eq!(bed.kept("f").await.len(), 2);
    assert_eq!(
        bed.events().await,
        ["Created f", "Replaced f", "Replaced f"]
    );
}

async fn a_session_survives_faults(bed: &Bed) {
    let data = bytes(1, 5 * GROUP + 9);
    for op in [
        Op::Write,
        Op::Groups,
        Op::Read,
        Op::Finish,
        Op::Publish,
        Op::Look,
    ] {
        for fault in [Fault::Full, Fault::Io, Fault::Short] {
            for skip in 0..3 {
                let id = bed.begin("f", Some(data.len() as u64)).await;
                bed.faults.fail(op, fault, skip, 1);
                let first = bed
                    .part_of(&id, 0, data.len(), framed(&data, 100_000))
                    .await;
                let status = bed.status(&id).await.unwrap();
                assert_eq!(status.state, UploadState::Receiving);
                if first.is_err() {
                    bed.part(&id, 0, &data).await.unwrap();
                }
                if bed.complete(&id).await.is_err() {
                    bed.is_gone("f").await;
                    bed.faults.clear();
                    bed.complete(&id).await.unwrap();
                }
                bed.faults.clear();
                bed.has("f", &data).await;
                bed.delete("f").await.unwrap();
            }
        }
    }
    assert_eq!(bed.drafts().await, 0);
}

async fn a_failed_checkpoint_is_tried_again(bed: &Bed) {
    let id = bed.begin("f", Some(10)).await;
    bed.part(&id, 0, b"hello").await.unwrap();
    // Not a failed sync, which poisons the draft for good: the catalog's disk, so to say.
    bed.faults.fail(Op::Sync, Fault::Io, 0, 1);
    assert!(bed.app().checkpoint().await.is_err());
    assert_eq!(bed.status(&id).await.unwrap().offset, 0);
    assert!(
        bed.app().checkpoint().await.is_err(),
        "not forgotten: tried again"
    );
    assert_eq!(bed.status(&id).await.unwrap().offset, 0, "never announced");
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
}

async fn one_bad_draft_does_not_hide_the_others(bed: &Bed) {
    let mut ids = Vec::new();
    for i in 0..8 {
        let id = bed.begin(&format!("f{i}"), Some(10)).await;
        bed.part(&id, 0, b"hello").await.unwrap();
        ids.push(id);
    }
    bed.faults.fail(Op::Sync, Fault::Io, 0, 1);
    assert!(bed.app().checkpoint().await.is_err());
    let mut announced = 0;
    for id in &ids {
        announced += bed.status(id).await.unwrap().offset;
        bed.app().upload_cancel(&bed.me, id).await.unwrap();
    }
    assert_eq!(announced, 7 * 5);
}

async fn failing_moves_and_deletes_change_nothing(bed: &Bed) {
    bed.put("d/f", b"file").await;
    bed.put("d/f", b"file!").await;
    bed.put("g", b"other").await;
    bed.person_writes("hand", b"by hand");
    bed.put("gone", b"gone").await;
    bed.delete("gone").await.unwrap();
    let before = bed.events().await;
    for fault in [Fault::Full, Fault::Io] {
        for (op, n) in [
            (Op::Rename, 5),
            (Op::Retire, 3),
            (Op::Unretire, 1),
            (Op::MakeDir, 1),
            (Op::SetMeta, 4),
        ] {
            for i in 0..n {
                bed.faults.fail(op, fault, 0, 1);
                let failed = match (op, i) {
                    (Op::Rename, 0) => bed.rename("d/f", "x/y", false).await.is_err(),
                    (Op::Rename, 1) => bed.rename("d/f", "g", true).await.is_err(),
                    (Op::Rename, 2) => bed.rename("d", "x", false).await.is_err(),
                    (Op::Rename, 3) => bed.rename("hand", "g", true).await.is_err(),
                    (Op::Rename, _) => bed.rename("g", "hand", true).await.is_err(),
                    (Op::Retire, 0) => bed.delete("d/f").await.is_err(),
                    (Op::Retire, 1) => bed.delete("d").await.is_err(),
                    (Op::Retire, _) => bed.delete("hand").await.is_err(),
                    (Op::Unretire, _) => bed.restore("gone", None).await.is_err(),
                    (Op::MakeDir, _) => bed.app().mkdir(&bed.me, &path("m/n")).await.is_err(),
                    (_, 0) => bed.set_meta("g", Some(5), None).await.is_err(),
                    (_, 1) => bed.set_meta("d", Some(5), None).await.is_err(),
                    // Bits that are only taken away are not there already.
                    (_, 2) => bed.set_meta("g", None, Some(0o600)).await.is_err(),
                    _ => bed.set_meta("d", None, Some(0o700)).await.is_err(),
                };
                assert!(failed, "{op:?} {i} {fault:?}");
                assert_eq!(bed.faults.armed(), 0, "{op:?} {i} was not met");
                bed.has("d/f", b"file!").await;
                bed.has("g", b"other").await;
                bed.has("hand", b"by hand").await;
                bed.is_gone("gone").await;
                assert_eq!(
                    bed.kept("d/f").await,
                    [(KeptReason::Replaced, b"file".to_vec())]
                );
            }
        }
    }
    assert_eq!(bed.events().await, before, "their events were taken back");
    bed.check().await;
    bed.restore("gone", None).await.unwrap();
    bed.rename("d/f", "g", true).await.unwrap();
    assert_eq!(bed.kept("g").await.len(), 2);
}

async fn lost_answers_are_successes(bed: &Bed) {
    bed.put("f", b"file").await;
    bed.put("g", b"other").await;
    let lose = |op| bed.faults.fail(op, Fault::Lost, 0, 1);
    lose(Op::Rename);
    bed.rename("f", "g", true).await.unwrap();
    lose(Op::Retire);
    bed.delete("g").await.unwrap();
    lose(Op::Unretire);
    bed.restore("g", None).await.unwrap();
    lose(Op::MakeDir);
    assert!(bed.mkdir("d").await);
    lose(Op::SetMeta);
    bed.set_meta("g", Some(7_000), Some(0o600)).await.unwrap();
    assert_eq!(bed.stat("g").await.unwrap().mtime_ns, 7_000);
    bed.has("g", b"file").await;
    bed.check().await;
    let events = bed.events().await;
    assert_eq!(
        events[2..],
        [
            "Moved f > g",
            "Deleted g",
            "Restored g",
            "DirMade d",
            "MetaChanged g"
        ]
    );
}

/// The store neither does the step nor says what has become of it; the rows are the truth then.
async fn what_cannot_be_taken_back_is_finished(bed: &Bed) {
    bed.put("f", b"old").await;
    bed.faults.fail(Op::Publish, Fault::Io, 0, 1);
    let faults = bed.faults.clone();
    bed.hooks.before(Step::Publish, move || {
        faults.fail(Op::Look, Fault::Io, 0, 1)
    });
    assert!(bed.try_put("f", b"new!").await.is_err());
    bed.faults.clear();
    assert_eq!(bed.drafts().await, 1, "the row may be true: its bytes stay");
    bed.jobs().await;
    bed.has("f", b"new!").await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Replaced, b"old".to_vec())]
    );
    // A write that succeeds before it is finished wins, in whatever order.
    bed.faults.fail(Op::Publish, Fault::Io, 0, 1);
    let faults = bed.faults.clone();
    bed.hooks.before(Step::Publish, move || {
        faults.fail(Op::Look, Fault::Io, 0, 1)
    });
    assert!(bed.try_put("f", b"unsure").await.is_err());
    bed.put("f", b"sure").await;
    bed.jobs().await;
    bed.restart().await;
    bed.jobs().await;
    bed.has("f", b"sure").await;
    assert_eq!(bed.drafts().await, 0);
}

async fn a_full_disk_refuses_early(bed: &Bed) {
    let Some(memory) = bed.memory_store() else {
        return;
    };
    memory.set_free_bytes(1000);
    fails(
        bed.try_put("f", &bytes(1, 500_000)).await,
        Kind::StorageFull,
    );
    memory.set_free_bytes(1 << 40);
    bed.app()
        .put(&bed.me, bed.put_of("f", b"x"), body(b"x"))
        .await
        .unwrap();
}

async fn a_pruned_version_that_stays_is_removed_later(bed: &Bed) {
    bed.put("f", b"one").await;
    bed.put("f", b"two!").await;
    bed.jobs().await;
    let key = bed.versions("f").await[1].id.clone();
    bed.clock.advance_ms(8 * crate::bed::DAY_MS);
    bed.faults.fail(Op::RemoveKept, Fault::Io, 0, 1);
    bed.app().prune().await.unwrap();
    assert!(bed.kept_bytes(&key).await);
    assert!(bed.kept("f").await.is_empty());
    bed.jobs().await;
    assert!(!bed.kept_bytes(&key).await);
}
