//! Names: everything that is a legal name works everywhere, everything else is refused.

use crate::common::{assert_file, batch, list};
use gfl_e2e::{Gfl, Request, Server, Setup, http};
use std::fs;

/// Legal, and each broken by some program.
const GOOD: [&str; 16] = [
    "with space",
    " leading and trailing ",
    "plus+plus",
    "percent%41",
    "hash#tag",
    "question?mark",
    "amp&ersand;semi",
    "quote\"quote'",
    "back\\slash",
    "<angle>|pipe",
    "new\nline",
    "[brackets]*",
    "ünïcödé",
    "日本語",
    "🦀",
    "...",
];

#[test]
fn unusual_names_work_over_v1() {
    let server = Server::start();
    let http = server.http();
    for name in GOOD {
        let path = format!("names/{name}");
        http.put(http::file(&path), name).expect(201);
        assert_file(&http, &path, name.as_bytes());
        assert!(
            server.data().join(&path).is_file(),
            "{name:?} has another name on the disk"
        );
    }
    let mut want: Vec<&str> = GOOD.to_vec();
    want.sort_unstable();
    assert_eq!(list(&http, "names"), want);
    for name in GOOD {
        http.delete(http::file(&format!("names/{name}")))
            .expect(204);
    }
    assert!(list(&http, "names").is_empty());
}

#[test]
fn unusual_names_work_over_v0() {
    let server = Server::start();
    let http = server.http();
    for name in GOOD.iter().filter(|n| !n.starts_with(' ')) {
        let path = format!("names/{name}");
        gfl_e2e::v0::upload(&http, &path, name.as_bytes(), 1 << 20);
        let answer = http
            .get(format!("/download?path={}", http::encode(&path)))
            .expect(200);
        assert_eq!(answer.text(), *name);
    }
}

#[test]
fn unusual_names_work_in_the_client() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::write(gfl.local("in"), "content").unwrap();
    // Trimming and joining of words is the client's grammar; wildcards are, too.
    let plain = |n: &&&str| !n.contains(['*', '?', '[', '\\']) && n.trim() == **n;
    for name in GOOD.iter().filter(plain) {
        gfl.run(&["put", "in", name]).expect(0);
        gfl.run(&["get", name, "out"]).expect(0);
        assert_eq!(
            fs::read_to_string(gfl.local("out")).unwrap(),
            "content",
            "{name:?}"
        );
    }
}

#[test]
fn unicode_is_not_normalised() {
    let server = Server::start();
    let http = server.http();
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    http.put(http::file(composed), "one").expect(201);
    http.put(http::file(decomposed), "two").expect(201);
    assert_file(&http, composed, b"one");
    assert_file(&http, decomposed, b"two");
}

#[test]
fn long_names_and_deep_paths() {
    let server = Server::start();
    let http = server.http();
    let longest = "n".repeat(255);
    http.put(http::file(&longest), "long").expect(201);
    assert_file(&http, &longest, b"long");
    let deep = vec!["d"; 200].join("/");
    http.put(http::file(&format!("{deep}/f")), "deep")
        .expect(201);
    assert_file(&http, &format!("{deep}/f"), b"deep");
    http.send(&Request::new("PUT", http::file(&"n".repeat(256))).body("x"))
        .problem(400, "invalid-path");
    let too_long = vec!["x".repeat(250); 17].join("/");
    http.send(&Request::new("PUT", http::file(&too_long)).body("x"))
        .problem(400, "invalid-path");
}

#[test]
fn the_servers_own_folder_cannot_be_reached() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("visible"), "x").expect(201);
    for path in [".gfl", ".gfl/drafts/x", ".GFL/x", ".Gfl"] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = http.send(&Request::new(method, http::file(path)));
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
            assert_eq!(answer.code(), "reserved-path");
        }
        let answer = http.get(format!("/download?path={path}"));
        assert!(answer.status >= 400, "v0 serves {path}");
        let moved = batch(
            &http,
            serde_json::json!({ "op": "move", "path": "visible", "to": path }),
        );
        assert_eq!(moved["status"], 400, "{moved}");
    }
    assert_eq!(list(&http, ""), ["visible"]);
    assert_eq!(http.get("/list?path=/").text(), "[\"visible\"]\n");
    http.put(http::file("dir/.gfl"), "only the first segment is reserved")
        .expect(201);
}

#[test]
fn names_on_disk_that_are_not_utf8_are_skipped() {
    use std::os::unix::ffi::OsStrExt;
    let server = Server::start();
    let http = server.http();
    http.put(http::file("d/good"), "x").expect(201);
    let bad = server
        .data()
        .join("d")
        .join(std::ffi::OsStr::from_bytes(b"bad\xff"));
    fs::write(&bad, "x").unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        server.data().join("d/fifo"),
        rustix::fs::Mode::from_raw_mode(0o644),
    )
    .unwrap();
    assert_eq!(list(&http, "d"), ["good"]);
    let got = Gfl::new(&server).run(&["get", "d", "copy"]).expect(0);
    assert!(
        got.err.contains("left out 2 things that are no files"),
        "{}",
        got.err
    );
    assert!(got.err.contains("2 left out"), "{}", got.err);
    let answer = http.get(http::file("d/fifo"));
    assert!((400..500).contains(&answer.status), "{}", answer.text());
}

#[test]
fn what_the_server_may_not_read_is_said_and_left_out() {
    use std::os::unix::fs::PermissionsExt;
    let server = Setup::default().ordinary().start();
    let http = server.http();
    for name in ["d/a", "d/secret/x", "d/z", "f", "ro/old"] {
        http.put(http::file(name), name).expect(201);
    }
    let chmod = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(server.data().join(name), mode).unwrap();
    };
    chmod("d/secret", 0o000);
    chmod("f", 0o000);
    chmod("ro", 0o555);
    for path in ["/v1/files/f", "/v1/files/d/secret/", "/v1/files/d/secret/x"] {
        let answer = http.get(path).problem(403, "storage-permission");
        let text = answer.text();
        assert!(text.contains("administrator"), "{text}");
        assert!(!text.contains(server.data().to_str().unwrap()), "{text}");
    }
    let new = Request::new("PUT", http::file("ro/new")).body("x");
    http.send(&new).problem(403, "storage-permission");
    assert!(!server.data().join("ro/new").exists());
    // Whoever lists everything gets everything else, and hears that something is missing.
    let names = |page: &serde_json::Value| -> Vec<String> {
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter_map(|e| e["path"].as_str().map(str::to_owned))
            .collect()
    };
    let page = http.get("/v1/files/?recursive=true").expect(200).json();
    let all = ["d", "d/a", "d/secret", "d/z", "f", "ro", "ro/old"];
    assert_eq!(names(&page), all);
    assert_eq!(
        (&page["skipped"], &page["unreadable"]),
        (&1.into(), &1.into())
    );
    let stream =
        Request::new("GET", "/v1/files/?recursive=true").header("Accept", "application/x-ndjson");
    let stream = http.send(&stream).expect(200).text();
    let end: serde_json::Value =
        serde_json::from_str(stream.lines().last().unwrap_or_default()).unwrap();
    assert_eq!((&end["count"], &end["skipped"]), (&7.into(), &1.into()));
    // A copy that lacks something is a failure, and says what it lacks.
    let gfl = Gfl::new(&server);
    for command in [&["get", "d", "copy"][..], &["ls", "-r", "d"]] {
        let got = gfl.run(command).expect(1);
        assert!(
            got.err.contains("1 folder that the server may not read"),
            "{}",
            got.err
        );
    }
    assert!(gfl.home().join("copy/z").exists());
    // The token is not what is missing.
    let got = Gfl::new(&server).run(&["get", "f", "here"]).expect(1);
    assert!(got.err.contains("administrator"), "{}", got.err);
    assert!(!got.err.contains("the token lacks"), "{}", got.err);
    // Names may be changed all the same, where the folder allows it.
    http.delete(http::file("f")).expect(204);
    http.post("/v1/versions/f", &serde_json::Value::Null)
        .expect(200);
    chmod("f", 0o600);
    assert_eq!(http.get(http::file("f")).expect(200).text(), "f");
    chmod("d/secret", 0o755);
    assert_file(&http, "d/secret/x", b"d/secret/x");
}

#[test]
fn links_are_changed_by_name() {
    use std::os::unix::fs::symlink;
    let mut server = Server::start();
    let http = server.http();
    http.put(http::file("d/f"), "content").expect(201);
    for name in ["deleted", "replaced", "moved", "folder"] {
        let target = if name == "folder" { "d" } else { "d/f" };
        symlink(target, server.data().join(name)).unwrap();
    }
    let is_link = |name: &str| server.data().join(name).is_symlink();
    http.delete(http::file("deleted")).expect(204);
    http.delete(http::file("folder") + "/").expect(204);
    http.put(http::file("replaced"), "ours").expect(200);
    let op = |to: &str| serde_json::json!({ "op": "move", "path": "moved", "to": to });
    assert_eq!(batch(&http, op("e/moved"))["status"], 400);
    assert_eq!(batch(&http, op("there"))["status"], 201);
    assert!(is_link("there") && !is_link("replaced") && !is_link("moved"));
    assert_file(&http, "d/f", b"content");
    http.post("/v1/versions/deleted", &serde_json::Value::Null)
        .expect(200);
    http.post("/v1/versions/folder", &serde_json::Value::Null)
        .expect(200);
    assert!(is_link("deleted") && is_link("folder"));
    server.kill9();
    server.restart();
    let http = server.http();
    for name in ["d/f", "deleted", "there", "folder/f"] {
        assert_eq!(http.get(http::file(name)).expect(200).text(), "content");
    }
    assert_file(&http, "replaced", b"ours");
    let list = http.get("/v1/versions/replaced").expect(200).json();
    let link = &list["versions"][1];
    assert_eq!(link["reason"], "edited");
    let target = format!(
        "{}?version={}",
        http::file("replaced"),
        link["id"].as_str().unwrap()
    );
    let answer = http.get(target).problem(404, "not-found");
    assert!(answer.text().contains("is a link"), "{}", answer.text());
    // A pipe answers at once, and is neither read nor written.
    let pipe = server.data().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    http.get(http::file("pipe")).problem(400, "invalid-path");
    http.put(http::file("pipe"), "x")
        .problem(400, "invalid-path");
    http.delete(http::file("pipe")).problem(400, "invalid-path");
    assert!(pipe.exists());
}

#[test]
fn symlinks_stay_inside() {
    use std::os::unix::fs::symlink;
    let server = Server::start();
    let http = server.http();
    fs::write(server.root().join("secret"), "secret").unwrap();
    http.put(http::file("d/inside"), "inside").expect(201);
    symlink("../../secret", server.data().join("d/out")).unwrap();
    symlink(
        server.root().join("secret"),
        server.data().join("d/absolute"),
    )
    .unwrap();
    symlink("/etc", server.data().join("d/etc")).unwrap();
    symlink("inside", server.data().join("d/link")).unwrap();
    for path in ["d/out", "d/absolute", "d/etc/passwd"] {
        for target in [http::file(path), format!("/download?path={path}")] {
            let answer = http.get(&target);
            assert!(
                answer.status >= 400,
                "{target} leaves the root: {}",
                answer.text()
            );
        }
    }
    let answer = http.send(&Request::new("PUT", http::file("d/etc/evil")).body("x"));
    assert!(answer.status >= 400);
    assert!(!std::path::Path::new("/etc/evil").exists());
    assert_eq!(http.get(http::file("d/link")).expect(200).text(), "inside");
}
