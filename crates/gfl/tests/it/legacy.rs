//! Servers of v0.1: what still works with them, and what is said about the rest.

use crate::fake::{Fake, Reply, names, reply};
use base64::Engine;
use serde_json::Value;
use sha2::Digest;
use std::fs;
use std::sync::{Arc, Mutex};

fn plain(status: u16, text: &str) -> Reply {
    reply(status, format!("{text}\n")).with("content-type", "text/plain; charset=utf-8")
}

/// How such a server introduces itself.
fn config() -> Reply {
    reply(
        200,
        "{\"server\":{},\"version\":\"0.1.0-lite\",\"auth_enabled\":false}\n",
    )
}

#[test]
fn put_get_ls_rm_and_mkdir() {
    let chunks: Arc<Mutex<Vec<Value>>> = Arc::default();
    let shared = Arc::clone(&chunks);
    let fake = Fake::start(move |request| match request.line().as_str() {
        "POST /upload" => {
            shared
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&request.body).unwrap());
            reply(200, "chunk received")
        }
        "GET /download?path=docs/my%20file%20%2B%26%23.txt" => reply(200, "content"),
        "GET /list?path=docs" => reply(200, "[\"a b\",\"c\"]\n"),
        "GET /list?path=/" => reply(200, "null\n"),
        "DELETE /delete?path=docs/a%20b" => reply(200, "Successfully deleted: docs/a b"),
        "POST /mkdir?path=new" => reply(201, "Successfully created directory: new"),
        "GET /config" => config(),
        _ => plain(404, "404 page not found"),
    });
    let dir = tempfile::tempdir().unwrap();
    let file: Vec<u8> = (0..(1 << 20) + 5).map(|i| (i % 251) as u8).collect();
    fs::write(dir.path().join("f"), &file).unwrap();
    let output = fake.gfl(dir.path(), &["put", "f", "uploads/f"]).expect(0);
    assert!(
        output
            .out
            .contains("✓ Upload complete: f → uploads/f (1048581 bytes)"),
        "{}",
        output.out
    );
    let mut whole = Vec::new();
    for (id, chunk) in chunks.lock().unwrap().iter().enumerate() {
        let data = base64::engine::general_purpose::STANDARD
            .decode(chunk["data"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            (&chunk["path"], &chunk["chunk_id"], &chunk["total"]),
            (&"uploads/f".into(), &id.into(), &2.into())
        );
        assert_eq!(chunk["checksum"], hex::encode(sha2::Sha256::digest(&data)));
        whole.extend(data);
    }
    assert!(whole == file);
    fake.gfl(dir.path(), &["get", "docs/my file +&#.txt", "back"])
        .expect(0);
    assert_eq!(fs::read(dir.path().join("back")).unwrap(), b"content");
    assert_eq!(
        fake.gfl(dir.path(), &["ls", "docs"]).expect(0).out,
        "Files in docs:\n  a b\n  c\n"
    );
    assert_eq!(
        fake.gfl(dir.path(), &["ls"]).expect(0).out,
        "No files in /\n"
    );
    fake.gfl(dir.path(), &["rm", "docs/a", "b"]).expect(0);
    fake.gfl(dir.path(), &["mkdir", "new"]).expect(0);
    assert_eq!(names(dir.path()), ["back", "f"]);
}

#[test]
fn what_it_cannot_do_is_said() {
    let fake = Fake::start(|request| match request.line().as_str() {
        line if line.starts_with("DELETE") => {
            plain(500, "delete failed: storage error [x]: path does not exist")
        }
        "GET /config" => config(),
        _ => plain(404, "404 page not found"),
    });
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    for words in [
        &["mv", "a", "b"][..],
        &["stat", "a"],
        &["restore", "a"],
        &["cp", "a", "b"],
        &["ls", "-l"],
        &["put", ".", "folder/x"],
    ] {
        let output = fake.gfl(dir.path(), words).expect(1);
        assert!(
            output.err.contains("v0.1") && output.err.contains("hint: "),
            "{words:?}: {}",
            output.err
        );
    }
    let output = fake.gfl(dir.path(), &["put", "f", "short"]).expect(1);
    assert!(
        output.err.contains("crashes") && fake.seen("POST").is_empty(),
        "{}",
        output.err
    );
    let output = fake.gfl(dir.path(), &["rm", "x"]).expect(1);
    assert!(
        output.err.contains("path does not exist") && fake.seen("DELETE").len() == 1,
        "{}",
        output.err
    );
}
