//! The request log: whoever reads it finds the file, not only the endpoint; and no name can forge a line.

use crate::common::{append, begin, complete, part};
use gfl_e2e::{Http, Request, Server, Setup, bins, frames, http, v0, wait};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Sends a request and returns its line of the log, read as JSON.
#[track_caller]
fn line_of(server: &Server, id: &str, request: Request, status: u16) -> Value {
    let request = request.header("X-Request-Id", id);
    server.http().send(&request).expect(status);
    line(server, id)
}

/// The line of the request with this id; it is written when the answer is out.
#[track_caller]
fn line(server: &Server, id: &str) -> Value {
    let line = wait::until("the request is in the log", 10, || {
        let log = server.log();
        let lines = log.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"))
        });
        lines
            .into_iter()
            .find(|line| line["request_id"] == id && line["message"] == "request")
    });
    for name in ["peer", "method", "route", "ms", "bytes_out"] {
        assert!(!line[name].is_null(), "no {name}: {line}");
    }
    assert_eq!(line["who"], "tester", "{line}");
    line
}

/// These members of a line must be as given; null is for those that must not be there.
#[track_caller]
fn tells(line: &Value, members: Value) {
    for (name, value) in members.as_object().expect("is an object") {
        assert_eq!(&line[name], value, "{name} of {line}");
    }
}

#[test]
fn lines_of_single_files_name_them() {
    let server = Setup::default().with("log", "json").start();
    let send = |id: &str, request: Request, status| line_of(&server, id, request, status);

    let chunk = v0::request("/v0/../old file.bin", 0, 1, b"12345");
    let sent = chunk.body.as_ref().unwrap().len();
    tells(
        &send("v0-up", chunk, 200),
        json!({"route": "/upload", "file": "old file.bin", "bytes_in": sent, "status": 200}),
    );
    tells(
        &send("v0-bad", v0::request("../x", 0, 1, b"1"), 500),
        json!({"file": "../x", "status": 500}),
    );
    let get = Request::new("GET", "/download?path=old%20file.bin");
    tells(
        &send("v0-down", get, 200),
        json!({"file": "old file.bin", "bytes_in": null, "bytes_out": 5, "files": null}),
    );

    let content = vec![7; 100_000];
    let target = begin(&server.http(), "d/parts \"1\"", Some(content.len()));
    tells(
        &send("part", part(&target, &content, 0, 70_000), 204),
        json!({"route": "/v1/uploads/{id}", "file": "d/parts \"1\"", "bytes_in": 70_000}),
    );
    let other = vec![8; 100_000];
    tells(
        &send("clash", part(&target, &other, 0, 70_000), 409),
        json!({"file": "d/parts \"1\"", "status": 409}),
    );
    let rest = append(&target, 70_000, true, &content[70_000..]);
    tells(
        &send("end", rest, 201),
        json!({"file": "d/parts \"1\"", "bytes_in": 30_000, "status": 201}),
    );
    let begun = begin(&server.http(), "given/up", Some(1));
    tells(
        &send("cancel", Request::new("DELETE", &begun), 204),
        json!({"file": "given/up"}),
    );
    tells(
        &send("gone", Request::new("GET", &begun), 404),
        json!({"file": null}),
    );

    tells(
        &send(
            "put",
            Request::new("PUT", http::file("ü")).body("1234"),
            201,
        ),
        json!({"file": "ü", "path": "/v1/files/%C3%BC", "bytes_in": 4}),
    );
    tells(
        &send("list", Request::new("GET", "/v1/files/"), 200),
        json!({"file": "/"}),
    );
    tells(
        &send("meta", Request::new("GET", "/v1/meta/d"), 200),
        json!({"file": "d"}),
    );
}

#[test]
fn lines_of_many_files_count_them() {
    let server = Setup::default().with("log", "json").start();
    let send = |id: &str, request: Request| line_of(&server, id, request, 200);
    let files = [
        ("a/1".to_owned(), vec![1; 1000]),
        ("../evil\n".to_owned(), vec![2]),
        (".gfl/x".to_owned(), vec![3]),
        ("a/2".to_owned(), vec![4; 2000]),
    ];
    let body = frames::put_body(&files);
    let sent = body.len();
    let put = Request::new("POST", "/v1/bulk")
        .header("Content-Type", "application/vnd.gfl.bulk")
        .body(body);
    let line = send("bulk", put);
    tells(
        &line,
        json!({"route": "/v1/bulk", "files": 4, "failed": 2, "bytes_in": sent, "file": null}),
    );
    // Small files are stored at the same time: either may fail first.
    let first = (line["first_failed"].as_str(), line["problem"].as_str());
    assert!(
        [
            (Some("../evil\\n"), Some("invalid-path")),
            (Some(".gfl/x"), Some("reserved-path"))
        ]
        .contains(&first),
        "{line}"
    );

    let paths = json!({"paths": [{"path":"a/1"},{"path":"a/2"},{"path":"gone"}]});
    let get = Request::new("POST", "/v1/bulk/get").json(&paths);
    let line = send("get", get);
    tells(
        &line,
        json!({"files": 3, "failed": 1, "first_failed": "gone", "problem": "not-found"}),
    );
    assert!(line["bytes_out"].as_u64() > Some(3000), "{line}");

    let ops =
        json!({"ops": [{"op":"stat","path":"a/1"},{"op":"delete","path":"no"},{"op":"stat"}]});
    tells(
        &send("batch", Request::new("POST", "/v1/batch").json(&ops)),
        json!({"files": 3, "failed": 2, "first_failed": "no", "problem": "not-found"}),
    );
    let ops = json!({"ops": [{"op":"stat"}, {"op":"delete","path":"no"}]});
    tells(
        &send("unnamed", Request::new("POST", "/v1/batch").json(&ops)),
        json!({"failed": 2, "first_failed": "ops[0]", "problem": "invalid-request"}),
    );
    let ops = json!({"ops": [{"op":"stat","path":"a/1"}]});
    tells(
        &send("well", Request::new("POST", "/v1/batch").json(&ops)),
        json!({"files": 1, "failed": 0, "first_failed": null}),
    );
}

#[test]
fn no_name_can_forge_a_line() {
    let server = Server::start();
    let http = server.http();
    let evil = "x\n2026-01-01T00:00:00Z  INFO forged\r\u{1b}[2J\u{9b}2J\u{7f}";
    v0::upload(&http, evil, b"12", 1);
    let target = begin(&http, evil, Some(1));
    http.send(&part(&target, b"1", 0, 1)).expect(204);
    complete(&http, &target, 1).expect(200);
    http.get(format!("/download?path={}", http::encode(evil)))
        .expect(200);
    http.get(http::file(evil)).expect(200);
    let ops = json!({"ops": [{"op":"stat","path":format!("{evil}/below")}]});
    http.post("/v1/batch", &ops).expect(200);
    let last = Request::new("GET", "/livez").header("X-Request-Id", "last");
    http.send(&last).expect(200);
    let log = wait::until("all are in the log", 10, || {
        Some(server.log()).filter(|log| log.contains("last") && log.contains("first_failed"))
    });
    assert!(log.matches("forged").count() >= 6, "{log}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!log.contains(control), "{log:?}");
    assert!(
        !log.lines().any(|line| line.starts_with("2026-01-01T")),
        "{log}"
    );
    assert!(!log.contains(server.token()));
}

/// A terminal that is paused, a pager that waits, a log daemon that is stuck.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let server = Setup::default().prepare();
    let mut child = Command::new(bins::path("gfl-server"))
        .arg("-config")
        .arg(server.config_file())
        .current_dir(server.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gfl-server");
    let told = BufReader::new(child.stdout.take().expect("is piped"));
    let mut told = told.lines().map_while(Result::ok);
    let address = told
        .find_map(|line| line.split_once("listening on ")?.1.parse().ok())
        .expect("an address");
    let http = Http::new(address, None);
    // Far more than a pipe holds.
    let long = "x".repeat(4_000);
    for n in 0..100 {
        let answer = http.get(format!("/v1/files/{n}{long}"));
        assert!(answer.status >= 400, "{}", answer.status);
    }
    // Somebody reads again: what is missing is told, in front of the next line.
    let mut log = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let reader = std::thread::spawn(move || {
        log.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.contains("log lines were dropped here"))
        })
    });
    wait::until("the missing lines are told", 30, || {
        let _answer = http.get("/v1/files/again");
        reader.is_finished().then_some(())
    });
    child.kill().expect("it runs");
    child.wait().expect("can be waited for");
    let line = reader
        .join()
        .expect("reads")
        .expect("was told")
        .expect("text");
    assert!(line.contains("WARN") && line.contains("dropped="), "{line}");
}
