//! What is neither file nor folder: links that lead nowhere or out, pipes, sockets.

use crate::bed::{Bed, DAY_MS, fails, path};
use gfl_core::Kind;
use gfl_core::files::{Delete, ListQuery};

crate::cases! {
    broken_links_can_only_be_deleted
    a_link_whose_target_goes_vanishes
    pipes_and_sockets_are_left_alone
}

/// Everything that is listed, and how much is not.
pub(crate) async fn walk(bed: &Bed) -> (Vec<String>, u64) {
    let query = ListQuery {
        dir: path(""),
        after: None,
        limit: 1000,
        recursive: true,
    };
    let page = bed.app().list(&bed.me, &query).await.unwrap();
    let names = page.entries.iter().map(|e| e.path.to_string());
    (names.collect(), page.skipped)
}

async fn broken_links_can_only_be_deleted(bed: &Bed) {
    bed.put("f", b"content").await;
    bed.mkdir("d").await;
    let broken = [
        ("dangling", "nowhere"),
        ("loop", "loop"),
        ("out", "../../etc"),
        ("abs", "/etc"),
    ];
    for (name, text) in broken {
        bed.person_links(name, text);
    }
    assert_eq!(walk(bed).await, (vec!["d".into(), "f".into()], 4));
    for (name, _) in broken {
        fails(bed.stat(name).await, Kind::InvalidPath);
        fails(bed.get(name).await, Kind::InvalidPath);
        fails(bed.try_put(name, b"x").await, Kind::InvalidPath);
        fails(bed.rename(name, "x", false).await, Kind::InvalidPath);
        fails(bed.rename("f", name, true).await, Kind::InvalidPath);
        fails(bed.copy(name, "x", false).await, Kind::InvalidPath);
        fails(bed.copy("f", name, true).await, Kind::InvalidPath);
        fails(bed.set_meta(name, Some(5), None).await, Kind::InvalidPath);
        fails(
            bed.app().mkdir(&bed.me, &path(name)).await,
            Kind::InvalidPath,
        );
        assert!(bed.is_link(name), "{name}");
        bed.delete(name).await.unwrap();
        assert!(!bed.is_link(name), "{name}");
        bed.is_gone(name).await;
        bed.check().await;
        fails(bed.restore(name, None).await, Kind::NotFound);
    }
    // As soon as it leads somewhere it can come back.
    bed.put("nowhere", b"somewhere").await;
    bed.restore("dangling", None).await.unwrap();
    bed.has("dangling", b"somewhere").await;
    bed.has("f", b"content").await;
    assert_eq!(bed.drafts().await, 0);
}

async fn a_link_whose_target_goes_vanishes(bed: &Bed) {
    bed.put("t", b"target").await;
    bed.put("d/f", b"file").await;
    bed.person_links("link", "t");
    bed.has("link", b"target").await;
    bed.jobs().await;
    bed.delete("t").await.unwrap();
    fails(bed.stat("link").await, Kind::InvalidPath);
    bed.jobs().await;
    assert_eq!(bed.events().await.last().unwrap(), "Vanished link");
    // A file and a folder with a broken link in their place.
    bed.person_removes("d");
    bed.person_links("d", "nowhere");
    assert_eq!(walk(bed).await, (vec![], 2));
    bed.jobs().await;
    assert_eq!(bed.events().await.last().unwrap(), "Vanished d");
    bed.check().await;
    bed.restore("t", None).await.unwrap();
    bed.has("link", b"target").await;
    bed.jobs().await;
    bed.check().await;
}

async fn pipes_and_sockets_are_left_alone(bed: &Bed) {
    let Some(dir) = bed.dir() else { return };
    bed.put("f", b"content").await;
    bed.mkdir("d").await;
    let mode = rustix::fs::Mode::RWXU;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("d/pipe"), fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("d/socket")).unwrap();
    for name in ["d/pipe", "d/socket"] {
        fails(bed.stat(name).await, Kind::InvalidPath);
        fails(bed.get(name).await, Kind::InvalidPath);
        fails(bed.try_put(name, b"x").await, Kind::InvalidPath);
        fails(bed.rename(name, "x", false).await, Kind::InvalidPath);
        fails(bed.rename("f", name, true).await, Kind::InvalidPath);
        fails(bed.copy(name, "x", false).await, Kind::InvalidPath);
        fails(bed.copy("f", name, true).await, Kind::InvalidPath);
        fails(bed.set_meta(name, Some(5), None).await, Kind::InvalidPath);
        fails(bed.delete(name).await, Kind::InvalidPath);
        assert!(dir.join(name).exists(), "{name}");
        bed.check().await;
    }
    assert_eq!(walk(bed).await, (vec!["d".into(), "f".into()], 2));
    // A folder that holds only such things is not empty.
    let plain = Delete::default();
    fails(
        bed.app().delete(&bed.me, &path("d"), &plain).await,
        Kind::NotEmpty,
    );
    bed.delete("d").await.unwrap();
    bed.restore("d", None).await.unwrap();
    assert!(dir.join("d/pipe").exists());
    bed.delete("d").await.unwrap();
    bed.clock.advance_ms(8 * DAY_MS);
    bed.jobs().await;
    bed.has("f", b"content").await;
}
