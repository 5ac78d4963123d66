//! Names: everything that is a legal name works everywhere, everything else is refused.

use crate::common::{assert_file, batch, list};
use gfl_e2e::{Gfl, Request, Server, http};
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
    let answer = http.get(http::file("d/fifo"));
    assert!((400..500).contains(&answer.status), "{}", answer.text());
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
