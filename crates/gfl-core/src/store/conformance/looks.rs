//! Folders, listings, attributes, and what is not there.

use super::{Bed, MTIME, kind, path};
use crate::error::Kind;
use crate::store::{Found, Named, Place};
use gfl_api::path::FilePath;

/// Folders.
pub async fn makes_folders(bed: &Bed) {
    assert!(bed.store.make_dir(&path("a/b/c")).await.expect("new"));
    assert!(!bed.store.make_dir(&path("a/b/c")).await.expect("not new"));
    assert!(!bed.store.make_dir(&path("a")).await.expect("not new"));
    assert!(
        !bed.store
            .make_dir(&FilePath::root())
            .await
            .expect("the root is there")
    );
    bed.published("a/f", b"").await;
    assert_eq!(
        kind(bed.store.make_dir(&path("a/f")).await),
        Kind::NotADirectory
    );
    assert_eq!(
        kind(bed.store.make_dir(&path("a/f/x")).await),
        Kind::NotADirectory
    );
    assert!(matches!(bed.found("").await, Found::Dir { .. }));
}

/// Pages in byte order, without gaps.
pub async fn lists_in_pages(bed: &Bed) {
    let mut want = Vec::new();
    for name in ["b", "a", "a-b", "B", "\u{e9}", "zz", "a b", "0", ".hidden"] {
        bed.published(&format!("d/{name}"), name.as_bytes()).await;
        want.push(name.to_owned());
    }
    bed.published("d/sub/inner", b"").await;
    want.push("sub".to_owned());
    want.sort();
    for limit in [1, 3, 9, 10, 11] {
        let mut got: Vec<Named> = Vec::new();
        loop {
            let after = got.last().map(|named| named.name.clone());
            let page = bed
                .store
                .list(&path("d"), after.as_deref(), limit)
                .await
                .expect("list");
            assert!(page.names.len() <= limit);
            let more = page.more;
            got.extend(page.names);
            if !more {
                break;
            }
        }
        let names: Vec<_> = got.iter().map(|named| named.name.clone()).collect();
        assert_eq!(names, want, "limit {limit}");
        for named in got {
            assert_eq!(named.found, bed.found(&format!("d/{}", named.name)).await);
        }
    }
    let page = bed
        .store
        .list(&path("d"), Some("zzz"), 10)
        .await
        .expect("list");
    assert_eq!(page.names.len(), 1, "only \u{e9} is after that");
    assert_eq!(
        bed.names("").await,
        ["d"],
        "nothing of the store's own is listed"
    );
    assert_eq!(
        kind(bed.store.list(&path("d/a"), None, 10).await),
        Kind::NotADirectory
    );
    assert_eq!(
        kind(bed.store.list(&path("none"), None, 10).await),
        Kind::NotFound
    );
}

/// Times and modes of files and folders.
pub async fn sets_attributes(bed: &Bed) {
    bed.published("d/f", b"x").await;
    let now = bed
        .store
        .set_meta(&path("d/f"), Some(-5), Some(0o600))
        .await
        .expect("set");
    assert!(matches!(now, Found::File { stamp, mode: 0o600 } if stamp.mtime_ns == -5));
    assert_eq!(bed.found("d/f").await, now);
    let now = bed
        .store
        .set_meta(&path("d"), Some(MTIME), Some(0o750))
        .await
        .expect("set");
    assert!(matches!(
        now,
        Found::Dir {
            mtime_ns: MTIME,
            mode: 0o750,
            ..
        }
    ));
    let now = bed
        .store
        .set_meta(&path("d/f"), None, Some(0o2000))
        .await
        .expect("set");
    assert!(
        matches!(now, Found::File { mode: 0o400, .. }),
        "no set-id, and the server can read"
    );
    let none = bed.store.set_meta(&path("none"), None, None).await;
    assert_eq!(kind(none), Kind::NotFound);
}

/// What is not there.
pub async fn looks_at_nothing(bed: &Bed) {
    bed.published("f", b"x").await;
    assert_eq!(bed.found("none").await, Found::Nothing);
    assert_eq!(bed.found("f/below").await, Found::Nothing);
    assert_eq!(bed.found("none/below").await, Found::Nothing);
    assert_eq!(
        bed.store.stat_kept(&bed.key()).await.expect("stat"),
        Found::Nothing
    );
    let open = |place: Place| async move { kind(bed.store.open(&place).await.map(|_| ())) };
    assert_eq!(open(Place::Visible(path("none"))).await, Kind::NotFound);
    assert_eq!(
        open(Place::Visible(FilePath::root())).await,
        Kind::IsADirectory
    );
    assert_eq!(open(Place::Kept(bed.key())).await, Kind::NotFound);
    assert_eq!(
        bed.store.collides(&path("f")).await.expect("collides"),
        None
    );
    assert_eq!(
        bed.store.collides(&path("none/F")).await.expect("collides"),
        None
    );
}
