//! Power cuts at every point of a series of acknowledged changes: whatever prefix of the changes of names
//! the disk has kept, everything acknowledged is there afterwards, once.

use crate::bed::{Bed, path};
use crate::bodies::{GROUP, bytes};
use gfl_core::files::{Node, UploadState};
use std::collections::BTreeMap;

/// Everything visible: path -> content (`None`: a directory).
pub(crate) type World = BTreeMap<String, Option<Vec<u8>>>;

pub(crate) async fn world(bed: &Bed) -> World {
    let query = gfl_core::files::ListQuery {
        dir: path(""),
        after: None,
        limit: 1000,
        recursive: true,
    };
    let page = bed.app().list(&bed.me, &query).await.unwrap();
    let mut world = World::new();
    for entry in page.entries {
        let at = entry.path.to_string();
        let content = match entry.node {
            Node::Dir => None,
            Node::File { .. } => Some(bed.get(&at).await.unwrap()),
        };
        world.insert(at, content);
    }
    world
}

/// One of many series of changes.
async fn change(bed: &Bed, series: usize) {
    match series {
        0 => {
            bed.put("a", b"one").await;
            bed.put("a", b"two!").await;
            bed.put("d/e/f", b"deep").await;
            bed.delete("a").await.unwrap();
        }
        1 => {
            bed.mkdir("d").await;
            bed.put("d/f", b"x").await;
            bed.rename("d", "e", false).await.unwrap();
            bed.put("e/g", b"y").await;
            bed.rename("e", "h/i", false).await.unwrap();
        }
        2 => {
            bed.put("d/f", b"x").await;
            bed.put("d/g", b"y").await;
            bed.delete("d").await.unwrap();
            bed.put("d/f", b"again").await;
        }
        3 => {
            bed.put("a", b"source").await;
            bed.put("b", b"target").await;
            bed.rename("a", "b", true).await.unwrap();
            bed.put("a", b"new").await;
            bed.set_meta("a", Some(9_000), None).await.unwrap();
            bed.put("a", b"newer").await;
        }
        4 => {
            bed.put("d/f", b"x").await;
            bed.delete("d/f").await.unwrap();
            bed.restore("d/f", None).await.unwrap();
            bed.delete("d").await.unwrap();
            bed.restore("d", None).await.unwrap();
        }
        5 => {
            bed.mkdir("x").await;
            bed.delete("x").await.unwrap();
            bed.mkdir("x/y").await;
            bed.copy("old", "x/y/copy", false).await.unwrap();
        }
        _ => {
            bed.put("old", b"replaced").await;
            bed.rename("old", "p/q", false).await.unwrap();
            bed.delete("p/q").await.unwrap();
            bed.put("p/q", b"fresh").await;
            bed.rename("p", "old", false).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives_every_power_cut() {
    for series in 0..7 {
        for survivors in 0..64 {
            let bed = Bed::memory().await;
            bed.put("old", b"was there").await;
            bed.jobs().await;
            change(&bed, series).await;
            let (before, events) = (world(&bed).await, bed.events().await);
            let pending = bed.memory_store().unwrap().pending();
            bed.power_cut(survivors).await;
            assert_eq!(
                world(&bed).await,
                before,
                "series {series}, {survivors} of {pending}"
            );
            bed.jobs().await;
            assert_eq!(
                world(&bed).await,
                before,
                "series {series}, {survivors} of {pending}, settled"
            );
            assert_eq!(
                bed.events().await,
                events,
                "series {series}, {survivors} of {pending}"
            );
            // And again: a redo that is cut off is redone.
            bed.power_cut(survivors / 2).await;
            assert_eq!(
                world(&bed).await,
                before,
                "series {series}, {survivors} of {pending}, twice"
            );
            bed.leave().await;
            if survivors > pending {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_ranges_survive_every_power_cut() {
    let data = bytes(1, 4 * GROUP);
    for survivors in 0..3 {
        let bed = Bed::memory().await;
        let id = bed.begin("f", Some(data.len() as u64)).await;
        bed.part(&id, GROUP, &data[GROUP..2 * GROUP]).await.unwrap();
        let announced = bed.app().upload_fence(&bed.me, &id).await.unwrap().received;
        bed.part(&id, 2 * GROUP, &data[2 * GROUP..3 * GROUP])
            .await
            .unwrap();
        bed.power_cut(survivors).await;
        let status = bed.status(&id).await.unwrap();
        assert_eq!(
            (status.received, status.state),
            (announced, UploadState::Receiving)
        );
        // Half of what was lost, unaligned, then the rest.
        bed.part(&id, 2 * GROUP + 100, &data[2 * GROUP + 100..])
            .await
            .unwrap();
        bed.part(&id, 0, &data).await.unwrap();
        bed.complete(&id).await.unwrap();
        bed.power_cut(survivors).await;
        bed.has("f", &data).await;
        bed.leave().await;
    }
}
