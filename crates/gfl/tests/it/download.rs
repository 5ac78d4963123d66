//! Downloads that break off, change on the way, or arrive damaged.

use crate::fake::{Fake, Reply, bytes, capabilities, content, entry, names, ok, problem, reply};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const LEN: usize = 3 << 20;

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let file = bytes(LEN, 1);
    let want = file.clone();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &file)),
        _ => match tries.fetch_add(1, SeqCst) {
            0 => content(request, &file).cut(1 << 20),
            1 => problem(503, "busy").with("retry-after", 0),
            _ => {
                assert!(
                    request.field("if-match").is_some(),
                    "an unconditional rest could be another content's"
                );
                assert_eq!(request.range().map(|range| range.start), Some(1 << 20));
                content(request, &file)
            }
        },
    });
    let dir = tempfile::tempdir().unwrap();
    let output = fake.gfl(dir.path(), &["get", "f", "--json"]).expect(0);
    assert!(fs::read(dir.path().join("f")).unwrap() == want);
    assert!(
        output.out.contains("\"resent_bytes\":0") && output.out.contains("\"files\":1"),
        "{}",
        output.out
    );
    assert_eq!(names(dir.path()), ["f"]);
}

#[test]
fn a_file_that_changes_on_the_way_starts_over_and_is_never_spliced() {
    let (old, new) = (bytes(LEN, 1), bytes(LEN, 2));
    let want = new.clone();
    let tries = AtomicUsize::new(0);
    let metas = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" if metas.fetch_add(1, SeqCst) == 0 => ok(&entry("f", &old)),
        "GET /v1/meta/f" => ok(&entry("f", &new)),
        _ => match tries.fetch_add(1, SeqCst) {
            0 => content(request, &old).cut(1 << 20),
            1 => problem(412, "precondition-failed"),
            _ => content(request, &new),
        },
    });
    let dir = tempfile::tempdir().unwrap();
    let output = fake.gfl(dir.path(), &["get", "f"]).expect(0);
    assert!(fs::read(dir.path().join("f")).unwrap() == want);
    assert!(
        output.err.contains("changed on the server"),
        "{}",
        output.err
    );
}

#[test]
fn an_interrupted_download_is_continued_by_the_next_run() {
    let file = bytes(LEN, 1);
    let want = file.clone();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &file)),
        _ => match tries.fetch_add(1, SeqCst) {
            0 => content(request, &file).cut(2 << 20),
            1 => problem(403, "forbidden"),
            _ => {
                assert_eq!(request.range(), Some(2 << 20..LEN));
                content(request, &file)
            }
        },
    });
    let dir = tempfile::tempdir().unwrap();
    fake.gfl(dir.path(), &["get", "f"]).expect(3);
    let kept = names(dir.path());
    assert!(
        kept.len() == 2 && kept.iter().all(|name| name.starts_with(".f.")),
        "{kept:?}"
    );
    let output = fake.gfl(dir.path(), &["get", "f", "--json"]).expect(0);
    assert!(
        output
            .out
            .contains(&format!("\"resumed_bytes\":{}", 2 << 20)),
        "{}",
        output.out
    );
    assert!(fs::read(dir.path().join("f")).unwrap() == want);
    assert_eq!(names(dir.path()), ["f"]);
}

#[test]
fn notes_that_a_killed_run_left_behind_go_with_the_next_one() {
    let file = bytes(LEN, 1);
    let cuts = AtomicUsize::new(0);
    let content_of = file.clone();
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &content_of)),
        "GET /v1/meta/" => ok(&serde_json::json!({"name": "", "path": "", "type": "dir"})),
        line if line.starts_with("GET /v1/files/?") => {
            ok(&serde_json::json!({"entries": [entry("f", &content_of)], "next": null}))
        }
        _ => match cuts.fetch_add(1, SeqCst) % 2 {
            0 => content(request, &content_of).cut(1 << 20),
            _ => problem(403, "forbidden"),
        },
    });
    for words in [&["get", "f"][..], &["get", "/", "."]] {
        let dir = tempfile::tempdir().unwrap();
        fake.gfl(dir.path(), &["get", "f"]).expect(3);
        // As if it had been killed between the renaming and the removal of the notes.
        let kept = names(dir.path());
        let part = kept.iter().find(|name| name.ends_with("-part")).unwrap();
        fs::write(dir.path().join(part), &file).unwrap();
        fs::rename(dir.path().join(part), dir.path().join("f")).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let there = fs::File::options().write(true).open(dir.path().join("f"));
        there.unwrap().set_modified(time).unwrap();
        fake.gfl(dir.path(), words).expect(0);
        assert_eq!(names(dir.path()), ["f"], "{words:?}");
    }
}

#[test]
fn kept_bytes_that_rotted_are_noticed_and_fetched_again() {
    let file = bytes(LEN, 1);
    let want = file.clone();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &file)),
        _ => match tries.fetch_add(1, SeqCst) {
            0 => content(request, &file).cut(2 << 20),
            1 => problem(403, "forbidden"),
            _ => content(request, &file),
        },
    });
    let dir = tempfile::tempdir().unwrap();
    fake.gfl(dir.path(), &["get", "f"]).expect(3);
    let kept = names(dir.path());
    let part = kept.iter().find(|name| name.ends_with(".gfl-part"));
    let part = dir.path().join(part.unwrap());
    let mut rotten = fs::read(&part).unwrap();
    rotten[12345] ^= 1;
    fs::write(&part, rotten).unwrap();
    let output = fake.gfl(dir.path(), &["get", "f"]).expect(0);
    assert!(output.err.contains("damaged"), "{}", output.err);
    assert!(fs::read(dir.path().join("f")).unwrap() == want);
}

#[test]
fn files_that_users_call_part_are_theirs() {
    for len in [5, LEN] {
        let file = bytes(len, 1);
        let want = file.clone();
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "GET /v1/meta/f" => ok(&entry("f", &file)),
            _ => content(request, &file),
        });
        let dir = tempfile::tempdir().unwrap();
        for name in ["f.part", "f.part.gfl", "f.part.gfl~"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fake.gfl(dir.path(), &["get", "f"]).expect(0);
        assert!(fs::read(dir.path().join("f")).unwrap() == want);
        for name in ["f.part", "f.part.gfl", "f.part.gfl~"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
        assert_eq!(names(dir.path()).len(), 4);
    }
}

fn damaged() -> Fake {
    let file = bytes(100_000, 1);
    Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &file)),
        _ => {
            let mut other = file.clone();
            other[70_000] ^= 1;
            let told = gfl_api::Root::of(&file);
            reply(200, other).with("gfl-blake3", told)
        }
    })
}

#[test]
fn damaged_bytes_never_get_the_files_name() {
    let dir = tempfile::tempdir().unwrap();
    let output = damaged().gfl(dir.path(), &["get", "f"]).expect(7);
    assert!(output.err.contains("hint: "), "{}", output.err);
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
    damaged().gfl(dir.path(), &["get", "f", "-"]).expect(7);
}

#[test]
fn a_file_that_is_not_hashed_yet_comes_with_a_notice() {
    let file = bytes(5000, 1);
    let want = file.clone();
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => {
            let mut entry = entry("f", &file);
            entry["etag"] = "W/\"m-1\"".into();
            entry.as_object_mut().unwrap().remove("b3");
            ok(&entry)
        }
        _ => {
            assert!(
                request.field("if-match").is_none(),
                "a weak tag never matches"
            );
            reply(200, &file[..])
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let output = fake.gfl(dir.path(), &["get", "f"]).expect(0);
    assert!(
        output.err.contains("has not hashed it yet") && output.out.contains("not verified"),
        "{output:?}"
    );
    assert!(fs::read(dir.path().join("f")).unwrap() == want);
}

#[test]
fn final_answers_are_asked_for_once_and_others_again() {
    for (status, code, times, exit) in [
        (507, "storage-full", 1, 8),
        (401, "unauthenticated", 1, 3),
        (429, "rate-limited", 3, 8),
        (500, "internal", 3, 1),
        (503, "busy", 3, 6),
    ] {
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            _ => problem(status, code).with("retry-after", 0),
        });
        let dir = tempfile::tempdir().unwrap();
        let output = fake
            .gfl(dir.path(), &["stat", "f", "--retries", "2"])
            .expect(exit);
        assert_eq!(fake.seen("GET").len(), times, "{code}");
        assert!(
            output.err.contains(&format!("it is {code}")),
            "{}",
            output.err
        );
    }
}

#[test]
fn a_silent_server_is_given_up_on() {
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        _ => Reply {
            stall: true,
            ..reply(200, "")
        },
    });
    let dir = tempfile::tempdir().unwrap();
    let output = fake
        .gfl(
            dir.path(),
            &["stat", "f", "--retries", "0", "--timeout", "1"],
        )
        .expect(6);
    assert!(
        output.err.contains("no byte moved for 1 s"),
        "{}",
        output.err
    );
}
