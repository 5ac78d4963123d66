//! Servers that go away for a while: who waits for them, how long, and what is said about it.

use crate::fake::{Fake, Output, Reply, Request, capabilities, content, entry, ok, problem};
use gfl_api::Root;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// More than the tries that a server gets which was never there.
const MANY: usize = 20;

/// What somebody in front of a server says that is gone.
fn gone(retry_after_s: u64) -> Reply {
    problem(503, "unavailable").with("retry-after", retry_after_s)
}

/// Has `f`, and takes it.
fn answer(request: &Request) -> Reply {
    match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", b"content")),
        "GET /v1/files/f" => content(request, b"content"),
        "PUT /v1/files/f" => {
            let root = Root::of(&request.body).to_string();
            ok(&json!({"path": "f", "b3": root, "size": request.body.len()}))
        }
        _ => problem(404, "not-found"),
    }
}

/// Answers its first request, and then is gone for so many.
fn leaves_for(requests: usize, retry_after_s: u64) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::start(move |request| match count.fetch_add(1, SeqCst) {
        0 => answer(request),
        n if n <= requests => gone(retry_after_s),
        _ => answer(request),
    })
}

fn put(fake: &Fake, dir: &Path, options: &[&str]) -> Output {
    fs::write(dir.join("f"), "new").unwrap();
    fake.gfl(dir, &[&["put", "f", "f"], options].concat())
}

#[test]
fn a_server_that_was_there_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let fake = leaves_for(MANY, 0);
    let output = put(&fake, dir.path(), &["--json"]).expect(0);
    assert_eq!(output.out.lines().count(), 1, "{output:?}");
    let told: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(told["files"], 1);
    let fake = leaves_for(MANY, 0);
    let output = fake.gfl(dir.path(), &["-q", "get", "f", "copy"]).expect(0);
    assert_eq!((output.out, output.err), Default::default());
    // Who says how often means it.
    let fake = leaves_for(MANY, 0);
    put(&fake, dir.path(), &["--retries", "3"]).expect(6);
    assert_eq!(fake.seen("GET /v1/meta/f").len(), 4);
}

#[test]
fn a_server_that_was_never_there_is_given_up_soon() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&count);
    let fake = Fake::start(move |_| {
        seen.fetch_add(1, SeqCst);
        gone(0)
    });
    let output = put(&fake, dir.path(), &[]).expect(6);
    assert_eq!(count.load(SeqCst), 9, "one and eight again");
    assert!(!output.err.contains("to continue"), "{output:?}");
}

#[test]
fn who_is_told_to_come_back_later_says_so_and_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    for (words, is_continued) in [
        (&["put", "f", "f"][..], true),
        (&["get", "f", "copy"], true),
        (&["get", "f", "-"], false),
        (&["get", "f", "/dev/null"], false),
        (&["put", "-", "f"], false),
        (&["ls"], false),
    ] {
        fs::write(dir.path().join("f"), "new").unwrap();
        let fake = leaves_for(usize::MAX, 7200);
        let output = fake.gfl(dir.path(), words).expect(6);
        assert!(
            output.err.contains("the server asks to try again in 2 h"),
            "{output:?}"
        );
        let hint = "hint: when the server is back, run the same command again to continue";
        assert_eq!(output.err.contains(hint), is_continued, "{output:?}");
    }
}
