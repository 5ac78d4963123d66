//! Large folders, sparse files, full and read-only disks.

use crate::Wood;
use bytes::Bytes;
use gfl_core::Kind;
use gfl_core::settings::Durability;
use gfl_core::store::Place;
use gfl_core::store::conformance::{Bed, MTIME, path};
use gfl_core::store::tree::Tree;
use rustix::fs::{CWD, Mode};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

#[tokio::test]
async fn pages_through_a_large_folder() {
    const COUNT: usize = 50_000;
    const PAGE: usize = 7_000;
    let wood = Wood::with(Durability::None);
    let dir = wood.at_path("big");
    fs::create_dir(&dir).unwrap();
    let mut want: Vec<String> = (0..COUNT).map(|i| format!("n{:x}", i * 7919)).collect();
    for name in &want {
        fs::File::create(dir.join(name)).unwrap();
    }
    want.sort();
    let mut got: Vec<String> = Vec::new();
    loop {
        let page = wood
            .bed
            .store
            .list(&path("big"), got.last().map(String::as_str), PAGE)
            .await
            .unwrap();
        assert!(page.names.len() <= PAGE);
        got.extend(page.names.into_iter().map(|n| n.name));
        if !page.more {
            break;
        }
    }
    assert_eq!(got, want);
    let all = wood
        .bed
        .store
        .list(&path("big"), None, usize::MAX)
        .await
        .unwrap();
    assert_eq!(
        all.names.len(),
        gfl_core::limits::LIST_CHUNK_NAMES,
        "capped"
    );
    assert!(all.more);
}

#[tokio::test]
async fn kept_folders_of_any_shape_are_removed() {
    let wood = Wood::with(Durability::None);
    let outside = wood.dir.parent().unwrap().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("precious"), b"x").unwrap();
    let top = wood.at_path("d");
    fs::create_dir(&top).unwrap();
    for i in 0..3000 {
        fs::write(top.join(format!("f{i}")), b"").unwrap();
    }
    symlink(&outside, top.join("link")).unwrap();
    fs::write(top.join("~1"), b"a name that hoisting would like").unwrap();
    fs::create_dir_all(top.join("closed/inner/more")).unwrap();
    fs::write(top.join("closed/inner/f"), b"").unwrap();
    fs::set_permissions(top.join("closed/inner"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    // Deeper than any path may be, so made step by step.
    let mut dir = rustix::fs::openat(CWD, &top, rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "deep", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "deep", rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    }
    let (ino, key) = (fs::metadata(&top).unwrap().ino(), wood.bed.key());
    assert!(wood.bed.store.retire(&path("d"), ino, &key).await.unwrap());
    wood.bed.store.remove_kept(&key).await.unwrap();
    assert!(!wood.kept(&key).exists());
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"x");
}

#[tokio::test]
async fn sparse_copies_stay_sparse() {
    let wood = Wood::with(Durability::None);
    const SIZE: u64 = 2 << 40;
    let draft = wood.bed.store.create(&wood.bed.key(), None).await.unwrap();
    draft
        .write_at(SIZE / 2, vec![Bytes::from_static(b"middle")])
        .await
        .unwrap();
    let stamp = draft.finish(SIZE, MTIME, None).await.unwrap();
    let p = wood
        .bed
        .publication(&(draft.key().clone(), stamp), "sparse");
    wood.bed.store.publish(&p).await.unwrap();
    let place = Place::Visible(path("sparse"));
    let copy = wood
        .bed
        .store
        .create_copy(&wood.bed.key(), &place, None)
        .await
        .unwrap();
    assert_eq!(copy.read_at(SIZE / 2, 6).await.unwrap(), "middle");
    let meta = fs::metadata(wood.at_path(".gfl/drafts").join(copy.key().as_str())).unwrap();
    assert_eq!(meta.len(), SIZE);
    assert!(meta.blocks() < 10_000, "{} blocks", meta.blocks());
}

#[tokio::test]
async fn a_hint_larger_than_the_disk_is_refused_at_once() {
    let wood = Wood::new();
    let e = wood
        .bed
        .store
        .create(&wood.bed.key(), Some(1 << 60))
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(e.kind(), Kind::StorageFull);
    assert!(e.message().contains("bytes free"), "{e}");
    assert!(wood.bed.store.drafts().await.unwrap().is_empty());
}

#[tokio::test]
async fn reserved_space_is_given_back() {
    let wood = Wood::new();
    let draft = wood
        .bed
        .store
        .create(&wood.bed.key(), Some(32 << 20))
        .await
        .unwrap();
    let file = wood.at_path(".gfl/drafts").join(draft.key().as_str());
    assert_eq!(
        fs::metadata(&file).unwrap().len(),
        0,
        "reserved past the end"
    );
    draft
        .write_at(0, vec![Bytes::from_static(b"short after all")])
        .await
        .unwrap();
    draft.finish(15, MTIME, None).await.unwrap();
    let meta = fs::metadata(&file).unwrap();
    assert_eq!(meta.len(), 15);
    assert!(meta.blocks() < 64, "{} blocks", meta.blocks());
}

/// A small disk of its own, where we may mount one.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(options: &str) -> Option<(Mount, TempDir)> {
        let temp = TempDir::new().unwrap();
        let at = temp.path().join("disk");
        fs::create_dir(&at).unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&at)
            .output();
        if done.is_ok_and(|out| out.status.success()) {
            return Some((Mount(at), temp));
        }
        // Past the capture of test output: a skipped test must be seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no tmpfs ({options}); run as root to test disks"
        );
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_harms_nothing() {
    let Some((mount, temp)) = Mount::tmpfs("size=2m") else {
        return;
    };
    let wood = Wood::at(mount.0.clone(), Durability::Batch, temp);
    wood.bed.published("old", &[1; 200_000]).await;
    let hinted = wood
        .bed
        .store
        .create(&wood.bed.key(), Some(5 << 20))
        .await
        .map(|_| ());
    assert_eq!(hinted.unwrap_err().kind(), Kind::StorageFull);
    let draft = wood.bed.store.create(&wood.bed.key(), None).await.unwrap();
    let e = draft
        .write_at(0, vec![vec![2u8; 4 << 20].into()])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::StorageFull);
    assert!(e.message().contains("no space left"), "{e}");
    let (key, data) = (wood.bed.key(), vec![Bytes::from(vec![2u8; 4 << 20])]);
    let whole = wood
        .bed
        .store
        .create_whole(&key, data, 0, None)
        .await
        .map(|_| ());
    assert_eq!(whole.unwrap_err().kind(), Kind::StorageFull);
    assert_eq!(
        wood.bed.store.drafts().await.unwrap().len(),
        1,
        "only the one still open"
    );
    wood.bed.store.discard(draft.key()).await.unwrap();
    drop(draft);
    assert_eq!(wood.bed.content("old").await, [1; 200_000]);
    wood.bed.published("new", &[3; 200_000]).await;
    drop(mount);
}

#[tokio::test]
async fn another_disk_inside_is_read_but_not_written() {
    let Some((mount, temp)) = Mount::tmpfs("size=2m") else {
        return;
    };
    let storage = temp.path().to_owned();
    let wood = Wood::at(storage, Durability::Batch, TempDir::new().unwrap());
    fs::write(mount.0.join("f"), b"there").unwrap();
    assert_eq!(wood.bed.content("disk/f").await, b"there");
    let draft = wood.bed.settled(b"x").await;
    for to in ["disk/f", "disk/new"] {
        let e = wood
            .bed
            .store
            .publish(&wood.bed.publication(&draft, to))
            .await
            .unwrap_err();
        assert_eq!(e.kind(), Kind::ReadOnlyStorage);
        assert!(e.message().contains("another file system"), "{e}");
    }
    drop(mount);
}

#[tokio::test]
async fn a_read_only_disk_serves_and_says_so() {
    let Some((mount, temp)) = Mount::tmpfs("size=2m") else {
        return;
    };
    let wood = Wood::at(mount.0.clone(), Durability::Batch, temp);
    wood.bed.published("f", b"x").await;
    let remount = std::process::Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&mount.0)
        .status()
        .unwrap();
    assert!(remount.success());
    let again = Tree::open(&mount.0, Durability::Batch).unwrap();
    let bed = Bed::new(again, None, ());
    assert_eq!(bed.content("f").await, b"x");
    assert_eq!(
        bed.store.probe().await.unwrap_err().kind(),
        Kind::ReadOnlyStorage
    );
    let e = bed
        .store
        .create(&bed.key(), None)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(e.kind(), Kind::ReadOnlyStorage);
    drop(mount);
}
