//! What a person changes with a shell.

use crate::bed::{Bed, fails, path};
use crate::bodies::{MIB, bytes};
use crate::hooks::Step;
use gfl_api::tree::Root;
use gfl_core::Kind;
use gfl_core::catalog::events::EventKind;
use gfl_core::files::{KeptReason, ListQuery, Node, Stat};
use std::os::unix::fs::PermissionsExt;

crate::cases! {
    a_new_file_is_weak_and_then_strong
    an_edited_file_becomes_a_new_version
    an_edit_that_an_upload_replaces_is_kept
    an_edit_between_look_and_rename_is_kept
    a_file_that_appears_between_look_and_rename_is_kept
    a_removed_file_vanishes_once
    a_file_that_became_a_folder_vanishes
    a_folder_that_became_a_file_is_adopted
    chmod_touch_and_backups_are_no_edits
    an_edit_right_before_deletion_is_what_is_kept
    nothing_of_ours_looks_like_an_edit
    hand_made_things_move_copy_and_go_like_others
}

fn etag_of(node: &Node) -> (&str, bool) {
    match node {
        Node::File { etag, b3, .. } => (etag, b3.is_some()),
        Node::Dir => panic!("a directory"),
    }
}

async fn a_new_file_is_weak_and_then_strong(bed: &Bed) {
    let data = bytes(1, MIB + 3);
    bed.person_writes("mine/f", &data);
    let stat = bed.stat("mine/f").await.unwrap();
    let (etag, known) = etag_of(&stat.node);
    assert!(etag.starts_with("W/\"m-") && !known);
    bed.has("mine/f", &data).await;
    bed.jobs().await;
    let stat = bed.stat("mine/f").await.unwrap();
    assert_eq!(stat.etag(), Some(Root::of(&data).etag().as_str()));
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Adopted mine/f"]);
}

async fn an_edited_file_becomes_a_new_version(bed: &Bed) {
    bed.put("f", b"ours").await;
    bed.jobs().await;
    bed.person_writes("f", b"theirs!");
    assert!(
        bed.stat("f")
            .await
            .unwrap()
            .etag()
            .unwrap()
            .starts_with("W/")
    );
    bed.has("f", b"theirs!").await;
    bed.jobs().await;
    assert_eq!(
        bed.stat("f").await.unwrap().etag(),
        Some(Root::of(b"theirs!").etag().as_str())
    );
    if let Some(dir) = bed.dir() {
        // In place, too.
        std::fs::write(dir.join("f"), b"in place").unwrap();
        bed.has("f", b"in place").await;
        bed.jobs().await;
        assert_eq!(bed.app().event_count(EventKind::Adopted).await.unwrap(), 2);
    }
    bed.check().await;
}

async fn an_edit_that_an_upload_replaces_is_kept(bed: &Bed) {
    bed.put("f", b"ours").await;
    bed.person_writes("f", b"theirs!");
    bed.put("f", b"ours again").await;
    bed.has("f", b"ours again").await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Edited, b"theirs!".to_vec())]
    );
    let edited = bed
        .versions("f")
        .await
        .into_iter()
        .find(|v| v.kept.is_some())
        .unwrap();
    bed.restore("f", Some(&edited.id)).await.unwrap();
    bed.has("f", b"theirs!").await;
    bed.delete("f").await.unwrap();
    bed.restore("f", Some(&edited.id)).await.unwrap();
    bed.has("f", b"theirs!").await;
}

async fn an_edit_between_look_and_rename_is_kept(bed: &Bed) {
    bed.put("f", b"ours").await;
    bed.hooks
        .before(Step::Publish, bed.person_will_write("f", b"theirs!"));
    bed.put("f", b"ours again").await;
    bed.has("f", b"ours again").await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Edited, b"theirs!".to_vec())]
    );
}

async fn a_file_that_appears_between_look_and_rename_is_kept(bed: &Bed) {
    bed.hooks
        .before(Step::Publish, bed.person_will_write("f", b"theirs!"));
    bed.put("f", b"ours").await;
    bed.has("f", b"ours").await;
    assert_eq!(
        bed.kept("f").await,
        [(KeptReason::Edited, b"theirs!".to_vec())]
    );
    // A move does not take what appears at its target.
    bed.hooks
        .before(Step::Rename, bed.person_will_write("g", b"theirs!"));
    fails(bed.rename("f", "g", false).await, Kind::AlreadyExists);
    bed.has("f", b"ours").await;
    bed.has("g", b"theirs!").await;
    assert_eq!(bed.app().event_count(EventKind::Moved).await.unwrap(), 0);
}

async fn a_removed_file_vanishes_once(bed: &Bed) {
    bed.put("f", b"x").await;
    bed.put("g", b"x").await;
    bed.jobs().await;
    bed.person_removes("f");
    bed.person_removes("g");
    bed.is_gone("f").await;
    fails(bed.get("f").await, Kind::NotFound);
    bed.jobs().await;
    bed.is_gone("f").await;
    bed.jobs().await;
    // An upload before anybody looked records it as well.
    assert!(bed.put("g", b"new").await.created);
    let events = bed.events().await;
    assert_eq!(
        events,
        [
            "Created f",
            "Created g",
            "Vanished f",
            "Vanished g",
            "Created g"
        ]
    );
}

async fn a_file_that_became_a_folder_vanishes(bed: &Bed) {
    for name in ["f", "g"] {
        bed.put(name, b"x").await;
        bed.person_removes(name);
        bed.person_writes(&format!("{name}/inside"), b"y");
    }
    // Noticed by a look, and by a write below.
    bed.is_dir("f").await;
    bed.jobs().await;
    bed.put("g/other", b"z").await;
    bed.has("f/inside", b"y").await;
    bed.has("g/inside", b"y").await;
    bed.jobs().await;
    assert_eq!(bed.app().event_count(EventKind::Vanished).await.unwrap(), 2);
    assert_eq!(bed.app().event_count(EventKind::Adopted).await.unwrap(), 2);
}

async fn a_folder_that_became_a_file_is_adopted(bed: &Bed) {
    bed.put("d/f", b"x").await;
    bed.person_removes("d");
    bed.person_writes("d", b"now a file");
    bed.has("d", b"now a file").await;
    bed.is_gone("d/f").await;
    bed.jobs().await;
    bed.put("d", b"and ours").await;
    assert_eq!(
        bed.kept("d").await,
        [(KeptReason::Replaced, b"now a file".to_vec())]
    );
    bed.is_gone("d/f").await;
}

/// The first thing in the list.
async fn listed(bed: &Bed) -> Stat {
    let query = ListQuery {
        dir: path(""),
        after: None,
        limit: 10,
        recursive: false,
    };
    let page = bed.app().list(&bed.me, &query).await.unwrap();
    page.entries.into_iter().next().unwrap()
}

async fn chmod_touch_and_backups_are_no_edits(bed: &Bed) {
    let Some(dir) = bed.dir() else { return };
    let data = bytes(2, 200_000);
    let put = bed.put("f", &data).await;
    bed.jobs().await;
    let file = dir.join("f");
    // chmod: another change time.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let same = |stat: &Stat| assert_eq!(stat.etag(), put.stat.etag());
    // Nobody has looked into it yet: no promise about its bytes.
    let doubted = |stat: &Stat| {
        assert!(stat.etag().unwrap().starts_with("W/"), "{stat:?}");
        let Node::File { version, b3, .. } = &stat.node else {
            panic!("{stat:?}")
        };
        assert!(version.is_some() && b3.is_none(), "{stat:?}");
    };
    doubted(&bed.stat("f").await.unwrap());
    doubted(&listed(bed).await);
    bed.jobs().await;
    same(&bed.stat("f").await.unwrap());
    same(&listed(bed).await);
    // A restored backup: another inode, same size and time.
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &data).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    doubted(&bed.stat("f").await.unwrap());
    bed.jobs().await;
    same(&bed.stat("f").await.unwrap());
    assert_eq!(bed.events().await, ["Created f"]);
    // Replaced before it was verified, it is still ours.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    bed.put("f", b"new").await;
    assert!(bed.kept("f").await == [(KeptReason::Replaced, data.clone())]);
    bed.jobs().await;
    // Other bytes with the same size and time are an edit all the same.
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(
        &file,
        b"new"[..2].iter().chain(b"!").copied().collect::<Vec<_>>(),
    )
    .unwrap();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    // Nor does a copy of it pass for what it was.
    let copy = bed.copy("f", "copy", false).await.unwrap();
    assert_eq!(copy.stat.etag().unwrap(), Root::of(b"ne!").etag());
    bed.delete("copy").await.unwrap();
    bed.stat("f").await.unwrap();
    bed.jobs().await;
    assert_eq!(bed.app().event_count(EventKind::Adopted).await.unwrap(), 1);
    bed.has("f", b"ne!").await;
    // touch: another time, same bytes: a new version of the same content.
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    bed.has("f", b"ne!").await;
}

async fn an_edit_right_before_deletion_is_what_is_kept(bed: &Bed) {
    let Some(dir) = bed.dir() else { return };
    let edit = move || std::fs::write(dir.join("f"), b"edited in place").unwrap();
    bed.put("f", &bytes(1, 200_000)).await;
    bed.hooks.before(Step::Retire, edit.clone());
    bed.delete("f").await.unwrap();
    let id = bed.versions("f").await[0].id.clone();
    assert_eq!(
        bed.get_version("f", Some(&id)).await.unwrap(),
        b"edited in place"
    );
    bed.put("f", b"in the way").await;
    let stat = bed.restore("f", Some(&id)).await.unwrap();
    assert_eq!(
        stat.etag(),
        Some(Root::of(b"edited in place").etag().as_str())
    );
    bed.has("f", b"edited in place").await;
    bed.delete("f").await.unwrap();
    bed.restore("f", Some(&id)).await.unwrap();
    bed.has("f", b"edited in place").await;
    bed.jobs().await;
    bed.has("f", b"edited in place").await;
}

async fn nothing_of_ours_looks_like_an_edit(bed: &Bed) {
    for restart in [false, true] {
        for settle in [false, true] {
            let pause = async || {
                if settle {
                    bed.jobs().await;
                }
                if restart {
                    bed.restart().await;
                }
            };
            bed.put("a/f", b"one").await;
            pause().await;
            bed.put("a/f", b"two").await;
            pause().await;
            bed.set_meta("a/f", Some(123_456_789), Some(0o600))
                .await
                .unwrap();
            pause().await;
            bed.copy("a/f", "a/g", true).await.unwrap();
            bed.rename("a/f", "b/f", true).await.unwrap();
            pause().await;
            bed.rename("a/g", "b/f", true).await.unwrap();
            pause().await;
            bed.rename("b", "c", false).await.unwrap();
            pause().await;
            bed.delete("c/f").await.unwrap();
            pause().await;
            bed.restore("c/f", None).await.unwrap();
            pause().await;
            bed.has("c/f", b"two").await;
            bed.delete("c").await.unwrap();
            pause().await;
            bed.restore("c", None).await.unwrap();
            pause().await;
            bed.has("c/f", b"two").await;
            bed.jobs().await;
            bed.delete("c").await.unwrap();
        }
    }
    assert_eq!(bed.app().event_count(EventKind::Adopted).await.unwrap(), 0);
    assert_eq!(bed.app().event_count(EventKind::Vanished).await.unwrap(), 0);
}

async fn hand_made_things_move_copy_and_go_like_others(bed: &Bed) {
    bed.person_writes("a", b"by hand");
    bed.rename("a", "b", false).await.unwrap();
    bed.copy("b", "c", false).await.unwrap();
    bed.person_writes("d/e", b"deep");
    bed.rename("d", "x", false).await.unwrap();
    bed.has("x/e", b"deep").await;
    bed.delete("b").await.unwrap();
    bed.restore("b", None).await.unwrap();
    bed.has("b", b"by hand").await;
    bed.delete("x").await.unwrap();
    bed.restore("x", None).await.unwrap();
    bed.has("x/e", b"deep").await;
    bed.person_writes("b", b"edited since");
    bed.rename("c", "b", true).await.unwrap();
    bed.has("b", b"by hand").await;
    assert_eq!(
        bed.kept("b").await[0],
        (KeptReason::Edited, b"edited since".to_vec())
    );
}
