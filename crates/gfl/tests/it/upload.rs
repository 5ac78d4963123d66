//! Uploads that break off, are half there, or come out wrong.

use crate::fake::{
    DEATH, Fake, Output, Reply, Request, bytes, capabilities, entry, ok, problem, reply,
};
use gfl_api::frames::{Decoder, Event};
use gfl_api::{RangeSet, Root};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

/// Above the size from which files go in parts: nine parts of a mebibyte.
const LEN: usize = 9 << 20;

/// One upload session as a server keeps it.
struct Session {
    file: Vec<u8>,
    have: RangeSet,
    parts: usize,
}

impl Session {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            file: vec![0; LEN],
            have: RangeSet::new(),
            parts: 0,
        }))
    }

    fn info(&self) -> Reply {
        ok(
            &json!({"id": "u1", "path": "f", "state": "receiving", "length": LEN, "received": self.have.to_pairs()}),
        )
    }

    fn take(&mut self, range: std::ops::Range<usize>, body: &[u8]) {
        self.file[range.clone()].copy_from_slice(body);
        self.have.insert(range.start as u64..range.end as u64);
    }

    fn done(&self) -> Reply {
        assert!(self.have.is_exactly(LEN as u64), "completed with gaps");
        ok(&json!({"path": "f", "b3": Root::of(&self.file).to_string(), "size": LEN}))
    }

    fn answer(
        &mut self,
        request: &Request,
        trouble: impl Fn(usize, &mut Self, &Request) -> Option<Reply>,
    ) -> Reply {
        match (
            request.method.as_str(),
            request.target.split('?').next().unwrap_or_default(),
        ) {
            ("GET", "/v1/") => capabilities(),
            ("GET", "/v1/meta/f") => problem(404, "not-found"),
            ("POST", "/v1/uploads") | ("GET", "/v1/uploads/u1") => self.info(),
            ("PATCH", "/v1/uploads/u1") => self.done(),
            ("PUT", "/v1/uploads/u1") => {
                self.parts += 1;
                if let Some(reply) = trouble(self.parts, self, request) {
                    return reply;
                }
                self.take(request.range().expect("a part has a place"), &request.body);
                reply(204, "")
            }
            other => panic!("{other:?}"),
        }
    }
}

fn run(
    trouble: impl Fn(usize, &mut Session, &Request) -> Option<Reply> + Send + Sync + 'static,
    prepare: impl Fn(&mut Session, &[u8]),
) -> (Fake, Output, Arc<Mutex<Session>>) {
    let dir = tempfile::tempdir().unwrap();
    let file = bytes(LEN, 3);
    fs::write(dir.path().join("f"), &file).unwrap();
    let session = Session::new();
    prepare(&mut session.lock().unwrap(), &file);
    let shared = Arc::clone(&session);
    let fake = Fake::start(move |request| shared.lock().unwrap().answer(request, &trouble));
    let output = fake.gfl(dir.path(), &["put", "f", "f", "--json"]).expect(0);
    assert!(session.lock().unwrap().file == file);
    (fake, output, session)
}

#[test]
fn what_a_dying_server_forgot_is_sent_again() {
    let forgot = std::sync::atomic::AtomicBool::new(false);
    let dir = tempfile::tempdir().unwrap();
    let file = bytes(LEN, 3);
    fs::write(dir.path().join("f"), &file).unwrap();
    let session = Session::new();
    let shared = Arc::clone(&session);
    let fake = Fake::start(move |request| {
        let mut session = shared.lock().unwrap();
        if request.method == "PATCH" && !forgot.swap(true, std::sync::atomic::Ordering::SeqCst) {
            session.have.remove(1_500_000..4_000_000);
            session.file[1_500_000..4_000_000].fill(0);
            return problem(409, "upload-incomplete");
        }
        session.answer(request, |_, _, _| None)
    });
    let output = fake.gfl(dir.path(), &["put", "f", "f", "--json"]).expect(0);
    assert!(session.lock().unwrap().file == file);
    assert_eq!(
        number(&output.out, "resent_bytes"),
        2_500_000,
        "{}",
        output.out
    );
}

pub(crate) fn number(json: &str, key: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(json).unwrap()[key]
        .as_u64()
        .unwrap()
}

#[test]
fn a_part_that_breaks_off_is_completed_and_no_more() {
    // The server got half of the third part before the connection broke.
    let (_, output, _) = run(
        |nth, session, request| {
            let range = request.range().unwrap();
            (nth == 3).then(|| {
                let half = range.start..range.start + (512 << 10);
                session.take(half.clone(), &request.body[..half.len()]);
                reply(0, "")
            })
        },
        |_, _| {},
    );
    assert_eq!(
        number(&output.out, "resent_bytes"),
        512 << 10,
        "{}",
        output.out
    );
    assert_eq!(
        number(&output.out, "moved_bytes"),
        (LEN + (512 << 10)) as u64
    );
}

#[test]
fn a_half_received_part_is_told_by_the_refusal() {
    // Received but not yet announced: the status does not tell, the refusal does.
    let (_, output, _) = run(
        |nth, session, request| {
            let range = request.range().unwrap();
            if nth != 2 || range.len() != 1 << 20 {
                return None;
            }
            let half = range.start..range.start + (512 << 10);
            session.take(half.clone(), &request.body[..half.len()]);
            let body = json!({"code": "range-overlap", "status": 409, "received": session.have.to_pairs()});
            Some(reply(409, body.to_string()))
        },
        |_, _| {},
    );
    assert_eq!(number(&output.out, "files"), 1);
}

#[test]
fn what_the_server_has_is_hashed_and_not_sent() {
    let (fake, output, session) = run(
        |_, _, _| None,
        |session, file| {
            for range in [0..100_000, 2_000_000..7_000_001] {
                session.take(range.clone(), &file[range]);
            }
        },
    );
    assert_eq!(number(&output.out, "resumed_bytes"), 5_100_001);
    assert_eq!(number(&output.out, "moved_bytes"), LEN as u64 - 5_100_001);
    assert!(output.err.contains("continuing"), "{}", output.err);
    assert_eq!(fake.seen("PUT").len(), session.lock().unwrap().parts);
}

#[test]
fn a_session_of_other_bytes_is_dropped_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = bytes(LEN, 3);
    fs::write(dir.path().join("f"), &file).unwrap();
    let session = Session::new();
    session.lock().unwrap().take(0..5, b"other");
    let shared = Arc::clone(&session);
    let fake = Fake::start(move |request| {
        let mut session = shared.lock().unwrap();
        // As a real server does: nothing of it is kept then.
        if request.method == "PATCH" && session.file[..5] == *b"other" {
            session.have = RangeSet::new();
            return problem(400, "digest-mismatch");
        }
        if request.method == "DELETE" {
            return problem(404, "upload-gone");
        }
        session.answer(request, |_, _, _| None)
    });
    let output = fake.gfl(dir.path(), &["put", "f", "f", "--json"]).expect(0);
    assert!(session.lock().unwrap().file == file);
    assert_eq!(fake.seen("POST").len(), 2);
    assert!(output.err.contains("starting over"), "{output:?}");
    assert_eq!(number(&output.out, "resumed_bytes"), 0, "{output:?}");
}

#[test]
fn bytes_that_are_refused_without_reason_are_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), bytes(LEN, 3)).unwrap();
    let session = Session::new();
    let fake = Fake::start(move |request| match request.method.as_str() {
        "PATCH" => problem(400, "digest-mismatch"),
        _ => session.lock().unwrap().answer(request, |_, _, _| None),
    });
    let output = fake.gfl(dir.path(), &["put", "f", "f"]).expect(7);
    assert_eq!(fake.seen("POST").len(), 1, "{output:?}");
}

#[test]
fn a_part_that_an_older_request_took_over_is_sent_again() {
    // A connection that broke for us may still be alive for a busy server, which comes to it only now.
    let (fake, output, _) = run(
        |nth, session, request| {
            let range = request.range().unwrap();
            (nth == 2 || nth == 3).then(|| {
                let half = range.start..range.start + (512 << 10).min(range.len());
                session.take(half.clone(), &request.body[..half.len()]);
                problem(409, "conflict")
            })
        },
        |_, _| {},
    );
    assert_eq!(fake.seen("POST").len(), 1, "the session goes on");
    assert!(fake.seen("DELETE").is_empty(), "nothing is thrown away");
    assert!(
        !fake.seen("GET /v1/uploads/u1").is_empty(),
        "what is there is asked for before anything is sent again"
    );
    assert_eq!(number(&output.out, "files"), 1);
    assert_eq!(number(&output.out, "resent_bytes"), 1 << 20);
}

#[test]
fn a_conflict_that_stays_is_told_after_the_retries_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), bytes(LEN, 3)).unwrap();
    let session = Session::new();
    let fake = Fake::start(move |request| {
        let answer = |_, _: &mut Session, _: &Request| Some(problem(409, "conflict"));
        session.lock().unwrap().answer(request, answer)
    });
    let words = ["put", "f", "f", "--retries", "1", "--parallel", "1"];
    let output = fake.gfl(dir.path(), &words).expect(5);
    assert!(output.err.contains("it is conflict"), "{output:?}");
    assert_eq!(fake.seen("PUT").len(), 2, "one retry");
    assert!(fake.seen("DELETE").is_empty(), "the next run continues it");
}

#[test]
fn a_completion_that_meets_another_request_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = bytes(LEN, 3);
    fs::write(dir.path().join("f"), &file).unwrap();
    let session = Session::new();
    let completions = Mutex::new(0);
    let fake = Fake::start(move |request| {
        if request.method == "PATCH" {
            let mut completions = completions.lock().unwrap();
            *completions += 1;
            if *completions < 3 {
                return problem(409, "conflict");
            }
        }
        session.lock().unwrap().answer(request, |_, _, _| None)
    });
    fake.gfl(dir.path(), &["put", "f", "f"]).expect(0);
    assert_eq!(fake.seen("PATCH").len(), 3);
    assert_eq!(fake.seen("POST").len(), 1);
}

#[test]
fn a_small_file_that_meets_another_request_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "hello").unwrap();
    let fake = Fake::start(crowded_server());
    fake.gfl(dir.path(), &["put", "f", "f"]).expect(0);
    assert_eq!(fake.seen("PUT").len(), 3);
}

/// Takes `hello` as `f`, at the third time it is sent.
pub(crate) fn crowded_server() -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let puts = Mutex::new(0);
    move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => problem(404, "not-found"),
        _ => {
            let mut puts = puts.lock().unwrap();
            *puts += 1;
            match *puts {
                1 | 2 => problem(409, "conflict"),
                _ => ok(&json!({"path": "f", "b3": Root::of(b"hello").to_string(), "size": 5})),
            }
        }
    }
}

#[test]
fn a_server_that_stored_something_else_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "hello").unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => problem(404, "not-found"),
        _ => ok(&json!({"path": "f", "b3": Root::of(b"other").to_string(), "size": 5})),
    });
    let output = fake.gfl(dir.path(), &["put", "f", "f"]).expect(7);
    assert!(output.err.contains("stored other bytes"), "{}", output.err);
}

#[test]
fn small_files_without_an_answer_are_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..100 {
        fs::create_dir_all(dir.path().join(format!("d/s{}", n % 7))).unwrap();
        fs::write(
            dir.path().join(format!("d/s{}/f{n}", n % 7)),
            format!("content {n}"),
        )
        .unwrap();
    }
    let stored: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let streams = Mutex::new(0);
    let shared = Arc::clone(&stored);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/r" => problem(404, "not-found"),
        line if line.starts_with("PATCH /v1/meta/r") => ok(&entry("r", b"")),
        "POST /v1/bulk" => {
            let mut streams = streams.lock().unwrap();
            *streams += 1;
            let mut lines = String::new();
            for (index, path, content) in decode(&request.body) {
                // Of the first stream only a few are answered, and one is told to come again.
                if *streams == 1 && index > 5 {
                    return reply(200, lines + "{\"end\":true}\n").cut(300);
                }
                if *streams == 1 && index == 0 {
                    lines
                        .push_str("{\"index\":0,\"status\":503,\"problem\":{\"code\":\"busy\"}}\n");
                    continue;
                }
                let b3 = Root::of(&content);
                let line =
                    json!({"index": index, "path": path, "status": 201, "b3": b3.to_string()});
                lines.push_str(&format!("{line}\n"));
                shared.lock().unwrap().insert(path, content);
            }
            reply(200, lines + "{\"end\":true}\n")
        }
        other => panic!("{other}"),
    });
    let output = fake.gfl(dir.path(), &["put", "d", "r", "--json"]).expect(0);
    assert_eq!(number(&output.out, "files"), 100, "{}", output.out);
    let stored = stored.lock().unwrap();
    assert_eq!(stored.len(), 100);
    assert!(
        (0..100)
            .all(|n| stored[&format!("r/s{}/f{n}", n % 7)] == format!("content {n}").into_bytes())
    );
}

#[test]
fn small_files_survive_a_server_that_is_gone_for_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    for n in 0..300 {
        fs::write(dir.path().join(format!("d/f{n}")), format!("content {n}")).unwrap();
    }
    let stored: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
    let streams = Mutex::new(0);
    let shared = Arc::clone(&stored);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/r" => problem(404, "not-found"),
        line if line.starts_with("PATCH /v1/meta/r") => ok(&entry("r", b"")),
        _ => {
            *streams.lock().unwrap() += 1;
            if *streams.lock().unwrap() == 1 {
                return reply(DEATH, "");
            }
            let mut lines = String::new();
            for (index, path, content) in decode(&request.body) {
                let b3 = Root::of(&content);
                let line =
                    json!({"index": index, "path": path, "status": 201, "b3": b3.to_string()});
                lines.push_str(&format!("{line}\n"));
                shared.lock().unwrap().insert(path, content);
            }
            reply(200, lines + "{\"end\":true}\n")
        }
    });
    let output = fake.gfl(dir.path(), &["put", "d", "r", "--json"]).expect(0);
    assert_eq!(stored.lock().unwrap().len(), 300);
    assert_eq!(number(&output.out, "files"), 300, "{}", output.out);
}

pub(crate) fn decode(body: &[u8]) -> Vec<(u32, String, Vec<u8>)> {
    let mut input = body.to_vec().into();
    let mut decoder = Decoder::new();
    let mut files: Vec<(u32, String, Vec<u8>)> = Vec::new();
    while let Some(event) = decoder.next_event(&mut input).unwrap() {
        match event {
            Event::FileStart(header) => files.push((header.index, header.path, Vec::new())),
            Event::Data(bytes) => files.last_mut().unwrap().2.extend_from_slice(&bytes),
            Event::End => break,
            _ => {}
        }
    }
    decoder.finish().unwrap();
    files
}

#[test]
fn equal_files_are_skipped_and_create_only_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for name in ["same", "other"] {
        let path = dir.path().join("d").join(name);
        fs::write(&path, "12345").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/r" => ok(&json!({"name": "r", "type": "dir"})),
        "POST /v1/bulk" => {
            let files = decode(&request.body);
            assert_eq!(files.len(), 1);
            let line = json!({"index": 0, "path": files[0].1, "status": 412, "problem": {"code": "precondition-failed"}});
            reply(200, format!("{line}\n{{\"end\":true}}\n"))
        }
        line if line.starts_with("GET /v1/files/r/?") => {
            ok(&json!({"entries": [entry("r/same", b"12345")], "next": null}))
        }
        other => panic!("{other}"),
    });
    // Whether it was there from the start or came meanwhile: left alone is what was asked for, and no failure.
    let words = ["put", "d", "r", "--no-clobber"];
    let output = fake.gfl(dir.path(), &[&words[..], &["--json"]].concat());
    let output = output.expect(0);
    for (key, want) in [("existing", 2), ("failed", 0), ("files", 0)] {
        assert_eq!(number(&output.out, key), want, "{key}: {}", output.out);
    }
    let output = fake.gfl(dir.path(), &words).expect(0);
    assert!(output.err.contains("skipped 2 existing"), "{output:?}");
}
