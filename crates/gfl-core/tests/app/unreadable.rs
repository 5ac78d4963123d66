//! What the server process may not read on its own disk.

use crate::bed::{Bed, fails, path};
use gfl_core::catalog::events::EventKind;
use gfl_core::files::{KeptReason, ListPage, ListQuery};
use gfl_core::{Kind, Result};

crate::cases! {
    an_unreadable_folder_is_left_out_of_a_walk_and_counted_once
    an_unreadable_folder_itself_cannot_be_listed
    what_is_in_an_unreadable_folder_does_not_vanish
    an_unreadable_file_is_shown_moved_and_replaced_but_not_read
    a_hand_made_unreadable_file_is_recorded_once_it_can_be_read
}

async fn list(bed: &Bed, dir: &str, after: Option<&str>, limit: usize) -> Result<ListPage> {
    let query = ListQuery {
        dir: path(dir),
        after: after.map(path),
        limit,
        recursive: true,
    };
    bed.app().list(&bed.me, &query).await
}

async fn an_unreadable_folder_is_left_out_of_a_walk_and_counted_once(bed: &Bed) {
    for name in ["d/a", "d/secret/deep/x", "d/secret/y", "d/z", "e"] {
        bed.put(name, b"x").await;
    }
    bed.faults.deny(path("d/secret"));
    for limit in 1..8 {
        let (mut all, mut skipped, mut unreadable) = (Vec::<String>::new(), 0, 0);
        loop {
            let page = list(bed, "", all.last().map(String::as_str), limit)
                .await
                .unwrap();
            all.extend(page.entries.iter().map(|e| e.path.to_string()));
            skipped += page.skipped;
            unreadable += page.unreadable;
            if !page.more {
                break;
            }
        }
        assert_eq!(all, ["d", "d/a", "d/secret", "d/z", "e"], "by {limit}");
        assert_eq!((skipped, unreadable), (1, 1), "by {limit}");
    }
    // Made unreadable between two pages.
    let rest = list(bed, "", Some("d/secret/deep"), 100).await.unwrap();
    let names: Vec<_> = rest.entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(names, ["d/z", "e"]);
    bed.faults.clear();
}

async fn an_unreadable_folder_itself_cannot_be_listed(bed: &Bed) {
    bed.put("d/secret/x", b"x").await;
    bed.faults.deny(path("d/secret"));
    let error = list(bed, "d/secret", None, 10).await.unwrap_err();
    assert_eq!(error.kind(), Kind::StoragePermission);
    assert!(error.message().contains("d/secret"), "{error}");
    bed.is_dir("d/secret").await;
    fails(bed.stat("d/secret/x").await, Kind::StoragePermission);
    fails(
        bed.try_put("d/secret/x", b"y").await,
        Kind::StoragePermission,
    );
    assert_eq!(bed.drafts().await, 0);
    bed.faults.clear();
}

async fn what_is_in_an_unreadable_folder_does_not_vanish(bed: &Bed) {
    bed.put("d/f", b"x").await;
    bed.jobs().await;
    bed.faults.deny(path("d"));
    fails(bed.get("d/f").await, Kind::StoragePermission);
    list(bed, "", None, 10).await.unwrap();
    bed.jobs().await;
    bed.faults.clear();
    bed.has("d/f", b"x").await;
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Created d/f"]);
}

async fn an_unreadable_file_is_shown_moved_and_replaced_but_not_read(bed: &Bed) {
    bed.put("d/f", b"old").await;
    bed.jobs().await;
    bed.faults.deny(path("d/f"));
    let page = list(bed, "d", None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.skipped), (1, 0));
    fails(bed.get("d/f").await, Kind::StoragePermission);
    fails(bed.copy("d/f", "g", false).await, Kind::StoragePermission);
    bed.is_gone("g").await;
    bed.put("d/f", b"new").await;
    bed.rename("d/f", "g", false).await.unwrap();
    bed.faults.clear();
    bed.has("g", b"new").await;
    assert_eq!(
        bed.kept("g").await,
        [(KeptReason::Replaced, b"old".to_vec())]
    );
    assert_eq!(bed.drafts().await, 0);
}

async fn a_hand_made_unreadable_file_is_recorded_once_it_can_be_read(bed: &Bed) {
    bed.person_writes("f", b"by hand");
    bed.person_writes("g", b"another");
    bed.faults.deny(path("f"));
    list(bed, "", None, 10).await.unwrap();
    // The one does not keep the other from being recorded.
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Adopted g"]);
    bed.faults.clear();
    bed.has("f", b"by hand").await;
    bed.jobs().await;
    assert_eq!(bed.app().event_count(EventKind::Adopted).await.unwrap(), 2);
    bed.faults.deny(path("f"));
    bed.delete("f").await.unwrap();
    bed.faults.clear();
    bed.restore("f", None).await.unwrap();
    bed.has("f", b"by hand").await;
}
