//! What is said: each path once, whose it is, what was skipped and why, and what to write instead.

use crate::fake::{Fake, Reply, Request, capabilities, entry, names, ok, problem, reply};
use gfl_api::Root;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A problem as a real server words it: the path in front.
fn refused(status: u16, code: &str, path: &str, why: &str) -> Reply {
    let detail = format!("{path}: {why}");
    reply(
        status,
        json!({"code": code, "status": status, "detail": detail}).to_string(),
    )
}

/// Nothing is there but the folder `dir` and the file `file`, which nothing goes below.
fn nearly_empty(request: &Request) -> Reply {
    match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/dir" => ok(&json!({"name": "dir", "type": "dir"})),
        "GET /v1/meta/file" => ok(&entry("file", b"content")),
        "PUT /v1/files/dir" => refused(409, "is-a-directory", "dir", "is a directory"),
        "PUT /v1/files/file/x" => refused(409, "not-a-directory", "file", "is a file"),
        "PUT /v1/files/new/" => refused(409, "not-a-directory", "new", "is a file"),
        "POST /v1/batch" => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let op = &asked["ops"][0];
            let path = if op["path"] == "file" {
                &op["to"]
            } else {
                &op["path"]
            };
            let detail = format!("{}: is in the way", path.as_str().unwrap());
            let problem = json!({"code": "already-exists", "status": 409, "detail": detail});
            ok(&json!({"results": [{"index": 0, "status": 409, "problem": problem}]}))
        }
        line => {
            let path = line.split(['?', ' ']).nth(1).unwrap();
            let path = path.trim_start_matches("/v1/").split_once('/').unwrap().1;
            let path = path.trim_end_matches('/').replace("%20", " ");
            refused(404, "not-found", &path, "no such file or directory")
        }
    }
}

#[test]
fn every_error_names_a_path_once_and_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let fake = Fake::start(nearly_empty);
    for (words, want) in [
        (
            "ls no/thing",
            "cannot list no/thing on the server: no such file or directory",
        ),
        (
            "stat no/thing",
            "cannot stat no/thing on the server: no such file or directory",
        ),
        (
            "rm no/thing",
            "cannot delete no/thing on the server: no such file or directory",
        ),
        (
            "restore /no/thing/",
            "cannot restore no/thing on the server: no such file or directory",
        ),
        ("mkdir new", "cannot make new on the server: is a file"),
        (
            "get no/thing",
            "cannot get no/thing: not found on the server",
        ),
        (
            "cp no/thing x",
            "cannot copy no/thing on the server: no such file or directory",
        ),
        (
            "mv no/thing x",
            "cannot move no/thing on the server: is in the way",
        ),
        (
            "mv file dir/x",
            "cannot move file on the server: dir/x: is in the way",
        ),
        (
            "put file dir",
            "upload of file failed: dir on the server: is a directory",
        ),
        (
            "put file file/x",
            "upload of file failed: file on the server: is a file",
        ),
        ("put nothing x", "nothing: no such local file or folder"),
        (
            "get dir file",
            "download of dir failed: cannot write to file: a file is in the way",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let output = fake.gfl(dir.path(), &words);
        assert_ne!(output.code, Some(0), "{words:?}");
        let said = output.err.lines().next().unwrap_or_default();
        assert_eq!(said, format!("error: {want}"), "{words:?}: {output:?}");
    }
}

#[test]
fn words_that_were_taken_as_one_name_are_hinted_at_and_two_dashes_part_them() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "DELETE /v1/files/a" | "DELETE /v1/files/c" => reply(204, ""),
        _ => nearly_empty(request),
    });
    for command in ["rm", "ls", "stat", "restore"] {
        let output = fake.gfl(dir.path(), &[command, "a", "c"]).expect(4);
        assert!(output.err.contains("a c on the server"), "{output:?}");
        assert!(
            output.err.contains("write `--` in front of them"),
            "{output:?}"
        );
        let output = fake.gfl(dir.path(), &[command, "a c"]).expect(4);
        assert!(!output.err.contains("hint: the words"), "{output:?}");
    }
    // What fails does not keep the others from being done.
    let output = fake.gfl(dir.path(), &["rm", "--", "a", "b", "c"]).expect(4);
    assert!(
        output.out.contains("✓ Successfully deleted: a\n") && output.out.contains("deleted: c\n"),
        "{output:?}"
    );
    assert!(
        output
            .err
            .starts_with("error: cannot delete b on the server")
    );
    assert_eq!(fake.seen("DELETE /v1/files/b").len(), 1);
}

#[test]
fn several_files_are_fetched_into_a_folder_and_what_is_missing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/d/a" => ok(&entry("d/a", b"first")),
        "GET /v1/meta/b" => ok(&entry("b", b"second")),
        "GET /v1/files/d/a" => crate::fake::content(request, b"first"),
        "GET /v1/files/b" => crate::fake::content(request, b"second"),
        _ => nearly_empty(request),
    });
    let output = fake
        .gfl(dir.path(), &["get", "--", "d/a", "gone", "b", "to"])
        .expect(4);
    assert_eq!(names(&dir.path().join("to")), ["a", "b"]);
    assert!(
        output.err.contains("cannot get gone: not found"),
        "{output:?}"
    );
    assert!(!output.out.contains("✓ Downloaded"), "{output:?}");
    let output = fake
        .gfl(dir.path(), &["get", "--", "d/a", "b", "too/"])
        .expect(0);
    assert!(
        output.out.ends_with("✓ Downloaded 2 files to too/\n"),
        "{output:?}"
    );
    // v0.1's rule holds without the dashes; but it is said what became of the words.
    let output = fake.gfl(dir.path(), &["get", "d/a", "b", "x"]).expect(0);
    assert!(dir.path().join("b x").is_file());
    assert!(
        output.err.contains("`gfl get -- d/a b FOLDER`"),
        "{output:?}"
    );
    let output = fake
        .gfl(dir.path(), &["get", "d/a", "my", "name"])
        .expect(0);
    assert_eq!(output.err, "");
}

fn set_time(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// When [`entry`] says a file is from.
const ENTRY_SECONDS: u64 = 1_700_000_000;

#[test]
fn a_file_that_is_there_is_not_sent_again_but_gets_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    set_time(&file, ENTRY_SECONDS);
    let fake = Fake::start(|request| match request.line().as_str() {
        "PATCH /v1/meta/file" => {
            assert_eq!(
                request.field("content-type"),
                Some("application/merge-patch+json")
            );
            let patch: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(patch, json!({"mtime": "2023-11-14T22:15:00Z"}));
            ok(&entry("file", b"content"))
        }
        "PUT /v1/files/file" => {
            let root = Root::of(&request.body).to_string();
            ok(&json!({"path": "file", "b3": root, "size": request.body.len()}))
        }
        _ => nearly_empty(request),
    });
    let said = "✓ Upload complete: file → file (7 bytes, unchanged)";
    let output = fake.gfl(dir.path(), &["put", "file", "file"]).expect(0);
    assert!(output.out.contains(said), "{output:?}");
    assert!(fake.seen("P").is_empty());
    set_time(&file, ENTRY_SECONDS + 100);
    let output = fake.gfl(dir.path(), &["put", "file", "file"]).expect(0);
    let said = "(7 bytes, updated time and mode)";
    assert!(output.out.contains(said), "{output:?}");
    assert_eq!(fake.seen("P"), ["PATCH /v1/meta/file"]);
    // The same size and time are not enough, and --force sends in any case.
    fs::write(&file, "CONTENT").unwrap();
    set_time(&file, ENTRY_SECONDS);
    fake.gfl(dir.path(), &["put", "file", "file"]).expect(0);
    fs::write(&file, "content").unwrap();
    fake.gfl(dir.path(), &["put", "file", "file", "--force"])
        .expect(0);
    assert_eq!(fake.seen("PUT").len(), 2);
}

#[test]
fn a_token_that_may_only_store_stores() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "PUT /v1/files/f" => {
            ok(&json!({"path": "f", "b3": Root::of(&request.body).to_string(), "size": 1}))
        }
        _ => problem(403, "forbidden"),
    });
    fake.gfl(dir.path(), &["put", "f", "f"]).expect(0);
}

#[test]
fn existing_files_are_left_alone_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "mine").unwrap();
    let fake = Fake::start(nearly_empty);
    let output = fake
        .gfl(dir.path(), &["put", "--no-clobber", "file", "file"])
        .expect(0);
    assert!(
        output
            .out
            .ends_with("Skipped: file → file (exists on the server)\n"),
        "{output:?}"
    );
    assert!(output.err.ends_with("skipped 1 existing\n"), "{output:?}");
    let output = fake
        .gfl(dir.path(), &["get", "--no-clobber", "file", "--json"])
        .expect(0);
    let told: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!((&told["existing"], &told["files"]), (&1.into(), &0.into()));
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"mine");
    assert!(fake.seen("PUT").is_empty() && fake.seen("GET /v1/files").is_empty());
}

#[test]
fn a_file_that_is_here_is_not_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/files/file" => crate::fake::content(request, b"content"),
        _ => nearly_empty(request),
    });
    for said in ["(7 bytes, updated time and mode)", "(7 bytes, unchanged)"] {
        let output = fake.gfl(dir.path(), &["get", "file"]).expect(0);
        assert!(output.out.contains(said), "{output:?}");
    }
    assert!(fake.seen("GET /v1/files").is_empty());
    let here = fs::metadata(dir.path().join("file")).unwrap();
    let time = here
        .modified()
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH);
    assert_eq!(
        time.unwrap().as_secs(),
        ENTRY_SECONDS,
        "but it gets its time"
    );
    fake.gfl(dir.path(), &["get", "file", "--force"]).expect(0);
    assert_eq!(fake.seen("GET /v1/files").len(), 1);
}

#[test]
fn one_file_of_several_that_fails_keeps_no_other_back() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let fake = Fake::start(|request| match request.line().as_str() {
        "PUT /v1/files/dir/b" => refused(409, "is-a-directory", "dir/b", "is a directory"),
        line if line.starts_with("PUT ") => {
            ok(&json!({"path": "x", "b3": Root::of(&request.body).to_string(), "size": 1}))
        }
        _ => nearly_empty(request),
    });
    let output = fake
        .gfl(dir.path(), &["put", "a", "b", "c", "dir/"])
        .expect(5);
    assert!(
        output
            .err
            .contains("warning: upload of b failed: dir/b on the server: is a directory"),
        "{output:?}"
    );
    assert!(output.err.ends_with(", 1 failed\n"), "{output:?}");
    assert_eq!(
        output.out.matches("✓ Upload complete").count(),
        2,
        "{output:?}"
    );
}

#[cfg(unix)]
#[test]
fn what_is_left_out_is_told_a_few_times_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    for n in 0..50 {
        std::os::unix::fs::symlink("nowhere", dir.path().join(format!("d/{n}"))).unwrap();
    }
    let fake = Fake::start(nearly_empty);
    let output = fake.gfl(dir.path(), &["put", "d", "dir"]).expect(0);
    assert_eq!(
        output.err.matches("left out, symlink").count(),
        10,
        "{output:?}"
    );
    assert!(output.err.ends_with("50 left out\n"), "{output:?}");
    let output = fake.gfl(dir.path(), &["put", "d", "dir", "-v"]).expect(0);
    assert_eq!(output.err.matches("left out, symlink").count(), 50);
}

#[test]
fn versions_stand_in_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/versions/d/" => {
            let deleted = json!({"id": "v1", "path": "d/s", "type": "dir", "size": 0,
                "mtime": "1970-01-01T00:00:00Z", "state": "kept", "reason": "deleted",
                "uploaded": "1970-01-01T00:00:00Z", "retired": "2026-01-02T03:04:05Z"});
            ok(&json!({"versions": [deleted], "next": null}))
        }
        _ => nearly_empty(request),
    });
    let output = fake.gfl(dir.path(), &["restore", "--list", "d/"]).expect(0);
    let lines: Vec<&str> = output.out.lines().collect();
    assert!(lines[0].starts_with("VERSION ") && lines[0].ends_with("PATH"));
    assert!(
        lines[1].starts_with("v1 ") && !lines[1].contains("1970"),
        "{output:?}"
    );
    let output = fake
        .gfl(dir.path(), &["restore", "--list", "d/", "--json"])
        .expect(0);
    let told: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!((told.get("uploaded"), told.get("mtime")), (None, None));
}
