//! Folders that a person removes with a shell: one event, rows that go in steps, and an undo that still works.

use crate::bed::{Bed, DAY_MS, path};
use crate::bodies::body;
use gfl_core::files::{KeptReason, ListQuery};

crate::cases! {
    a_removed_folder_vanishes_once_with_all_in_it
    a_listing_is_enough_to_notice_what_is_missing
    a_removed_folder_is_forgotten_in_steps_whoever_dies_between
    what_was_deleted_in_a_removed_folder_comes_back
    a_folder_that_is_only_remembered_goes_with_its_history
    what_takes_the_place_of_a_removed_folder
    a_removed_folder_that_is_made_again
    writers_in_a_folder_that_is_being_forgotten
    a_move_that_fails_leaves_no_folder_to_vanish
}

async fn list(bed: &Bed, dir: &str, recursive: bool) -> gfl_core::Result<usize> {
    let query = ListQuery {
        dir: path(dir),
        after: None,
        limit: 1000,
        recursive,
    };
    Ok(bed.app().list(&bed.me, &query).await?.entries.len())
}

async fn vanished(bed: &Bed) -> Vec<String> {
    let mut events = bed.events().await;
    events.retain(|e| e.starts_with("Vanished"));
    events
}

async fn rows(bed: &Bed) -> (i64, i64) {
    let app = bed.app();
    (
        app.count("entry").await.unwrap(),
        app.count("version").await.unwrap(),
    )
}

async fn a_removed_folder_vanishes_once_with_all_in_it(bed: &Bed) {
    for (n, way) in [
        "the folder",
        "a file in it",
        "its parent",
        "everything",
        "itself",
    ]
    .into_iter()
    .enumerate()
    {
        for name in ["a", "sub/b", "sub/deep/c", "sub/deep/d"] {
            bed.put(&format!("top/d/{name}"), b"x").await;
        }
        bed.jobs().await;
        bed.person_removes("top/d");
        match way {
            "the folder" => bed.is_gone("top/d").await,
            "a file in it" => bed.is_gone("top/d/sub/deep/c").await,
            "its parent" => assert_eq!(list(bed, "top", false).await.unwrap(), 0),
            "everything" => assert_eq!(list(bed, "", true).await.unwrap(), 1),
            _ => assert!(list(bed, "top/d", false).await.is_err()),
        }
        bed.jobs().await;
        assert_eq!(
            vanished(bed).await,
            vec!["Vanished top/d"; n + 1],
            "seen by {way}"
        );
        assert_eq!(rows(bed).await, (2, 0), "the root and top, seen by {way}");
        // Nothing is left to be noticed.
        bed.is_gone("top/d").await;
        bed.is_gone("top/d/a").await;
        list(bed, "", true).await.unwrap();
        bed.jobs().await;
        assert_eq!(vanished(bed).await.len(), n + 1, "seen by {way}");
    }
}

async fn a_listing_is_enough_to_notice_what_is_missing(bed: &Bed) {
    for name in ["a", "b", "c/d", "e", "z"] {
        bed.put(name, b"x").await;
    }
    bed.jobs().await;
    for name in ["a", "c", "z"] {
        bed.person_removes(name);
    }
    // By pages of one: what lies before, between and behind the names that are left.
    let mut after = None;
    loop {
        let query = ListQuery {
            dir: path(""),
            after,
            limit: 1,
            recursive: false,
        };
        let page = bed.app().list(&bed.me, &query).await.unwrap();
        after = page.entries.last().map(|e| e.path.clone());
        if !page.more {
            break;
        }
    }
    bed.jobs().await;
    let mut events = vanished(bed).await;
    events.sort();
    assert_eq!(events, ["Vanished a", "Vanished c", "Vanished z"]);
    // An empty folder whose only file is gone.
    bed.put("only/f", b"x").await;
    bed.person_removes("only/f");
    assert_eq!(list(bed, "only", false).await.unwrap(), 0);
    bed.jobs().await;
    assert_eq!(vanished(bed).await.last().unwrap(), "Vanished only/f");
}

async fn a_removed_folder_is_forgotten_in_steps_whoever_dies_between(bed: &Bed) {
    for i in 0..5 {
        for j in 0..130 {
            bed.put(&format!("d/{i}/{j}"), b"x").await;
        }
    }
    bed.jobs().await;
    let (before, _) = rows(bed).await;
    bed.person_removes("d");
    bed.is_gone("d").await;
    assert!(bed.app().adopt_step().await.unwrap());
    let (after, _) = rows(bed).await;
    assert!(after < before && before - after <= 256, "{before} {after}");
    assert!(vanished(bed).await.is_empty(), "not before all is done");
    bed.restart().await;
    bed.is_gone("d/3/7").await;
    let mut steps = 0;
    while bed.app().adopt_step().await.unwrap() {
        steps += 1;
    }
    assert!(steps > 1, "{steps} steps");
    assert_eq!(rows(bed).await, (1, 0));
    assert_eq!(vanished(bed).await, ["Vanished d"]);
}

async fn what_was_deleted_in_a_removed_folder_comes_back(bed: &Bed) {
    bed.put("d/sub/f", b"one").await;
    bed.put("d/sub/f", b"two!").await;
    bed.put("d/sub/g", b"deleted").await;
    bed.put("d/other/x", b"x").await;
    bed.delete("d/sub/g").await.unwrap();
    bed.jobs().await;
    bed.person_removes("d");
    bed.is_gone("d").await;
    bed.jobs().await;
    bed.is_gone("d/sub").await;
    list(bed, "", true).await.unwrap();
    bed.jobs().await;
    assert_eq!(vanished(bed).await, ["Vanished d"]);
    assert_eq!(bed.versions("d/sub/").await.len(), 1);
    bed.restart().await;
    bed.restore("d/sub/g", None).await.unwrap();
    bed.has("d/sub/g", b"deleted").await;
    assert_eq!(
        bed.kept("d/sub/f").await,
        [(KeptReason::Replaced, b"one".to_vec())]
    );
    let old = bed.versions("d/sub/f").await[0].id.clone();
    bed.restore("d/sub/f", Some(&old)).await.unwrap();
    bed.has("d/sub/f", b"one").await;
    bed.check().await;
    // It is a folder like others again: removed once more, it vanishes once more.
    bed.delete("d/sub/g").await.unwrap();
    bed.jobs().await;
    bed.person_removes("d");
    list(bed, "", false).await.unwrap();
    bed.jobs().await;
    assert_eq!(vanished(bed).await, ["Vanished d", "Vanished d"]);
    bed.restore("d/sub/g", None).await.unwrap();
    bed.has("d/sub/g", b"deleted").await;
}

async fn a_folder_that_is_only_remembered_goes_with_its_history(bed: &Bed) {
    bed.put("d/sub/f", b"x").await;
    bed.delete("d/sub/f").await.unwrap();
    bed.mkdir("d/empty").await;
    bed.jobs().await;
    bed.person_removes("d");
    bed.is_gone("d").await;
    bed.jobs().await;
    assert_eq!(rows(bed).await, (3, 1), "the root, d and sub");
    bed.clock.advance_ms(8 * DAY_MS);
    bed.jobs().await;
    assert_eq!(rows(bed).await, (1, 0));
    assert_eq!(vanished(bed).await, ["Vanished d"]);
}

async fn what_takes_the_place_of_a_removed_folder(bed: &Bed) {
    for d in ["p", "q", "r", "s"] {
        bed.put(&format!("{d}/sub/f"), b"x").await;
        bed.put(&format!("{d}/g"), b"deleted").await;
        bed.delete(&format!("{d}/g")).await.unwrap();
    }
    bed.put("file", b"file").await;
    bed.put("dir/x", b"inside").await;
    bed.jobs().await;
    for d in ["p", "q", "r", "s"] {
        bed.person_removes(d);
    }
    // An upload, a person's file, a moved file and a moved folder, before anybody noticed.
    bed.put("p", b"ours").await;
    bed.person_writes("q", b"theirs");
    bed.has("q", b"theirs").await;
    bed.rename("file", "r", false).await.unwrap();
    bed.rename("dir", "s", false).await.unwrap();
    bed.jobs().await;
    let mut events = vanished(bed).await;
    events.sort();
    assert_eq!(
        events,
        ["Vanished p", "Vanished q", "Vanished r", "Vanished s"]
    );
    bed.has("p", b"ours").await;
    bed.has("r", b"file").await;
    bed.has("s/x", b"inside").await;
    for d in ["p", "q", "r", "s"] {
        bed.is_gone(&format!("{d}/sub/f")).await;
    }
    bed.check().await;
    bed.restore("s/g", None).await.unwrap();
    bed.has("s/g", b"deleted").await;
    bed.jobs().await;
    assert_eq!(vanished(bed).await.len(), 4);
    let left = 1 + "p q r s s/x s/g".split(' ').count() as i64;
    assert_eq!(rows(bed).await.0, left);
}

async fn a_removed_folder_that_is_made_again(bed: &Bed) {
    for d in ["p", "q"] {
        bed.put(&format!("{d}/f"), b"x").await;
        bed.put(&format!("{d}/g"), b"x").await;
    }
    bed.jobs().await;
    bed.person_removes("p");
    bed.person_removes("q");
    bed.put("p/f", b"new").await;
    bed.mkdir("q").await;
    list(bed, "", true).await.unwrap();
    bed.jobs().await;
    // The folders are there; what was in them is not.
    let mut events = vanished(bed).await;
    events.sort();
    assert_eq!(
        events,
        [
            "Vanished p/f",
            "Vanished p/g",
            "Vanished q/f",
            "Vanished q/g"
        ]
    );
    bed.has("p/f", b"new").await;
}

async fn writers_in_a_folder_that_is_being_forgotten(bed: &Bed) {
    for i in 0..600 {
        bed.put(&format!("d/{}/{i}", i % 3), b"x").await;
    }
    bed.jobs().await;
    bed.person_removes("d");
    bed.is_gone("d").await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..30u8 {
        let (app, me) = (bed.app(), bed.me.clone());
        let put = bed.put_of(&format!("d/{}/{i}", i % 3), &[i; 5]);
        tasks.spawn(async move {
            app.put(&me, put, body(&[i; 5])).await.unwrap();
        });
    }
    let app = bed.app();
    tasks.spawn(async move { while app.adopt_step().await.unwrap() {} });
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    list(bed, "", true).await.unwrap();
    bed.jobs().await;
    for i in 0..30u8 {
        bed.has(&format!("d/{}/{i}", i % 3), &[i; 5]).await;
    }
    // More is missing than one listing notices.
    for _ in 0..5 {
        list(bed, "", true).await.unwrap();
        bed.jobs().await;
    }
    assert_eq!(rows(bed).await, (1 + 4 + 30, 30));
    bed.restart().await;
}

async fn a_move_that_fails_leaves_no_folder_to_vanish(bed: &Bed) {
    use gfl_core::store::fault::{Fault, Op};
    bed.put("f", b"x").await;
    bed.put("gone", b"x").await;
    bed.delete("gone").await.unwrap();
    let events = bed.events().await;
    let entries = rows(bed).await.0;
    for op in [Op::Rename, Op::Publish, Op::MakeDir] {
        bed.faults.fail(op, Fault::Io, 0, 1);
        let failed = match op {
            Op::Rename => bed.rename("f", "new/deep/f", false).await.is_err(),
            Op::Publish => bed.try_put("new/deep/f", b"y").await.is_err(),
            _ => bed.app().mkdir(&bed.me, &path("new/deep")).await.is_err(),
        };
        assert!(failed, "{op:?}");
        bed.is_gone("new").await;
        list(bed, "", true).await.unwrap();
        bed.jobs().await;
        assert_eq!(bed.events().await, events, "{op:?}");
        assert_eq!(rows(bed).await.0, entries, "{op:?}");
    }
}
