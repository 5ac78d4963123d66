//! Wrong input gets a clear error that names the path, changes nothing and shows no server path.

use crate::common::{
    append, assert_file, assert_nothing, batch, begin, begin_request, complete, part,
};
use gfl_e2e::{Http, Request, Response, Server, data, frames, http, tree};

/// A server with something to break.
fn server() -> (Server, Http, tree::Summary) {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("dir/file"), "content").expect(201);
    http.put(http::file("file"), "content").expect(201);
    let before = tree::summary(&server.data()).expect("readable");
    (server, http, before)
}

#[track_caller]
fn unchanged(server: &Server, before: &tree::Summary) {
    let after = tree::summary(&server.data()).expect("readable");
    assert_eq!(after, *before, "a refused request changed files");
}

/// A refusal as it must be: a problem, of the caller's making, without the server's secrets.
#[track_caller]
fn refused(server: &Server, answer: &Response, what: &str) {
    let text = answer.text();
    assert!(
        (400..500).contains(&answer.status),
        "{what}: {} {text}",
        answer.status
    );
    let problem = answer.json();
    assert!(problem["code"].is_string(), "{what}: no code in {text}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "{what}: says nothing: {text}");
    let root = server.root().to_string_lossy();
    assert!(
        !text.contains(&*root),
        "{what}: shows the server's folder: {text}"
    );
}

#[test]
fn traversal_in_every_encoding() {
    let (server, http, before) = server();
    let outside = server.root().join("evil");
    for path in [
        "../evil",
        "dir/../../evil",
        "%2e%2e/evil",
        "%2E%2E%2Fevil",
        "..%2fevil",
        "dir/%2e%2e/%2e%2e/evil",
        ".%2e/evil",
        "%2e/evil",
        "./evil",
        "dir//evil",
        "/evil",
        "//evil",
        "%2fetc%2fpasswd",
        "a%00b",
        "%c0%ae%c0%ae/evil",
        "%ff%fe",
        "dir/%zz",
        "dir/%",
    ] {
        for method in ["GET", "PUT", "DELETE", "HEAD"] {
            let answer = http.send(&Request::new(method, format!("/v1/files/{path}")));
            assert!(
                (400..500).contains(&answer.status),
                "{method} {path}: {}",
                answer.status
            );
            if method != "HEAD" {
                refused(&server, &answer, path);
            }
        }
        assert!(!outside.exists(), "{path} left the root");
    }
    unchanged(&server, &before);
    // Encoded twice is a legal, if ugly, name.
    http.put("/v1/files/%252e%252e", "x").expect(201);
    assert!(server.data().join("%2e%2e").is_file());
}

#[test]
fn traversal_in_bodies_and_queries() {
    let (server, http, before) = server();
    for path in [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "a//b",
        "a/./b",
        "nul\0",
        "..",
        ".gfl/x",
    ] {
        let begun = http.send(&begin_request(path, Some(3)));
        refused(&server, &begun, path);
        for op in ["delete", "mkdir", "stat"] {
            let result = batch(&http, serde_json::json!({ "op": op, "path": path }));
            assert_eq!(result["status"], 400, "{op} {path:?}: {result}");
        }
        for op in ["move", "copy"] {
            let result = batch(
                &http,
                serde_json::json!({ "op": op, "path": "file", "to": path }),
            );
            assert_eq!(result["status"], 400, "{op} to {path:?}: {result}");
        }
        let body = serde_json::json!({ "paths": [{ "path": path }] });
        let answer = http.post("/v1/bulk/get", &body).expect(200);
        let frames = frames::parse(&answer.body).expect("a whole stream");
        let refused = matches!(&frames[0], frames::Frame::Error { status: 400, .. });
        assert!(refused, "{path:?}: {:?}", frames[0]);
    }
    unchanged(&server, &before);
}

#[test]
fn a_folder_where_a_file_is_and_the_reverse() {
    let (server, http, before) = server();
    let cases = [
        ("PUT", "/v1/files/dir", "is-a-directory"),
        ("GET", "/v1/files/dir", "is-a-directory"),
        ("PUT", "/v1/files/file/below", "not-a-directory"),
        ("GET", "/v1/files/file/", "not-a-directory"),
        ("PUT", "/v1/files/file/", "not-a-directory"),
        ("DELETE", "/v1/files/file/", "not-a-directory"),
        ("DELETE", "/v1/files/dir", "is-a-directory"),
        ("DELETE", "/v1/files/dir/", "not-empty"),
    ];
    for (method, target, code) in cases {
        let answer = http.send(&Request::new(method, target));
        refused(&server, &answer, target);
        let accepted = answer.code() == code
            // mkdir over a file may say either what is there or what it would need.
            || (method, target, answer.code().as_str()) == ("PUT", "/v1/files/file/", "already-exists");
        assert!(
            accepted && answer.status == 409,
            "{method} {target}: {}",
            answer.text()
        );
        let name = target
            .trim_start_matches("/v1/files/")
            .trim_end_matches('/');
        let top = name.split('/').next().unwrap_or_default();
        assert!(
            answer.text().contains(top),
            "the message does not name {name}: {}",
            answer.text()
        );
    }
    let answer = http.get("/v1/files/file/below");
    assert!([404, 409].contains(&answer.status), "{}", answer.text());
    unchanged(&server, &before);
}

#[test]
fn digests_that_do_not_fit() {
    let (server, http, before) = server();
    let put = |name: &str, value: String| {
        http.send(
            &Request::new("PUT", http::file("file"))
                .header(name, value)
                .body("new content"),
        )
    };
    put("Gfl-Blake3", data::b3(b"other")).problem(400, "digest-mismatch");
    put("Content-Digest", data::sha256_field(b"other")).problem(400, "digest-mismatch");
    put("Repr-Digest", data::sha256_field(b"other")).problem(400, "digest-mismatch");
    for (name, value) in [
        ("Gfl-Blake3", "zz"),
        ("Gfl-Blake3", "1234"),
        ("Content-Digest", "sha-256=:not base64:"),
        ("Content-Digest", "sha-256=:YWJj:"),
        ("Gfl-Mtime", "yesterday"),
        ("Gfl-Mode", "rwx"),
        ("Gfl-Mode", "99999"),
    ] {
        let answer = put(name, value.to_owned());
        refused(&server, &answer, &format!("{name}: {value}"));
    }
    unchanged(&server, &before);
    put("Content-Digest", data::sha256_field(b"new content")).expect(200);
    put("Gfl-Blake3", data::b3(b"new content").to_uppercase()).expect(200);
}

#[test]
fn a_body_shorter_than_announced_is_not_stored() {
    let (server, http, before) = server();
    for path in ["file", "new"] {
        let mut conn = http.connect();
        let request = Request::new("PUT", http::file(path)).body("only this");
        conn.send(&http.head(&request, Some(1000))).expect("sends");
        conn.send(b"only this").expect("sends");
        let _half_closed = conn.socket().shutdown(std::net::Shutdown::Write);
        // Whatever it answers, or not: it must not be a success.
        if let Ok(answer) = conn.answer("PUT") {
            assert!(answer.status >= 400, "{}", answer.status);
        }
        let mut conn = http.connect();
        let request = Request::new("PUT", http::file(path)).header("Transfer-Encoding", "chunked");
        conn.send(&http.head(&request, None)).expect("sends");
        conn.send(b"5\r\nhello\r\n").expect("sends");
        drop(conn);
    }
    http.get("/readyz").expect(200);
    assert_nothing(&http, "new");
    unchanged(&server, &before);
}

#[test]
fn broken_chunked_bodies() {
    let (server, http, before) = server();
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!!\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut conn = http.connect();
        let request =
            Request::new("PUT", http::file("file")).header("Transfer-Encoding", "chunked");
        conn.send(&http.head(&request, None)).expect("sends");
        conn.send(body.as_bytes()).expect("sends");
        let _half_closed = conn.socket().shutdown(std::net::Shutdown::Write);
        if let Ok(answer) = conn.answer("PUT") {
            assert!(answer.status >= 400, "{body:?}: {}", answer.status);
        }
    }
    unchanged(&server, &before);
}

#[test]
fn parts_that_contradict_the_session() {
    let (server, http, before) = server();
    let content = data::bytes(1, 1000);
    let target = begin(&http, "new", Some(1000));
    let send = |range: &str, body: &[u8]| {
        http.send(
            &Request::new("PUT", &target)
                .header("Content-Range", range)
                .body(body),
        )
    };
    for (range, len) in [
        ("bytes 0-99/999", 100),
        ("bytes 900-1000/1000", 101),
        ("bytes 0-99/1000", 99),
        ("bytes 0-99/1000", 101),
        ("bytes 5-2/1000", 3),
        ("bytes 0-99", 100),
        ("0-99/1000", 100),
        ("bytes -5-99/1000", 100),
        ("bytes 0-18446744073709551615/1000", 10),
        ("bytes 9223372036854775807-9223372036854775808/*", 2),
        ("items 0-99/1000", 100),
    ] {
        let answer = send(range, &content[..len.min(1000)]);
        refused(&server, &answer, range);
    }
    let missing_range = http.send(&Request::new("PUT", &target).body("x"));
    refused(&server, &missing_range, "no Content-Range");
    let wrong_type = http.send(
        &Request::new("PATCH", &target)
            .header("Content-Type", "text/plain")
            .header("Upload-Offset", "0")
            .header("Upload-Complete", "?0")
            .body("x"),
    );
    wrong_type.problem(415, "unsupported-media-type");
    let too_much = http.send(&append(&target, 0, false, &vec![0; 1001]));
    assert!(too_much.status >= 400, "more than the whole was taken");
    assert!(complete(&http, &target, 1000).status >= 400);
    unchanged(&server, &before);
    http.delete(&target);
    for len in [
        "-1",
        "1e3",
        "+5",
        "abc",
        "9223372036854775808",
        "18446744073709551616",
    ] {
        let answer = http.send(&begin_request("new", None).header("Upload-Length", len));
        assert_eq!(answer.status, 400, "Upload-Length {len}: {}", answer.text());
    }
    refused(
        &server,
        &http.send(&Request::new("POST", "/v1/uploads")),
        "no path",
    );
}

#[test]
fn requests_that_are_no_requests() {
    let (server, http, before) = server();
    for (target, body) in [
        ("/v1/batch", "{"),
        ("/v1/batch", "[]"),
        ("/v1/batch", "{\"ops\":5}"),
        ("/v1/batch", "\u{0}"),
        ("/v1/bulk/get", "{\"paths\":[5]}"),
        ("/v1/bulk/get", ""),
    ] {
        let request = Request::new("POST", target).header("Content-Type", "application/json");
        refused(&server, &http.send(&request.body(body)), body);
    }
    let ops: Vec<_> = (0..1001)
        .map(|_| serde_json::json!({"op":"stat","path":"file"}))
        .collect();
    let answer = http.post("/v1/batch", &serde_json::json!({ "ops": ops }));
    assert!([400, 413].contains(&answer.status), "{}", answer.text());
    let unknown = batch(
        &http,
        serde_json::json!({ "op": "frobnicate", "path": "file" }),
    );
    assert_eq!(unknown["status"], 400, "{unknown}");
    http.get("/v1/nonsense").expect(404);
    for (method, target) in [
        ("POST", "/v1/files/file"),
        ("PUT", "/v1/batch"),
        ("DELETE", "/v1/me"),
        ("BREW", "/v1/me"),
    ] {
        http.send(&Request::new(method, target))
            .problem(405, "method-not-allowed");
    }
    unchanged(&server, &before);
}

#[test]
fn bulk_streams_that_are_none() {
    let (server, http, _) = server();
    let send = |body: Vec<u8>| {
        let request = Request::new("POST", "/v1/bulk");
        http.send(
            &request
                .header("Content-Type", "application/vnd.gfl.bulk")
                .body(body),
        )
    };
    refused(
        &server,
        &send(b"not a stream at all".to_vec()),
        "wrong magic",
    );
    let request = Request::new("POST", "/v1/bulk").header("Content-Type", "text/plain");
    http.send(&request.body("x"))
        .problem(415, "unsupported-media-type");
    // Whole frames count, the broken one does not.
    let mut body = frames::put_body(&[("one".to_owned(), b"1".to_vec())]);
    body.truncate(body.len() - 5);
    frames::file(&mut body, 1, "two", b"22222", None);
    body.truncate(body.len() - 2);
    let _broken = send(body);
    assert_file(&http, "one", b"1");
    assert_nothing(&http, "two");
    // A wrong root concerns its file alone.
    let mut body = b"GFLBULK1".to_vec();
    frames::file(
        &mut body,
        0,
        "bad",
        b"bad",
        Some(blake3::hash(b"good").as_bytes()),
    );
    frames::file(&mut body, 1, "good", b"good", None);
    frames::end(&mut body);
    let text = send(body).expect(200).text();
    assert!(text.contains("digest-mismatch"), "{text}");
    assert_nothing(&http, "bad");
    assert_file(&http, "good", b"good");
}

#[test]
fn garbage_on_the_wire() {
    let (server, http, before) = server();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let headers = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "X-Header: value\r\n".repeat(5000)
    );
    for bytes in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        &long,
        &headers,
    ] {
        let mut conn = http.connect();
        let _maybe_reset = conn.send(bytes.as_bytes());
        if let Ok(answer) = conn.answer("GET") {
            assert!(answer.status >= 400, "{}", answer.status);
        }
    }
    http.get("/readyz").expect(200);
    assert!(
        server.peak_kib() < 200 * 1024,
        "garbage costs {} KiB",
        server.peak_kib()
    );
    unchanged(&server, &before);
}

#[test]
fn request_ids_are_taken_over_when_they_are_harmless() {
    let (_server, http, _) = server();
    let ask = |id: &str| {
        let answer = http.send(&Request::new("GET", "/v1/me").header("X-Request-Id", id));
        answer.header("X-Request-Id").map(str::to_owned)
    };
    assert_eq!(ask("my-id.1_2").as_deref(), Some("my-id.1_2"));
    let long = "x".repeat(65);
    for bad in ["spaces are bad", "<script>", long.as_str()] {
        let given = ask(bad);
        assert!(
            given.is_some() && given.as_deref() != Some(bad),
            "{given:?}"
        );
    }
}

#[test]
fn a_part_of_a_file_is_never_a_file() {
    let (server, http, before) = server();
    let content = data::bytes(9, 5000);
    let target = begin(&http, "file", Some(5000));
    http.send(&part(&target, &content, 0, 2500)).expect(204);
    complete(&http, &target, 5000).problem(409, "upload-incomplete");
    assert_file(&http, "file", b"content");
    unchanged(&server, &before);
}
