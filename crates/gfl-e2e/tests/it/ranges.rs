//! Ranges and conditional requests (RFC 9110), with the vectors of the protocol notes.

use gfl_e2e::{Http, Request, Response, Server, data, http};

const CONTENT: &str = "hello world";

fn server_with_file() -> (Server, Http) {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("f"), CONTENT).expect(201);
    http.put(http::file("empty"), "").expect(201);
    (server, http)
}

fn ranged(http: &Http, path: &str, range: &str) -> Response {
    http.send(&Request::new("GET", http::file(path)).header("Range", range))
}

#[test]
fn single_ranges() {
    let (_server, http) = server_with_file();
    let cases = [
        ("bytes=0-0", 206, "h", "bytes 0-0/11"),
        ("bytes=10-99", 206, "d", "bytes 10-10/11"),
        ("bytes=-99", 206, CONTENT, "bytes 0-10/11"),
        ("bytes=6-", 206, "world", "bytes 6-10/11"),
        ("bytes=-5", 206, "world", "bytes 6-10/11"),
        ("bytes=0-4,3-10", 206, CONTENT, "bytes 0-10/11"),
    ];
    for (range, status, body, content_range) in cases {
        let answer = ranged(&http, "f", range).expect(status);
        assert_eq!(answer.text(), body, "{range}");
        assert_eq!(
            answer.header("Content-Range"),
            Some(content_range),
            "{range}"
        );
        assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    }
}

#[test]
fn ranges_that_mean_nothing_are_ignored() {
    let (_server, http) = server_with_file();
    for range in ["bytes=5-2", "items=0-1", "bytes=", "bytes=a-b", "bytes 0-1"] {
        let answer = ranged(&http, "f", range).expect(200);
        assert_eq!(answer.text(), CONTENT, "{range}");
    }
    let head = http.send(&Request::new("HEAD", http::file("f")).header("Range", "bytes=0-0"));
    assert_eq!(head.expect(200).number("Content-Length"), Some(11));
}

#[test]
fn ranges_outside_are_refused() {
    let (_server, http) = server_with_file();
    for (path, range, of) in [
        ("f", "bytes=11-", "bytes */11"),
        ("f", "bytes=-0", "bytes */11"),
        ("empty", "bytes=0-", "bytes */0"),
    ] {
        let answer = ranged(&http, path, range).problem(416, "range-not-satisfiable");
        assert_eq!(answer.header("Content-Range"), Some(of), "{path} {range}");
    }
}

#[test]
fn several_ranges_come_as_multipart() {
    let (_server, http) = server_with_file();
    let answer = ranged(&http, "f", "bytes=0-4,-5").expect(206);
    assert_eq!(answer.header("Content-Range"), None);
    let kind = answer.header("Content-Type").unwrap_or_default();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect(kind);
    let text = answer.text();
    let parts: Vec<&str> = text
        .split(&format!("--{}", boundary.trim_matches('"')))
        .collect();
    assert_eq!(parts.len(), 4, "{text}");
    assert!(
        parts[1].contains("bytes 0-4/11") && parts[1].contains("\r\n\r\nhello\r\n"),
        "{text}"
    );
    assert!(
        parts[2].contains("bytes 6-10/11") && parts[2].contains("\r\n\r\nworld\r\n"),
        "{text}"
    );
    assert!(parts[3].starts_with("--"), "{text}");
}

#[test]
fn if_range() {
    let (_server, http) = server_with_file();
    let head = http.head_of(http::file("f")).expect(200);
    let etag = head.header("ETag").unwrap_or_default().to_owned();
    let get = |validator: &str| {
        let request = Request::new("GET", http::file("f")).header("Range", "bytes=0-4");
        http.send(&request.header("If-Range", validator)).status
    };
    assert_eq!(get(&etag), 206);
    assert_eq!(get("\"b3-0000\""), 200);
    assert_eq!(get(&format!("W/{etag}")), 200);
    assert_eq!(get(head.header("Last-Modified").unwrap_or_default()), 206);
    assert_eq!(get("Sun, 06 Nov 1994 08:49:37 GMT"), 200);
}

#[test]
fn conditional_reads() {
    let (_server, http) = server_with_file();
    let head = http.head_of(http::file("f")).expect(200);
    let etag = head.header("ETag").unwrap_or_default().to_owned();
    let modified = head.header("Last-Modified").unwrap_or_default().to_owned();
    let get = |name: &str, value: &str| {
        http.send(&Request::new("GET", http::file("f")).header(name, value))
            .status
    };
    assert_eq!(get("If-None-Match", &etag), 304);
    assert_eq!(get("If-None-Match", "*"), 304);
    assert_eq!(get("If-None-Match", "\"other\""), 200);
    assert_eq!(get("If-Match", &etag), 200);
    assert_eq!(get("If-Match", "\"other\""), 412);
    assert_eq!(get("If-Modified-Since", &modified), 304);
    assert_eq!(
        get("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        412
    );
}

#[test]
fn conditional_writes() {
    let (_server, http) = server_with_file();
    let etag = format!("\"b3-{}\"", data::b3(CONTENT.as_bytes()));
    let put = |path: &str, name: &str, value: &str| {
        http.send(
            &Request::new("PUT", http::file(path))
                .header(name, value)
                .body("new"),
        )
    };
    put("f", "If-None-Match", "*").problem(412, "precondition-failed");
    put("f", "If-Match", "\"b3-1234\"").problem(412, "precondition-failed");
    put("missing", "If-Match", "*").problem(412, "precondition-failed");
    assert_eq!(http.get(http::file("f")).text(), CONTENT);
    put("fresh", "If-None-Match", "*").expect(201);
    put("f", "If-Match", &etag).expect(200);
    let delete = Request::new("DELETE", http::file("f")).header("If-Match", etag);
    http.send(&delete).problem(412, "precondition-failed");
    assert_eq!(http.get(http::file("f")).text(), "new");
}

#[test]
fn metadata_travels() {
    let (_server, http) = server_with_file();
    let when = "2001-02-03T04:05:06.123456789Z";
    let request = Request::new("PUT", http::file("m"))
        .header("Gfl-Mtime", when)
        .header("Gfl-Mode", "0750");
    http.send(&request.body("x")).expect(201);
    let answer = http.get(http::file("m")).expect(200);
    assert_eq!(answer.header("Gfl-Mtime"), Some(when));
    assert_eq!(answer.header("Gfl-Mode"), Some("0750"));
    assert_eq!(
        answer.header("Last-Modified"),
        Some("Sat, 03 Feb 2001 04:05:06 GMT")
    );
    let patch = Request::new("PATCH", "/v1/meta/m")
        .header("Content-Type", "application/merge-patch+json")
        .body(r#"{"mode":"0600","mtime":"2002-01-01T00:00:00Z"}"#);
    let entry = http.send(&patch).expect(200).json();
    assert_eq!(entry["mode"], "0600");
    let answer = http.get(http::file("m")).expect(200);
    assert_eq!(
        answer.header("Last-Modified"),
        Some("Tue, 01 Jan 2002 00:00:00 GMT")
    );
    assert_eq!(answer.text(), "x");
}
