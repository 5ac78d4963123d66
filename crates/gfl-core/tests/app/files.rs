//! Directories, moves, copies and metadata.

use crate::bed::{Bed, fails, path};
use crate::bodies::{MIB, bytes};
use gfl_core::Kind;
use gfl_core::files::{Delete, FileMeta, KeptReason, Relocate};

crate::cases! {
    mkdir_is_idempotent_and_makes_parents
    a_file_moves_with_its_history
    a_move_over_a_file_keeps_it
    a_directory_moves_with_everything
    what_cannot_be_moved
    a_copy_is_a_file_of_its_own
    set_meta_is_no_edit
    delete_needs_to_know_what_it_deletes
}

async fn mkdir_is_idempotent_and_makes_parents(bed: &Bed) {
    assert!(bed.mkdir("a/b/c").await);
    assert!(!bed.mkdir("a/b/c").await);
    assert!(!bed.mkdir("a").await);
    assert!(!bed.mkdir("").await);
    bed.is_dir("a/b").await;
    bed.put("f", b"x").await;
    fails(
        bed.app().mkdir(&bed.me, &path("f")).await,
        Kind::NotADirectory,
    );
    fails(
        bed.app().mkdir(&bed.me, &path("f/g")).await,
        Kind::NotADirectory,
    );
    assert_eq!(bed.events().await, ["DirMade a/b/c", "Created f"]);
}

async fn a_file_moves_with_its_history(bed: &Bed) {
    bed.put("a", b"one").await;
    bed.put("a", b"two!").await;
    let done = bed.rename("a", "new/b", false).await.unwrap();
    assert!(done.created);
    bed.is_gone("a").await;
    bed.has("new/b", b"two!").await;
    assert_eq!(
        bed.kept("new/b").await,
        [(KeptReason::Replaced, b"one".to_vec())]
    );
    assert!(bed.kept("a").await.is_empty());
    bed.jobs().await;
    assert_eq!(bed.stat("new/b").await.unwrap().etag(), done.stat.etag());
    bed.restart().await;
    bed.has("new/b", b"two!").await;
    bed.jobs().await;
    assert_eq!(
        bed.events().await,
        ["Created a", "Replaced a", "Moved a > new/b"]
    );
}

async fn a_move_over_a_file_keeps_it(bed: &Bed) {
    bed.put("a", b"source").await;
    bed.put("b", b"target").await;
    fails(bed.rename("a", "b", false).await, Kind::AlreadyExists);
    assert!(!bed.rename("a", "b", true).await.unwrap().created);
    bed.is_gone("a").await;
    bed.has("b", b"source").await;
    assert_eq!(
        bed.kept("b").await,
        [(KeptReason::Replaced, b"target".to_vec())]
    );
    let kept = bed
        .versions("b")
        .await
        .into_iter()
        .find(|v| v.kept.is_some());
    bed.restore("b", kept.map(|v| v.id).as_ref()).await.unwrap();
    bed.has("b", b"target").await;
    bed.jobs().await;
    assert!(bed.events().await.iter().all(|e| !e.starts_with("Adopted")));
}

async fn a_directory_moves_with_everything(bed: &Bed) {
    bed.put("d/x/f", b"old").await;
    bed.put("d/x/f", b"newer").await;
    bed.put("d/g", &bytes(1, 2 * MIB)).await;
    bed.delete("d/g").await.unwrap();
    bed.rename("d", "deep/down/e", false).await.unwrap();
    bed.is_gone("d").await;
    bed.has("deep/down/e/x/f", b"newer").await;
    assert_eq!(bed.kept("deep/down/e/x/f").await.len(), 1);
    bed.restore("deep/down/e/g", None).await.unwrap();
    bed.has("deep/down/e/g", &bytes(1, 2 * MIB)).await;
    bed.put("d/x/f", b"another").await;
    assert!(
        bed.kept("d/x/f").await.is_empty(),
        "a new folder has no history"
    );
    bed.restart().await;
    bed.has("deep/down/e/x/f", b"newer").await;
    bed.has("d/x/f", b"another").await;
    bed.jobs().await;
    assert!(bed.events().await.iter().all(|e| !e.starts_with("Adopted")));
}

async fn what_cannot_be_moved(bed: &Bed) {
    bed.put("d/f", b"x").await;
    bed.mkdir("e").await;
    fails(bed.rename("d", "d", true).await, Kind::Invalid);
    fails(bed.rename("d", "d/sub/d", true).await, Kind::Invalid);
    fails(bed.rename("", "x", true).await, Kind::Invalid);
    fails(bed.rename("d", "", true).await, Kind::AlreadyExists);
    fails(bed.rename("nothing", "x", true).await, Kind::NotFound);
    fails(bed.rename("d", "e", true).await, Kind::AlreadyExists);
    fails(bed.rename("d/f", "e", true).await, Kind::AlreadyExists);
    fails(bed.rename("e", "d/f", true).await, Kind::AlreadyExists);
    fails(bed.rename("e", "d/f/g", true).await, Kind::NotADirectory);
    bed.has("d/f", b"x").await;
    assert_eq!(bed.events().await.len(), 2);
}

async fn a_copy_is_a_file_of_its_own(bed: &Bed) {
    let data = bytes(5, MIB + 77);
    bed.put("a", &data).await;
    bed.set_meta("a", Some(5_000_000_000), Some(0o640))
        .await
        .unwrap();
    let done = bed.copy("a", "x/b", false).await.unwrap();
    assert!(done.created);
    assert_eq!((done.stat.mtime_ns, done.stat.mode), (5_000_000_000, 0o640));
    fails(bed.copy("a", "x/b", false).await, Kind::AlreadyExists);
    fails(bed.copy("a", "a", true).await, Kind::Invalid);
    fails(bed.copy("x", "y", false).await, Kind::IsADirectory);
    fails(bed.copy("nothing", "y", false).await, Kind::NotFound);
    bed.put("a", b"changed").await;
    bed.has("x/b", &data).await;
    assert!(!bed.copy("a", "x/b", true).await.unwrap().created);
    bed.has("x/b", b"changed").await;
    assert!(bed.kept("x/b").await == [(KeptReason::Replaced, data)]);
    assert_eq!(bed.drafts().await, 0);
}

async fn set_meta_is_no_edit(bed: &Bed) {
    let root = FileMeta {
        mode: Some(0),
        mtime_ns: None,
    };
    fails(
        bed.app().set_meta(&bed.me, &path(""), &root).await,
        Kind::Invalid,
    );
    bed.put("d/f", b"data").await;
    bed.jobs().await;
    let before = bed.stat("d/f").await.unwrap();
    let after = bed
        .set_meta("d/f", Some(77_000_000_123), Some(0o4751))
        .await
        .unwrap();
    assert_eq!((after.mtime_ns, after.mode), (77_000_000_123, 0o751));
    assert_eq!(after.etag(), before.etag());
    // Before and after the stamp is settled, and in the next life.
    for _ in 0..2 {
        let now = bed.stat("d/f").await.unwrap();
        assert_eq!((now.mtime_ns, now.mode), (77_000_000_123, 0o751));
        assert_eq!(now.etag(), before.etag());
        bed.jobs().await;
        bed.restart().await;
    }
    let dir = bed
        .set_meta("d", Some(9_000_000_000), Some(0o750))
        .await
        .unwrap();
    assert_eq!(dir.mtime_ns, 9_000_000_000);
    assert_eq!(dir.mode & 0o777, 0o750);
    fails(
        bed.set_meta("nothing", None, Some(0o600)).await,
        Kind::NotFound,
    );
    bed.jobs().await;
    assert_eq!(bed.versions("d/f").await.len(), 1);
    assert_eq!(
        bed.events().await,
        ["Created d/f", "MetaChanged d/f", "MetaChanged d"]
    );
}

async fn delete_needs_to_know_what_it_deletes(bed: &Bed) {
    bed.put("d/f", b"x").await;
    let how = |recursive, must_be_dir| Delete {
        recursive,
        must_be_dir,
        ..Delete::default()
    };
    let delete = async |at: &str, how: Delete| bed.app().delete(&bed.me, &path(at), &how).await;
    fails(delete("d", how(false, None)).await, Kind::NotEmpty);
    fails(
        delete("d", how(true, Some(false))).await,
        Kind::IsADirectory,
    );
    fails(
        delete("d/f", how(true, Some(true))).await,
        Kind::NotADirectory,
    );
    fails(delete("", how(true, None)).await, Kind::Invalid);
    fails(delete("x", how(true, None)).await, Kind::NotFound);
    delete("d/f", how(false, Some(false))).await.unwrap();
    delete("d", how(false, Some(true))).await.unwrap();
    fails(delete("d", how(false, None)).await, Kind::NotFound);
    // Moving what is not there says so too.
    let moved = bed
        .app()
        .rename(&bed.me, &path("d"), &path("e"), &Relocate::default())
        .await;
    fails(moved, Kind::NotFound);
}
