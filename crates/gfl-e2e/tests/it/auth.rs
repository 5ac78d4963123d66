//! Who may do what: tokens of every state, schemes, and how fast a revocation works.

use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Http, Request, Server, http, wait};
use std::time::{Duration, Instant};

/// A revoked token is refused within this time.
const REVOKE_MS_MAX: u64 = 1_000;

fn with_tokens(tokens: &[Token]) -> Server {
    let server = Server::start();
    let mut all = vec![Token::new(server.token(), "tok_000000000001", &["*"])];
    all.extend_from_slice(tokens);
    server.write_tokens(&all);
    let http = server.http_as(tokens.last().map(|t| t.secret.as_str()));
    // Whatever its rights, the last token has been read when it is no longer unknown.
    wait::until("the new tokens are read", 10, || {
        let answer = http.get("/v1/me");
        (answer.status == 200
            || answer.text().contains("revoked")
            || answer.text().contains("expired"))
        .then_some(())
    });
    server
}

fn token(id: &str, permissions: &[&str]) -> Token {
    Token::new(&new_token(), id, permissions)
}

#[test]
fn nothing_works_without_a_token() {
    let server = Server::start();
    let nobody = server.http_as(None);
    for (method, target) in [
        ("GET", "/v1/files/"),
        ("PUT", "/v1/files/x"),
        ("DELETE", "/v1/files/x"),
        ("POST", "/v1/uploads?path=x"),
        ("GET", "/v1/uploads"),
        ("POST", "/v1/bulk"),
        ("POST", "/v1/bulk/get"),
        ("POST", "/v1/batch"),
        ("GET", "/v1/meta/"),
        ("GET", "/v1/versions/x"),
        ("GET", "/v1/me"),
    ] {
        let answer = nobody.send(&Request::new(method, target));
        let answer = answer.problem(401, "unauthenticated");
        assert!(
            answer.header("WWW-Authenticate").is_some(),
            "{method} {target}"
        );
    }
    nobody.get("/v1/").expect(200);
    nobody.get("/readyz").expect(200);
    nobody.get("/livez").expect(200);
}

#[test]
fn schemes() {
    use base64::Engine;
    let server = Server::start();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("any:{}", server.token()));
    let token = server.token();
    for good in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("Basic {basic}"),
        format!("basic {basic}"),
    ] {
        let http = Http::new(server.addr(), Some(good.clone()));
        assert_eq!(http.get("/v1/me").status, 200, "{good}");
    }
    for bad in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic !!!",
        "Basic bm8=",
        "Digest x",
        "x",
        "",
    ] {
        let http = Http::new(server.addr(), Some(bad.to_owned()));
        assert_eq!(http.get("/v1/me").status, 401, "{bad:?}");
    }
}

#[test]
fn who_am_i() {
    let server = Server::start();
    let me = server.http().get("/v1/me").expect(200).json();
    assert_eq!(
        (&me["user"], &me["token"]),
        (&"tester".into(), &"tok_000000000001".into())
    );
    assert_eq!(me["permissions"], serde_json::json!(["*"]));
    assert!(
        me["expires"]
            .as_str()
            .is_some_and(|e| e.starts_with("2099-12-31T")),
        "{me}"
    );
    assert!(!me.to_string().contains(server.token()));
}

#[test]
fn expired_revoked_and_unknown_tokens() {
    let mut expired = token("tok_00000000000a", &["*"]);
    expired.expires = "2020-01-01T00:00:00Z".into();
    let mut revoked = token("tok_00000000000b", &["*"]);
    revoked.revoked = true;
    let server = with_tokens(&[expired.clone(), revoked.clone()]);
    server.http().put(http::file("f"), "x").expect(201);
    let unknown = new_token();
    for (secret, word) in [
        (&expired.secret, "expired"),
        (&revoked.secret, "revoked"),
        (&unknown, "invalid"),
    ] {
        let http = server.http_as(Some(secret));
        let answer = http.send(&Request::new("PUT", http::file("f")).body("changed"));
        let answer = answer.problem(401, "unauthenticated");
        assert!(answer.text().contains(word), "{word}: {}", answer.text());
        let v0 = http.get("/list?path=/").expect(401).text();
        assert!(
            v0.starts_with("Authentication failed: auth error: "),
            "{v0}"
        );
        assert!(v0.contains(word), "{word}: {v0}");
    }
    assert_eq!(server.http().get(http::file("f")).text(), "x");
}

#[test]
fn a_revocation_works_within_a_second() {
    let other = token("tok_00000000000c", &["*"]);
    let server = with_tokens(std::slice::from_ref(&other));
    let http = server.http_as(Some(&other.secret));
    http.get("/v1/me").expect(200);
    let mut gone = other;
    gone.revoked = true;
    server.write_tokens(&[Token::new(server.token(), "tok_000000000001", &["*"]), gone]);
    let began = Instant::now();
    wait::until("the revoked token is refused", 10, || {
        (http.get("/v1/me").status == 401).then_some(())
    });
    let took = began.elapsed();
    assert!(
        took < Duration::from_millis(REVOKE_MS_MAX + 200),
        "took {took:?}"
    );
    server.http().get("/v1/me").expect(200);
}

#[test]
fn gfl_admin_revokes_for_a_running_server() {
    let other = token("tok_00000000000d", &["*"]);
    let server = with_tokens(std::slice::from_ref(&other));
    let admin = std::process::Command::new(gfl_e2e::bins::path("gfl-admin"))
        .args(["revoke", "tok_00000000000d", "-file"])
        .arg(server.tokens_file())
        .output()
        .unwrap();
    assert!(admin.status.success(), "{admin:?}");
    let http = server.http_as(Some(&other.secret));
    wait::until("the revoked token is refused", 2, || {
        (http.get("/v1/me").status == 401).then_some(())
    });
}

#[test]
fn permissions_are_demanded() {
    let reader = token("tok_00000000000e", &["list", "download"]);
    let writer = token("tok_00000000000f", &["upload"]);
    let server = with_tokens(&[reader.clone(), writer.clone()]);
    server.http().put(http::file("d/f"), "x").expect(201);
    let (reader, writer) = (
        server.http_as(Some(&reader.secret)),
        server.http_as(Some(&writer.secret)),
    );
    let status =
        |http: &Http, method: &str, target: &str| http.send(&Request::new(method, target)).status;
    assert_eq!(status(&reader, "GET", "/v1/files/d/f"), 200);
    assert_eq!(status(&reader, "GET", "/v1/files/d/"), 200);
    for (method, target) in [
        ("PUT", "/v1/files/d/f"),
        ("PUT", "/v1/files/new/"),
        ("DELETE", "/v1/files/d/f"),
        ("POST", "/v1/uploads?path=d/f"),
    ] {
        reader
            .send(&Request::new(method, target))
            .problem(403, "forbidden");
    }
    assert_eq!(status(&writer, "PUT", "/v1/files/d/f"), 200);
    assert_eq!(status(&writer, "PUT", "/v1/files/made/by/upload"), 201);
    for (method, target) in [
        ("GET", "/v1/files/d/f"),
        ("GET", "/v1/files/d/"),
        ("DELETE", "/v1/files/d/f"),
    ] {
        writer
            .send(&Request::new(method, target))
            .problem(403, "forbidden");
    }
    let v0 = reader.delete("/delete?path=d/f").expect(403).text();
    assert_eq!(v0, "Permission denied. Required: delete\n");
}

#[test]
fn a_server_without_tokens_file_is_open() {
    let server = gfl_e2e::Setup::default().open().start();
    let http = server.http();
    http.put(http::file("f"), "x").expect(201);
    assert_eq!(http.get("/auth/challenge").status, 404);
    assert_eq!(http.get("/config").json()["auth_enabled"], false);
}
