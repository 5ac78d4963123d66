//! One line for every transfer that has ended, however it did.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::common::{begin, complete, part};
use gfl_e2e::{Conn, Http, Request, Server, Setup, data, frames, http, v0, wait};
use serde_json::{Value, json};
use std::io::Read;

/// A server with its log in JSON.
fn server() -> Server {
    Setup::default().with("log", "json").start()
}

/// All lines of the log with this message, in order.
pub(crate) fn lines(server: &Server, message: &str) -> Vec<Value> {
    let log = server.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

/// The transfer line of the request with this id.
#[track_caller]
fn transfer(server: &Server, id: &str) -> Value {
    wait::until("the transfer is in the log", 10, || {
        let lines = lines(server, "transfer");
        lines.into_iter().find(|line| line["request_id"] == id)
    })
}

/// Sends with this id and returns the transfer's line.
#[track_caller]
fn sent(server: &Server, id: &str, request: &Request, status: u16) -> Value {
    let request = request.clone().header("X-Request-Id", id);
    server.http().send(&request).expect(status);
    transfer(server, id)
}

#[track_caller]
fn tells(line: &Value, members: &Value) {
    for (name, value) in members.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name} of {line}");
    }
    for name in [
        "peer",
        "who",
        "direction",
        "protocol",
        "files",
        "bytes",
        "outcome",
    ] {
        assert!(!line[name].is_null(), "no {name}: {line}");
    }
}

#[test]
fn transfers_that_end_well() {
    let server = server();
    let content = data::bytes(5, 300_000);
    let put = Request::new("PUT", http::file("d/f")).body(content.clone());
    let line = sent(&server, "put", &put, 201);
    tells(
        &line,
        &json!({"who": "tester", "direction": "up", "protocol": "v1", "file": "d/f", "bytes": 300_000,
                "files": 1, "outcome": "complete"}),
    );
    let (ms, rate) = (line["ms"].as_u64().unwrap(), line["rate"].as_u64().unwrap());
    assert_eq!(rate, 300_000 * 1000 / ms.max(1), "{line}");

    let get = Request::new("GET", http::file("d/f"));
    tells(
        &sent(&server, "get", &get, 200),
        &json!({"direction": "down", "file": "d/f", "bytes": 300_000, "files": 1, "outcome": "complete"}),
    );
    // Of the ranges that make up a file the last one counts as the file.
    let range = |id: &str, range: &str| {
        let get = get.clone().header("Range", range);
        server
            .http()
            .send(&get.header("X-Request-Id", id))
            .expect(206);
    };
    range("first", "bytes=0-99");
    range("last", "bytes=299900-");
    tells(
        &transfer(&server, "last"),
        &json!({"bytes": 100, "files": 1, "range": "bytes 299900-299999/300000", "outcome": "complete"}),
    );
    let told = lines(&server, "transfer");
    assert!(!told.iter().any(|line| line["request_id"] == "first"));
    let v0 = Request::new("GET", "/download?path=d/f");
    tells(
        &sent(&server, "v0", &v0, 200),
        &json!({"direction": "down", "protocol": "v0", "file": "d/f", "bytes": 300_000}),
    );
    let files = [("a".to_owned(), vec![1; 10]), ("b".to_owned(), vec![2; 20])];
    let bulk = Request::new("POST", "/v1/bulk")
        .header("Content-Type", "application/vnd.gfl.bulk")
        .body(frames::put_body(&files));
    tells(
        &sent(&server, "bulk", &bulk, 200),
        &json!({"direction": "up", "protocol": "bulk", "files": 2, "failed": 0, "outcome": "complete"}),
    );
    let paths = json!({"paths": [{"path":"a"},{"path":"gone"}]});
    let bulk = Request::new("POST", "/v1/bulk/get").json(&paths);
    tells(
        &sent(&server, "bulkget", &bulk, 200),
        &json!({"direction": "down", "protocol": "bulk", "files": 1, "failed": 1, "outcome": "partial"}),
    );
}

#[test]
fn a_file_in_parts_has_one_line_with_all_of_it() {
    let server = server();
    let http = server.http();
    let content = data::bytes(6, 200_000);
    let target = begin(&http, "parts", Some(content.len()));
    http.send(&part(&target, &content, 100_000, 200_000))
        .expect(204);
    http.send(&part(&target, &content, 0, 100_000)).expect(204);
    complete(&http, &target, content.len()).expect(201);
    // Asked again after the answer was lost: no second transfer.
    complete(&http, &target, content.len()).expect(201);
    v0::upload(&http, "chunks", &content, 70_000);
    http.get("/livez").expect(200);
    let lines = wait::until("all requests are in the log", 10, || {
        let done = lines(&server, "request")
            .iter()
            .any(|l| l["route"] == "/livez");
        done.then(|| lines(&server, "transfer"))
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    tells(
        &lines[0],
        &json!({"file": "parts", "bytes": 200_000, "files": 1, "direction": "up", "outcome": "complete"}),
    );
    assert!(lines[0]["ms"].is_u64(), "{}", lines[0]);
    // How long v0's chunks took altogether nobody knows; it is not told wrongly.
    tells(
        &lines[1],
        &json!({"file": "chunks", "bytes": 200_000, "protocol": "v0", "ms": null, "rate": null}),
    );
}

#[test]
fn transfers_that_do_not() {
    let server = server();
    let wrong = Request::new("PUT", http::file("f"))
        .header("Gfl-Blake3", "00".repeat(32))
        .body("12345");
    tells(
        &sent(&server, "digest", &wrong, 400),
        &json!({"file": "f", "bytes": 5, "files": 0, "outcome": "failed"}),
    );
    // Refused before a byte moved: no transfer.
    let refused = Request::new("PUT", http::file("f"))
        .header("If-Match", "\"x\"")
        .header("X-Request-Id", "refused")
        .body("12345");
    server.http().send(&refused).expect(412);

    // A client that leaves in the middle of its upload …
    let put = Request::new("PUT", http::file("gone"))
        .header("X-Request-Id", "left")
        .header("Authorization", format!("Bearer {}", server.token()));
    let mut conn = Conn::open(server.addr()).unwrap();
    conn.send(&put.head("h", None, Some(1_000_000))).unwrap();
    conn.send(&[7; 4_000]).unwrap();
    wait::until("the bytes have arrived", 10, || {
        let page = server.http_as(None).get("/metrics").expect(200).text();
        page.contains("gfl_transfer_bytes_total{direction=\"up\",protocol=\"v1\"} 4005")
            .then_some(())
    });
    drop(conn);
    tells(
        &transfer(&server, "left"),
        &json!({"file": "gone", "direction": "up", "bytes": 4_000, "files": 0, "outcome": "aborted"}),
    );
    // … or of its download.
    let big = data::bytes(7, 20_000_000);
    server.http().put(http::file("big"), &big[..]).expect(201);
    let get = Request::new("GET", http::file("big"))
        .header("X-Request-Id", "stopped")
        .header("Authorization", format!("Bearer {}", server.token()));
    let mut conn = Conn::open(server.addr()).unwrap();
    conn.send(&get.head("h", None, None)).unwrap();
    conn.socket().read_exact(&mut [0; 1_000]).unwrap();
    drop(conn);
    let line = transfer(&server, "stopped");
    tells(
        &line,
        &json!({"file": "big", "direction": "down", "files": 0, "outcome": "aborted"}),
    );
    assert!(line["bytes"].as_u64().unwrap() < 20_000_000, "{line}");

    let lines = lines(&server, "request");
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(of("stopped")["complete"], false);
    assert_eq!(of("left")["status"], 408);
    let transfers = self::lines(&server, "transfer");
    assert!(!transfers.iter().any(|line| line["request_id"] == "refused"));
    let _still_works: Http = server.http();
}

#[test]
fn levels_by_module() {
    for (level, request, transfer) in [
        ("info", true, true),
        ("warn", false, false),
        ("gfl=info,gfl_server::transfer=off", true, false),
        ("gfl_server::transfer=info", false, true),
    ] {
        let mut server = Setup::default()
            .with("log", "json")
            .with("log_level", level)
            .start();
        server.http().put(http::file("f"), "x").expect(201);
        assert!(server.stop());
        let has = |message| !lines(&server, message).is_empty();
        assert_eq!(
            (has("request"), has("transfer")),
            (request, transfer),
            "{level}"
        );
    }
}
