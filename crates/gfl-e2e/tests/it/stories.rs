//! Short histories that end in a SIGKILL before the server's background work caught up: what the random
//! kill tests found, made small. After the restart everything acknowledged is true, once and only once.

use crate::common::{assert_file, assert_nothing, batch, list};
use gfl_e2e::{Http, Server, http};
use serde_json::{Value, json};
use std::fs;

/// Does something, kills, restarts; afterwards the API and the disk must agree about `want`.
fn told(doing: impl Fn(&Http), want: &[(&str, &str)], gone: &[&str]) {
    let mut server = Server::start();
    doing(&server.http());
    for _ in 0..2 {
        server.kill9();
        server.restart();
        let http = server.http();
        for (path, content) in want {
            assert_file(&http, path, content.as_bytes());
            let on_disk = fs::read_to_string(server.data().join(path)).unwrap_or_default();
            assert_eq!(on_disk, *content, "{path} on the disk");
        }
        for path in gone {
            assert_nothing(&http, path);
            assert!(
                !server.data().join(path).exists(),
                "{path} is still on the disk"
            );
        }
    }
}

fn put(http: &Http, path: &str, content: &str) {
    let answer = http.put(http::file(path), content);
    assert!((200..300).contains(&answer.status), "{}", answer.text());
}

fn delete(http: &Http, path: &str) {
    http.delete(http::file(path)).expect(204);
}

fn undelete(http: &Http, path: &str) {
    http.post(format!("/v1/versions/{path}"), &Value::Null)
        .expect(200);
}

fn rename(http: &Http, from: &str, to: &str) {
    let op = json!({ "op": "move", "path": from, "to": to, "overwrite": true });
    let status = batch(http, op)["status"].as_u64().unwrap_or(0);
    assert!(
        (200..300).contains(&status),
        "move {from} to {to}: {status}"
    );
}

#[test]
fn undeleted_and_deleted_again() {
    let doing = |http: &Http| {
        put(http, "f", "one");
        delete(http, "f");
        undelete(http, "f");
        delete(http, "f");
    };
    told(doing, &[], &["f"]);
}

#[test]
fn undeleted_moved_and_replaced() {
    let doing = |http: &Http| {
        put(http, "a", "one");
        delete(http, "a");
        undelete(http, "a");
        rename(http, "a", "b");
        put(http, "b", "two");
    };
    told(doing, &[("b", "two")], &["a"]);
}

#[test]
fn undeleted_replaced_and_deleted() {
    let doing = |http: &Http| {
        put(http, "a", "one");
        delete(http, "a");
        undelete(http, "a");
        put(http, "a", "two");
        delete(http, "a");
    };
    told(doing, &[], &["a"]);
}

#[test]
fn moved_in_a_circle() {
    let doing = |http: &Http| {
        put(http, "a", "one");
        put(http, "b", "two");
        rename(http, "a", "c");
        rename(http, "b", "a");
        rename(http, "c", "b");
        rename(http, "a", "c");
        rename(http, "b", "a");
        rename(http, "c", "b");
    };
    told(doing, &[("a", "one"), ("b", "two")], &["c"]);
}

#[test]
fn a_folder_moved_filled_deleted_and_restored() {
    let doing = |http: &Http| {
        put(http, "d/a", "one");
        rename(http, "d", "e");
        put(http, "d/a", "two");
        http.delete(http::file("d") + "/?recursive=true")
            .expect(204);
        put(http, "d/b", "three");
        http.delete(http::file("d") + "/?recursive=true")
            .expect(204);
        undelete(http, "d");
        rename(http, "d/b", "e/b");
        http.delete(http::file("d") + "/").expect(204);
        put(http, "d", "now a file");
    };
    told(
        doing,
        &[("e/a", "one"), ("e/b", "three"), ("d", "now a file")],
        &[],
    );
}

#[test]
fn versions_restored_back_and_forth() {
    let doing = |http: &Http| {
        put(http, "f", "one");
        put(http, "f", "two");
        for _ in 0..3 {
            let list = http.get("/v1/versions/f").expect(200).json();
            let kept = list["versions"][1]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            http.post(format!("/v1/versions/f?restore={kept}"), &Value::Null)
                .expect(200);
        }
    };
    told(doing, &[("f", "one")], &[]);
}

#[test]
fn edits_by_hand_while_the_server_is_down_are_not_overwritten_by_its_recovery() {
    let mut server = Server::start();
    let http = server.http();
    put(&http, "replaced", "one");
    put(&http, "replaced", "two");
    put(&http, "moved", "one");
    rename(&http, "moved", "target");
    put(&http, "deleted", "one");
    delete(&http, "deleted");
    server.kill9();
    for name in ["replaced", "target", "deleted", "moved"] {
        fs::write(server.data().join(name), "by hand").unwrap();
    }
    server.restart();
    let http = server.http();
    for name in ["replaced", "target", "deleted", "moved"] {
        assert_eq!(
            http.get(http::file(name)).expect(200).text(),
            "by hand",
            "{name}"
        );
        assert_eq!(
            fs::read_to_string(server.data().join(name)).unwrap(),
            "by hand",
            "{name}"
        );
    }
    assert_eq!(list(&http, ""), ["deleted", "moved", "replaced", "target"]);
}
