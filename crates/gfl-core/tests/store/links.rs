//! Invariant 9: nothing outside is reached, nothing of ours, and nothing that is no file is touched.

use crate::Wood;
use gfl_api::path::FilePath;
use gfl_core::Kind;
use gfl_core::settings::Durability;
use gfl_core::store::conformance::path;
use gfl_core::store::{CameOut, Found, Place, Store};
use rustix::fs::{CWD, Mode};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

async fn links_are_safe(wood: &Wood) {
    let outside = plant_links(wood).await;
    bad_links_lead_nowhere(wood, &outside).await;
    good_links_are_followed(wood).await;
    bad_links_are_replaced_by_name(wood, &outside).await;
}

/// Links of every kind, good and bad, and a secret outside.
async fn plant_links(wood: &Wood) -> PathBuf {
    let outside = wood.dir.parent().unwrap().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    wood.bed.published("in/f", b"inside").await;
    wood.bed.published("gone/sub/f", b"deleted").await;
    let ino = fs::metadata(wood.at_path("gone")).unwrap().ino();
    let key = wood.bed.key();
    assert!(
        wood.bed
            .store
            .retire(&path("gone"), ino, &key)
            .await
            .unwrap()
    );
    let link = |target: &str, name: &str| symlink(target, wood.at_path(name)).unwrap();
    let absolute = outside.join("secret");
    link(absolute.to_str().unwrap(), "absolute");
    link(outside.to_str().unwrap(), "absolute-dir");
    link("../outside/secret", "relative");
    link("../outside", "relative-dir");
    link("in/../../outside", "winding");
    link("..", "up");
    link("loop", "loop");
    link("nothing", "dangling");
    link(".gfl", "own");
    link(".gfl/kept", "kept");
    link(&format!("in/../.gfl/kept/{key}"), "kept-dir");
    link(&format!(".gfl/kept/{key}/sub/f"), "kept-file");
    link("own/drafts", "own-by-link");
    link("in", "good-dir");
    link("good-dir/f", "good");
    symlink("../good", wood.at_path("in/good-up")).unwrap();
    outside
}

async fn bad_links_lead_nowhere(wood: &Wood, outside: &Path) {
    for bad in [
        "absolute",
        "absolute-dir",
        "absolute-dir/secret",
        "relative",
        "relative-dir",
        "relative-dir/secret",
        "winding",
        "winding/secret",
        "up",
        "up/outside/secret",
        "loop",
        "dangling",
        "own",
        "own/drafts",
        "kept",
        "kept-dir",
        "kept-dir/sub",
        "kept-dir/sub/f",
        "kept-file",
        "own-by-link",
    ] {
        assert_eq!(wood.bed.found(bad).await, Found::Other, "{bad}");
        let open = wood.bed.store.open(&Place::Visible(path(bad))).await;
        let e = open.map(|_| ()).unwrap_err();
        assert!(
            matches!(e.kind(), Kind::InvalidPath | Kind::ReservedPath),
            "{bad}: {e}"
        );
        assert!(
            !e.message().contains(wood.dir.to_str().unwrap()),
            "names no place of the server: {e}"
        );
        assert!(
            wood.bed.store.list(&path(bad), None, 9).await.is_err(),
            "{bad}"
        );
        assert!(
            wood.bed
                .store
                .make_dir(&path(bad).join("new").unwrap())
                .await
                .is_err(),
            "{bad}"
        );
        assert!(
            wood.bed
                .store
                .set_meta(&path(bad), None, Some(0o777))
                .await
                .is_err(),
            "{bad}"
        );
        let draft = wood.bed.settled(b"x").await;
        let p = wood.bed.publication(&draft, &format!("{bad}/new"));
        assert!(wood.bed.store.publish(&p).await.is_err(), "{bad}");
    }
    nothing_outside_was_touched(outside);
}

fn nothing_outside_was_touched(outside: &Path) {
    assert_eq!(
        fs::read_dir(outside).unwrap().count(),
        1,
        "nothing was made outside"
    );
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
}

/// Where a link stands something else may be put; it never gets to where the link leads.
async fn bad_links_are_replaced_by_name(wood: &Wood, outside: &Path) {
    for bad in [
        "absolute",
        "absolute-dir",
        "relative",
        "up",
        "loop",
        "dangling",
        "own",
        "kept",
    ] {
        let draft = wood.bed.settled(bad.as_bytes()).await;
        let p = wood.bed.publication(&draft, bad);
        wood.bed.store.publish(&p).await.unwrap();
        assert_eq!(fs::read(wood.at_path(bad)).unwrap(), bad.as_bytes());
        let kept = Place::Kept(p.edit_key.clone());
        assert!(
            wood.bed
                .store
                .link(&kept, &path(bad))
                .await
                .unwrap()
                .is_some()
        );
    }
    nothing_outside_was_touched(outside);
}

async fn good_links_are_followed(wood: &Wood) {
    for good in ["good", "good-dir/f", "in/good-up", "good-dir/good-up"] {
        assert_eq!(wood.bed.content(good).await, b"inside", "{good}");
    }
    let names = wood
        .bed
        .store
        .list(&FilePath::root(), None, 100)
        .await
        .unwrap();
    let shown: Vec<_> = names.names.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(shown, ["good", "good-dir", "in"]);
    assert_eq!(names.skipped, 13);
    // Publishing at a link replaces the link, by its name, and never what it leads to.
    let draft = wood.bed.settled(b"in its place").await;
    let p = wood.bed.publication(&draft, "good");
    let published = wood.bed.store.publish(&p).await.unwrap();
    assert!(matches!(published.came_out, CameOut::Edited(_)));
    assert_eq!(fs::read(wood.at_path("good")).unwrap(), b"in its place");
    assert_eq!(fs::read(wood.at_path("in/f")).unwrap(), b"inside");
    assert_eq!(
        wood.bed.store.publish(&p).await.unwrap(),
        published,
        "redone"
    );
    // The link is kept as it was, and can be put back where it was.
    let kept = Place::Kept(p.edit_key.clone());
    let Some(link) = wood.bed.store.link(&kept, &path("good")).await.unwrap() else {
        panic!("a link is kept");
    };
    let target = wood.bed.found("in/f").await;
    assert_eq!(link.leads_to, target);
    let elsewhere = wood.bed.store.link(&kept, &path("in/good")).await.unwrap();
    assert_eq!(elsewhere.unwrap().leads_to, Found::Nothing);
    let not_made_yet = wood.bed.store.link(&kept, &path("a/b/good")).await.unwrap();
    assert_eq!(not_made_yet.unwrap().leads_to, Found::Nothing);
    fs::remove_file(wood.at_path("good")).unwrap();
    let Found::File { stamp, .. } = target else {
        panic!("a file");
    };
    let good = path("good");
    let back = wood.bed.store.unretire(&p.edit_key, stamp.ino, &good);
    assert!(back.await.unwrap());
    assert_eq!(wood.bed.content("good").await, b"inside");
    // Deleting a link deletes the link.
    let key = wood.bed.key();
    for _ in 0..2 {
        assert!(
            wood.bed
                .store
                .retire(&path("good"), stamp.ino, &key)
                .await
                .unwrap()
        );
    }
    assert_eq!(wood.bed.found("good").await, Found::Nothing);
    assert_eq!(wood.bed.content("in/f").await, b"inside");
    let kept = wood
        .bed
        .store
        .open(&Place::Kept(key.clone()))
        .await
        .map(|_| ());
    assert_eq!(
        kept.unwrap_err().kind(),
        Kind::NotFound,
        "a kept link is not followed"
    );
    assert!(
        wood.bed
            .store
            .unretire(&key, stamp.ino, &path("good"))
            .await
            .unwrap()
    );
    assert_eq!(wood.bed.content("good").await, b"inside");
}

#[tokio::test]
async fn links_are_followed_inside_and_refused_outside() {
    links_are_safe(&Wood::new()).await;
}

#[tokio::test]
async fn links_are_as_safe_without_openat2() {
    let wood = Wood::new();
    wood.tree.pretend_no_openat2();
    links_are_safe(&wood).await;
}

#[tokio::test]
async fn a_link_that_is_swapped_all_the_time_never_leads_out() {
    let wood = Wood::with(Durability::None);
    let outside = wood.dir.parent().unwrap().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("f"), b"secret").unwrap();
    wood.bed.published("real/f", b"inside").await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (dir, stopped) = (wood.dir.clone(), Arc::clone(&stop));
    let swapper = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            for target in ["../outside", "real"] {
                let _ = fs::remove_file(dir.join("new"));
                symlink(target, dir.join("new")).unwrap();
                fs::rename(dir.join("new"), dir.join("door")).unwrap();
            }
        }
    });
    let mut read = 0;
    for _ in 0..3000 {
        if let Ok(content) = wood.tree.open(&Place::Visible(path("door/f"))).await {
            assert_eq!(content.read_at(0, 100).await.unwrap(), "inside");
            read += 1;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(read > 0, "some met the good link");
}

#[tokio::test]
async fn what_is_not_a_file_is_neither_served_nor_touched() {
    let wood = Wood::new();
    fs::create_dir_all(wood.at_path("d")).unwrap();
    for name in ["d/fifo", "d/ok"] {
        let full = wood.at_path(name);
        rustix::fs::mknodat(CWD, &full, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    fs::remove_file(wood.at_path("d/ok")).unwrap();
    fs::write(wood.at_path("d/ok"), b"").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(wood.at_path("d/sock")).unwrap();
    let bad = std::ffi::OsStr::from_bytes(b"bad-\xff");
    fs::write(wood.at_path("d").join(bad), b"").unwrap();
    let names = wood.bed.store.list(&path("d"), None, 10).await.unwrap();
    assert_eq!(names.names.len(), 1);
    assert_eq!(names.names[0].name, "ok");
    assert_eq!(names.skipped, 3);
    for name in ["d/fifo", "d/sock"] {
        assert_eq!(wood.bed.found(name).await, Found::Other);
        assert!(
            wood.bed
                .store
                .open(&Place::Visible(path(name)))
                .await
                .is_err()
        );
        assert!(
            wood.bed
                .store
                .set_meta(&path(name), Some(0), None)
                .await
                .is_err()
        );
        let draft = wood.bed.settled(b"x").await;
        let e = wood
            .bed
            .store
            .publish(&wood.bed.publication(&draft, name))
            .await
            .unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict);
    }
    assert!(wood.at_path("d/fifo").exists());
}

#[tokio::test]
async fn own_folder_is_closed_to_others_and_unlisted() {
    let wood = Wood::new();
    for name in [".gfl", ".gfl/drafts", ".gfl/groups", ".gfl/kept"] {
        assert_eq!(
            fs::metadata(wood.at_path(name)).unwrap().mode() & 0o777,
            0o700,
            "{name}"
        );
    }
    let draft = wood.bed.store.create(&wood.bed.key(), None).await.unwrap();
    let file = wood.at_path(".gfl/drafts").join(draft.key().as_str());
    assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    assert!(
        wood.bed
            .store
            .list(&FilePath::root(), None, 9)
            .await
            .unwrap()
            .names
            .is_empty()
    );
}
