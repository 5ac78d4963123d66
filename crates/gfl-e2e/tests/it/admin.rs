//! The administrator's socket, and what `gfl-admin doctor` finds.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Server, Setup, bins, http, socket};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Exit code and the checks by state, as `name: text`.
struct Told {
    code: Option<i32>,
    checks: Vec<(String, String)>,
    text: String,
}

impl Told {
    fn of(&self, state: &str) -> Vec<&str> {
        let of = self.checks.iter().filter(|(s, _)| s == state);
        of.map(|(_, text)| text.as_str()).collect()
    }

    #[track_caller]
    fn has(&self, state: &str, words: &str) {
        let found = self.of(state).iter().any(|text| text.contains(words));
        assert!(found, "no {state} with {words:?}:\n{}", self.text);
    }
}

fn doctor(server: &Server) -> Told {
    let run = |words: &[&str]| {
        let mut command = Command::new(bins::path("gfl-admin"));
        let words = ["doctor"].iter().chain(words);
        command
            .args(words)
            .current_dir(server.root())
            .output()
            .unwrap()
    };
    let (json, text) = (run(&["-json"]), run(&[]));
    assert_eq!(json.status.code(), text.status.code());
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let member = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter().map(|check| {
        let (name, text) = (member(check, "name"), member(check, "text"));
        (member(check, "state"), format!("{name}: {text}"))
    });
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let told = Told {
        code: json.status.code(),
        checks: checks.collect(),
        text,
    };
    assert_eq!(report["ok"], told.of("fail").is_empty());
    for (state, count) in [("ok", told.of("ok").len()), ("fail", told.of("fail").len())] {
        let lines = told.text.lines();
        let tagged = lines.filter(|line| line.starts_with(&format!("[{state}]")));
        assert_eq!(tagged.count(), count, "{}", told.text);
    }
    told
}

#[test]
fn the_socket_is_the_owners_alone_and_makes_an_administrator() {
    let mut server = Server::start();
    let path = server.meta().join("admin.sock");
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path) & 0o777, 0o600);
    assert_eq!(mode(&server.meta()) & 0o777, 0o700);
    let me = socket::get(&server.meta(), "/v1/me")
        .unwrap()
        .expect(200)
        .json();
    assert_eq!(me["user"], "@admin");
    server.http().put(http::file("f"), "x").expect(201);
    let file = socket::get(&server.meta(), "/v1/files/f")
        .unwrap()
        .expect(200);
    assert_eq!(file.body, b"x");

    // Left behind by a server that was killed, and taken over by the next.
    server.kill9();
    assert!(path.exists() && socket::get(&server.meta(), "/livez").is_err());
    server.restart();
    socket::get(&server.meta(), "/livez").unwrap().expect(200);
    assert!(server.stop());
    assert!(!path.exists());

    // What is no socket is nobody's to remove; the server works without.
    fs::write(&path, "mine").unwrap();
    server.restart();
    server.http().get("/livez").expect(200);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert!(
        server.log().contains("no administrator's socket"),
        "{}",
        server.log()
    );
}

#[test]
fn a_deep_folder_has_a_socket_too() {
    let temp = tempfile::tempdir().unwrap();
    let deep = temp.path().join("d".repeat(100)).join("e".repeat(100));
    let server = Setup::default().at(&deep).start();
    let told = doctor(&server);
    told.has("ok", "server: version ");
}

#[test]
fn a_healthy_server_is_told_to_be() {
    let mut server = Server::start();
    // Now its configuration names the port.
    server.restart();
    fs::set_permissions(server.tokens_file(), Permissions::from_mode(0o600)).unwrap();
    let told = doctor(&server);
    assert_eq!(
        (told.code, told.of("fail").len()),
        (Some(0), 0),
        "{}",
        told.text
    );
    told.has("ok", "server: version 0.2.0 runs as process ");
    told.has("ok", "server: answers at 127.0.0.1:");
    told.has("ok", "catalog: sqlite, schema ");
    told.has("ok", "tokens: 1 active");
    assert!(server.stop());
    let told = doctor(&server);
    assert_eq!(told.code, Some(0), "{}", told.text);
    told.has("warn", "server: no server runs");
    told.has("ok", "catalog.db: whole");
    server.restart();
}

#[test]
fn what_is_wrong_is_told_with_a_remedy() {
    let mut server = Setup::default().with("durability", "none").start();
    let mut soon = Token::new(&new_token(), "tok_00000000000a", &["list"]);
    soon.expires = "2026-11-01T00:00:00Z".into();
    server.write_tokens(&[soon]);
    fs::set_permissions(server.meta(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(
        server.meta().join("catalog.db"),
        Permissions::from_mode(0o644),
    )
    .unwrap();
    let told = doctor(&server);
    assert_eq!(told.code, Some(0), "doubtful, not broken: {}", told.text);
    told.has("warn", "config: server.durability \"none\"");
    told.has("warn", "has mode 0755, others can reach it");
    told.has("warn", "catalog.db has mode 0644");
    told.has(
        "warn",
        "tokens: 0 active, 1 expired, 0 revoked: nobody can log in",
    );
    assert!(told.text.contains("-> chmod 700 "), "{}", told.text);

    // A page in the middle of the catalog is overwritten while nobody looks.
    server.http_as(None).get("/livez").expect(200);
    assert!(server.stop());
    let catalog = server.meta().join("catalog.db");
    let mut bytes = fs::read(&catalog).unwrap();
    let page = bytes.len() / 4096 / 2 * 4096;
    bytes[page..page + 4096].fill(0xab);
    fs::write(&catalog, bytes).unwrap();
    let told = doctor(&server);
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.has("fail", "catalog");

    let told = Command::new(bins::path("gfl-admin"))
        .args(["doctor", "-config", "none.json"])
        .current_dir(server.root())
        .output()
        .unwrap();
    assert_eq!(told.status.code(), Some(1));
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(text.starts_with("[fail] config   there is no "), "{text}");
}
