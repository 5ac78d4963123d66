//! Listings: order, pages, cursors, what is never shown.

use crate::bed::{Bed, fails, path};
use gfl_core::Kind;
use gfl_core::files::{ListQuery, Node};

crate::cases! {
    sorted_by_bytes
    pages_add_up_to_the_whole
    recursive_pages_add_up_to_the_whole
    what_is_listed_says_what_stat_says
    what_cannot_be_listed
    our_own_folder_is_never_shown
    links_that_lead_back_end_the_walk
}

async fn page(
    bed: &Bed,
    dir: &str,
    after: Option<&str>,
    limit: usize,
    recursive: bool,
) -> (Vec<String>, bool) {
    let query = ListQuery {
        dir: path(dir),
        after: after.map(path),
        limit,
        recursive,
    };
    let page = bed.app().list(&bed.me, &query).await.unwrap();
    assert!(page.entries.len() <= limit);
    let names = page.entries.iter().map(|e| e.path.to_string()).collect();
    (names, page.more)
}

async fn whole(bed: &Bed, dir: &str, limit: usize, recursive: bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().cloned();
        let (names, more) = page(bed, dir, after.as_deref(), limit, recursive).await;
        assert!(
            !more || !names.is_empty(),
            "a page with more behind it shows where to go on"
        );
        all.extend(names);
        if !more {
            return all;
        }
    }
}

async fn sorted_by_bytes(bed: &Bed) {
    for name in [
        "b", "a", "A", "é", "z", "a b", "a.b", "a-b", "日本", "~", ".hidden", "a\u{301}",
    ] {
        bed.put(name, b"x").await;
    }
    let names = whole(bed, "", 1000, false).await;
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!((names.len(), &names), (12, &sorted));
}

async fn pages_add_up_to_the_whole(bed: &Bed) {
    for i in 0..53 {
        bed.put(&format!("d/{}", (i * 37) % 53), b"x").await;
    }
    bed.mkdir("d/sub").await;
    let all = whole(bed, "d", 1000, false).await;
    assert_eq!(all.len(), 54);
    for limit in [1, 2, 7, 53, 54, 55] {
        assert_eq!(whole(bed, "d", limit, false).await, all, "{limit}");
    }
    // What is gone when its page comes is no reason to stop.
    bed.delete("d/3").await.unwrap();
    assert_eq!(page(bed, "d", Some("d/3"), 1, false).await.0, ["d/30"]);
}

async fn recursive_pages_add_up_to_the_whole(bed: &Bed) {
    for at in [
        "a/b/c/1",
        "a/b/c/2",
        "a/b/2",
        "a/b.c/1",
        "a/bb/1",
        "a/a",
        "z",
        "a/b/d/e/f",
    ] {
        bed.put(at, b"x").await;
    }
    bed.mkdir("a/empty").await;
    bed.mkdir("empty").await;
    let all = whole(bed, "", 1000, true).await;
    assert_eq!(
        all,
        [
            "a",
            "a/a",
            "a/b",
            "a/b/2",
            "a/b/c",
            "a/b/c/1",
            "a/b/c/2",
            "a/b/d",
            "a/b/d/e",
            "a/b/d/e/f",
            "a/b.c",
            "a/b.c/1",
            "a/bb",
            "a/bb/1",
            "a/empty",
            "empty",
            "z"
        ]
    );
    for limit in 1..=18 {
        assert_eq!(whole(bed, "", limit, true).await, all, "{limit}");
    }
    let below: Vec<String> = all
        .iter()
        .filter(|p| p.starts_with("a/b/"))
        .cloned()
        .collect();
    for limit in [1, 3, 100] {
        assert_eq!(whole(bed, "a/b", limit, true).await, below);
    }
    // Every cursor goes on after itself, also one whose file has gone.
    bed.delete("a/b/c").await.unwrap();
    let rest = page(bed, "", Some("a/b/c/1"), 100, true).await.0;
    assert_eq!(rest[0], "a/b/d");
}

async fn what_is_listed_says_what_stat_says(bed: &Bed) {
    bed.put("d/f", b"data").await;
    bed.put("d/f", b"newer data").await;
    bed.person_writes("d/g", b"by hand");
    bed.mkdir("d/h").await;
    for _ in 0..2 {
        let query = ListQuery {
            dir: path("d"),
            after: None,
            limit: 10,
            recursive: false,
        };
        let listed = bed.app().list(&bed.me, &query).await.unwrap();
        assert_eq!(listed.entries.len(), 3);
        for entry in listed.entries {
            let stat = bed.stat(entry.path.as_str()).await.unwrap();
            assert_eq!(entry.etag(), stat.etag());
            assert_eq!((entry.mtime_ns, entry.mode), (stat.mtime_ns, stat.mode));
            assert_eq!(
                matches!(entry.node, Node::Dir),
                matches!(stat.node, Node::Dir)
            );
        }
        // A listing is enough to have hand-made files recorded.
        bed.jobs().await;
    }
    assert_eq!(bed.events().await.last().unwrap(), "Adopted d/g");
}

async fn what_cannot_be_listed(bed: &Bed) {
    bed.put("f", b"x").await;
    let list = async |dir: &str, after: Option<&str>, recursive| {
        let query = ListQuery {
            dir: path(dir),
            after: after.map(path),
            limit: 5,
            recursive,
        };
        bed.app().list(&bed.me, &query).await
    };
    fails(list("f", None, false).await, Kind::NotADirectory);
    fails(list("nothing", None, true).await, Kind::NotFound);
    fails(list("", Some("a/b"), false).await, Kind::Invalid);
    bed.mkdir("d").await;
    fails(list("d", Some("e"), true).await, Kind::Invalid);
    fails(list("d", Some("d"), true).await, Kind::Invalid);
    assert!(list("", None, false).await.unwrap().entries.len() == 2);
}

async fn our_own_folder_is_never_shown(bed: &Bed) {
    bed.put("a", b"x").await;
    bed.put("a", b"y!").await;
    bed.begin("later", Some(5)).await;
    assert_eq!(whole(bed, "", 10, true).await, ["a"]);
    assert!(gfl_api::path::FilePath::parse(".gfl/drafts").is_err());
    for status in bed.app().upload_list(&bed.me, None, 9).await.unwrap() {
        bed.app().upload_cancel(&bed.me, &status.id).await.unwrap();
    }
}

/// Twenty thousand names made by hand, and a walk that never holds them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_names() {
    let bed = Bed::tree().await;
    let dir = bed.dir().unwrap().join("many");
    std::fs::create_dir_all(&dir).unwrap();
    for i in 0..20_000 {
        std::fs::File::create(dir.join(format!("{i:05}"))).unwrap();
    }
    let all = whole(&bed, "many", 10_000, false).await;
    assert_eq!((all.len(), all[19_999].as_str()), (20_000, "many/19999"));
    let walked = whole(&bed, "", 7_000, true).await;
    assert!(walked[1..] == all && walked[0] == "many");
}

async fn links_that_lead_back_end_the_walk(bed: &Bed) {
    let Some(dir) = bed.dir() else { return };
    bed.put("d/e/f", b"x").await;
    for (target, link) in [(".", "d/a"), ("..", "d/e/up"), (".", "d/z")] {
        std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
    }
    let want = ["d", "d/a", "d/e", "d/e/f", "d/e/up", "d/z"];
    for limit in [1, 2, 3, 1000] {
        assert_eq!(whole(bed, "", limit, true).await, want, "pages of {limit}");
    }
}
