//! stdin and stdout: bytes that nobody can ask for a second time.

use crate::fake::{
    Fake, Output, Reply, Request, bytes, capabilities, command, content, entry, names, ok, problem,
    reply,
};
use gfl_api::Root;
use serde_json::json;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

const MIB: usize = 1 << 20;
/// Two whole parts and a short one.
const LEN: usize = 20 * MIB + 7;

/// An upload of unknown length, as a server keeps it: what arrived, and how much of it is on disk.
#[derive(Default)]
struct Upload {
    file: Vec<u8>,
    on_disk: usize,
    is_removed: bool,
}

impl Upload {
    fn answer(&mut self, request: &Request) -> Reply {
        let offset = |at: usize| reply(204, "").with("upload-offset", at);
        match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "POST /v1/uploads?path=f" => {
                assert_eq!(request.field("upload-length"), None);
                ok(&json!({"id": "u1", "state": "receiving", "received": []}))
            }
            "PUT /v1/uploads/u1" => {
                let range = request.range().expect("a part has a place");
                assert_eq!(range.start, self.file.len(), "a gap, or bytes again");
                self.file.extend_from_slice(&request.body);
                offset(self.on_disk)
            }
            "HEAD /v1/uploads/u1" => {
                self.on_disk = self.file.len();
                offset(self.on_disk)
            }
            "PATCH /v1/uploads/u1" => {
                let end = request.field("upload-offset").unwrap_or_default();
                if end != self.file.len().to_string() {
                    return problem(409, "offset-mismatch");
                }
                let root = Root::of(&self.file).to_string();
                assert_eq!(request.field("gfl-blake3"), Some(root.as_str()));
                ok(&json!({"path": "f", "b3": root, "size": self.file.len()}))
            }
            "DELETE /v1/uploads/u1" => {
                self.is_removed = true;
                reply(204, "")
            }
            other => panic!("{other}"),
        }
    }
}

type Shared = Arc<Mutex<Upload>>;

/// A server with one upload; `trouble` may answer instead of it, knowing how many parts came before.
fn server(
    trouble: impl Fn(usize, &mut Upload, &Request) -> Option<Reply> + Send + Sync + 'static,
) -> (Fake, Shared) {
    let upload = Shared::default();
    let shared = Arc::clone(&upload);
    let parts = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        let nth = match request.method.as_str() {
            "PUT" => parts.fetch_add(1, SeqCst),
            _ => parts.load(SeqCst),
        };
        let mut upload = shared.lock().unwrap();
        trouble(nth, &mut upload, request).unwrap_or_else(|| upload.answer(request))
    });
    (fake, upload)
}

fn spawn(fake: &Fake, dir: &Path, words: &[&str]) -> Child {
    let address = fake.address();
    let mut command = command(dir, &[&["--server", &address][..], words].concat());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn output_of(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Puts these bytes from a pipe that gives them in drops.
fn put(fake: &Fake, bytes: &[u8], words: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(fake, dir.path(), &[&["put", "-", "f"][..], words].concat());
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feeding = thread::spawn(move || {
        for drop in bytes.chunks(100_003) {
            // Whoever stops taking says why itself.
            if stdin.write_all(drop).is_err() {
                return;
            }
        }
    });
    let output = output_of(child);
    feeding.join().unwrap();
    output
}

#[test]
fn a_pipe_of_any_length_arrives_whole() {
    for len in [8 * MIB, 8 * MIB + 1, LEN] {
        let (fake, upload) = server(|_, _, _| None);
        let sent = bytes(len, 4);
        let output = put(&fake, &sent, &[]).expect(0);
        assert!(upload.lock().unwrap().file == sent);
        let said = format!("✓ Upload complete: stdin → f ({len} bytes, verified)");
        assert!(output.out.contains(&said), "{output:?}");
        assert!(fake.seen("DELETE").is_empty());
    }
}

#[test]
fn a_short_pipe_is_one_request_that_can_be_repeated() {
    for sent in [&b""[..], b"hello"] {
        let tries = AtomicUsize::new(0);
        let fake = Fake::start(move |request| match request.line().as_str() {
            "GET /v1/" => capabilities(),
            "PUT /v1/files/f" if tries.fetch_add(1, SeqCst) == 0 => reply(0, ""),
            "PUT /v1/files/f" => {
                let root = Root::of(&request.body).to_string();
                assert_eq!(request.field("gfl-blake3"), Some(root.as_str()));
                ok(&json!({"path": "f", "b3": root, "size": request.body.len()}))
            }
            other => panic!("{other}"),
        });
        put(&fake, sent, &[]).expect(0);
        assert_eq!(fake.seen("PUT").len(), 2);
    }
}

#[test]
fn a_short_pipe_that_meets_another_request_is_sent_again() {
    let fake = Fake::start(crate::upload::crowded_server());
    put(&fake, b"hello", &[]).expect(0);
    assert_eq!(fake.seen("PUT").len(), 3);
}

#[test]
fn what_broke_off_or_was_forgotten_is_sent_again_from_memory() {
    let (fake, upload) = server(
        |nth, upload, request| match (request.method.as_str(), nth) {
            // Half a part, then the connection breaks.
            ("PUT", 0) => {
                upload.file.extend_from_slice(&request.body[..3 * MIB]);
                Some(reply(0, ""))
            }
            // An older request took over.
            ("PUT", 2) => Some(problem(409, "conflict")),
            // The server died after its answer, and what it had not written is gone.
            ("PATCH", _) if upload.file.len() == LEN => {
                upload.file.truncate(upload.on_disk);
                Some(problem(409, "offset-mismatch"))
            }
            _ => None,
        },
    );
    let sent = bytes(LEN, 5);
    let lost = Arc::clone(&upload);
    let output = put(&fake, &sent, &["--json"]);
    // The server forgets every time it is asked to complete: in the end that is told.
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.err.contains("keeps losing"), "{output:?}");
    assert!(lost.lock().unwrap().is_removed, "nothing is left over");

    let once = AtomicUsize::new(0);
    let (fake, upload) = server(
        move |nth, upload, request| match (request.method.as_str(), nth) {
            ("PUT", 0) => {
                upload.file.extend_from_slice(&request.body[..3 * MIB]);
                Some(reply(0, ""))
            }
            ("PUT", 2) => Some(problem(409, "conflict")),
            ("PATCH", _) if once.fetch_add(1, SeqCst) == 0 => {
                upload.file.truncate(upload.on_disk);
                Some(problem(409, "offset-mismatch"))
            }
            _ => None,
        },
    );
    put(&fake, &sent, &[]).expect(0);
    assert!(upload.lock().unwrap().file == sent);
}

#[test]
fn what_cannot_be_sent_again_is_said() {
    let (fake, _) = server(|nth, _, request| match (request.method.as_str(), nth) {
        ("PUT", 1) => Some(reply(0, "")),
        ("HEAD", _) => Some(reply(404, "")),
        _ => None,
    });
    let output = put(&fake, &bytes(LEN, 6), &[]).expect(5);
    assert!(
        output.err.contains("upload of stdin failed")
            && output.err.contains("run the whole pipe again"),
        "{output:?}"
    );
    assert!(!output.out.contains("complete"), "{output:?}");
    // One that went backwards behind what it had announced.
    let (fake, _) = server(
        |nth, upload, request| match (request.method.as_str(), nth) {
            ("PUT", 0) => {
                upload.file.extend_from_slice(&request.body);
                Some(reply(204, "").with("upload-offset", upload.file.len()))
            }
            ("PUT", 1) => Some(reply(0, "")),
            ("HEAD", _) => Some(reply(204, "").with("upload-offset", 5)),
            _ => None,
        },
    );
    let output = put(&fake, &bytes(LEN, 6), &[]).expect(1);
    assert!(
        output.err.contains("run the whole pipe again"),
        "{output:?}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_pipe_leaves_nothing_and_promises_nothing() {
    let (fake, upload) = server(|_, _, _| None);
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(&fake, dir.path(), &["put", "-", "f"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes(17 * MIB, 1)).unwrap();
    while fake.seen("PUT").len() < 2 {
        thread::yield_now();
    }
    let ended = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(ended.unwrap().success());
    let output = output_of(child).expect(130);
    drop(stdin);
    assert_eq!(
        output.err, "interrupted\n",
        "there is nothing to be continued"
    );
    assert!(upload.lock().unwrap().is_removed);
}

#[test]
fn a_broken_download_to_a_pipe_goes_on_where_it_broke() {
    let file = bytes(3 * MIB, 2);
    let sent = file.clone();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &sent)),
        _ if tries.fetch_add(1, SeqCst) == 0 => content(request, &sent).cut(MIB),
        _ => content(request, &sent),
    });
    let dir = tempfile::tempdir().unwrap();
    let output = spawn(&fake, dir.path(), &["get", "f", "-"])
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == file);
    assert!(names(dir.path()).is_empty(), "no file beside the pipe");
}

#[test]
fn damage_in_a_pipe_is_an_error_and_a_reader_that_leaves_is_none() {
    let file = bytes(9 * MIB, 2);
    let mut damaged = file.clone();
    damaged[5] ^= 1;
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &file)),
        _ => reply(200, damaged.clone()),
    });
    let dir = tempfile::tempdir().unwrap();
    let output = output_of(spawn(&fake, dir.path(), &["get", "f", "-"])).expect(7);
    assert!(
        output
            .err
            .contains("download of f failed: the bytes that arrived are not the file's"),
        "{}",
        output.err
    );
    let mut child = spawn(&fake, dir.path(), &["get", "f", "-"]);
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = output_of(child).expect(0);
    assert_eq!(output.err, "");
}

#[cfg(unix)]
#[test]
fn a_device_a_pipe_or_a_link_that_is_named_is_written_to_and_stays() {
    let file = bytes(2 * MIB, 3);
    let sent = file.clone();
    let fake = Fake::start(move |request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        "GET /v1/meta/f" => ok(&entry("f", &sent)),
        _ => content(request, &sent),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let made = std::process::Command::new("mkfifo")
        .arg(path("pipe"))
        .status();
    assert!(made.unwrap().success());
    let pipe = path("pipe");
    let reading = thread::spawn(move || std::fs::read(pipe).unwrap());
    let output = fake.gfl(dir.path(), &["get", "f", "pipe"]).expect(0);
    assert!(
        output.out.contains("f → pipe (2097152 bytes, verified)"),
        "{output:?}"
    );
    assert!(reading.join().unwrap() == file);
    std::os::unix::fs::symlink("/dev/full", path("full")).unwrap();
    let output = fake.gfl(dir.path(), &["get", "f", "full"]).expect(8);
    assert!(
        output.err.contains("cannot write to full: No space left"),
        "{output:?}"
    );
    std::fs::write(path("real"), "old").unwrap();
    std::os::unix::fs::symlink("real", path("link")).unwrap();
    fake.gfl(dir.path(), &["get", "f", "link"]).expect(0);
    assert!(std::fs::read(path("real")).unwrap() == file);
    let kinds = ["full", "link", "pipe", "real"].map(|name| {
        let meta = path(name).symlink_metadata().unwrap();
        (meta.is_symlink(), meta.is_file())
    });
    let [link, regular, other] = [(true, false), (false, true), (false, false)];
    assert_eq!(kinds, [link, link, other, regular]);
    assert_eq!(names(dir.path()), ["full", "link", "pipe", "real"]);
}

#[cfg(unix)]
#[test]
fn a_link_that_the_server_names_is_replaced_and_never_followed() {
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        line if line.starts_with("GET /v1/meta/") => problem(404, "not-found"),
        line if line.starts_with("GET /v1/files/d/?") => {
            ok(&json!({"entries": [entry("d/link", b"theirs")], "next": null}))
        }
        _ => content(request, b"theirs"),
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink("mine", dir.path().join("link")).unwrap();
    fake.gfl(dir.path(), &["get", "d/*", "."]).expect(0);
    assert_eq!(std::fs::read(dir.path().join("mine")).unwrap(), b"mine");
    assert_eq!(std::fs::read(dir.path().join("link")).unwrap(), b"theirs");
    assert!(!dir.path().join("link").is_symlink());
}

#[test]
fn a_full_storage_is_told_to_pipes_as_to_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    let fake = Fake::start(|request| match request.method.as_str() {
        "GET" if request.target == "/v1/" => capabilities(),
        "GET" => problem(404, "not-found"),
        _ => problem(507, "storage-full"),
    });
    let told = |words: &[&str]| {
        let err = fake.gfl(dir.path(), words).expect(8).err;
        err.lines().last().unwrap_or_default().to_owned()
    };
    let hint = told(&["put", "f", "f"]);
    assert!(
        hint.starts_with("hint: the server's disk is full"),
        "{hint}"
    );
    assert_eq!(told(&["put", "-", "f"]), hint);
}
