//! Undo: everything that was replaced or deleted can be had back.

use crate::common::{assert_file, assert_nothing, batch};
use gfl_e2e::{Gfl, Http, Server, Setup, data, http};
use serde_json::Value;

fn versions(http: &Http, path: &str) -> Vec<Value> {
    let answer = http
        .get(format!("/v1/versions/{}", http::encode(path)))
        .expect(200)
        .json();
    answer["versions"].as_array().cloned().unwrap_or_default()
}

#[test]
fn replaced_versions_are_kept_and_restored() {
    let mut server = Server::start();
    for n in 0..4 {
        server.http().put(http::file("f"), format!("version {n}"));
    }
    server.kill9();
    server.restart();
    let http = server.http();
    let list = versions(&http, "f");
    let shown: Vec<_> = list
        .iter()
        .map(|v| (v["state"].as_str(), v["b3"].as_str()))
        .collect();
    let b3: Vec<String> = (0..4)
        .map(|n| data::b3(format!("version {n}").as_bytes()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("current"), Some(&*b3[3])),
            (Some("kept"), Some(&*b3[2])),
            (Some("kept"), Some(&*b3[1])),
            (Some("kept"), Some(&*b3[0])),
        ]
    );
    assert!(
        list[1..].iter().all(|v| v["reason"] == "replaced"),
        "{list:?}"
    );
    let oldest = list[3]["id"].as_str().unwrap_or_default();
    let answer = http
        .get(format!("{}?version={oldest}", http::file("f")))
        .expect(200);
    assert_eq!(answer.text(), "version 0");
    let restored = http
        .post(format!("/v1/versions/f?restore={oldest}"), &Value::Null)
        .expect(200);
    assert_eq!(restored.json()["b3"], b3[0].as_str());
    assert_file(&http, "f", b"version 0");
    // Undo of the undo: what was current has become a kept version.
    assert!(
        versions(&http, "f")
            .iter()
            .any(|v| v["state"] == "kept" && v["b3"] == b3[3].as_str())
    );
}

#[test]
fn deleted_files_come_back() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("d/f"), "content").expect(201);
    http.delete(http::file("d/f")).expect(204);
    assert_nothing(&http, "d/f");
    let trash = versions(&http, "d/");
    assert_eq!(trash.len(), 1, "{trash:?}");
    assert_eq!(
        (&trash[0]["path"], &trash[0]["reason"]),
        (&"d/f".into(), &"deleted".into())
    );
    http.post("/v1/versions/d/f", &Value::Null).expect(200);
    assert_file(&http, "d/f", b"content");
    http.post("/v1/versions/d/missing", &Value::Null)
        .problem(404, "not-found");
}

#[test]
fn deleted_folders_come_back_whole() {
    let mut server = Server::start();
    let http = server.http();
    for name in ["a", "b/c", "b/d/e"] {
        http.put(http::file(&format!("top/{name}")), name)
            .expect(201);
    }
    http.delete(http::file("top") + "/")
        .problem(409, "not-empty");
    http.delete(http::file("top") + "/?recursive=true")
        .expect(204);
    assert_nothing(&http, "top/a");
    server.kill9();
    server.restart();
    let http = server.http();
    let trash = versions(&http, "");
    assert_eq!(trash.len(), 1, "{trash:?}");
    assert_eq!(trash[0]["type"], "dir");
    http.post("/v1/versions/top", &Value::Null).expect(200);
    for name in ["a", "b/c", "b/d/e"] {
        assert_file(&http, &format!("top/{name}"), name.as_bytes());
    }
}

#[test]
fn a_folder_is_not_restored_over_another() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("d/old"), "old").expect(201);
    http.delete(http::file("d") + "/?recursive=true")
        .expect(204);
    http.put(http::file("d/new"), "new").expect(201);
    http.post("/v1/versions/d", &Value::Null)
        .problem(409, "already-exists");
    assert_file(&http, "d/new", b"new");
}

#[test]
fn the_batch_restores_too() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("f"), "one").expect(201);
    http.put(http::file("f"), "two").expect(200);
    let list = versions(&http, "f");
    let id = list[1]["id"].clone();
    let result = batch(
        &http,
        serde_json::json!({ "op": "restore", "path": "f", "version": id }),
    );
    assert_eq!(result["status"], 200, "{result}");
    assert_file(&http, "f", b"one");
}

#[test]
fn versions_of_others_paths_are_not_given_away() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("secret"), "one").expect(201);
    http.put(http::file("secret"), "two").expect(200);
    http.put(http::file("other"), "x").expect(201);
    let id = versions(&http, "secret")[1]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let answer = http.get(format!("{}?version={id}", http::file("other")));
    assert_eq!(
        answer.status, 404,
        "a version is only reachable at its own path"
    );
}

#[test]
fn versions_are_told_page_by_page() {
    let server = Server::start();
    let http = server.http();
    for n in 0..5 {
        http.put(http::file("f"), format!("version {n}"));
    }
    let all = versions(&http, "f");
    let mut paged = Vec::new();
    let mut target = "/v1/versions/f?limit=2".to_owned();
    loop {
        let page = http.get(&target).expect(200).json();
        let versions = page["versions"].as_array().cloned().unwrap_or_default();
        assert!((1..=2).contains(&versions.len()), "{page}");
        paged.extend(versions);
        match page["next"].as_str() {
            Some(next) => target = format!("/v1/versions/f?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((paged.len(), paged), (5, all));
    http.get("/v1/versions/f?cursor=elsewhere")
        .problem(400, "invalid-request");
}

#[test]
fn the_client_lists_more_versions_than_a_page_holds() {
    let server = Setup::default().with("durability", "none").start();
    let http = server.http();
    for n in 0..1_003 {
        http.put(http::file("f"), format!("version {n}"));
    }
    let listed = Gfl::new(&server).run(&["restore", "--list", "f"]).expect(0);
    // One line more for the heading.
    assert_eq!(listed.out.lines().count(), 1_004);
}

#[test]
fn deleted_folders_tell_their_times() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("d/f"), "x").expect(201);
    let mtime = http.get("/v1/meta/d").expect(200).json()["mtime"].clone();
    http.delete(http::file("d") + "/?recursive=true")
        .expect(204);
    let kept = versions(&http, "")[0].clone();
    assert_eq!((&kept["type"], &kept["mtime"]), (&"dir".into(), &mtime));
    for time in ["uploaded", "retired"] {
        let told = kept[time].as_str().unwrap_or_default();
        assert!(told > "2020" && told < "2100", "{time}: {kept}");
    }
}
