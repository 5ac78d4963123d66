//! Injected faults: they come when told, and what was there before stays.

use crate::Wood;
use bytes::Bytes;
use gfl_core::Kind;
use gfl_core::store::conformance::{Bed, MTIME};
use gfl_core::store::fault::{Fault, Faulty, Op};
use gfl_core::store::{CameOut, Publish};

#[tokio::test]
async fn faults_come_when_told_and_leave_the_old() {
    let wood = Wood::new();
    let faulty = Faulty::new(wood.tree.clone());
    let faults = faulty.faults();
    let bed = Bed {
        store: faulty.clone(),
        ..wood.bed
    };
    let old = bed.published("f", b"old").await;

    faults.fail(Op::Write, Fault::Short, 1, 1);
    let draft = bed.store.create(&bed.key(), None).await.unwrap();
    draft
        .write_at(0, vec![Bytes::from_static(b"1234")])
        .await
        .unwrap();
    let e = draft
        .write_at(4, vec![Bytes::from_static(b"5678")])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::StorageFull);
    assert_eq!(draft.read_at(0, 8).await.unwrap(), &b"123456\0\0"[..]);
    draft
        .write_at(4, vec![Bytes::from_static(b"5678")])
        .await
        .unwrap();

    faults.fail(Op::Settle, Fault::Io, 0, 1);
    let stamp = draft.finish(8, MTIME, None).await.unwrap();
    let settle = || bed.store.settle(std::slice::from_ref(&draft));
    assert_eq!(settle().await.unwrap_err().kind(), Kind::Internal);
    assert_eq!(faults.armed(), 0);
    assert!(settle().await.is_err(), "a failed sync is never taken back");
    assert!(draft.sync().await.is_err());

    let new = bed.settled(b"new").await;
    let p = Publish {
        replaces: Some(old),
        ..bed.publication(&new, "f")
    };
    faults.fail(Op::Publish, Fault::Full, 0, 1);
    assert_eq!(
        bed.store.publish(&p).await.unwrap_err().kind(),
        Kind::StorageFull
    );
    assert_eq!(bed.content("f").await, b"old");
    faults.fail(Op::Publish, Fault::Lost, 0, 1);
    assert_eq!(
        bed.store.publish(&p).await.unwrap_err().kind(),
        Kind::Internal
    );
    assert_eq!(
        bed.store.publish(&p).await.unwrap().came_out,
        CameOut::Ours,
        "the redo"
    );
    faults.fail(Op::Look, Fault::Io, 0, 1);
    faults.clear();
    assert_eq!(bed.content("f").await, b"new");
    assert_eq!(stamp.size, 8);
}
