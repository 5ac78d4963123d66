//! Settling and publishing: what came out, what is refused, what a redo says.

use super::{Bed, MTIME, bytes_like, kind, path};
use crate::error::Kind;
use crate::store::{CameOut, Found, Place, Publish, Published};
use bytes::Bytes;
use std::sync::Arc;

/// New names, with parents.
pub async fn publish_creates(bed: &Bed) {
    let (_, stamp) = bed.published("a/b/c.txt", b"hello").await;
    assert_eq!(bed.content("a/b/c.txt").await, b"hello");
    assert!(matches!(bed.found("a/b").await, Found::Dir { .. }));
    assert_eq!(bed.names("a").await, ["b"]);
    assert!(matches!(bed.found("a/b/c.txt").await, Found::File { stamp: s, .. } if s == stamp));
    bed.store
        .sync_dirs(&[path("a/b"), path("gone/away")])
        .await
        .expect("missing ones are fine");
}

/// The old version is kept under its key.
pub async fn publish_replaces(bed: &Bed) {
    let old = bed.published("f", b"old").await;
    let new = bed.settled(b"newer").await;
    let p = Publish {
        replaces: Some(old.clone()),
        ..bed.publication(&new, "f")
    };
    let done = bed.store.publish(&p).await.expect("publish");
    assert_eq!(done.came_out, CameOut::Ours);
    assert_eq!(done.stamp.map(|s| s.ino), Some(new.1.ino));
    assert_eq!(bed.content("f").await, b"newer");
    assert_eq!(bed.read(&Place::Kept(old.0.clone())).await, b"old");
    assert_eq!(
        bed.store.stat_kept(&p.edit_key).await.expect("stat"),
        Found::Nothing
    );
    bed.store.remove_kept(&old.0).await.expect("remove");
    bed.store
        .remove_kept(&old.0)
        .await
        .expect("missing is fine");
    assert_eq!(
        bed.store.stat_kept(&old.0).await.expect("stat"),
        Found::Nothing
    );
    assert!(bed.store.drafts().await.expect("drafts").is_empty());
}

/// What may not be replaced stays as it was, and so does the draft.
pub async fn publish_refuses(bed: &Bed) {
    bed.published("file", b"1").await;
    bed.store.make_dir(&path("dir")).await.expect("make_dir");
    let new = bed.settled(b"2").await;
    let try_at = |to: &str, create_only| Publish {
        create_only,
        ..bed.publication(&new, to)
    };
    for (to, create_only, want) in [
        ("file", true, Kind::AlreadyExists),
        ("dir", true, Kind::AlreadyExists),
        ("dir", false, Kind::IsADirectory),
        ("file/below", false, Kind::NotADirectory),
        ("file/further/below", false, Kind::NotADirectory),
        ("", false, Kind::Invalid),
    ] {
        assert_eq!(
            kind(bed.store.publish(&try_at(to, create_only)).await),
            want,
            "{to}"
        );
    }
    assert_eq!(bed.content("file").await, b"1");
    assert!(matches!(bed.found("dir").await, Found::Dir { .. }));
    // The draft is as good as before.
    let done = bed
        .store
        .publish(&try_at("free", true))
        .await
        .expect("publish");
    assert_eq!(done.came_out, CameOut::Nothing);
    assert_eq!(bed.content("free").await, b"2");
}

/// A person's file that we did not know comes out under the edit key.
pub async fn publish_keeps_edits(bed: &Bed) {
    let Some(person) = &bed.person else { return };
    let ours = bed.published("f", b"ours").await;
    person.writes(&path("f"), b"edited by hand");
    let new = bed.settled(b"new").await;
    let p = Publish {
        replaces: Some(ours.clone()),
        ..bed.publication(&new, "f")
    };
    let done = bed.store.publish(&p).await.expect("publish");
    let CameOut::Edited(stamp) = done.came_out else {
        panic!("{done:?}")
    };
    assert_eq!(stamp.size, 14);
    assert_eq!(
        bed.read(&Place::Kept(p.edit_key.clone())).await,
        b"edited by hand"
    );
    match bed.store.stat_kept(&p.edit_key).await.expect("stat") {
        Found::File { stamp: now, .. } => assert_eq!(now, stamp),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.content("f").await, b"new");
    // Something where nothing was expected.
    person.writes(&path("g"), b"by hand");
    let new = bed.settled(b"new g").await;
    let p = bed.publication(&new, "g");
    let done = bed.store.publish(&p).await.expect("publish");
    assert!(matches!(done.came_out, CameOut::Edited(_)));
    assert_eq!(bed.read(&Place::Kept(p.edit_key)).await, b"by hand");
}

/// Calling again changes nothing and says the same.
pub async fn publish_is_redone(bed: &Bed) {
    let first = bed.settled(b"one").await;
    let p = bed.publication(&first, "f");
    let done = bed.store.publish(&p).await.expect("publish");
    assert_eq!(bed.store.publish(&p).await.expect("redo"), done);
    let old = (first.0, done.stamp.expect("is there"));
    let second = bed.settled(b"two").await;
    let p = Publish {
        replaces: Some(old),
        ..bed.publication(&second, "f")
    };
    let done = bed.store.publish(&p).await.expect("publish");
    assert_eq!(done.came_out, CameOut::Ours);
    assert_eq!(bed.store.publish(&p).await.expect("redo"), done);
    let Some(person) = &bed.person else { return };
    person.writes(&path("f"), b"edit");
    let changed = bed.store.publish(&p).await.expect("redo after an edit");
    assert_eq!(
        changed,
        Published {
            stamp: None,
            came_out: CameOut::Ours
        }
    );
    assert_eq!(
        bed.content("f").await,
        b"edit",
        "a redo leaves a person's file alone"
    );
    person.removes(&path("f"));
    assert_eq!(
        bed.store
            .publish(&p)
            .await
            .expect("redo after a removal")
            .stamp,
        None
    );
    assert_eq!(bed.found("f").await, Found::Nothing);
}

/// Many publish to one path at once: one whole content stays, every other is kept.
pub async fn concurrent_publishes_leave_one_whole(bed: &Bed) {
    let mut tasks = Vec::new();
    let mut places = Vec::new();
    for i in 0..16u8 {
        let draft = bed.settled(&bytes_like(10_000, i)).await;
        let p = bed.publication(&draft, "dir/contested");
        places.push(p.edit_key.clone());
        let store = Arc::clone(&bed.store);
        tasks.push(tokio::spawn(async move { store.publish(&p).await }));
    }
    let mut edited = 0;
    for task in tasks {
        let done = task.await.expect("no panic").expect("publish");
        edited += usize::from(matches!(done.came_out, CameOut::Edited(_)));
    }
    assert_eq!(edited, 15, "all but the first met another");
    let mut contents = vec![bed.content("dir/contested").await];
    for key in places {
        if bed.store.stat_kept(&key).await.expect("stat") != Found::Nothing {
            contents.push(bed.read(&Place::Kept(key)).await);
        }
    }
    contents.sort();
    let mut want: Vec<_> = (0..16u8).map(|i| bytes_like(10_000, i)).collect();
    want.sort();
    assert!(contents == want, "every content is somewhere, whole");
    assert!(bed.store.drafts().await.expect("drafts").is_empty());
}

/// Settling from many tasks at once, in groups large and small.
pub async fn settles_many_at_once(bed: &Bed) {
    let mut tasks = Vec::new();
    for count in [1, 1, 1, 20, 2, 3, 40, 1] {
        let mut drafts = Vec::new();
        for _ in 0..count {
            let data = vec![Bytes::from_static(b"small")];
            let made = bed.store.create_whole(&bed.key(), data, MTIME, None).await;
            drafts.push(made.expect("create_whole").0);
        }
        let store = Arc::clone(&bed.store);
        tasks.push(tokio::spawn(async move { store.settle(&drafts).await }));
    }
    for task in tasks {
        task.await.expect("no panic").expect("settle");
    }
    bed.store.settle(&[]).await.expect("nothing");
}
