//! Crash states made by hand on a real disk, and what a new start finds.

use crate::{Wood, exchange};
use bytes::Bytes;
use gfl_core::Kind;
use gfl_core::settings::Durability;
use gfl_core::store::conformance::{MTIME, path};
use gfl_core::store::{CameOut, Found, Place, Publish};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// `p` replaces "old" by "new" at `f`; nothing done yet.
async fn replacing(wood: &Wood) -> Publish {
    let old = wood.bed.published("f", b"old").await;
    let new = wood.bed.settled(b"new").await;
    Publish {
        replaces: Some(old),
        ..wood.bed.publication(&new, "f")
    }
}

async fn check_replaced(wood: &Wood, p: &Publish) {
    for _ in 0..2 {
        let done = wood.bed.store.publish(p).await.unwrap();
        assert_eq!(done.came_out, CameOut::Ours);
        assert_eq!(done.stamp.unwrap().ino, p.ino);
        assert_eq!(fs::read(wood.at_path("f")).unwrap(), b"new");
        let (key, _) = p.replaces.as_ref().unwrap();
        assert_eq!(fs::read(wood.kept(key)).unwrap(), b"old");
        assert!(!wood.draft(p).exists());
    }
}

#[tokio::test]
async fn publish_goes_on_after_the_exchange() {
    let wood = Wood::new();
    let p = replacing(&wood).await;
    exchange(&wood.draft(&p), &wood.at_path("f"));
    check_replaced(&wood, &p).await;
}

#[tokio::test]
async fn publish_goes_on_after_the_last_rename() {
    let wood = Wood::new();
    let p = replacing(&wood).await;
    exchange(&wood.draft(&p), &wood.at_path("f"));
    fs::rename(wood.draft(&p), wood.kept(&p.replaces.as_ref().unwrap().0)).unwrap();
    check_replaced(&wood, &p).await;
}

#[tokio::test]
async fn publish_goes_on_after_a_link_or_a_kept_copy() {
    // Without rename flags: the new name was linked, the draft's name is still there.
    let wood = Wood::new();
    let new = wood.bed.settled(b"new").await;
    let p = wood.bed.publication(&new, "g");
    fs::hard_link(wood.draft(&p), wood.at_path("g")).unwrap();
    let p = Publish {
        create_only: true,
        ..p
    };
    assert_eq!(
        wood.bed.store.publish(&p).await.unwrap().came_out,
        CameOut::Nothing
    );
    assert!(!wood.draft(&p).exists());
    // … or the old file has its kept name already.
    wood.tree.pretend_no_rename_flags();
    let p = replacing(&wood).await;
    fs::hard_link(
        wood.at_path("f"),
        wood.kept(&p.replaces.as_ref().unwrap().0),
    )
    .unwrap();
    check_replaced(&wood, &p).await;
}

#[tokio::test]
async fn a_folder_that_slipped_in_goes_back() {
    let wood = Wood::new();
    let p = replacing(&wood).await;
    // A person made a folder of it just before the exchange, and the power went.
    fs::remove_file(wood.at_path("f")).unwrap();
    fs::create_dir(wood.at_path("f")).unwrap();
    fs::write(wood.at_path("f/inner"), b"precious").unwrap();
    exchange(&wood.draft(&p), &wood.at_path("f"));
    let e = wood.bed.store.publish(&p).await.unwrap_err();
    assert_eq!(e.kind(), Kind::IsADirectory);
    assert_eq!(fs::read(wood.at_path("f/inner")).unwrap(), b"precious");
    assert_eq!(
        fs::read(wood.draft(&p)).unwrap(),
        b"new",
        "and the draft is as before"
    );
}

#[tokio::test]
async fn rename_over_goes_on_after_the_exchange() {
    let wood = Wood::new();
    let (_, stamp) = wood.bed.published("from", b"x").await;
    wood.bed.published("to", b"old").await;
    let key = wood.bed.key();
    exchange(&wood.at_path("from"), &wood.at_path("to"));
    for _ in 0..2 {
        let (from, to) = (path("from"), path("to"));
        assert!(
            wood.bed
                .store
                .rename(&from, stamp.ino, &to, Some(&key))
                .await
                .unwrap()
        );
        assert_eq!(fs::read(wood.at_path("to")).unwrap(), b"x");
        assert_eq!(fs::read(wood.kept(&key)).unwrap(), b"old");
        assert!(!wood.at_path("from").exists());
    }
}

#[tokio::test]
async fn a_change_of_case_stopped_in_the_middle_is_finished() {
    let wood = Wood::new();
    let (_, stamp) = wood.bed.published("name", b"x").await;
    let passing = wood.at_path(&format!(".gfl/passing-{}", stamp.ino));
    fs::rename(wood.at_path("name"), passing).unwrap();
    let done = wood
        .bed
        .store
        .rename(&path("name"), stamp.ino, &path("Name"), None)
        .await;
    assert!(done.unwrap());
    assert_eq!(fs::read(wood.at_path("Name")).unwrap(), b"x");
    // On a file system that tells them apart it is an ordinary rename.
    assert!(
        wood.bed
            .store
            .rename(&path("Name"), stamp.ino, &path("NAME"), None)
            .await
            .unwrap()
    );
    assert_eq!(wood.bed.store.collides(&path("name")).await.unwrap(), None);
    assert_eq!(wood.bed.store.collides(&path("NAME")).await.unwrap(), None);
}

#[tokio::test]
async fn two_names_of_one_file_are_two_files_to_a_rename() {
    let wood = Wood::new();
    let (_, stamp) = wood.bed.published("a", b"x").await;
    fs::hard_link(wood.at_path("a"), wood.at_path("b")).unwrap();
    let done = wood
        .bed
        .store
        .rename(&path("a"), stamp.ino, &path("b"), None)
        .await;
    assert_eq!(done.unwrap_err().kind(), Kind::AlreadyExists);
    assert!(wood.at_path("a").exists() && wood.at_path("b").exists());
}

#[tokio::test]
async fn names_too_long_are_not_storable() {
    let wood = Wood::new();
    let draft = wood.bed.settled(b"x").await;
    // Every segment is short enough, the whole is longer than the kernel takes.
    let long = vec!["n".repeat(250); 16].join("/") + "/" + &"n".repeat(79);
    assert_eq!(long.len(), 4095);
    wood.bed
        .store
        .publish(&wood.bed.publication(&draft, &long))
        .await
        .unwrap();
    assert_eq!(wood.bed.content(&long).await, b"x");
    let longer = long + "n";
    assert_eq!(wood.bed.found(&longer).await, Found::Nothing);
    let draft = wood.bed.settled(b"x").await;
    let done = wood
        .bed
        .store
        .publish(&wood.bed.publication(&draft, &longer))
        .await;
    if let Err(e) = done {
        assert_eq!(e.kind(), Kind::NameNotStorable);
    }
}

#[tokio::test]
async fn changes_in_place_are_noticed() {
    let wood = Wood::new();
    wood.bed.published("f", b"0123456789").await;
    let content = wood
        .bed
        .store
        .open(&Place::Visible(path("f")))
        .await
        .unwrap();
    assert!(content.unchanged().await.unwrap());
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(wood.at_path("f"), mode).unwrap();
    assert!(
        content.unchanged().await.unwrap(),
        "ctime alone says nothing"
    );
    fs::write(wood.at_path("f"), b"0123456780").unwrap();
    assert!(!content.unchanged().await.unwrap());
}

#[tokio::test]
async fn old_names_survive_a_new_start() {
    let temp = TempDir::new().unwrap();
    let dir = temp.path().join("s");
    let first = Wood::at(dir.clone(), Durability::Batch, TempDir::new().unwrap());
    first.bed.published("f", b"x").await;
    let key = first.bed.key();
    let draft = first.bed.store.create(&key, None).await.unwrap();
    draft
        .write_at(0, vec![Bytes::from_static(b"begun")])
        .await
        .unwrap();
    draft.write_groups(0, &[[5; 32]]).await.unwrap();
    draft.sync().await.unwrap();
    drop((draft, first));
    let second = Wood::at(dir, Durability::Batch, temp);
    assert_eq!(second.bed.content("f").await, b"x");
    let draft = second.bed.store.reopen(&key).await.unwrap().unwrap();
    assert_eq!(draft.read_at(0, 5).await.unwrap(), "begun");
    assert_eq!(draft.read_groups(0, 1).await.unwrap(), [Some([5; 32])]);
}

#[tokio::test]
async fn a_discard_after_publishing_leaves_the_version_its_outboard() {
    let wood = Wood::new();
    let key = wood.bed.key();
    let draft = wood.bed.store.create(&key, None).await.unwrap();
    draft.write_groups(0, &[[5; 32]]).await.unwrap();
    let stamp = draft.finish(0, MTIME, None).await.unwrap();
    wood.bed
        .store
        .publish(&wood.bed.publication(&(key.clone(), stamp), "f"))
        .await
        .unwrap();
    wood.bed.store.discard(&key).await.unwrap();
    assert!(wood.at_path(".gfl/groups").join(key.as_str()).exists());
    wood.bed.store.remove_kept(&key).await.unwrap();
    assert!(!wood.at_path(".gfl/groups").join(key.as_str()).exists());
}

#[tokio::test]
async fn what_cannot_be_kept_is_put_back() {
    let wood = Wood::new();
    let p = replacing(&wood).await;
    let (key, _) = p.replaces.as_ref().unwrap();
    // Both places are taken, by things that do not belong there.
    fs::write(wood.kept(key), b"1").unwrap();
    fs::write(wood.kept(&p.edit_key), b"2").unwrap();
    for _ in 0..2 {
        let e = wood.bed.store.publish(&p).await.unwrap_err();
        assert_eq!(e.kind(), Kind::Internal);
        assert_eq!(fs::read(wood.at_path("f")).unwrap(), b"old");
        assert_eq!(fs::read(wood.draft(&p)).unwrap(), b"new");
    }
    let (_, stamp) = wood.bed.published("from", b"x").await;
    let over = wood
        .bed
        .store
        .rename(&path("from"), stamp.ino, &path("f"), Some(key))
        .await;
    assert_eq!(over.unwrap_err().kind(), Kind::Internal);
    assert_eq!(fs::read(wood.at_path("f")).unwrap(), b"old");
    assert_eq!(fs::read(wood.at_path("from")).unwrap(), b"x");
    fs::remove_file(wood.kept(key)).unwrap();
    fs::remove_file(wood.kept(&p.edit_key)).unwrap();
    check_replaced(&wood, &p).await;
}
