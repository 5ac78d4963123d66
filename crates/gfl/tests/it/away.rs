//! A server that takes requests and says of each single file that it cannot do it now: its database is away, say.

use crate::fake::{Fake, Reply, capabilities, entry, ok, problem, reply};
use crate::folders::bulk;
use crate::upload::{decode, number};
use gfl_api::Root;
use gfl_api::frames::{self, ErrorFrame};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// What is said of a file, and so often: more often than a single file is tried for itself.
const REFUSALS: [(&str, u32); 2] = [("busy", 5), ("unavailable", 2)];

fn refusal(code: &str) -> Value {
    json!({"status": 503, "problem": {"code": code, "status": 503, "detail": "not now"}})
}

fn lines(of_file: Value) -> Reply {
    let mut line = json!({"index": 0, "path": "r/f"});
    let (Some(line_of), Value::Object(more)) = (line.as_object_mut(), of_file) else {
        panic!("objects");
    };
    line_of.extend(more);
    reply(200, format!("{line}\n{{\"end\":true}}\n"))
}

#[test]
fn a_small_file_is_sent_when_the_server_can_take_it() {
    for (code, times) in REFUSALS {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "content").unwrap();
        let asked = AtomicU32::new(0);
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "GET /v1/meta/r" | "PATCH /v1/meta/r" => problem(404, "not-found"),
            "POST /v1/bulk" => {
                let files = decode(&request.body);
                assert_eq!(files.len(), 1);
                if asked.fetch_add(1, SeqCst) < times {
                    return lines(refusal(code));
                }
                lines(json!({"status": 201, "b3": Root::of(&files[0].2).to_string()}))
            }
            other => panic!("{other}"),
        });
        let output = fake.gfl(dir.path(), &["put", "d", "r", "--json"]).expect(0);
        assert_eq!(number(&output.out, "files"), 1, "{code}: {output:?}");
    }
}

#[test]
fn a_small_file_is_fetched_when_the_server_can_give_it() {
    for (code, times) in REFUSALS {
        let dir = tempfile::tempdir().unwrap();
        let asked = AtomicU32::new(0);
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "GET /v1/meta/d" => ok(&json!({"name": "d", "type": "dir"})),
            "POST /v1/bulk/get" if asked.fetch_add(1, SeqCst) < times => {
                let mut body = frames::MAGIC.to_vec();
                body.extend(frames::encode_error(&ErrorFrame {
                    index: 0,
                    path: "d/x".into(),
                    status: 503,
                    code: code.into(),
                    detail: "not now".into(),
                }));
                body.extend(frames::encode_end());
                reply(200, body)
            }
            "POST /v1/bulk/get" => reply(200, bulk(request, b"right")),
            _ => ok(&json!({"entries": [entry("d/x", b"right")], "next": null})),
        });
        let output = fake.gfl(dir.path(), &["get", "d", "--json"]).expect(0);
        assert_eq!(number(&output.out, "files"), 1, "{code}: {output:?}");
        assert_eq!(fs::read(dir.path().join("d/x")).unwrap(), b"right");
    }
}

#[test]
fn operations_are_done_when_the_server_can_do_them() {
    for words in [&["put", "d", "r"][..], &["mv", "a", "b"]] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let asked = AtomicU32::new(0);
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "GET /v1/meta/r" | "PATCH /v1/meta/r" => problem(404, "not-found"),
            "POST /v1/batch" => {
                let result = match asked.fetch_add(1, SeqCst) < 2 {
                    true => {
                        json!({"index": 0, "status": 503, "problem": {"code": "unavailable", "status": 503}})
                    }
                    false => json!({"index": 0, "status": 201}),
                };
                ok(&json!({"results": [result]}))
            }
            other => panic!("{other}"),
        });
        fake.gfl(dir.path(), words).expect(0);
        assert_eq!(fake.seen("POST /v1/batch").len(), 3, "{words:?}");
    }
}
