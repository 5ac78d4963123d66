//! The Go server's defects, as tests that they are gone (numbers as in the notes on the old program).

use crate::common::{assert_file, assert_nothing};
use gfl_e2e::{Server, data, v0};

#[test]
fn short_paths_do_not_crash() {
    let server = Server::start();
    let http = server.http();
    for path in ["a", "a.txt", "ab/c"] {
        v0::upload(&http, path, path.as_bytes(), 1 << 20);
        assert_file(&http, path, path.as_bytes());
    }
    // An empty path has no name to store under; it is refused and the server lives.
    let answer = http.send(&v0::request("", 0, 1, b"x"));
    assert!(answer.status >= 400, "{}", answer.text());
    http.get("/list?path=/").expect(200);
}

#[test]
fn paths_with_a_common_start_do_not_mix() {
    let server = Server::start();
    let contents: Vec<Vec<u8>> = (0..6).map(|n| data::bytes(n, 300_000)).collect();
    std::thread::scope(|scope| {
        for (n, content) in contents.iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                v0::upload(
                    &server.http(),
                    &format!("uploads/file{n}.bin"),
                    content,
                    50_000,
                );
            });
        }
    });
    for (n, content) in contents.iter().enumerate() {
        assert_file(&server.http(), &format!("uploads/file{n}.bin"), content);
    }
}

#[test]
fn another_size_replaces_a_stale_session() {
    let server = Server::start();
    let http = server.http();
    http.send(&v0::request("stale.bin", 0, 5, b"old "))
        .expect(200);
    let first = http.send(&v0::request("stale.bin", 0, 2, b"new "));
    if first.status == 500 {
        // The old text, as long as the old session is alive; never for ever.
        assert_eq!(
            first.text(),
            "session error: chunk count mismatch: session has 5, request has 2\n"
        );
        return;
    }
    first.expect(200);
    http.send(&v0::request("stale.bin", 1, 2, b"content"))
        .expect(200);
    assert_file(&http, "stale.bin", b"new content");
}

#[test]
fn a_repeated_chunk_replaces_the_earlier_one() {
    let server = Server::start();
    let http = server.http();
    http.send(&v0::request("repeat.bin", 0, 2, b"AAAA"))
        .expect(200);
    http.send(&v0::request("repeat.bin", 0, 2, b"BBBBBB"))
        .expect(200);
    http.send(&v0::request("repeat.bin", 1, 2, b"CC"))
        .expect(200);
    assert_file(&http, "repeat.bin", b"BBBBBBCC");
}

#[test]
fn a_huge_total_allocates_nothing_huge() {
    let server = Server::start();
    let http = server.http();
    for total in [u32::MAX, 1 << 31, 100_000_000] {
        let _any_answer = http.send(&v0::request("huge.bin", 0, total, b"x"));
    }
    http.get("/list?path=/").expect(200);
    assert!(
        server.peak_kib() < 200 * 1024,
        "peak {} KiB",
        server.peak_kib()
    );
    assert_nothing(&http, "huge.bin");
}

#[test]
fn chunks_survive_a_kill() {
    let mut server = Server::start();
    http_send(&server, 0, b"first ");
    server.kill9();
    server.restart();
    // An answered chunk was only received; whatever the status says is there must be there.
    let status = server
        .http()
        .get("/upload/status?path=killed.bin")
        .expect(200)
        .json();
    if status["received_map"][0] != true {
        http_send(&server, 0, b"first ");
    }
    http_send(&server, 1, b"second");
    assert_file(&server.http(), "killed.bin", b"first second");
}

fn http_send(server: &Server, id: u32, data: &[u8]) {
    server
        .http()
        .send(&v0::request("killed.bin", id, 2, data))
        .expect(200);
}

#[test]
fn the_root_is_not_deleted() {
    let server = Server::start();
    let http = server.http();
    http.put("/v1/files/keep", "me").expect(201);
    for root in ["/", ".", "", "a/..", "//", "./."] {
        let answer = http.delete(format!("/delete?path={}", gfl_e2e::http::encode(root)));
        assert!(answer.status >= 400, "{root:?} was deleted");
    }
    assert!(http.delete("/v1/files/").status >= 400);
    assert!(http.delete("/v1/files/?recursive=true").status >= 400);
    assert_file(&http, "keep", b"me");
}

#[test]
fn no_server_path_is_shown() {
    let server = Server::start();
    let http = server.http();
    http.put("/v1/files/f", "x").expect(201);
    let root = server.root().to_string_lossy().into_owned();
    for target in [
        "/download?path=missing",
        "/download?path=f/below",
        "/list?path=missing",
        "/list?path=f",
        "/download?path=../x",
        "/config",
    ] {
        let text = http.get(target).text();
        assert!(
            !text.contains(&root),
            "{target} shows the server's folder: {text}"
        );
    }
}
