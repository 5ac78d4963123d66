//! The numbers by user and day are the sums of the log, and stay so over restarts.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::common::{begin, complete, part};
use crate::transfers::lines;
use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Conn, Request, Server, Setup, bins, data, frames, http, socket, v0, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// Requests, files, bytes and errors by user and action.
type Sums = BTreeMap<(String, String), [u64; 4]>;

/// As the lines of the log have it.
fn sums_of_log(server: &Server) -> Sums {
    let mut sums = Sums::new();
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap_or(0);
    let mut keys = BTreeMap::new();
    for line in lines(server, "request") {
        let Some(action) = line["action"].as_str() else {
            continue;
        };
        let key = (line["who"].as_str().unwrap().to_owned(), action.to_owned());
        if key.0 == "@admin" {
            // Asking for the numbers.
            continue;
        }
        let status = number(&line, "status");
        let sum = sums.entry(key.clone()).or_default();
        sum[0] += 1;
        sum[2] += match action {
            "upload" => number(&line, "bytes_in"),
            "download" if status < 400 => number(&line, "bytes_out"),
            _ => 0,
        };
        let cut = line["complete"] == false;
        let not_there = action == "look" && status == 404;
        sum[3] += u64::from((status >= 400 && !not_there) || cut) + number(&line, "failed");
        keys.insert(line["request_id"].as_str().unwrap().to_owned(), key);
    }
    for line in lines(server, "transfer") {
        let key = &keys[line["request_id"].as_str().unwrap()];
        sums.get_mut(key).unwrap()[1] += number(&line, "files");
    }
    sums
}

fn sums_of(page: &Value) -> Sums {
    let mut sums = Sums::new();
    for entry in page["usage"].as_array().unwrap() {
        let user = entry["user"].as_str().unwrap_or("-").to_owned();
        let key = (user, entry["action"].as_str().unwrap().to_owned());
        let sum = sums.entry(key).or_default();
        let names = ["requests", "files", "bytes", "errors"];
        for (value, name) in sum.iter_mut().zip(names) {
            // The test may run over midnight.
            *value += entry[name].as_u64().unwrap();
        }
    }
    sums
}

/// As the server tells; its own asking is not among it.
fn sums_told(server: &Server) -> Sums {
    let page = socket::get(&server.meta(), "/v1/stats")
        .unwrap()
        .expect(200)
        .json();
    let mut sums = sums_of(&page);
    sums.retain(|(who, _), _| who != "@admin");
    sums
}

fn admin(server: &Server, words: &[&str]) -> std::process::Output {
    Command::new(bins::path("gfl-admin"))
        .args(words)
        .current_dir(server.root())
        .output()
        .unwrap()
}

/// Everything that moves something, well or not, by two users and a stranger.
fn traffic(server: &Server, other: &Token) {
    let (http, bob) = (server.http(), server.http_as(Some(&other.secret)));
    let content = data::bytes(2, 150_000);
    http.put(http::file("d/a"), &content[..]);
    bob.get(http::file("d/a")).expect(200);
    for range in ["bytes=0-9", "bytes=100000-"] {
        let get = Request::new("GET", http::file("d/a")).header("Range", range);
        bob.send(&get).expect(206);
    }
    bob.put(http::file("d/b"), "x").expect(403);
    bob.get(http::file("d/none")).expect(404);
    http.get("/v1/files/d/").expect(200);
    http.get("/v1/meta/none").expect(404);
    let target = begin(&http, "d/s", Some(150_000));
    http.send(&part(&target, &content, 0, 150_000)).expect(204);
    complete(&http, &target, 150_000);
    v0::upload(&http, "d/v0", &content, 40_000);
    bob.get("/download?path=d/v0").expect(200);
    let files = [
        ("e".to_owned(), vec![1; 10]),
        ("../x".to_owned(), vec![2; 20]),
    ];
    let bulk = Request::new("POST", "/v1/bulk")
        .header("Content-Type", "application/vnd.gfl.bulk")
        .body(frames::put_body(&files));
    http.send(&bulk).expect(200);
    let paths = json!({"paths": [{"path":"e"},{"path":"gone"},{"path":"d/a"}]});
    bob.post("/v1/bulk/get", &paths).expect(200);
    let ops = json!({"ops": [{"op":"delete","path":"e"},{"op":"stat","path":"no"}]});
    http.post("/v1/batch", &ops).expect(200);
    server.http_as(Some("wrong")).get("/v1/files/").expect(401);
    http.get("/livez").expect(200);
    http.get("/v1/me").expect(200);
    let put = Request::new("PUT", http::file("left"))
        .header("Authorization", format!("Bearer {}", server.token()));
    let mut conn = Conn::open(server.addr()).unwrap();
    conn.send(&put.head("h", None, Some(1_000_000))).unwrap();
    conn.send(&[7; 4_000]).unwrap();
    drop(conn);
}

#[test]
fn the_numbers_are_the_sums_of_the_log() {
    let mut server = Setup::default().with("log", "json").start();
    let mut bob = Token::new(&new_token(), "tok_00000000000b", &["list", "download"]);
    bob.user = "bob".into();
    server.write_tokens(&[
        Token::new(server.token(), "tok_000000000001", &["*"]),
        bob.clone(),
    ]);
    traffic(&server, &bob);
    let ended = |server: &Server, count: usize| {
        wait::until("the last transfer is in the log", 10, || {
            let left = lines(server, "transfer")
                .into_iter()
                .filter(|line| line["file"] == "left")
                .count();
            (left == count).then_some(())
        });
    };
    ended(&server, 1);
    let logged = sums_of_log(&server);
    assert_eq!(
        logged[&("bob".into(), "download".into())][1],
        5,
        "{logged:?}"
    );
    assert!(logged[&("-".into(), "look".into())][3] == 1, "{logged:?}");
    assert_eq!(sums_told(&server), logged);

    // Over a restart, and with more of the same day.
    assert!(server.stop());
    server.restart();
    assert_eq!(sums_told(&server), logged);
    traffic(&server, &bob);
    ended(&server, 2);
    let logged = sums_of_log(&server);
    assert_eq!(sums_told(&server), logged);

    // As gfl-admin tells it, from the server and from the catalog of one that is stopped.
    let asked = |server: &Server| {
        let output = admin(server, &["stats", "-json", "-days", "2"]);
        assert!(output.status.success(), "{output:?}");
        let mut sums = sums_of(&serde_json::from_slice(&output.stdout).unwrap());
        sums.retain(|(who, _), _| who != "@admin");
        sums
    };
    assert_eq!(asked(&server), logged);
    assert!(server.stop());
    assert_eq!(asked(&server), logged);
    let table = admin(&server, &["stats", "-user", "bob"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("Day (UTC)   User  Requests"), "{table}");
    assert!(
        table.contains("  bob ") && !table.contains("tester"),
        "{table}"
    );
    let log = |server: &Server| {
        let output = admin(server, &["access", "-user", "bob", "-json"]);
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        page["entries"].clone()
    };
    let offline = log(&server);
    assert_eq!(offline[0]["action"], "download", "{offline}");
    let mut entries = offline.as_array().unwrap().iter();
    assert!(entries.any(|entry| entry["status"] == 403));
    server.restart();
    assert_eq!(log(&server), offline);
    let lines = admin(&server, &["access", "-limit", "1"]);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(lines.starts_with("Time (UTC)"), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn who_asks_sees_his_own() {
    let server = Server::start();
    let mut bob = Token::new(&new_token(), "tok_00000000000b", &["download"]);
    bob.user = "bob".into();
    let mut root = Token::new(&new_token(), "tok_00000000000c", &["admin"]);
    root.user = "root".into();
    server.write_tokens(&[
        Token::new(server.token(), "tok_000000000001", &["*"]),
        bob.clone(),
        root.clone(),
    ]);
    server.http().put(http::file("f"), "12345").expect(201);
    let users = |secret: &str, query: &str| -> Vec<String> {
        let http = server.http_as(Some(secret));
        let page = http.get(format!("/v1/stats{query}")).expect(200).json();
        let entries = page["usage"].as_array().unwrap().iter();
        let mut users: Vec<_> = entries
            .map(|entry| entry["user"].as_str().unwrap_or("-").to_owned())
            .collect();
        users.dedup();
        users
    };
    assert_eq!(users(server.token(), ""), ["tester"]);
    assert_eq!(users(&bob.secret, ""), Vec::<String>::new());
    assert_eq!(users(&bob.secret, "?user=bob"), ["bob"]);
    assert_eq!(users(&root.secret, ""), ["bob", "tester"]);
    assert_eq!(users(&root.secret, "?user=tester"), ["tester"]);
    let bobs = server.http_as(Some(&bob.secret));
    for target in ["/v1/stats?user=tester", "/v1/access?user=tester"] {
        bobs.get(target).problem(403, "forbidden");
    }
    bobs.get("/v1/admin/check").problem(403, "forbidden");
    server
        .http()
        .get("/v1/admin/check")
        .problem(403, "forbidden");
    for bad in [
        "from=today",
        "to=2026-1-1",
        "from=2026-02-01&to=2026-01-01",
        "limit=0",
        "cursor=x",
    ] {
        bobs.get(format!("/v1/stats?{bad}"))
            .problem(400, "invalid-request");
    }

    // The access log: newest first, page by page.
    let all = server.http_as(Some(&root.secret));
    let page = all.get("/v1/access?limit=2").expect(200).json();
    let told = |index: usize| {
        let entry = &page["entries"][index];
        (
            entry["user"].clone(),
            entry["status"].clone(),
            entry["action"].clone(),
        )
    };
    assert_eq!(
        told(0),
        (json!("tester"), json!(403), json!("look")),
        "{page}"
    );
    assert_eq!(told(1), (json!("bob"), json!(403), json!("look")), "{page}");
    let next = page["next"].as_str().unwrap();
    let rest = all
        .get(format!("/v1/access?cursor={next}"))
        .expect(200)
        .json();
    let last = rest["entries"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["user"], &last["path"], &last["size"], &last["token"]),
        (
            &json!("tester"),
            &json!("f"),
            &json!(5),
            &json!("tok_000000000001")
        )
    );
    let own = server.http().get("/v1/access").expect(200).json();
    assert_eq!(own["entries"].as_array().unwrap().len(), 2, "{own}");
}
