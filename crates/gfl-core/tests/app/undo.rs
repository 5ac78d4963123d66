//! Deleting, bringing back, history, and letting it go.

use crate::bed::{Bed, DAY_MS, MINUTE_MS, caller, fails, path};
use crate::bodies::{MIB, bytes};
use crate::hooks::{Dies, Step};
use gfl_core::Kind;
use gfl_core::files::KeptReason;
use gfl_core::store::fault::{Fault, Op};

crate::cases! {
    a_deleted_file_comes_back
    a_deleted_folder_comes_back_whole
    what_went_with_its_folder_is_said_to_be_there
    restoring_over_a_file_keeps_that
    a_replaced_version_comes_back
    every_deleted_generation_comes_back
    versions_are_told_newest_first
    pages_of_versions_add_up_to_all_of_them
    a_page_of_versions_goes_on_after_what_has_gone
    kept_folders_tell_their_times
    versions_of_other_paths_are_unreachable
    history_goes_by_age
    history_goes_when_the_disk_is_short
    history_makes_room_for_a_write_that_finds_none
    an_impossible_length_destroys_no_history
    a_prune_that_dies_leaves_nothing
    a_prune_and_a_restore_cannot_both
    deleted_rows_are_swept
}

async fn what_went_with_its_folder_is_said_to_be_there(bed: &Bed) {
    bed.put("d/in/f", b"x").await;
    bed.delete("d").await.unwrap();
    for at in ["d/in/f", "d/in"] {
        let error = bed.restore(at, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.message().contains("together with d;"), "{error}");
    }
    let error = bed.restore("e/f", None).await.unwrap_err();
    assert!(!error.message().contains("together"), "{error}");
    bed.restore("d", None).await.unwrap();
    bed.has("d/in/f", b"x").await;
}

async fn a_deleted_file_comes_back(bed: &Bed) {
    let data = bytes(1, MIB + 5);
    let first = bed.put("d/f", &data).await;
    bed.delete("d/f").await.unwrap();
    bed.is_gone("d/f").await;
    bed.is_dir("d").await;
    let stat = bed.restore("d/f", None).await.unwrap();
    assert_eq!(stat.etag(), first.stat.etag());
    assert_eq!(stat.mtime_ns, first.stat.mtime_ns);
    bed.has("d/f", &data).await;
    fails(bed.restore("d/f", None).await, Kind::NotFound);
    bed.jobs().await;
    bed.restart().await;
    bed.jobs().await;
    bed.has("d/f", &data).await;
    assert_eq!(
        bed.events().await,
        ["Created d/f", "Deleted d/f", "Restored d/f"]
    );
}

async fn a_deleted_folder_comes_back_whole(bed: &Bed) {
    bed.put("d/x/f", b"old").await;
    bed.put("d/x/f", b"newer").await;
    bed.put("d/g", b"gone before").await;
    bed.delete("d/g").await.unwrap();
    bed.mkdir("d/empty").await;
    bed.delete("d").await.unwrap();
    bed.is_gone("d/x/f").await;
    bed.put("d/h", b"in the way").await;
    fails(bed.restore("d", None).await, Kind::AlreadyExists);
    bed.rename("d", "aside", false).await.unwrap();
    bed.restore("d", None).await.unwrap();
    bed.has("d/x/f", b"newer").await;
    bed.is_dir("d/empty").await;
    assert_eq!(
        bed.kept("d/x/f").await,
        [(KeptReason::Replaced, b"old".to_vec())]
    );
    bed.restore("d/g", None).await.unwrap();
    bed.has("d/g", b"gone before").await;
    bed.jobs().await;
    assert!(bed.events().await.iter().all(|e| !e.starts_with("Adopted")));
}

async fn restoring_over_a_file_keeps_that(bed: &Bed) {
    bed.put("f", b"first").await;
    bed.delete("f").await.unwrap();
    bed.clock.advance_ms(5);
    bed.put("f", b"second!").await;
    bed.restore("f", None).await.unwrap();
    bed.has("f", b"first").await;
    let kept = bed.kept("f").await;
    assert_eq!(kept[0], (KeptReason::Replaced, b"second!".to_vec()));
    assert_eq!(kept[1], (KeptReason::Deleted, b"first".to_vec()));
    assert_eq!(bed.drafts().await, 0);
}

async fn a_replaced_version_comes_back(bed: &Bed) {
    let data = bytes(1, 3 * MIB + 9);
    bed.put("f", &data).await;
    bed.put("f", b"two").await;
    let old = bed
        .versions("f")
        .await
        .into_iter()
        .find(|v| v.kept.is_some())
        .unwrap();
    bed.restore("f", Some(&old.id)).await.unwrap();
    bed.has("f", &data).await;
    // Once more, onto nothing.
    bed.delete("f").await.unwrap();
    bed.restore("f", Some(&old.id)).await.unwrap();
    bed.has("f", &data).await;
    fails(bed.restore("f", Some(&old.id)).await, Kind::NotFound);
}

async fn every_deleted_generation_comes_back(bed: &Bed) {
    for i in 0..3u8 {
        bed.put("f", &[i; 10]).await;
        bed.delete("f").await.unwrap();
        bed.clock.advance_ms(1);
    }
    bed.jobs().await;
    let mut kept = bed.versions("f").await;
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|v| v.kept == Some(KeptReason::Deleted)));
    kept.reverse();
    for (i, version) in kept.iter().enumerate() {
        bed.restore("f", Some(&version.id)).await.unwrap();
        bed.has("f", &[i as u8; 10]).await;
    }
    let in_dir = bed.versions("/").await;
    assert!(in_dir.iter().all(|v| v.path == path("f")));
}

async fn versions_are_told_newest_first(bed: &Bed) {
    for i in 0..4u8 {
        bed.put("f", &vec![i; 1 + usize::from(i)]).await;
        bed.clock.advance_ms(10);
    }
    let all = bed.versions("f").await;
    let sizes: Vec<u64> = all.iter().map(|v| v.size).collect();
    assert_eq!(sizes, [4, 3, 2, 1]);
    assert!(all[0].kept.is_none() && all[1].kept == Some(KeptReason::Replaced));
    assert_eq!(
        (all[1].by.as_str(), all[1].retired_ms),
        ("me", Some(bed.now_ms() - 10))
    );
    bed.delete("f").await.unwrap();
    let in_root = bed.versions("/").await;
    assert_eq!(in_root.len(), 1);
    assert_eq!(
        (in_root[0].size, in_root[0].kept),
        (4, Some(KeptReason::Deleted))
    );
    assert_eq!(bed.version_page("f", None, 2).await.versions.len(), 2);
}

/// All versions, page by page.
async fn paged(bed: &Bed, at: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = bed.version_page(at, after, limit).await;
        assert!(!page.versions.is_empty() && page.versions.len() <= limit);
        all.extend(page.versions.iter().map(|v| v.id.to_string()));
        if page.next.is_none() {
            return all;
        }
        after = page.next;
    }
}

async fn pages_of_versions_add_up_to_all_of_them(bed: &Bed) {
    for i in 0..9u8 {
        bed.put("d/f", &[i; 9]).await;
        // Some are retired in the same millisecond.
        bed.clock.advance_ms(i64::from(i % 2));
    }
    for i in 0..7u8 {
        bed.put(&format!("d/{i}"), &[i; 9]).await;
        bed.delete(&format!("d/{i}")).await.unwrap();
        bed.clock.advance_ms(i64::from(i % 2));
    }
    for (at, count) in [("d/f", 9), ("d/", 7)] {
        let all: Vec<String> = bed
            .versions(at)
            .await
            .iter()
            .map(|v| v.id.to_string())
            .collect();
        assert_eq!(all.len(), count);
        for limit in 1..=10 {
            assert_eq!(paged(bed, at, limit).await, all, "{at} by {limit}");
        }
    }
    // Nothing current: the kept ones alone, and the last page is full without promising another.
    bed.delete("d/f").await.unwrap();
    assert_eq!(paged(bed, "d/f", 3).await.len(), 9);
    assert!(bed.version_page("d/f", None, 9).await.next.is_none());
}

async fn a_page_of_versions_goes_on_after_what_has_gone(bed: &Bed) {
    for i in 0..6u8 {
        bed.put("f", &[i; 9]).await;
        bed.clock.advance_ms(5);
    }
    let all = bed.versions("f").await;
    let page = bed.version_page("f", None, 3).await;
    // What the page ended with is taken away, and a newer one comes.
    bed.delete("f").await.unwrap();
    bed.restore("f", Some(&page.versions[2].id)).await.unwrap();
    let rest = bed.version_page("f", page.next, 100).await;
    let ids: Vec<_> = rest.versions.iter().map(|v| &v.id).collect();
    assert_eq!(ids, [&all[3].id, &all[4].id, &all[5].id]);
    // After the current one comes all that is kept.
    let first = bed.version_page("f", None, 1).await;
    assert!(first.versions[0].kept.is_none());
    let kept = bed.version_page("f", first.next, 100).await.versions;
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().all(|v| v.kept.is_some()));
}

async fn kept_folders_tell_their_times(bed: &Bed) {
    let made = bed.now_ms();
    bed.mkdir("d").await;
    bed.clock.advance_ms(7);
    bed.put("d/f", b"x").await;
    bed.set_meta("d", Some(1_234_567_000_000_000_000), None)
        .await
        .unwrap();
    bed.clock.advance_ms(9);
    let gone = bed.now_ms();
    bed.delete("d").await.unwrap();
    let kept = &bed.versions("/").await[0];
    assert!(kept.is_dir);
    assert_eq!(kept.mtime_ns, Some(1_234_567_000_000_000_000));
    assert_eq!(kept.uploaded_ms, Some(made));
    assert_eq!(kept.retired_ms, Some(gone));
    assert_eq!(bed.versions("d").await[0].mtime_ns, kept.mtime_ns);
}

async fn versions_of_other_paths_are_unreachable(bed: &Bed) {
    bed.put("a", b"secret").await;
    bed.put("a", b"secret 2").await;
    bed.put("b", b"other").await;
    bed.put("b", b"other 2").await;
    let of_a = bed.versions("a").await;
    for version in &of_a {
        fails(
            bed.get_version("b", Some(&version.id)).await,
            Kind::NotFound,
        );
        fails(bed.restore("b", Some(&version.id)).await, Kind::NotFound);
    }
    assert_eq!(
        bed.get_version("a", Some(&of_a[0].id)).await.unwrap(),
        b"secret 2"
    );
    let reader = caller("r", "", &["download", "list"]);
    fails(
        bed.app().restore(&reader, &path("a"), None).await,
        Kind::Forbidden,
    );
}

async fn history_goes_by_age(bed: &Bed) {
    bed.put("f", b"one").await;
    bed.put("f", b"two!").await;
    bed.put("d/g", b"deep").await;
    bed.delete("d").await.unwrap();
    let keys: Vec<_> = bed
        .versions("f")
        .await
        .into_iter()
        .filter(|v| v.kept.is_some())
        .collect();
    bed.clock.advance_ms(7 * DAY_MS);
    bed.put("f", b"three").await;
    bed.jobs().await;
    assert_eq!(bed.kept("f").await.len(), 2, "not yet: exactly at the age");
    bed.clock.advance_ms(1);
    bed.jobs().await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Replaced, b"two!".to_vec())]
    );
    assert!(!bed.kept_bytes(&keys[0].id).await);
    fails(bed.restore("d", None).await, Kind::NotFound);
    bed.has("f", b"three").await;
}

async fn history_goes_when_the_disk_is_short(bed: &Bed) {
    let Some(memory) = bed.memory_store() else {
        return;
    };
    for i in 0..40u8 {
        bed.put("f", &[i; 9]).await;
    }
    let mut settings = bed.settings.clone();
    settings.undo_free_percent_min = 10;
    let small = bed.reopened_with(settings).await;
    memory.set_free_bytes((1 << 50) / 20);
    small.app.run_jobs().await.unwrap();
    assert_eq!(
        bed.kept("f").await.len(),
        39,
        "what was just replaced stays"
    );
    bed.clock.advance_ms(MINUTE_MS + 1);
    small.app.run_jobs().await.unwrap();
    assert!(bed.kept("f").await.is_empty());
    bed.has("f", &[39; 9]).await;
}

async fn history_makes_room_for_a_write_that_finds_none(bed: &Bed) {
    bed.put("f", b"one").await;
    bed.put("f", b"two").await;
    bed.jobs().await;
    bed.clock.advance_ms(MINUTE_MS + 1);
    let data = bytes(1, MIB);
    bed.faults.fail(Op::Create, Fault::Full, 0, 1);
    bed.put("g", &data).await;
    assert_eq!(bed.kept("f").await.len(), 0, "given up for the new file");
    bed.has("f", b"two").await;
    bed.has("g", &data).await;
    bed.faults.fail(Op::Create, Fault::Full, 0, 1);
    fails(bed.try_put("h", &data).await, Kind::StorageFull);
    bed.is_gone("h").await;
}

async fn an_impossible_length_destroys_no_history(bed: &Bed) {
    bed.put("f", &bytes(1, 1000)).await;
    bed.put("f", b"two").await;
    bed.put("d/e/g", &bytes(1, 2000)).await;
    bed.delete("d").await.unwrap();
    bed.jobs().await;
    bed.clock.advance_ms(MINUTE_MS + 1);
    if let Some(memory) = bed.memory_store() {
        memory.set_free_bytes(500);
    }
    let begin = async |len: u64| {
        let begin = gfl_core::files::Begin {
            path: path("huge"),
            len: Some(len),
            fingerprint: None,
            meta: gfl_core::files::FileMeta::default(),
            expected: gfl_core::files::Expected::default(),
            pre: gfl_core::files::Preconditions::default(),
        };
        bed.app().upload_begin(&bed.me, begin).await
    };
    fails(begin(1 << 60).await, Kind::StorageFull);
    assert_eq!(bed.kept("f").await.len(), 1);
    if bed.memory_store().is_some() {
        fails(begin(3501).await, Kind::StorageFull);
        assert_eq!(bed.kept("f").await.len(), 1);
        // Everything kept and everything free together would do; this store just never gets more free.
        fails(begin(3500).await, Kind::StorageFull);
        assert_eq!(bed.kept("f").await.len(), 0);
    }
}

async fn a_prune_that_dies_leaves_nothing(bed: &Bed) {
    for when in [Dies::Before, Dies::After] {
        bed.put("f", b"one").await;
        bed.put("f", b"two!").await;
        bed.delete("f").await.unwrap();
        bed.jobs().await;
        let keys: Vec<_> = bed.versions("f").await.into_iter().map(|v| v.id).collect();
        bed.clock.advance_ms(8 * DAY_MS);
        bed.hooks.die(Step::RemoveKept, when);
        let app = bed.app();
        tokio::spawn(async move { app.run_jobs().await });
        bed.hooks.dead().await;
        bed.restart().await;
        for key in &keys {
            assert!(!bed.kept_bytes(key).await, "bytes without a row, {when:?}");
        }
        assert!(bed.versions("f").await.is_empty());
    }
}

async fn a_prune_and_a_restore_cannot_both(bed: &Bed) {
    bed.put("f", b"precious").await;
    bed.delete("f").await.unwrap();
    bed.jobs().await;
    bed.clock.advance_ms(8 * DAY_MS);
    // The restore stops after its transaction, before the rename; the prune must leave the bytes alone.
    bed.hooks.die(Step::Unretire, Dies::Before);
    let (app, me) = (bed.app(), bed.me.clone());
    tokio::spawn(async move { app.restore(&me, &path("f"), None).await });
    bed.hooks.dead().await;
    bed.app().prune().await.unwrap();
    bed.restart().await;
    bed.has("f", b"precious").await;
    // The other way round the restore says that there is nothing.
    bed.delete("f").await.unwrap();
    bed.jobs().await;
    bed.clock.advance_ms(8 * DAY_MS);
    bed.hooks.die(Step::RemoveKept, Dies::Before);
    let app = bed.app();
    tokio::spawn(async move { app.prune().await });
    bed.hooks.dead().await;
    fails(bed.restore("f", None).await, Kind::NotFound);
    bed.restart().await;
    bed.is_gone("f").await;
}

async fn deleted_rows_are_swept(bed: &Bed) {
    for i in 0..5 {
        for j in 0..60 {
            bed.put(&format!("d/{i}/x/{j}"), b"x").await;
        }
    }
    bed.put("d/1/x/1", b"newer").await;
    bed.delete("d").await.unwrap();
    bed.put("d/1/x/1", b"another life").await;
    bed.clock.advance_ms(8 * DAY_MS);
    bed.jobs().await;
    assert_eq!(
        bed.app().count("entry").await.unwrap(),
        5,
        "the root, d, 1, x, 1"
    );
    assert_eq!(bed.app().count("version").await.unwrap(), 1);
    bed.has("d/1/x/1", b"another life").await;
}
