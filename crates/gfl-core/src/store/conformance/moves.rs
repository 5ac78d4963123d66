//! Deleting, restoring and moving, each done twice.

use super::{Bed, kind, path};
use crate::error::Kind;
use crate::store::{Found, Place};

/// Deleting and restoring a file, each twice.
pub async fn retires_and_unretires(bed: &Bed) {
    let (_, stamp) = bed.published("a/f", b"x").await;
    let (key, ino, at) = (bed.key(), stamp.ino, path("a/f"));
    assert!(
        !bed.store
            .retire(&at, ino + 1000, &key)
            .await
            .expect("another inode")
    );
    assert_eq!(bed.content("a/f").await, b"x");
    for _ in 0..2 {
        assert!(
            bed.store
                .retire(&at, ino, &key)
                .await
                .expect("retire, then redo")
        );
        assert_eq!(bed.found("a/f").await, Found::Nothing);
    }
    assert_eq!(bed.read(&Place::Kept(key.clone())).await, b"x");
    assert!(
        !bed.store
            .unretire(&key, ino + 1000, &at)
            .await
            .expect("another inode")
    );
    let to = path("new/parent/f");
    for _ in 0..2 {
        assert!(
            bed.store
                .unretire(&key, ino, &to)
                .await
                .expect("unretire, then redo")
        );
        assert_eq!(bed.content("new/parent/f").await, b"x");
    }
    assert_eq!(
        bed.store.stat_kept(&key).await.expect("stat"),
        Found::Nothing
    );
    assert!(!bed.store.retire(&at, ino, &bed.key()).await.expect("gone"));
    // Nothing is restored over something.
    assert!(bed.store.retire(&to, ino, &key).await.expect("retire"));
    bed.published("new/parent/f", b"other").await;
    assert_eq!(
        kind(bed.store.unretire(&key, ino, &to).await),
        Kind::AlreadyExists
    );
    assert_eq!(bed.content("new/parent/f").await, b"other");
}

async fn dir_ino(bed: &Bed, at: &str) -> u64 {
    match bed.found(at).await {
        Found::Dir { ino, .. } => ino,
        other => panic!("{other:?}"),
    }
}

/// A folder with everything in it is one step.
pub async fn retires_folders(bed: &Bed) {
    bed.published("d/x/1", b"1").await;
    bed.published("d/y", b"2").await;
    bed.published("e", b"3").await;
    let (ino, key) = (dir_ino(bed, "d").await, bed.key());
    for _ in 0..2 {
        assert!(
            bed.store
                .retire(&path("d"), ino, &key)
                .await
                .expect("retire, then redo")
        );
    }
    assert_eq!(bed.names("").await, ["e"]);
    assert!(matches!(
        bed.store.stat_kept(&key).await.expect("stat"),
        Found::Dir { .. }
    ));
    for _ in 0..2 {
        assert!(
            bed.store
                .unretire(&key, ino, &path("d2"))
                .await
                .expect("unretire, then redo")
        );
    }
    assert_eq!(bed.content("d2/x/1").await, b"1");
    assert!(
        bed.store
            .retire(&path("d2"), ino, &key)
            .await
            .expect("retire")
    );
    bed.store.remove_kept(&key).await.expect("remove a folder");
    assert_eq!(
        bed.store.stat_kept(&key).await.expect("stat"),
        Found::Nothing
    );
}

/// Moving a file.
pub async fn renames(bed: &Bed) {
    let (_, stamp) = bed.published("from", b"x").await;
    let (from, to, ino) = (path("from"), path("new/to"), stamp.ino);
    assert!(
        !bed.store
            .rename(&from, ino + 1000, &to, None)
            .await
            .expect("another inode")
    );
    for _ in 0..2 {
        assert!(
            bed.store
                .rename(&from, ino, &to, None)
                .await
                .expect("rename, then redo")
        );
        assert_eq!(bed.content("new/to").await, b"x");
        assert_eq!(bed.found("from").await, Found::Nothing);
    }
    bed.published("taken", b"y").await;
    let over = bed.store.rename(&to, ino, &path("taken"), None).await;
    assert_eq!(kind(over), Kind::AlreadyExists);
    let below = bed.store.rename(&to, ino, &path("taken/below"), None).await;
    assert_eq!(kind(below), Kind::NotADirectory);
    assert_eq!(
        kind(bed.store.rename(&to, ino, &to, None).await),
        Kind::Invalid
    );
    assert_eq!(bed.content("taken").await, b"y");
    assert_eq!(bed.content("new/to").await, b"x");
    assert!(
        !bed.store
            .rename(&from, ino, &path("else"), None)
            .await
            .expect("nothing there")
    );
}

/// Moving a file over another.
pub async fn renames_over(bed: &Bed) {
    let (_, stamp) = bed.published("from", b"x").await;
    bed.published("to", b"old").await;
    let (from, to, ino, key) = (path("from"), path("to"), stamp.ino, bed.key());
    for _ in 0..2 {
        let done = bed.store.rename(&from, ino, &to, Some(&key)).await;
        assert!(done.expect("rename over, then redo"));
        assert_eq!(bed.content("to").await, b"x");
        assert_eq!(bed.found("from").await, Found::Nothing);
        assert_eq!(bed.read(&Place::Kept(key.clone())).await, b"old");
    }
    bed.store.make_dir(&path("dir")).await.expect("make_dir");
    let over = bed
        .store
        .rename(&to, ino, &path("dir"), Some(&bed.key()))
        .await;
    assert_eq!(kind(over), Kind::IsADirectory);
    // Prepared to replace, and nothing was there.
    let unused = bed.key();
    let done = bed
        .store
        .rename(&to, ino, &path("free"), Some(&unused))
        .await;
    assert!(done.expect("rename"));
    assert_eq!(
        bed.store.stat_kept(&unused).await.expect("stat"),
        Found::Nothing
    );
}

/// Moving a folder.
pub async fn renames_folders(bed: &Bed) {
    bed.published("d/sub/f", b"x").await;
    let ino = dir_ino(bed, "d").await;
    let inside = bed
        .store
        .rename(&path("d"), ino, &path("d/sub/d"), None)
        .await;
    assert_eq!(kind(inside), Kind::Invalid);
    for _ in 0..2 {
        let done = bed.store.rename(&path("d"), ino, &path("e/d"), None).await;
        assert!(done.expect("rename, then redo"));
    }
    assert_eq!(bed.content("e/d/sub/f").await, b"x");
    bed.store.make_dir(&path("empty")).await.expect("make_dir");
    let over = bed
        .store
        .rename(&path("e/d"), ino, &path("empty"), None)
        .await;
    assert_eq!(
        kind(over),
        Kind::AlreadyExists,
        "not even over an empty folder"
    );
}
