//! Folders from servers that name their files after other people's.

use crate::fake::{Fake, Request, bytes, capabilities, content, entry, names, ok, problem, reply};
use gfl_api::Root;
use gfl_api::frames::{self, FileHeader};
use gfl_api::v1::BulkGetRequest;
use serde_json::{Value, json};
use std::fs;

pub(crate) fn bulk(request: &Request, content: &[u8]) -> Vec<u8> {
    let asked: BulkGetRequest = serde_json::from_slice(&request.body).unwrap();
    let mut body = frames::MAGIC.to_vec();
    for (index, asked) in asked.paths.iter().enumerate() {
        let header = FileHeader {
            index: index as u32,
            path: asked.path.clone(),
            size: content.len() as u64,
            b3: Some(Root::of(content)),
            ..FileHeader::default()
        };
        body.extend(frames::encode_file(&header).unwrap());
        body.extend(content);
    }
    body.extend(frames::encode_end());
    body
}

fn server(entries: Vec<Value>, bytes: &'static [u8]) -> Fake {
    Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/d" => ok(&json!({"name": "d", "type": "dir"})),
        "POST /v1/bulk/get" => reply(200, bulk(request, bytes)),
        line if line.starts_with("GET /v1/files/d/?") => {
            ok(&json!({"entries": entries, "next": null}))
        }
        line if line.starts_with("GET /v1/files/d/") => content(request, bytes),
        _ => problem(404, "not-found"),
    })
}

#[test]
fn nothing_lands_outside_the_folder_whatever_names_are_sent() {
    let bad = [
        "../evil",
        "d/../../evil",
        "/etc/evil",
        "d/a/../../../evil",
        "d//x",
        "d/.",
        "other/x",
        "d/\u{0}",
    ];
    let mut entries: Vec<Value> = bad.iter().map(|path| entry(path, b"evil")).collect();
    entries.push(entry("d/good", b"evil"));
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let output = server(entries, b"evil")
        .gfl(&work, &["get", "d", "--json"])
        .expect(1);
    assert!(
        output.out.contains("\"files\":1") && output.out.contains("\"failed\":8"),
        "{output:?}"
    );
    assert_eq!(
        (names(dir.path()), names(&work), names(&work.join("d"))),
        (vec!["work".into()], vec!["d".into()], vec!["good".into()])
    );
}

/// Serves files of a folder, each with its own content.
fn server_of(files: Vec<(String, Vec<u8>)>) -> Fake {
    let entries: Vec<Value> = files.iter().map(|(path, text)| entry(path, text)).collect();
    Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => ok(&json!({"name": "GoFlux Lite", "api": 1, "features": []})),
        "GET /v1/meta/d" => ok(&json!({"name": "d", "type": "dir"})),
        line if line.starts_with("GET /v1/files/d/?") => {
            ok(&json!({"entries": entries, "next": null}))
        }
        line => match files.iter().find(|(path, _)| line.ends_with(path.as_str())) {
            Some((path, text)) if line.starts_with("GET /v1/meta/") => ok(&entry(path, text)),
            Some((_, text)) => content(request, text),
            None => problem(404, "not-found"),
        },
    })
}

#[test]
fn a_file_that_is_called_like_the_partial_one_of_another_does_no_harm() {
    // Which names a download of `x` uses, told by one that is broken off.
    let text = bytes(3 << 20, 1);
    let broken = text.clone();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/x" => ok(&entry("x", &broken)),
        _ if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
            content(request, &broken).cut(1 << 20)
        }
        _ => problem(403, "forbidden"),
    });
    let dir = tempfile::tempdir().unwrap();
    fake.gfl(dir.path(), &["get", "x"]).expect(3);
    let taken = names(dir.path());
    assert_eq!(taken.len(), 2);
    let mut files: Vec<(String, Vec<u8>)> = taken
        .iter()
        .chain([&"x.part".to_owned(), &"x.part.gfl".to_owned()])
        .map(|name| (format!("d/{name}"), format!("this is {name}").into_bytes()))
        .collect();
    files.push(("d/x".into(), text));
    files.sort();
    let work = tempfile::tempdir().unwrap();
    let fake = server_of(files.clone());
    // The second time everything is there already, and nothing was lost of it.
    for _ in 0..2 {
        fake.gfl(work.path(), &["get", "d", "d", "--force"])
            .expect(0);
        for (path, want) in &files {
            assert!(fs::read(work.path().join(path)).unwrap() == *want, "{path}");
        }
        assert_eq!(names(&work.path().join("d")).len(), files.len());
    }
}

#[test]
fn the_name_reserved_at_the_top_is_free_below() {
    let dir = tempfile::tempdir().unwrap();
    server_of(vec![("d/.gfl".into(), b"odd".to_vec())])
        .gfl(dir.path(), &["get", "d"])
        .expect(0);
    assert_eq!(fs::read(dir.path().join("d/.gfl")).unwrap(), b"odd");
}

#[cfg(unix)]
#[test]
fn symlinks_in_the_target_are_not_followed() {
    let entries = vec![
        json!({"path": "d/link", "name": "link", "type": "dir"}),
        entry("d/link/x", b"evil"),
        entry("d/link2", b"evil"),
        entry("d/ok", b"evil"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir_all(dir.path().join("work/d")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(&outside, dir.path().join("work/d/link")).unwrap();
    std::os::unix::fs::symlink(outside.join("mine"), dir.path().join("work/d/link2")).unwrap();
    let output = server(entries, b"evil")
        .gfl(&dir.path().join("work"), &["get", "d", "--json"])
        .expect(1);
    assert!(
        output.err.contains("symlinks are not followed"),
        "{}",
        output.err
    );
    assert_eq!(names(&outside), ["mine"]);
    assert_eq!(fs::read(outside.join("mine")).unwrap(), b"mine");
    assert_eq!(
        fs::read(dir.path().join("work/d/link2")).unwrap(),
        b"evil",
        "the link was replaced, not written through"
    );
    assert_eq!(fs::read(dir.path().join("work/d/ok")).unwrap(), b"evil");
}

#[test]
fn a_damaged_small_file_is_asked_for_again_and_then_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/d" => ok(&json!({"name": "d", "type": "dir"})),
        "POST /v1/bulk/get" => {
            let mut body = bulk(request, b"right");
            let at = body.windows(5).position(|w| w == b"right").unwrap();
            body[at] = b'f';
            reply(200, body)
        }
        _ => ok(&json!({"entries": [entry("d/x", b"right")], "next": null})),
    });
    fake.gfl(dir.path(), &["get", "d"]).expect(7);
    assert_eq!(fake.seen("POST").len(), 5);
    assert!(names(&dir.path().join("d")).is_empty());
}

#[test]
fn what_is_left_out_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(
            dir.path()
                .join("src")
                .join(std::ffi::OsStr::from_bytes(b"bad\xff")),
            "",
        )
        .unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("src/link")).unwrap();
    }
    let output = server(Vec::new(), b"")
        .gfl(dir.path(), &["put", "src", "d", "--json"])
        .expect(1);
    assert!(
        output.out.contains("\"failed\":1") && output.out.contains("\"left_out\":1"),
        "{output:?}"
    );
    assert!(
        output.err.contains("not utf-8") && output.err.contains("symlink"),
        "{}",
        output.err
    );
}

#[test]
fn an_empty_folder_is_made_on_the_server() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ed1")).unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "POST /v1/batch" => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(asked["ops"][0]["path"], "zz/ed1");
            ok(&json!({"results": [{"status": 201}]}))
        }
        _ => problem(404, "not-found"),
    });
    let output = fake.gfl(dir.path(), &["put", "ed1", "zz/ed1"]).expect(0);
    assert!(output.out.contains("Upload complete"), "{output:?}");
    assert_eq!(fake.seen("POST"), ["POST /v1/batch"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(dir.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("pipe", dir.path().join("link")).unwrap();
    for name in ["pipe", "link"] {
        let output = server(Vec::new(), b"").gfl(dir.path(), &["put", name, "x"]);
        let output = output.expect(1);
        assert!(output.err.contains("not a regular file"), "{output:?}");
    }
}

#[test]
fn names_are_shown_escaped_to_people_and_whole_to_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let name = "a\u{1b}[2J\nb\u{7f}";
    let fake = server(vec![entry(&format!("d/{name}"), b"x")], b"x");
    for words in [&["ls", "d"][..], &["ls", "-l", "d"]] {
        let output = fake.gfl(dir.path(), words).expect(0);
        assert!(output.out.ends_with("a\\x1b[2J\\nb\\x7f\n"), "{output:?}");
    }
    let output = fake.gfl(dir.path(), &["ls", "--json", "d"]).expect(0);
    let told: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(told["name"], name);
    fs::write(dir.path().join("x\u{1b}"), "").unwrap();
    let output = fake.gfl(dir.path(), &["put", "x\u{1b}", "f/y"]);
    assert!(output.out.contains("Uploading x\\x1b "), "{output:?}");
    assert!(!output.out.contains('\u{1b}') && !output.err.contains('\u{1b}'));
}

#[test]
fn a_server_that_goes_at_the_end_is_not_waited_for_once_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5 {
        fs::create_dir_all(dir.path().join(format!("d/{n}"))).unwrap();
    }
    let fake = Fake::start(|request| match request.method.as_str() {
        "POST" => crate::fake::all_done(request),
        "GET" if request.target == "/v1/" => capabilities(),
        "GET" => problem(404, "not-found"),
        _ => reply(0, ""),
    });
    let words = ["put", "d", "r", "--retries", "0", "--parallel", "1"];
    let output = fake.gfl(dir.path(), &words).expect(0);
    assert_eq!(fake.seen("PATCH").len(), 1, "{output:?}");
    assert!(
        output.err.contains("did not get its time and mode") && output.err.contains(", and 5 more"),
        "{output:?}"
    );
}
