//! Words that may mean two things, and options where people write them: nothing is guessed that may do harm.

use crate::fake::{
    Fake, Reply, Request, capabilities, command, entry, finish, gfl, names, ok, problem,
};
use gfl_api::Root;
use serde_json::json;
use std::fs;

/// Takes every file and has `q/a` and `q/b`.
fn taker(request: &Request) -> Reply {
    match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/q/a" => ok(&entry("q/a", b"a")),
        "GET /v1/meta/q/b" => ok(&entry("q/b", b"b")),
        "GET /v1/files/q/a" => crate::fake::content(request, b"a"),
        "GET /v1/files/q/b" => crate::fake::content(request, b"b"),
        line if line.starts_with("PUT ") => {
            let size = request.body.len();
            ok(&json!({"path": "x", "b3": Root::of(&request.body).to_string(), "size": size}))
        }
        line if line.starts_with("POST /v1/dirs") || line.starts_with("PUT /v1/dirs") => {
            ok(&json!({}))
        }
        _ => problem(404, "not-found"),
    }
}

#[test]
fn put_joins_words_only_where_they_can_be_one_name() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["1.log", "2.log", "file.txt"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let fake = Fake::start(taker);
    for (words, missing) in [
        (&["1.log", "2.log", "gone.log", "logsX/"][..], "gone.log"),
        (&["1.log", "gone.log", "2.log", "logsX"], "gone.log"),
        (&["file.txt", "my", "folder/"], "my"),
    ] {
        let output = fake.gfl(dir.path(), &[&["put"], words].concat()).expect(4);
        let said = format!("error: {missing}: no such local file or folder\nhint: ");
        assert!(output.err.starts_with(&said), "{output:?}");
        assert!(
            output.err.contains("quotes") && output.err.contains("`--`"),
            "{output:?}"
        );
    }
    assert!(fake.seen("").is_empty(), "nobody was asked");
    fake.gfl(dir.path(), &["put", "file.txt", "my", "remote", "name.txt"])
        .expect(0);
    assert_eq!(fake.seen("PUT"), ["PUT /v1/files/my%20remote%20name.txt"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_among_several_files_keeps_no_other_back() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["1.log", "2.log", "3.log"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("gone", dir.path().join("4.log")).unwrap();
    let fake = Fake::start(taker);
    let words = ["put", "1.log", "2.log", "3.log", "4.log", "logsX/"];
    let output = fake.gfl(dir.path(), &words).expect(4);
    let mut sent = fake.seen("PUT");
    sent.sort();
    assert_eq!(
        sent,
        ["1", "2", "3"].map(|n| format!("PUT /v1/files/logsX/{n}.log"))
    );
    assert!(output.err.contains("cannot read 4.log"), "{output:?}");
    assert!(output.err.ends_with(", 1 failed\n"), "{output:?}");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_sent_is_told_and_the_others_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.log"), "a").unwrap();
    fs::write(dir.path().join("b.log"), "b").unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let fake = Fake::start(taker);
    let output = fake.gfl(dir.path(), &["put", "--", "a.log", "nope", "x"]);
    let output = output.expect(4);
    assert!(
        output.err.contains("nope: no such local file or folder"),
        "{output:?}"
    );
    assert_eq!(fake.seen("PUT"), ["PUT /v1/files/x/a.log"]);
    let output = fake.gfl(dir.path(), &["put", "b.log", "pipe", "x/"]);
    let output = output.expect(1);
    assert!(
        output.err.contains("pipe: not a regular file"),
        "{output:?}"
    );
    assert_eq!(fake.seen("PUT")[1..], ["PUT /v1/files/x/b.log"]);
    // Of different failures the exit code is the general one; where nothing is left nobody is asked.
    fake.gfl(dir.path(), &["put", "--", "nope", "pipe", "x"])
        .expect(1);
    fake.gfl(dir.path(), &["put", "--", "nope", "none", "x"])
        .expect(4);
    assert_eq!(fake.seen("PUT").len(), 2);
}

#[test]
fn a_pattern_takes_folders_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d1")).unwrap();
    fs::create_dir(dir.path().join("d2")).unwrap();
    let fake = Fake::start(|request| match request.method.as_str() {
        "POST" => crate::fake::all_done(request),
        _ => taker(request),
    });
    let output = fake.gfl(dir.path(), &["put", "d?", "x/"]).expect(0);
    for name in ["d1", "d2"] {
        let said = format!("✓ Upload complete: {name} → x/{name}");
        assert!(output.out.contains(&said), "{output:?}");
    }
}

#[test]
fn get_joins_words_only_where_they_can_be_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(taker);
    for last in ["here/", "-", "*"] {
        let output = fake.gfl(dir.path(), &["get", "q/a", "q/b", last]).expect(2);
        assert!(
            output
                .err
                .contains("hint: for several files write `gfl get -- "),
            "{output:?}"
        );
    }
    assert!(fake.seen("").is_empty());
    fake.gfl(dir.path(), &["get", "--", "q/a", "q/b", "here/"])
        .expect(0);
    assert_eq!(names(&dir.path().join("here")), ["a", "b"]);
    fake.gfl(dir.path(), &["get", "q/a", "my", "name"])
        .expect(0);
    assert!(dir.path().join("my name").is_file());
}

#[test]
fn one_file_is_one_and_a_pattern_is_the_last_part() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        line if line.starts_with("GET /v1/files/q/?") => {
            ok(&json!({"entries": [entry("q/a", b"a"), entry("q/b", b"b")], "next": null}))
        }
        _ => taker(request),
    });
    let output = fake.gfl(dir.path(), &["get", "q/[a]", "here"]).expect(0);
    assert!(
        output.out.starts_with("Found 1 file matching q/[a]\n")
            && output.out.ends_with("✓ Downloaded 1 file to here\n"),
        "{output:?}"
    );
    let output = fake.gfl(dir.path(), &["get", "*/a", "there"]).expect(2);
    let said = "error: *: no such folder on the server, and folders take no wildcards\nhint: only";
    assert!(output.err.starts_with(said), "{output:?}");
}

#[test]
fn who_reads_is_not_told_to_choose_another_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        line if line.starts_with("GET /v1/meta/odd") && request.target.len() > 12 => {
            problem(400, "invalid-path")
        }
        line if line.contains("odd") => problem(400, "name-not-storable"),
        _ => problem(404, "not-found"),
    });
    for (words, is_making) in [
        (&["get", ".gfl/x"][..], false),
        (&["ls", ".gfl"], false),
        (&["rm", ".gfl"], false),
        (&["stat", ".gfl"], false),
        (&["mv", ".gfl/x", "y"], false),
        (&["mv", "y", ".gfl/x"], true),
        (&["put", "a", ".gfl/x"], true),
        (&["put", "-", ".gfl/x"], true),
        (&["mkdir", ".gfl/x"], true),
        (&["stat", "odd1"], false),
        (&["get", "odd1"], false),
        (&["rm", "odd"], false),
        (&["mkdir", "odd"], true),
    ] {
        let output = fake.gfl(dir.path(), words).expect(1);
        let is_told = output.err.contains("choose another name");
        assert_eq!(is_told, is_making, "{words:?}: {output:?}");
    }
}

#[test]
fn mkdir_says_that_several_words_were_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        _ => ok(&json!({"name": "x", "type": "dir"})),
    });
    let output = fake.gfl(dir.path(), &["mkdir", "q/x", "q/y"]).expect(0);
    assert!(
        output.err.contains("\"q/x q/y\" was taken as one name")
            && output.err.contains("`gfl mkdir -- q/x q/y`"),
        "{output:?}"
    );
    let output = fake.gfl(dir.path(), &["mkdir", "q/x q/y"]).expect(0);
    assert_eq!(output.err, "");
}

#[test]
fn options_that_nobody_knows_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    for (words, first) in [
        (&["ls", "-la"][..], "flag provided but not defined: -la"),
        (&["rm", "-i", "z"], "flag provided but not defined: -i"),
        (&["get", "-f"], "flag provided but not defined: -f"),
        (
            &["put", "--frob", "a", "b"],
            "flag provided but not defined: -frob",
        ),
    ] {
        let output = gfl(dir.path(), words).expect(2);
        let mut lines = output.err.lines();
        assert_eq!(lines.next(), Some(first), "{output:?}");
        let hint = lines.next().unwrap_or_default();
        assert!(
            hint.starts_with("hint: there is no option -") && hint.ends_with("behind `--`"),
            "{output:?}"
        );
    }
    // Behind the dashes it is a name.
    let fake = Fake::start(taker);
    let output = fake.gfl(dir.path(), &["rm", "--", "-i"]).expect(4);
    assert!(output.err.contains("cannot delete -i"), "{output:?}");
    assert_eq!(fake.seen("DELETE"), ["DELETE /v1/files/-i"]);
}

#[test]
fn options_stand_in_front_of_the_command_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let fake = Fake::start(taker);
    fake.gfl(dir.path(), &["--parallel", "2", "--force", "put", "a", "b"])
        .expect(0);
    assert_eq!(fake.seen("PUT"), ["PUT /v1/files/b"]);
    let output = fake.gfl(dir.path(), &["--parallel", "2", "ls"]).expect(2);
    assert!(
        output
            .err
            .starts_with("flag provided but not defined: -parallel\n"),
        "{output:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stdout_is_told_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        _ => ok(&json!({"entries": [{"name": "a", "type": "file", "size": 1}], "next": null})),
    });
    let address = fake.address();
    for words in [&["--server", &address, "ls"][..], &["help"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut child = command(dir.path(), words);
        let child = child.stdout(full).stderr(std::process::Stdio::piped());
        let output = child.spawn().unwrap().wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert_eq!(
            err,
            "error: cannot write to stdout: No space left on device\n"
        );
    }
}

#[test]
fn an_address_where_something_else_answers_is_a_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let page = "<!DOCTYPE HTML>\n<title>Error</title>";
    for (status, body) in [
        (404, page),
        (404, "404 page not found\n"),
        (405, ""),
        (400, page),
        (200, page),
        (200, "{}"),
        (302, ""),
    ] {
        let fake = Fake::start(move |_| crate::fake::reply(status, body));
        let want = format!(
            "error: http://{} is no GoFlux Lite server\nhint: ",
            fake.address()
        );
        for words in [&["ls"][..], &["put", "a", "x"], &["get", "a", "y"]] {
            let output = fake.gfl(dir.path(), words).expect(2);
            assert!(output.err.contains(&want), "{status}: {output:?}");
        }
    }
    // One that has TLS now is no other one either.
    let fake = Fake::start(|_| {
        crate::fake::reply(400, "this port speaks TLS: write https:// in the address\n")
    });
    let output = fake.gfl(dir.path(), &["ls"]).expect(2);
    assert!(output.err.contains("speaks TLS now"), "{output:?}");
    assert!(output.err.contains("`gfl config HOST:PORT`"), "{output:?}");
    // A server that is only in trouble is no other one.
    let fake = Fake::start(|_| crate::fake::reply(503, "busy"));
    let mut ls = command(
        dir.path(),
        &["--server", &fake.address(), "--retries", "0", "ls"],
    );
    finish(&mut ls).expect(6);
}

/// The objects in a text, one a line.
fn objects(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.map(|line| line.expect(text)).collect()
}

#[test]
fn scripts_get_failures_as_objects() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "a").unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "PUT /v1/files/refused" => problem(409, "is-a-directory"),
        "GET /v1/meta/secret" => problem(401, "unauthenticated"),
        _ => taker(request),
    });
    let nobody = ["--server", "127.0.0.1:1", "--retries", "0"];
    for (words, exit, code, path) in [
        (&["put", "nope", "x"][..], 4, "not-found", json!("nope")),
        (
            &["put", "a", "refused"],
            5,
            "is-a-directory",
            json!("refused"),
        ),
        (&["get", "no/thing"], 4, "not-found", json!("no/thing")),
        (&["ls", "no/thing"], 4, "not-found", json!("no/thing")),
        (&["stat", "no/thing"], 4, "not-found", json!("no/thing")),
        (&["stat", "secret"], 3, "unauthenticated", json!("secret")),
        (&["ls", "--frob"], 2, "usage", json!(null)),
        (&["put"], 1, "failed", json!(null)),
        (&[&nobody[..], &["ls"]].concat(), 6, "network", json!(null)),
    ] {
        let output = fake.gfl(dir.path(), &[words, &["--json"]].concat());
        let output = output.expect(exit);
        let told = objects(&output.err);
        assert_eq!(told.len(), 1, "{words:?}: {output:?}");
        let told = &told[0];
        assert_eq!(
            (&told["code"], &told["path"], &told["exit"]),
            (&code.into(), &path, &exit.into()),
            "{words:?}"
        );
        assert!(told["message"].is_string() && told.get("hint").is_some());
        // What was begun has its numbers, and the failed file is among them.
        for numbers in objects(&output.out) {
            assert_eq!(
                (&numbers["failed"], &numbers["files"]),
                (&1.into(), &0.into())
            );
        }
    }
    // One of several: the others are done, and both are told.
    let words = ["put", "--json", "--", "a", "nope", "x"];
    let output = fake.gfl(dir.path(), &words).expect(4);
    assert_eq!(objects(&output.err)[0]["path"], "nope");
    let numbers = &objects(&output.out)[0];
    assert_eq!(
        (&numbers["failed"], &numbers["files"]),
        (&1.into(), &1.into())
    );
    assert_eq!(numbers.get("skipped"), None);
}

#[test]
fn scripts_are_told_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "POST /v1/batch" => ok(&json!({"results": [{"index": 0, "status": 200}]})),
        "GET /v1/meta/a" => ok(&entry("a", b"a")),
        "POST /v1/versions/a" | "POST /v1/restore/a" => ok(&entry("a", b"a")),
        "DELETE /v1/files/a" => crate::fake::reply(204, ""),
        _ => ok(&entry("a", b"a")),
    });
    for (words, want) in [
        (
            &["mv", "a", "b"][..],
            json!({"op": "move", "path": "a", "to": "b"}),
        ),
        (
            &["cp", "a", "b"],
            json!({"op": "copy", "path": "a", "to": "b", "files": 1}),
        ),
        (&["rm", "a"], json!({"op": "delete", "path": "a"})),
        (&["mkdir", "a"], json!({"op": "mkdir", "path": "a"})),
    ] {
        let output = fake
            .gfl(dir.path(), &[words, &["--json"]].concat())
            .expect(0);
        assert_eq!(objects(&output.out), [want], "{output:?}");
    }
    let output = fake.gfl(dir.path(), &["restore", "a", "--json"]).expect(0);
    assert_eq!(objects(&output.out)[0]["path"], "a");
    let output = fake.gfl(dir.path(), &["version", "--json"]).expect(0);
    let told = &objects(&output.out)[0];
    assert_eq!(
        (&told["server"]["version"], &told["server"]["api"]),
        (&"test".into(), &1.into())
    );
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn who_finds_no_server_is_told_that_those_on_loopback_are_silent() {
    let dir = tempfile::tempdir().unwrap();
    let output = gfl(dir.path(), &["discover"]).expect(0);
    let is_empty = output.out.contains("No GoFlux servers found");
    let is_hinted = output.err.contains("`\"discovery\": true`");
    assert_eq!(is_empty, is_hinted, "{output:?}");
}
