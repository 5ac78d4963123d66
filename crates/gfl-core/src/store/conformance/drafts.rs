//! Drafts, outboards, copies, and content that is open.

use super::{Bed, MTIME, bytes_like, kind, path};
use crate::error::Kind;
use crate::store::{Found, Place};
use bytes::Bytes;

/// Pieces, overlaps, gaps and reads past the end.
pub async fn drafts_take_writes_in_any_order(bed: &Bed) {
    let draft = bed
        .store
        .create(&bed.key(), Some(300_000))
        .await
        .expect("create");
    let all = bytes_like(300_000, 1);
    let piece = |from: usize, to: usize| Bytes::copy_from_slice(&all[from..to]);
    draft
        .write_at(200_000, vec![piece(200_000, 300_000)])
        .await
        .expect("tail");
    assert_eq!(draft.read_at(0, 5).await.expect("hole"), vec![0u8; 5]);
    draft
        .write_at(0, vec![Bytes::new(), piece(0, 1), piece(1, 70_000)])
        .await
        .expect("head");
    let many: Vec<Bytes> = (60_000..200_000)
        .step_by(50)
        .map(|i| piece(i, i + 50))
        .collect();
    assert!(many.len() > 1024, "more pieces than one system call takes");
    draft
        .write_at(60_000, many)
        .await
        .expect("overlapping middle");
    draft.write_at(10, vec![]).await.expect("nothing");
    assert_eq!(draft.read_at(0, 300_000).await.expect("all"), all);
    let mut past = all[299_999..].to_vec();
    past.resize(10, 0);
    assert_eq!(
        draft.read_at(299_999, 10).await.expect("past the end"),
        past
    );
    let stamp = draft
        .finish(250_000, MTIME, Some(0o4755))
        .await
        .expect("finish");
    assert_eq!((stamp.size, stamp.mtime_ns), (250_000, MTIME));
    bed.store
        .settle(std::slice::from_ref(&draft))
        .await
        .expect("settle");
    let p = bed.publication(&(draft.key().clone(), stamp), "x");
    bed.store.publish(&p).await.expect("publish");
    assert_eq!(bed.content("x").await, all[..250_000]);
    assert!(
        matches!(bed.found("x").await, Found::File { mode: 0o755, .. }),
        "no set-id bit"
    );
}

/// Offsets beyond 1 TiB cost nothing, and no offset panics.
pub async fn drafts_are_sparse(bed: &Bed) {
    const FAR: u64 = (1 << 40) + 12_345;
    let draft = bed.store.create(&bed.key(), None).await.expect("create");
    draft
        .write_at(FAR, vec![Bytes::from_static(b"far")])
        .await
        .expect("write far");
    let group = FAR / gfl_api::limits::GROUP_BYTES;
    draft
        .write_groups(group, &[[9; 32]])
        .await
        .expect("far group");
    assert_eq!(
        draft.read_at(FAR - 2, 5).await.expect("read far"),
        &b"\0\0far"[..]
    );
    let groups = draft.read_groups(group - 1, 2).await.expect("far groups");
    assert_eq!(groups, [None, Some([9; 32])]);
    draft.sync().await.expect("checkpoint");
    let stamp = draft.finish(FAR + 3, MTIME, None).await.expect("finish");
    assert_eq!(stamp.size, FAR + 3);
    let over = draft
        .write_at(u64::MAX - 1, vec![Bytes::from_static(b"xyz")])
        .await;
    assert_eq!(kind(over), Kind::TooLarge);
    assert_eq!(
        draft.read_at(u64::MAX - 1, 3).await.expect("past all ends"),
        &b"\0\0\0"[..]
    );
}

/// Subtree values stay beside the draft, zeros mean none, discarding removes them.
pub async fn outboards_remember(bed: &Bed) {
    let key = bed.key();
    let draft = bed.store.create(&key, None).await.expect("create");
    assert_eq!(
        draft.read_groups(0, 2).await.expect("none yet"),
        [None, None]
    );
    draft
        .write_groups(3, &[[1; 32], [2; 32]])
        .await
        .expect("write");
    draft.write_groups(0, &[[7; 32]]).await.expect("write");
    draft.write_groups(4, &[[0; 32]]).await.expect("take back");
    draft.sync().await.expect("checkpoint");
    drop(draft);
    let draft = bed
        .store
        .reopen(&key)
        .await
        .expect("reopen")
        .expect("is there");
    let got = draft.read_groups(0, 6).await.expect("read");
    assert_eq!(got, [Some([7; 32]), None, None, Some([1; 32]), None, None]);
    drop(draft);
    bed.store.discard(&key).await.expect("discard");
    let draft = bed
        .store
        .create(&key, None)
        .await
        .expect("the same key anew");
    assert_eq!(draft.read_groups(0, 1).await.expect("none"), [None]);
}

/// The sizes where files go wrong.
pub async fn whole_drafts_of_all_sizes(bed: &Bed) {
    for size in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
        let data = bytes_like(size, 3);
        let name = format!("sizes/{size}");
        let (_, stamp) = bed.published(&name, &data).await;
        assert_eq!((stamp.size, stamp.mtime_ns), (size as u64, MTIME));
        assert_eq!(bed.content(&name).await, data, "{size}");
        match bed.found(&name).await {
            Found::File { stamp: now, .. } => assert_eq!(now, stamp),
            other => panic!("{other:?}"),
        }
    }
}

/// Reopening, listing, discarding.
pub async fn drafts_come_back_and_go(bed: &Bed) {
    let (a, b) = (bed.key(), bed.key());
    assert!(bed.store.reopen(&a).await.expect("reopen").is_none());
    let draft = bed.store.create(&a, None).await.expect("create");
    draft
        .write_at(3, vec![Bytes::from_static(b"abc")])
        .await
        .expect("write");
    bed.store.create(&b, None).await.expect("create");
    assert_eq!(
        kind(bed.store.create(&a, None).await.map(|_| ())),
        Kind::AlreadyExists
    );
    let again = bed
        .store
        .reopen(&a)
        .await
        .expect("reopen")
        .expect("is there");
    assert_eq!(again.read_at(3, 3).await.expect("read"), "abc");
    let mut keys = bed.store.drafts().await.expect("drafts");
    keys.sort();
    let mut want = vec![a.clone(), b.clone()];
    want.sort();
    assert_eq!(keys, want);
    bed.store.discard(&a).await.expect("discard");
    let anew = bed.store.create(&a, None).await.expect("the key is free");
    assert_eq!(
        anew.read_at(3, 3).await.expect("read"),
        &b"\0\0\0"[..],
        "a new draft"
    );
    drop((draft, again, anew));
    bed.store.discard(&a).await.expect("discard");
    bed.store.discard(&a).await.expect("missing is fine");
    assert_eq!(bed.store.drafts().await.expect("drafts"), [b]);
    assert!(bed.store.reopen(&a).await.expect("reopen").is_none());
    assert!(bed.names("").await.is_empty(), "nothing of this is visible");
    bed.store.probe().await.expect("probe");
    assert!(bed.store.space().await.expect("space").total_bytes > 0);
}

/// Copies are equal and independent, their outboards too.
pub async fn copies(bed: &Bed) {
    let key = bed.key();
    let draft = bed.store.create(&key, None).await.expect("create");
    let data = bytes_like(200_000, 5);
    draft
        .write_at(0, vec![data.clone().into()])
        .await
        .expect("write");
    draft
        .write_groups(0, &[[1; 32], [2; 32]])
        .await
        .expect("groups");
    let stamp = draft.finish(200_000, MTIME, None).await.expect("finish");
    bed.store.settle(&[draft]).await.expect("settle");
    let p = bed.publication(&(key.clone(), stamp), "f");
    bed.store.publish(&p).await.expect("publish");
    let copy = bed.key();
    let place = Place::Visible(path("f"));
    let draft = bed
        .store
        .create_copy(&copy, &place, Some(&key))
        .await
        .expect("copy");
    assert_eq!(draft.read_at(0, 200_000).await.expect("read"), data);
    assert_eq!(
        draft.read_groups(1, 2).await.expect("groups"),
        [Some([2; 32]), None]
    );
    draft
        .write_at(0, vec![Bytes::from_static(b"changed")])
        .await
        .expect("write");
    assert_eq!(bed.content("f").await, data);
    let bare = bed
        .store
        .create_copy(&bed.key(), &place, None)
        .await
        .expect("copy");
    assert_eq!(bare.read_groups(0, 1).await.expect("groups"), [None]);
    let none = Place::Visible(path("none"));
    let missing = bed
        .store
        .create_copy(&bed.key(), &none, None)
        .await
        .map(|_| ());
    assert_eq!(kind(missing), Kind::NotFound);
}

/// A reader finishes what it began.
pub async fn open_content_outlives_its_name(bed: &Bed) {
    let (_, stamp) = bed.published("f", b"0123456789").await;
    let content = bed
        .store
        .open(&Place::Visible(path("f")))
        .await
        .expect("open");
    let key = bed.key();
    assert!(
        bed.store
            .retire(&path("f"), stamp.ino, &key)
            .await
            .expect("retire")
    );
    bed.store.remove_kept(&key).await.expect("remove");
    assert_eq!(content.read_at(5, 100).await.expect("read"), "56789");
    assert!(content.unchanged().await.expect("unchanged"));
    assert_eq!(content.stamp().size, 10);
}
