//! No secret leaves the server or the client by any way but the one it is for: not by a log at its most talkative,
//! not by a metric, not by an error, not by what is kept.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::common::begin;
use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Conn, Gfl, Request, Server, Setup, bins, data, http, socket, wait};
use std::fs;
use std::process::Command;

/// What must not turn up, and what was told.
#[derive(Default)]
struct Told {
    secrets: Vec<String>,
    texts: Vec<(String, String)>,
}

impl Told {
    fn add(&mut self, what: &str, text: impl AsRef<[u8]>) {
        let text = String::from_utf8_lossy(text.as_ref()).into_owned();
        self.texts.push((what.to_owned(), text));
    }

    #[track_caller]
    fn holds_no_secret(&self) {
        for (what, text) in &self.texts {
            for secret in &self.secrets {
                assert!(secret.len() >= 16, "too short to look for: {secret}");
                let at = text.find(secret.as_str());
                let around = at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(200))..]);
                assert!(at.is_none(), "{what} tells a secret: {around:?}");
            }
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Requests with the good token and with wrong ones, in every place where one can stand, meant or by mistake.
fn ask(server: &Server, told: &mut Told) {
    let good = server.token().to_owned();
    let hash = data::sha256(good.as_bytes());
    let wrong = "wrong-secret-0123456789abcdef".to_owned();
    let mut requests = Vec::new();
    for token in [&good, &wrong] {
        let basic = base64(&format!("me:{token}"));
        told.secrets
            .extend([token.clone(), basic.clone(), base64(token)]);
        for auth in [
            format!("Bearer {token}"),
            format!("bearer  {token}"),
            format!("Basic {basic}"),
            format!("Basic {}", base64(&format!("{token}:"))),
            format!("Token {token}"),
            token.clone(),
            format!("Challenge {token};{token};{token}"),
            format!("Digest username=\"{token}\""),
        ] {
            for target in ["/v1/me", "/list?path=/", "/v1/files/none", "/metrics?x"] {
                let request = Request::new("GET", target).header("Authorization", &auth);
                requests.push(request.header("X-Forwarded-For", "1.2.3.4"));
            }
        }
        for target in [
            format!("/v1/files/f?token={token}"),
            format!("/v1/files/?cursor={token}"),
            format!("/v1/stats?cursor={token}&from={token}"),
            format!("/v1/uploads?access_token={token}"),
            format!("/download?path=none&token={token}"),
            format!("/v1/me?authorization=Bearer%20{token}"),
            format!("/nowhere?key={token}"),
            format!("http://me:{token}@{}/v1/files/none", server.addr()),
        ] {
            for method in ["GET", "POST", "PUT", "BREW"] {
                requests.push(Request::new(method, &target));
                let auth = format!("Bearer {token}");
                requests.push(Request::new(method, &target).header("Authorization", auth));
            }
        }
        let get = Request::new("GET", "/v1/me");
        requests.push(get.clone().header("Cookie", format!("token={token}")));
        requests.push(get.header("X-Api-Key", token));
    }
    // As good as the token for v0's challenge.
    told.secrets.push(hash);
    for request in &requests {
        let mut conn = Conn::open(server.addr()).unwrap();
        conn.send(&request.head("host", None, None)).unwrap();
        let answer = conn.answer_head().unwrap();
        let mut body = Vec::new();
        let read = conn.answer_body(&answer, &request.method, &mut |piece| {
            body.extend_from_slice(piece)
        });
        read.unwrap();
        told.add(
            &format!("the answer to {} {}", request.method, request.target),
            &body,
        );
        if answer.status >= 400 {
            told.add("the head of an error", format!("{:?}", answer.headers));
        }
    }
    // Not even HTTP.
    let mut conn = Conn::open(server.addr()).unwrap();
    conn.send(format!("GET {good} {wrong}\r\n{good}\r\n\r\n").as_bytes())
        .unwrap();
    let _cut_off = conn.answer_head();
}

/// Whole stories: uploads that work, fail and are left, and a challenge answered rightly.
fn work(server: &Server, told: &mut Told) {
    let http = server.http();
    http.put(http::file("d/f"), "content").expect(201);
    http.get(http::file("d/f")).expect(200);
    begin(&http, "d/session", Some(10));
    let nonce = http.get("/auth/challenge").expect(200).json()["nonce"]
        .as_str()
        .unwrap()
        .to_owned();
    let answered = format!("Challenge {};{nonce};tok_000000000001", "0".repeat(64));
    let request = Request::new("GET", "/v1/me").header("Authorization", answered);
    told.add(
        "a wrong challenge",
        &server.http_as(None).send(&request).expect(401).body,
    );
    let mut conn = Conn::open(server.addr()).unwrap();
    let put = Request::new("PUT", http::file("left"))
        .header("Authorization", format!("Bearer {}", server.token()));
    conn.send(&put.head("h", None, Some(100_000))).unwrap();
    conn.send(&[1; 1000]).unwrap();
}

fn with_client(server: &Server, told: &mut Told) {
    let gfl = Gfl::new(server);
    fs::write(gfl.local("in"), "content").unwrap();
    for words in [
        &["put", "in", "d/in"][..],
        &["get", "d/none", "out"],
        &["ls", "/none"],
        &["config"],
        &["rm", "d/none"],
    ] {
        let output = gfl.run(words);
        told.add(&format!("gfl {words:?}"), output.out + &output.err);
    }
    for (url, token) in [
        (server.url(), "wrong-secret-0123456789abcdef"),
        ("http://127.0.0.1:9".to_owned(), server.token()),
    ] {
        let output = Gfl::at(&url, token).run(&["ls", "/"]);
        told.add(
            "gfl ls with another server or token",
            output.out + &output.err,
        );
    }
}

fn with_admin(server: &Server, told: &mut Told) {
    let lists: [&[&str]; 5] = [
        &["access", "-json"],
        &["list", "-file", "tokens.json"],
        &["doctor"],
        &["doctor", "-json"],
        &["stats", "-json"],
    ];
    for words in lists {
        let output = Command::new(bins::path("gfl-admin"))
            .args(words)
            .current_dir(server.root())
            .output()
            .unwrap();
        told.add(&format!("gfl-admin {words:?}"), &output.stdout);
        told.add(&format!("gfl-admin {words:?}"), &output.stderr);
    }
    let check = Command::new(bins::path("gfl-server"))
        .arg("-check")
        .current_dir(server.root())
        .output()
        .unwrap();
    told.add("gfl-server -check", &check.stdout);
}

#[test]
fn no_secret_is_told() {
    for (log, level) in [
        ("text", "trace"),
        ("json", "trace,hyper=trace,tokio_util=trace"),
    ] {
        let mut server = Setup::default()
            .with("log", log)
            .with("log_level", level)
            .start();
        server.write_tokens(&[
            Token::new(server.token(), "tok_000000000001", &["*"]),
            Token::new(&new_token(), "tok_000000000002", &["metrics"]),
        ]);
        let mut told = Told::default();
        ask(&server, &mut told);
        work(&server, &mut told);
        with_client(&server, &mut told);
        with_admin(&server, &mut told);
        for target in [
            "/metrics",
            "/v1/stats",
            "/v1/access?limit=10000",
            "/v1/admin/check",
        ] {
            told.add(
                target,
                &socket::get(&server.meta(), target)
                    .unwrap()
                    .expect(200)
                    .body,
            );
        }
        wait::until("the client that left is in the log", 10, || {
            server.log().contains("left").then_some(())
        });
        assert!(server.stop());
        told.add("the log", server.log());
        let catalog = fs::read(server.meta().join("catalog.db")).unwrap();
        assert!(told.texts.iter().any(|(what, _)| what == "the log"));
        assert!(server.log().contains("request"), "something is logged");
        told.add("the catalog", catalog);
        told.holds_no_secret();
    }
}

#[test]
fn control_characters_do_not_reach_the_log() {
    let server = Server::start();
    let mut evil = Token::new(&new_token(), "tok_0000\x1b[2J\n000e", &["list"]);
    evil.user = "eve\n2026-01-01T00:00:00Z  INFO forged\r\x1b[2J\u{9b}".into();
    server.write_tokens(&[
        Token::new(server.token(), "tok_000000000001", &["*"]),
        evil.clone(),
    ]);
    let http = server.http_as(Some(&evil.secret));
    http.get("/v1/me").expect(200);
    http.put(http::file("x"), "1").expect(403);
    for (name, value) in [
        ("X-Request-Id", "a\tb\u{1b}"),
        ("User-Agent", "u\u{9b}forged"),
        ("Upload-Length", "1\u{7f}"),
        ("Content-Type", "x\u{85}forged"),
        ("Authorization", "Bearer \u{202e}forged"),
        ("If-Match", "\"\u{9b}forged\""),
    ] {
        let mut conn = Conn::open(server.addr()).unwrap();
        let request = Request::new("POST", "/v1/uploads?path=f").header(name, value);
        conn.send(&request.head("h", None, None)).unwrap();
        let _any = conn.answer_head();
    }
    let last = Request::new("GET", "/livez").header("X-Request-Id", "last");
    server.http().send(&last).expect(200);
    let log = wait::until("all are in the log", 10, || {
        Some(server.log()).filter(|log| log.contains("last"))
    });
    assert!(log.matches("forged").count() >= 2, "{log}");
    let control = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!log.contains(control), "{log:?}");
    assert!(
        !log.lines().any(|line| line.starts_with("2026-01-01T")),
        "{log}"
    );
}
