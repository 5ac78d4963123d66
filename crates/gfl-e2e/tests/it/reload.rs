//! Settings that change while the server runs: they count, and no transfer notices.

use crate::common::assert_file;
use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Conn, Request, Server, Setup, data, http, wait};
use rustix::process::Signal;

/// Waits until the log says this, and returns what it says from there on.
fn log_says(server: &Server, what: &str) -> String {
    wait::until(what, 20, || {
        let log = server.log();
        log.find(what).map(|at| log[at..].to_owned())
    })
}

/// An upload that has begun.
fn half(server: &Server, path: &str, content: &[u8]) -> Conn {
    let http = server.http();
    let mut conn = http.connect();
    let head = http.head(
        &Request::new("PUT", http::file(path)),
        Some(content.len() as u64),
    );
    conn.send(&head).expect("sends");
    conn.send(&content[..content.len() / 2]).expect("sends");
    conn
}

#[test]
fn a_hangup_reloads_and_drops_no_transfer() {
    let mut server = Setup::default().with("log_level", "warn").start();
    let content = data::bytes(1, 3_000_000);
    let mut conn = half(&server, "f", &content);
    let old = Token::new(server.token(), "tok_000000000001", &["*"]);
    let secret = new_token();
    server.write_tokens(&[old, Token::new(&secret, "tok_000000000002", &["list"])]);
    server.set("log_level", "info");
    server.set("connections_max", 1);
    server.set("undo_days", 3);
    server.set("drain_secnds", 3);
    server.signal(Signal::HUP);
    // (The harness writes the port that it was given into the file: a new address.)
    let told = log_says(&server, "SIGHUP: read the configuration again");
    assert!(
        told.contains("now in force: log_level, connections_max\n"),
        "{told}"
    );
    let log = server.log();
    assert!(
        log.contains("not in force before a restart: address, undo_days\n"),
        "{log}"
    );
    assert!(
        log.contains("\"server.drain_secnds\" is ignored; did you mean \"drain_seconds\""),
        "{log}"
    );
    conn.send(&content[content.len() / 2..])
        .expect("the connection is still there");
    assert_eq!(conn.answer("PUT").expect("an answer").status, 201);
    drop(conn);
    assert_file(&server.http(), "f", &content);
    server.http_as(Some(&secret)).get("/v1/files/").expect(200);
    log_says(&server, "path=\"/v1/files/\"");
}

#[test]
fn a_changed_file_is_noticed_and_a_broken_one_changes_nothing() {
    let mut server = Setup::default().with("log_level", "info").start();
    server.set("log_level", "debug");
    let told = log_says(&server, "goflux.json changed: read the configuration again");
    assert!(told.contains("now in force: log_level"), "{told}");
    for (broken, why) in [
        ("{\"server\":{\"log_level\":", "not valid json"),
        (
            "{\"server\":{\"log_level\":\"loud\"}}",
            "is none of off, error",
        ),
        (
            "{\"server\":{\"trusted_proxies\":[\"everybody\"]}}",
            "is no address and no network",
        ),
        (
            "{\"server\":{\"trusted_proxies\":\"10.0.0.1\"}}",
            "make it a list of strings",
        ),
    ] {
        std::fs::write(server.config_file(), broken).expect("written");
        server.signal(Signal::HUP);
        let told = log_says(&server, why);
        assert!(!told.contains("now in force"), "{told}");
    }
    std::fs::remove_file(server.config_file()).expect("removed");
    server.signal(Signal::HUP);
    log_says(&server, "goflux.json is gone");
    server.http().put(http::file("f"), "x").expect(201);
    // Repaired: it counts again.
    server.set("log_level", "info");
    log_says(&server, "now in force: log_level\n");
    assert!(server.stop());
}

#[test]
fn the_clients_address_is_the_proxys_word() {
    let mut server = Server::start();
    let ask = |server: &Server, id: &str| {
        let request = Request::new("GET", "/livez")
            .header("X-Forwarded-For", "1.1.1.1, 192.0.2.77")
            .header("X-Request-Id", id);
        server.http().send(&request).expect(200);
        wait::until("the line of the request", 20, || {
            let log = server.log();
            log.lines()
                .find(|line| line.contains(id))
                .map(str::to_owned)
        })
    };
    let line = ask(&server, "of-nobody");
    assert!(line.contains("peer=127.0.0.1"), "{line}");
    server.set("trusted_proxies", vec!["127.0.0.0/8"]);
    server.signal(Signal::HUP);
    log_says(&server, "now in force: trusted_proxies");
    let line = ask(&server, "of-a-proxy");
    assert!(line.contains("peer=192.0.2.77"), "{line}");
}
