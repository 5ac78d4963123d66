//! The process ends between the transaction and the rename, or right after it: the next one finishes the
//! change, exactly once, whatever it was.

use crate::bed::{Bed, path};
use crate::bodies::{MIB, bytes};
use crate::hooks::{Dies, Step};
use gfl_core::files::{Delete, Expected, FileMeta, KeptReason, Relocate};
use std::sync::Arc;

crate::cases! {
    a_commit_is_finished
    a_completion_is_finished
    a_deletion_is_finished
    a_restore_is_finished
    a_move_is_finished
    a_new_directory_is_finished
    metadata_is_finished
    an_edit_while_we_were_down_is_kept
    a_removal_while_we_were_down_is_noticed
    a_folder_in_the_way_of_a_redo
    many_changes_of_one_path
    cut_off_requests_leave_nothing
}

const BOTH: [Dies; 2] = [Dies::Before, Dies::After];

/// Runs `work`, which reaches `step` and never returns; then another process starts.
async fn dies<F>(
    bed: &Bed,
    step: Step,
    when: Dies,
    work: impl FnOnce(Arc<gfl_core::App>, gfl_core::auth::Caller) -> F,
) where
    F: Future + Send + 'static,
    F::Output: Send,
{
    bed.hooks.die(step, when);
    tokio::spawn(work(bed.app(), bed.me.clone()));
    bed.hooks.dead().await;
    bed.restart().await;
}

async fn a_commit_is_finished(bed: &Bed) {
    for (i, when) in BOTH.into_iter().enumerate() {
        for size in [5, MIB + 1] {
            let at = format!("d{i}/{size}");
            for (round, old) in [None, Some(bytes(8, size))].into_iter().enumerate() {
                let data = bytes(8 + round as u8, size);
                let put = bed.put_of(&at, &data);
                let sent = crate::bodies::framed(&data, 200_000);
                dies(bed, Step::Publish, when, async move |app, me| {
                    app.put(&me, put, sent).await
                })
                .await;
                bed.has(&at, &data).await;
                let kept: Vec<_> = bed.kept(&at).await;
                assert!(
                    kept == old
                        .map(|old| (KeptReason::Replaced, old))
                        .into_iter()
                        .collect::<Vec<_>>()
                );
                bed.check().await;
            }
        }
    }
    let events = bed.events().await;
    let created = events.iter().filter(|e| e.starts_with("Created")).count();
    assert_eq!((events.len(), created), (8, 4));
}

async fn a_completion_is_finished(bed: &Bed) {
    for when in BOTH {
        let data = bytes(1, 300_000);
        let id = bed.begin("f", Some(300_000)).await;
        bed.part(&id, 0, &data).await.unwrap();
        let id2 = id.clone();
        dies(bed, Step::Publish, when, async move |app, me| {
            app.upload_complete(&me, &id2, Expected::default()).await
        })
        .await;
        bed.has("f", &data).await;
        let again = bed.complete(&id).await.unwrap();
        assert!(again.created);
        bed.delete("f").await.unwrap();
        bed.check().await;
    }
    assert_eq!(
        bed.events().await,
        ["Created f", "Deleted f", "Created f", "Deleted f"]
    );
}

async fn a_deletion_is_finished(bed: &Bed) {
    for when in BOTH {
        bed.put("d/f", b"x").await;
        bed.put("g", b"y").await;
        for at in ["g", "d"] {
            let how = Delete {
                recursive: true,
                ..Delete::default()
            };
            dies(bed, Step::Retire, when, async move |app, me| {
                app.delete(&me, &path(at), &how).await
            })
            .await;
            bed.is_gone(at).await;
            bed.check().await;
        }
        bed.restore("g", None).await.unwrap();
        bed.restore("d", None).await.unwrap();
        bed.has("d/f", b"x").await;
        bed.has("g", b"y").await;
        bed.delete("d").await.unwrap();
        bed.delete("g").await.unwrap();
        bed.clock.advance_ms(1);
    }
    assert_eq!(bed.events().await.len(), 2 * 8);
}

async fn a_restore_is_finished(bed: &Bed) {
    for when in BOTH {
        bed.put("d/f", b"x").await;
        bed.put("g", b"y").await;
        for at in ["g", "d"] {
            bed.delete(at).await.unwrap();
            dies(bed, Step::Unretire, when, async move |app, me| {
                app.restore(&me, &path(at), None).await
            })
            .await;
            bed.check().await;
        }
        bed.has("d/f", b"x").await;
        bed.has("g", b"y").await;
        bed.clock.advance_ms(1);
        bed.delete("d").await.unwrap();
        bed.delete("g").await.unwrap();
    }
    assert_eq!(bed.events().await.len(), 2 * 8);
}

async fn a_move_is_finished(bed: &Bed) {
    for when in BOTH {
        bed.put("a/f", b"source").await;
        bed.put("b", b"target").await;
        let rename = |from: &'static str, to: &'static str| {
            let how = Relocate {
                overwrite: true,
                ..Relocate::default()
            };
            async move |app: Arc<gfl_core::App>, me: gfl_core::auth::Caller| {
                app.rename(&me, &path(from), &path(to), &how).await
            }
        };
        dies(bed, Step::Rename, when, rename("a/f", "new/f")).await;
        bed.is_gone("a/f").await;
        bed.has("new/f", b"source").await;
        bed.check().await;
        dies(bed, Step::Rename, when, rename("new/f", "b")).await;
        bed.has("b", b"source").await;
        assert_eq!(
            bed.kept("b").await[0],
            (KeptReason::Replaced, b"target".to_vec())
        );
        bed.check().await;
        bed.put("new/g", b"inside").await;
        dies(bed, Step::Rename, when, rename("new", "moved/on")).await;
        bed.is_gone("new").await;
        bed.has("moved/on/g", b"inside").await;
        bed.check().await;
        bed.delete("moved").await.unwrap();
        bed.delete("b").await.unwrap();
        bed.clock.advance_ms(1);
    }
    let moved = bed
        .events()
        .await
        .iter()
        .filter(|e| e.starts_with("Moved"))
        .count();
    assert_eq!(moved, 6);
}

async fn a_new_directory_is_finished(bed: &Bed) {
    for (i, when) in BOTH.into_iter().enumerate() {
        let at = format!("d{i}/e");
        let at2 = path(&at);
        dies(bed, Step::MakeDir, when, async move |app, me| {
            app.mkdir(&me, &at2).await
        })
        .await;
        bed.is_dir(&at).await;
        bed.check().await;
    }
    // What was done with it afterwards is not undone by a redo.
    bed.mkdir("x").await;
    bed.delete("x").await.unwrap();
    bed.mkdir("y").await;
    bed.rename("y", "z", false).await.unwrap();
    bed.restart().await;
    bed.is_gone("x").await;
    bed.is_gone("y").await;
    bed.is_dir("z").await;
}

async fn metadata_is_finished(bed: &Bed) {
    for when in BOTH {
        bed.put("f", b"x").await;
        let meta = FileMeta {
            mtime_ns: Some(5_000),
            mode: Some(0o600),
        };
        dies(bed, Step::SetMeta, when, async move |app, me| {
            app.set_meta(&me, &path("f"), &meta).await
        })
        .await;
        let stat = bed.stat("f").await.unwrap();
        assert_eq!((stat.mtime_ns, stat.mode), (5_000, 0o600));
        // A redo leaves what was published since alone.
        bed.set_meta("f", Some(6_000), None).await.unwrap();
        bed.put("f", b"new").await;
        bed.restart().await;
        assert_eq!(
            bed.stat("f").await.unwrap().mtime_ns,
            bed.now_ms() * 1_000_000
        );
        bed.check().await;
        bed.delete("f").await.unwrap();
    }
    assert!(bed.events().await.iter().all(|e| !e.starts_with("Adopted")));
}

async fn an_edit_while_we_were_down_is_kept(bed: &Bed) {
    for old in [false, true] {
        if old {
            bed.put("f", b"old").await;
        }
        let put = bed.put_of("f", b"ours");
        bed.hooks.die(Step::Publish, Dies::Before);
        let (app, me) = (bed.app(), bed.me.clone());
        tokio::spawn(async move { app.put(&me, put, crate::bodies::body(b"ours")).await });
        bed.hooks.dead().await;
        bed.person_writes("f", b"theirs!");
        bed.restart().await;
        bed.has("f", b"ours").await;
        assert_eq!(
            bed.kept("f").await[0],
            (KeptReason::Edited, b"theirs!".to_vec())
        );
        bed.check().await;
        bed.delete("f").await.unwrap();
        bed.clock.advance_ms(1);
    }
}

async fn a_removal_while_we_were_down_is_noticed(bed: &Bed) {
    bed.put("f", b"x").await;
    bed.put("g", b"y").await;
    bed.rename("g", "h", false).await.unwrap();
    bed.person_removes("f");
    bed.person_removes("h");
    bed.restart().await;
    bed.is_gone("f").await;
    bed.is_gone("h").await;
    bed.jobs().await;
    let events = bed.events().await;
    assert_eq!(events[3..], ["Vanished f", "Vanished h"]);
}

async fn a_folder_in_the_way_of_a_redo(bed: &Bed) {
    for old in [false, true] {
        if old {
            bed.put("f", b"old").await;
        }
        let put = bed.put_of("f", b"ours");
        bed.hooks.die(Step::Publish, Dies::Before);
        let (app, me) = (bed.app(), bed.me.clone());
        tokio::spawn(async move { app.put(&me, put, crate::bodies::body(b"ours")).await });
        bed.hooks.dead().await;
        if old {
            bed.person_removes("f");
        }
        bed.person_writes("f/inside", b"by hand");
        bed.restart().await;
        // The person's folder stands, and everything can be done with it.
        bed.has("f/inside", b"by hand").await;
        bed.app().run_jobs().await.unwrap();
        bed.delete("f").await.unwrap();
        bed.put("f", b"new").await;
        bed.has("f", b"new").await;
        bed.jobs().await;
        bed.restart().await;
        bed.has("f", b"new").await;
        bed.check().await;
        bed.delete("f").await.unwrap();
    }
}

async fn many_changes_of_one_path(bed: &Bed) {
    // All unsettled, all redone in order, twice.
    bed.put("a", b"one").await;
    bed.put("a", b"two!").await;
    bed.delete("a").await.unwrap();
    bed.put("a", b"three").await;
    bed.rename("a", "b", false).await.unwrap();
    bed.put("a", b"four").await;
    bed.rename("a", "b", true).await.unwrap();
    bed.delete("b").await.unwrap();
    bed.restore("b", None).await.unwrap();
    bed.mkdir("a").await;
    bed.put("a/x", b"inside").await;
    bed.rename("a", "c", false).await.unwrap();
    bed.put("a", b"last").await;
    for _ in 0..2 {
        bed.restart().await;
        bed.has("a", b"last").await;
        bed.has("b", b"four").await;
        bed.has("c/x", b"inside").await;
    }
    let kept = bed.kept("b").await;
    assert_eq!(kept, [(KeptReason::Replaced, b"three".to_vec())]);
    assert_eq!(bed.kept("a").await.len(), 2);
    assert_eq!(bed.events().await.len(), 13);
}

async fn cut_off_requests_leave_nothing(bed: &Bed) {
    let id = bed.begin("kept", Some(5)).await;
    let mut tasks = Vec::new();
    for i in 0..3 {
        let data = bytes(1, MIB);
        let put = gfl_core::files::Put {
            len: Some(2 * MIB as u64),
            ..bed.put_of(&format!("f{i}"), &data)
        };
        let (app, me) = (bed.app(), bed.me.clone());
        let sent = crate::bodies::stuck(&data);
        tasks.push(tokio::spawn(async move { app.put(&me, put, sent).await }));
    }
    while bed.drafts().await < 4 {
        tokio::task::yield_now().await;
    }
    bed.restart().await;
    assert_eq!(bed.drafts().await, 1, "the session's");
    bed.app().upload_cancel(&bed.me, &id).await.unwrap();
    for task in tasks {
        task.abort();
    }
}
