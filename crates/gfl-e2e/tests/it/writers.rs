//! Many on one path: readers see whole contents, a later change wins over an earlier one.

use crate::common::{assert_file, assert_nothing, batch, begin, complete, part};
use gfl_e2e::traffic::new_content;
use gfl_e2e::{Request, Server, data, http};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn two_writers_and_readers_see_only_whole_contents() {
    let server = Server::start();
    server
        .http()
        .put(http::file("f"), data::marked(new_content(100)))
        .expect(201);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|n| {
                let server = &server;
                scope.spawn(move || {
                    let http = server.http();
                    for i in 0..15 {
                        let content =
                            data::marked(new_content(1000 + (n * 97 + i * 31_337) % 300_000));
                        http.put(http::file("f"), content).expect(200);
                    }
                })
            })
            .collect();
        let (server, stop) = (&server, &stop);
        scope.spawn(move || {
            let http = server.http();
            while !stop.load(Ordering::SeqCst) {
                let answer = http.get(http::file("f")).expect(200);
                data::identify(&answer.body).expect("a whole content");
                // Somebody who reads the folder itself sees whole contents as well.
                let on_disk = fs::read(server.data().join("f")).expect("never missing");
                data::identify(&on_disk).expect("a whole content on the disk");
            }
        });
        let done: Vec<bool> = writers.into_iter().map(|w| w.join().is_ok()).collect();
        stop.store(true, Ordering::SeqCst);
        assert!(done.iter().all(|ok| *ok), "a writer failed");
    });
}

#[test]
fn create_only_has_exactly_one_winner() {
    let server = Server::start();
    let created: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let server = &server;
                scope.spawn(move || {
                    let request = Request::new("PUT", http::file("f")).header("If-None-Match", "*");
                    let answer = server.http().send(&request.body(format!("writer {n}")));
                    assert!([201, 412].contains(&answer.status), "{}", answer.text());
                    usize::from(answer.status == 201)
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|r| r.join().expect("no racer panics"))
            .sum()
    });
    assert_eq!(created, 1);
}

#[test]
fn a_reader_keeps_what_it_opened() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(1, 8 << 20);
    http.put(http::file("d/f"), content.clone()).expect(201);
    let mut conn = http.connect();
    conn.send(&http.head(&Request::new("GET", http::file("d/f")), None))
        .expect("sends");
    let head = conn.answer_head().expect("answers");
    http.put(http::file("d/f"), "replaced").expect(200);
    http.delete(http::file("d/f")).expect(204);
    http.delete(http::file("d") + "/").expect(204);
    let mut got = Vec::new();
    conn.answer_body(&head, "GET", &mut |piece| got.extend_from_slice(piece))
        .expect("whole");
    assert!(got == content, "the open download changed under the reader");
}

#[test]
fn a_folder_deleted_under_an_upload_is_made_again() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("d/other"), "x").expect(201);
    let content = data::bytes(1, 100_000);
    let target = begin(&http, "d/sub/f", Some(content.len()));
    http.send(&part(&target, &content, 0, content.len()))
        .expect(204);
    http.delete(http::file("d") + "/?recursive=true")
        .expect(204);
    assert_nothing(&http, "d/other");
    complete(&http, &target, content.len()).expect(201);
    assert_file(&http, "d/sub/f", &content);
}

#[test]
fn a_file_in_the_way_of_an_uploads_folder_is_told() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(1, 1000);
    let target = begin(&http, "d/f", Some(content.len()));
    http.send(&part(&target, &content, 0, content.len()))
        .expect(204);
    http.put(http::file("d"), "now a file").expect(201);
    complete(&http, &target, content.len()).problem(409, "not-a-directory");
    assert_file(&http, "d", b"now a file");
    // The bytes are not lost: with the way free it completes.
    http.delete(http::file("d")).expect(204);
    complete(&http, &target, content.len()).expect(201);
    assert_file(&http, "d/f", &content);
}

#[test]
fn moves_and_copies() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("a"), "one").expect(201);
    http.put(http::file("b"), "two").expect(201);
    let op = |op: &str, from: &str, to: &str, overwrite: bool| {
        let op = serde_json::json!({ "op": op, "path": from, "to": to, "overwrite": overwrite });
        batch(&http, op)["status"].as_u64().unwrap_or(0)
    };
    assert_eq!(op("move", "a", "b", false), 409);
    assert_eq!(op("move", "missing", "c", false), 404);
    assert!((200..300).contains(&op("move", "a", "new/c", false)));
    assert_nothing(&http, "a");
    assert_file(&http, "new/c", b"one");
    assert!((200..300).contains(&op("copy", "new/c", "b", true)));
    assert_file(&http, "b", b"one");
    assert!((200..300).contains(&op("move", "new", "moved", false)));
    assert_file(&http, "moved/c", b"one");
    assert_nothing(&http, "new/c");
    assert!(
        op("move", "moved", "moved/inside", false) >= 400,
        "a folder cannot move into itself"
    );
    assert_file(&http, "moved/c", b"one");
}

#[test]
fn edits_by_hand_are_served_at_once_and_never_lost() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("f"), "uploaded").expect(201);
    fs::write(server.data().join("f"), "edited by hand").unwrap();
    assert_eq!(
        http.get(http::file("f")).expect(200).text(),
        "edited by hand"
    );
    http.put(http::file("f"), "uploaded again").expect(200);
    let versions = http.get("/v1/versions/f").expect(200).json();
    let list = versions["versions"].as_array().cloned().unwrap_or_default();
    // "replaced" when the edit had already become a version of its own, else "edited".
    let edited = list
        .iter()
        .find(|v| v["reason"] == "edited" || v["reason"] == "replaced");
    let id = edited
        .and_then(|v| v["id"].as_str())
        .unwrap_or_else(|| panic!("{versions}"));
    let old = http
        .get(format!("{}?version={id}", http::file("f")))
        .expect(200);
    assert_eq!(old.text(), "edited by hand");
    fs::write(server.data().join("new"), "by hand").unwrap();
    assert_eq!(http.get(http::file("new")).expect(200).text(), "by hand");
    fs::remove_file(server.data().join("f")).unwrap();
    assert_nothing(&http, "f");
    http.put(http::file("f"), "back").expect(201);
    assert_file(&http, "f", b"back");
}
