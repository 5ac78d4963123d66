//! Power cuts on the recorded disk: every prefix of every step.

use bytes::Bytes;
use gfl_core::store::conformance::{Bed, MTIME, path};
use gfl_core::store::memory::Memory;
use gfl_core::store::{CameOut, Found, Place, Publish};

#[tokio::test]
async fn publish_survives_a_cut_after_every_step() {
    for refuses in [false, true] {
        for edited in [false, true] {
            for cut in 0.. {
                let memory = Memory::new();
                memory.set_refuses_exchange(refuses);
                let bed = Bed::new(memory.clone(), None, ());
                let old = bed.published("a/f", b"old").await;
                if edited {
                    memory.person_writes(&path("a/f"), b"edit");
                }
                bed.store.sync_dirs(&[path("a")]).await.unwrap();
                assert_eq!(memory.pending(), 0);
                let new = bed.settled(b"new").await;
                let p = Publish {
                    replaces: Some(old.clone()),
                    ..bed.publication(&new, "a/f")
                };
                let done = bed.store.publish(&p).await.unwrap();
                if cut > memory.pending() {
                    break;
                }
                memory.crash_keeping(cut);
                let now = bed.content("a/f").await;
                assert!(now != b"", "whole old or whole new, never nothing");
                let redone = bed.store.publish(&p).await.unwrap();
                for published in [&done, &redone] {
                    match published.came_out {
                        CameOut::Edited(stamp) => assert!(edited && stamp.size == 4),
                        CameOut::Ours => assert!(!edited),
                        CameOut::Nothing => panic!("something came out"),
                    }
                }
                assert_eq!(bed.content("a/f").await, b"new");
                let (key, want) = if edited {
                    (&p.edit_key, &b"edit"[..])
                } else {
                    (&old.0, &b"old"[..])
                };
                assert_eq!(bed.read(&Place::Kept(key.clone())).await, want);
                bed.store.sync_dirs(&[path("a")]).await.unwrap();
                memory.crash(cut as u64);
                assert_eq!(bed.content("a/f").await, b"new", "synced names stay");
                assert!(bed.store.drafts().await.unwrap().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_draft_that_was_not_settled_is_gone_after_a_cut() {
    let memory = Memory::new();
    let bed = Bed::new(memory.clone(), None, ());
    let key = bed.key();
    let data = vec![Bytes::from_static(b"x")];
    let (_, stamp) = bed
        .store
        .create_whole(&key, data, MTIME, None)
        .await
        .unwrap();
    let p = bed.publication(&(key, stamp), "f");
    bed.store.publish(&p).await.unwrap();
    let pending = memory.pending();
    memory.crash_keeping(pending);
    assert_eq!(
        bed.found("f").await,
        Found::Nothing,
        "which is why settling comes first"
    );
}

#[tokio::test]
async fn moves_survive_a_cut_after_every_step() {
    for (refuses, over) in [(false, false), (false, true), (true, false), (true, true)] {
        for cut in 0.. {
            let memory = Memory::new();
            memory.set_refuses_exchange(refuses);
            let bed = Bed::new(memory.clone(), None, ());
            let (_, stamp) = bed.published("a/from", b"x").await;
            bed.published("b/there", b"old").await;
            let all = [path("a"), path("b")];
            bed.store.sync_dirs(&all).await.unwrap();
            let to = if over {
                path("b/there")
            } else {
                path("b/free")
            };
            let key = bed.key();
            let from = path("a/from");
            let go = || {
                bed.store
                    .rename(&from, stamp.ino, &to, over.then_some(&key))
            };
            assert!(go().await.unwrap());
            if cut > memory.pending() {
                break;
            }
            memory.crash_keeping(cut);
            assert!(go().await.unwrap(), "the redo");
            assert_eq!(bed.content(to.as_str()).await, b"x");
            assert_eq!(bed.found("a/from").await, Found::Nothing);
            if over {
                assert_eq!(bed.read(&Place::Kept(key.clone())).await, b"old");
            }
            let trash = bed.key();
            assert!(bed.store.retire(&to, stamp.ino, &trash).await.unwrap());
            memory.crash(cut as u64);
            assert!(
                bed.store
                    .rename(&from, stamp.ino, &to, over.then_some(&key))
                    .await
                    .is_ok()
            );
            assert!(
                bed.store.retire(&to, stamp.ino, &trash).await.unwrap(),
                "the redo"
            );
            assert_eq!(bed.read(&Place::Kept(trash)).await, b"x");
        }
    }
}
