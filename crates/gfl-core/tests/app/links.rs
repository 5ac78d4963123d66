//! Symlinks that a person makes inside the folder.

use crate::bed::{Bed, DAY_MS, fails, path};
use crate::bodies::body;
use crate::broken::walk;
use crate::hooks::{Dies, Step};
use gfl_api::http::EtagList;
use gfl_core::Kind;
use gfl_core::files::{Delete, KeptReason, Relocate};
use gfl_core::id::Key;

crate::cases! {
    deleting_a_link_leaves_what_it_leads_to
    a_link_to_a_folder_is_deleted_alone
    moving_a_link_moves_the_link
    a_link_that_would_lead_elsewhere_is_not_moved
    files_and_links_over_each_other
    copying_a_link_copies_the_content
    writing_at_a_link_replaces_the_link
    conditions_and_sessions_at_a_link
    what_lies_beyond_a_folder_link
    a_link_comes_back_leading_to_what_is_there_now
    whoever_dies_at_a_link_leaves_it_whole
    links_survive_every_power_cut
}

impl Bed {
    /// Makes a symlink, in the place of what is there.
    pub(crate) fn person_links(&self, at: &str, text: &str) {
        if let Some(memory) = self.memory_store() {
            return memory.person_links(&path(at), text);
        }
        let dir = self.dir().unwrap();
        let (full, new) = (dir.join(at), dir.join(".new~"));
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(text, &new).unwrap();
        std::fs::rename(new, full).unwrap();
    }

    pub(crate) fn is_link(&self, at: &str) -> bool {
        match self.memory_store() {
            Some(memory) => memory.is_link(&path(at)),
            None => self.dir().unwrap().join(at).is_symlink(),
        }
    }
}

/// The versions kept of a path, as ids with reasons.
async fn kept_ids(bed: &Bed, at: &str) -> Vec<(KeptReason, Key)> {
    let versions = bed.versions(at).await;
    let kept = |v: gfl_core::files::VersionInfo| Some((v.kept?, v.id));
    versions.into_iter().filter_map(kept).collect()
}

async fn deleting_a_link_leaves_what_it_leads_to(bed: &Bed) {
    bed.put("d/f", b"content").await;
    for known in [false, true] {
        bed.person_links("link", "d/f");
        bed.has("link", b"content").await;
        if known {
            // With a version of its own.
            bed.jobs().await;
        }
        bed.delete("link").await.unwrap();
        bed.is_gone("link").await;
        bed.has("d/f", b"content").await;
        let id = bed.versions("link").await[0].id.clone();
        let error = bed.get_version("link", Some(&id)).await.unwrap_err();
        assert!(error.message().contains("is a link"), "{error}");
        bed.jobs().await;
        bed.restart().await;
        bed.restore("link", None).await.unwrap();
        bed.has("link", b"content").await;
        assert!(bed.is_link("link"));
        bed.check().await;
        bed.delete("link").await.unwrap();
        bed.clock.advance_ms(8 * DAY_MS);
        bed.jobs().await;
        bed.has("d/f", b"content").await;
    }
}

async fn a_link_to_a_folder_is_deleted_alone(bed: &Bed) {
    bed.put("d/f", b"content").await;
    bed.person_links("link", "d");
    bed.has("link/f", b"content").await;
    bed.jobs().await;
    let careful = Delete {
        must_be_dir: Some(true),
        ..Delete::default()
    };
    // Not recursive: nothing of what it leads to goes.
    let app = bed.app();
    app.delete(&bed.me, &path("link"), &careful).await.unwrap();
    fails(
        app.delete(&bed.me, &path("d"), &careful).await,
        Kind::NotEmpty,
    );
    bed.is_gone("link").await;
    bed.has("d/f", b"content").await;
    bed.check().await;
    bed.restore("link", None).await.unwrap();
    bed.has("link/f", b"content").await;
    assert!(bed.is_link("link"));
    bed.delete("link").await.unwrap();
    bed.has("d/f", b"content").await;
    assert_eq!(walk(bed).await.0, ["d", "d/f"]);
}

async fn moving_a_link_moves_the_link(bed: &Bed) {
    bed.put("f", b"content").await;
    bed.put("d/g", b"inside").await;
    bed.person_links("a/file", "../f");
    bed.person_links("a/dir", "../d");
    bed.has("a/file", b"content").await;
    bed.jobs().await;
    bed.rename("a/file", "b/file", false).await.unwrap();
    bed.rename("a/dir", "b/dir", false).await.unwrap();
    for name in ["a/file", "a/dir"] {
        bed.is_gone(name).await;
    }
    bed.has("b/file", b"content").await;
    bed.has("b/dir/g", b"inside").await;
    bed.has("f", b"content").await;
    bed.has("d/g", b"inside").await;
    assert!(bed.is_link("b/file") && bed.is_link("b/dir"));
    // A folder that holds links, as a whole.
    bed.rename("b", "c", false).await.unwrap();
    bed.has("c/file", b"content").await;
    bed.jobs().await;
    assert_eq!(
        bed.events().await[2..],
        [
            "Adopted a/file",
            "Moved a/file > b/file",
            "Moved a/dir > b/dir",
            "Moved b > c"
        ]
    );
}

async fn a_link_that_would_lead_elsewhere_is_not_moved(bed: &Bed) {
    bed.put("f", b"content").await;
    bed.put("d/f", b"another").await;
    bed.person_links("link", "f");
    for to in ["d/link", "new/link", "d/e/link"] {
        let error = bed.rename("link", to, false).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains("is a link"), "{error}");
    }
    bed.has("link", b"content").await;
    bed.rename("link", "link2", false).await.unwrap();
    // Over what it leads to: it would lead to itself.
    fails(bed.rename("link2", "f", true).await, Kind::Invalid);
    bed.has("f", b"content").await;
    bed.is_gone("new").await;
    // Up and down again through folders that are made for it.
    bed.person_links("up", "f");
    bed.put("x/y/f", b"deep").await;
    bed.person_links("x/y/up", "../../f");
    bed.rename("x/y/up", "p/q/up", false).await.unwrap();
    bed.has("p/q/up", b"content").await;
}

async fn files_and_links_over_each_other(bed: &Bed) {
    bed.put("t1", b"target one").await;
    bed.put("t2", b"target two!").await;
    bed.put("f", b"file").await;
    bed.person_links("l1", "t1");
    bed.person_links("l2", "t2");
    bed.has("l1", b"target one").await;
    bed.jobs().await;
    bed.rename("f", "l1", true).await.unwrap();
    bed.has("l1", b"file").await;
    assert!(!bed.is_link("l1"));
    bed.rename("l2", "l1", true).await.unwrap();
    bed.has("l1", b"target two!").await;
    assert!(bed.is_link("l1"));
    bed.has("t1", b"target one").await;
    bed.has("t2", b"target two!").await;
    bed.jobs().await;
    // Both are kept, the first link and the file that had its place.
    let kept = kept_ids(bed, "l1").await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    bed.check().await;
    // The target over its own link.
    bed.rename("t2", "l1", true).await.unwrap();
    bed.has("l1", b"target two!").await;
    assert!(!bed.is_link("l1"));
    bed.is_gone("t2").await;
}

async fn copying_a_link_copies_the_content(bed: &Bed) {
    bed.put("d/f", b"content").await;
    bed.person_links("link", "d/f");
    bed.person_links("dir", "d");
    bed.person_links("loop", "loop");
    bed.copy("link", "copy", false).await.unwrap();
    bed.has("copy", b"content").await;
    assert!(!bed.is_link("copy"));
    bed.put("other", b"other").await;
    bed.copy("other", "link", true).await.unwrap();
    bed.has("link", b"other").await;
    bed.has("d/f", b"content").await;
    assert!(!bed.is_link("link"));
    fails(bed.copy("dir", "x", false).await, Kind::IsADirectory);
    fails(bed.copy("loop", "x", false).await, Kind::InvalidPath);
    bed.is_gone("x").await;
    assert_eq!(bed.drafts().await, 0);
}

async fn writing_at_a_link_replaces_the_link(bed: &Bed) {
    bed.put("d/f", b"content").await;
    for known in [false, true] {
        bed.person_links("link", "d/f");
        if known {
            bed.has("link", b"content").await;
            bed.jobs().await;
        }
        assert!(!bed.put("link", b"ours").await.created);
        bed.has("link", b"ours").await;
        bed.has("d/f", b"content").await;
        assert!(!bed.is_link("link"));
        bed.jobs().await;
        bed.check().await;
        let [(KeptReason::Edited, id)] = &kept_ids(bed, "link").await[..] else {
            panic!("{:?}", bed.versions("link").await);
        };
        // The link cannot become content, but it can have its place back.
        fails(bed.restore("link", Some(id)).await, Kind::AlreadyExists);
        bed.has("link", b"ours").await;
        bed.rename("link", &format!("aside-{known}"), false)
            .await
            .unwrap();
        bed.restore(&format!("aside-{known}"), Some(id))
            .await
            .unwrap_err();
        bed.delete(&format!("aside-{known}")).await.unwrap();
        bed.restore(&format!("aside-{known}"), Some(id))
            .await
            .unwrap();
        bed.has(&format!("aside-{known}"), b"content").await;
        assert!(bed.is_link(&format!("aside-{known}")));
        bed.jobs().await;
        bed.has("d/f", b"content").await;
    }
    let adopted = |e: &&String| e.starts_with("Adopted");
    assert_eq!(
        bed.events().await.iter().filter(adopted).count(),
        1,
        "the known link"
    );
}

async fn conditions_and_sessions_at_a_link(bed: &Bed) {
    let target = bed.put("f", b"content").await;
    bed.person_links("link", "f");
    bed.jobs().await;
    let mut put = bed.put_of("link", b"new");
    put.pre.if_none_match = Some(EtagList::Any);
    let done = bed.app().put(&bed.me, put.clone(), body(b"new")).await;
    fails(done, Kind::PreconditionFailed);
    bed.has("link", b"content").await;
    bed.jobs().await;
    put.pre.if_none_match = None;
    put.pre.if_match = EtagList::parse(target.stat.etag().unwrap());
    bed.app().put(&bed.me, put, body(b"new")).await.unwrap();
    bed.has("link", b"new").await;
    bed.person_links("link", "f");
    let id = bed.begin("link", Some(4)).await;
    bed.part(&id, 0, b"part").await.unwrap();
    bed.complete(&id).await.unwrap();
    bed.has("link", b"part").await;
    bed.has("f", b"content").await;
    assert!(!bed.is_link("link"));
}

async fn what_lies_beyond_a_folder_link(bed: &Bed) {
    bed.put("d/f", b"content").await;
    bed.person_links("link", "d");
    fails(bed.try_put("link", b"x").await, Kind::IsADirectory);
    fails(bed.rename("d/f", "link", true).await, Kind::AlreadyExists);
    assert!(!bed.mkdir("link").await);
    fails(bed.rename("d", "link/in", false).await, Kind::Invalid);
    bed.put("link/new", b"beyond").await;
    bed.has("d/new", b"beyond").await;
    bed.put("link/f", b"newer").await;
    bed.has("d/f", b"newer").await;
    bed.delete("link/new").await.unwrap();
    bed.is_gone("d/new").await;
    bed.restore("link/new", None).await.unwrap();
    bed.has("d/new", b"beyond").await;
    // Two names of one file: each name's row follows when its name is looked at.
    walk(bed).await;
    bed.jobs().await;
    bed.check().await;
    assert!(bed.is_link("link"));
}

async fn a_link_comes_back_leading_to_what_is_there_now(bed: &Bed) {
    bed.put("f", b"content").await;
    bed.person_links("link", "f");
    bed.has("link", b"content").await;
    bed.jobs().await;
    bed.delete("link").await.unwrap();
    bed.put("f", b"newer content").await;
    let back = bed.restore("link", None).await.unwrap();
    bed.has("link", b"newer content").await;
    bed.jobs().await;
    assert!(back.etag().unwrap().starts_with("W/"), "not hashed yet");
    assert_eq!(
        bed.stat("link").await.unwrap().etag(),
        bed.stat("f").await.unwrap().etag()
    );
    bed.check().await;
    // What it led to is gone: then it stays kept until that is back.
    bed.delete("link").await.unwrap();
    bed.delete("f").await.unwrap();
    let error = bed.restore("link", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("link"), "{error}");
    bed.check().await;
    bed.restore("f", None).await.unwrap();
    bed.restore("link", None).await.unwrap();
    bed.has("link", b"newer content").await;
}

async fn whoever_dies_at_a_link_leaves_it_whole(bed: &Bed) {
    bed.put("t", b"target").await;
    bed.put("d/x", b"inside").await;
    for when in [Dies::Before, Dies::After] {
        for step in [Step::Publish, Step::Retire, Step::Unretire, Step::Rename] {
            bed.person_links("link", "t");
            bed.has("link", b"target").await;
            bed.jobs().await;
            if step == Step::Unretire {
                bed.delete("link").await.unwrap();
                bed.jobs().await;
            }
            bed.hooks.die(step, when);
            let (app, me, put) = (bed.app(), bed.me.clone(), bed.put_of("link", b"ours"));
            let link = path("link");
            tokio::spawn(async move {
                let how = Relocate::default();
                match step {
                    Step::Publish => drop(app.put(&me, put, body(b"ours")).await),
                    Step::Retire => drop(app.delete(&me, &link, &Delete::default()).await),
                    Step::Unretire => drop(app.restore(&me, &link, None).await),
                    _ => drop(app.rename(&me, &link, &path("link2"), &how).await),
                }
            });
            bed.hooks.dead().await;
            bed.restart().await;
            match step {
                Step::Publish => {
                    bed.has("link", b"ours").await;
                    assert_eq!(kept_ids(bed, "link").await[0].0, KeptReason::Edited);
                }
                Step::Retire => bed.is_gone("link").await,
                Step::Unretire => bed.has("link", b"target").await,
                _ => {
                    bed.is_gone("link").await;
                    bed.has("link2", b"target").await;
                    bed.delete("link2").await.unwrap();
                }
            }
            bed.has("t", b"target").await;
            bed.check().await;
            if bed.stat("link").await.is_ok() {
                bed.delete("link").await.unwrap();
            }
            bed.clock.advance_ms(1);
        }
    }
}

async fn links_survive_every_power_cut(bed: &Bed) {
    let Some(memory) = bed.memory_store() else {
        return;
    };
    bed.put("t", b"target").await;
    bed.put("f", b"file").await;
    bed.jobs().await;
    for survivors in 0..12 {
        bed.person_links("link", "t");
        bed.person_links("other", "t");
        bed.has("link", b"target").await;
        bed.jobs().await;
        bed.put("link", b"ours").await;
        bed.copy("f", "g", true).await.unwrap();
        bed.rename("g", "other", true).await.unwrap();
        let survivors = survivors.min(memory.pending());
        bed.power_cut(survivors).await;
        bed.has("link", b"ours").await;
        bed.has("other", b"file").await;
        bed.is_gone("g").await;
        bed.has("t", b"target").await;
        for name in ["link", "other"] {
            let (_, id) = kept_ids(bed, name).await.remove(0);
            bed.delete(name).await.unwrap();
            bed.clock.advance_ms(1);
            bed.restore(name, Some(&id)).await.unwrap();
            bed.has(name, b"target").await;
            assert!(bed.is_link(name));
        }
        bed.check().await;
    }
}
