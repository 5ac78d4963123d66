//! v0 word for word. The transcripts of the Go server are replayed end to end; here is what they leave out.

use crate::common::Rig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gfl_api::tokens::{challenge_response, hash_token};
use gfl_server::limits::{ConnectionLimits, Limits};
use gfl_server::proxies::Networks;
use std::sync::Arc;

#[tokio::test]
async fn a_file_goes_up_in_chunks_and_comes_back() {
    let rig = Rig::open().await;
    rig.chunk("d/two.bin", 1, 2, "d29ybGQ=")
        .await
        .says(200, "chunk 2/2 received");
    let status = rig.get("/upload/status?path=/d/two.bin").await.is(200);
    assert_eq!(
        status.text(),
        "{\"exists\":true,\"total_chunks\":2,\"received_map\":[false,true],\"missing_chunks\":[0],\"completed\":false}\n"
    );
    rig.chunk("/d/two.bin", 0, 2, "aGVsbG8g")
        .await
        .says(200, "chunk 1/2 received");
    let got = rig.get("/download?path=d/two.bin").await.is(200);
    assert_eq!(
        (got.text(), got.field("content-type")),
        ("hello world", "application/octet-stream")
    );
    assert_eq!(got.field("content-length"), "11");
    assert_eq!(
        rig.get("/upload/status?path=d/two.bin").await.text(),
        "{\"exists\":false,\"total_chunks\":0,\"received_map\":null,\"missing_chunks\":null,\"completed\":false}\n"
    );
}

#[tokio::test]
async fn downloads_have_ranges_now() {
    let rig = Rig::open().await;
    rig.store("f", "hello world").await;
    let etag = rig.get("/download?path=f").await.field("etag").to_owned();
    let part = rig
        .send("GET /download?path=f", &[("range", "bytes=6-")], "")
        .await
        .is(206);
    assert_eq!(
        (part.text(), part.field("content-range")),
        ("world", "bytes 6-10/11")
    );
    rig.send("GET /download?path=f", &[("if-none-match", &etag)], "")
        .await
        .is(304);
    let behind = rig
        .send("GET /download?path=f", &[("range", "bytes=11-")], "")
        .await
        .is(416);
    assert_eq!(behind.field("content-range"), "bytes */11");
    let head = rig.send("HEAD /download?path=f", &[], "").await.is(200);
    assert_eq!((head.text(), head.field("content-length")), ("", "11"));
}

#[tokio::test]
async fn lists_are_bare_sorted_names() {
    let rig = Rig::open().await;
    assert_eq!(rig.get("/list").await.is(200).text(), "null\n");
    for path in ["b/x", "a", ".hidden", "B"] {
        rig.store(path, "1").await;
    }
    let got = rig.get("/list?path=%2F").await.is(200);
    assert_eq!(got.text(), "[\".hidden\",\"B\",\"a\",\"b\"]\n");
    assert_eq!(got.field("content-type"), "application/json");
    assert_eq!(
        rig.send("POST /list?path=b", &[], "").await.text(),
        "[\"x\"]\n"
    );
    rig.get("/list?path=nope")
        .await
        .refused(500, "open nope: no such file or directory");
    rig.get("/list?path=a")
        .await
        .refused(500, "open a: not a directory");
}

#[tokio::test]
async fn directories_and_deletes() {
    let rig = Rig::open().await;
    for _ in 0..2 {
        rig.send("POST /mkdir?path=a+b/c", &[], "")
            .await
            .says(201, "Successfully created directory: a b/c");
    }
    rig.store("a%20b/c/f", "1").await;
    rig.send("DELETE /delete?path=/a%20b", &[], "")
        .await
        .says(200, "Successfully deleted: /a b");
    rig.send("DELETE /delete?path=a%20b", &[], "")
        .await
        .refused(
            500,
            "delete failed: storage error [a b]: path does not exist",
        );
    for root in ["/", ".", "a/.."] {
        let got = rig
            .send(&format!("DELETE /delete?path={root}"), &[], "")
            .await
            .is(500);
        assert!(got.text().starts_with("delete failed: "), "{got:?}");
    }
    rig.send("GET /mkdir?path=x", &[], "")
        .await
        .refused(405, "method not allowed");
    rig.send("POST /mkdir", &[], "")
        .await
        .refused(400, "path parameter required");
    rig.send("GET /delete?path=x", &[], "")
        .await
        .refused(405, "method not allowed");
}

#[tokio::test]
async fn wrong_downloads() {
    let rig = Rig::open().await;
    rig.store("d/f", "1").await;
    rig.get("/download").await.refused(400, "path required");
    rig.get("/download?path=no")
        .await
        .refused(404, "open no: no such file or directory");
    rig.get("/download?path=d")
        .await
        .refused(404, "read d: is a directory");
    rig.get("/download?path=../x").await.refused(
        404,
        "invalid path: storage error [../x]: path traversal attempt detected",
    );
    assert_eq!(rig.get("/download?path=.gfl/drafts").await.status, 404);
}

#[tokio::test]
async fn wrong_uploads_store_nothing() {
    let rig = Rig::open().await;
    rig.get("/upload").await.refused(405, "method not allowed");
    rig.send("POST /upload", &[], "")
        .await
        .refused(400, "unexpected end of JSON input");
    rig.chunk("f", 0, 0, "")
        .await
        .refused(500, "failed to mark chunk: invalid chunk ID: 0 (total: 0)");
    let wrong = serde_json::json!({"path":"f","chunk_id":0,"data":"aGk=","checksum":"ab".repeat(32),"total":1});
    let got = rig
        .send("POST /upload", &[], wrong.to_string())
        .await
        .is(400);
    assert!(got.text().contains("checksum"), "{got:?}");
    assert_eq!(rig.get("/list").await.text(), "null\n");
}

#[tokio::test]
async fn a_chunk_may_arrive_in_any_pieces() {
    let rig = Rig::open().await;
    let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let body = serde_json::json!({
        "path": "p", "chunk_id": 0, "data": STANDARD.encode(&content), "checksum": "", "total": 1,
    });
    let pieces: Vec<_> = body
        .to_string()
        .into_bytes()
        .chunks(977)
        .map(|c| Ok(bytes::Bytes::copy_from_slice(c)))
        .collect();
    let body = gfl_server::incoming::RequestBody::given(futures_util::stream::iter(pieces), None);
    rig.send_body("POST /upload", &[], body)
        .await
        .says(200, "chunk 1/1 received");
    assert!(std::fs::read(rig.data("p")).unwrap() == content);
}

#[tokio::test]
async fn strangers_and_missing_permissions() {
    let rig = Rig::with_token(&["upload", "download", "list"]).await;
    let anonymous = [("authorization", "-")];
    rig.send("GET /upload", &anonymous, "")
        .await
        .refused(401, "Authorization header required");
    rig.send("GET /list", &[("authorization", "Bearer no")], "")
        .await
        .refused(401, "Authentication failed: auth error: invalid token");
    rig.send("GET /list", &[("authorization", "Digest x")], "")
        .await
        .refused(
            401,
            "Invalid authorization header format. Use: Bearer <token> or Challenge <data>",
        );
    rig.send("DELETE /delete?path=x", &[], "")
        .await
        .refused(403, "Permission denied. Required: delete");
    rig.send("POST /mkdir?path=x", &[], "")
        .await
        .refused(403, "Permission denied. Required: mkdir");
    rig.chunk("made/by/upload", 0, 1, "")
        .await
        .says(200, "chunk 1/1 received");
    let got = rig.send("GET /config", &anonymous, "").await.is(200);
    assert_eq!(got.field("access-control-allow-origin"), "*");
    let config = got.json();
    assert_eq!(
        (&config["auth_enabled"], &config["server"]["storage_dir"]),
        (&true.into(), &"".into())
    );
    assert!(config["server"].get("tokens_file").is_none());
    rig.send("HEAD /config", &anonymous, "").await.is(405);
}

#[tokio::test]
async fn the_challenge_scheme() {
    let rig = Rig::with_token(&["list"]).await;
    let anonymous = [("authorization", "-")];
    let challenge = rig
        .send("POST /auth/challenge", &anonymous, "")
        .await
        .is(200)
        .json();
    let nonce = challenge["nonce"].as_str().unwrap();
    let response = challenge_response(&hash_token(&"ab".repeat(32)), nonce);
    let answer = format!("Challenge {response};{nonce};tok_000000000001");
    rig.send("GET /list", &[("authorization", &answer)], "")
        .await
        .is(200);
    rig.send("GET /list", &[("authorization", &answer)], "")
        .await
        .refused(401, "Challenge validation failed: invalid or expired nonce");
    Rig::open()
        .await
        .get("/auth/challenge")
        .await
        .refused(404, "404 page not found");
}

#[tokio::test]
async fn unknown_and_unclean_paths() {
    let rig = Rig::open().await;
    rig.get("/nothing").await.refused(404, "404 page not found");
    rig.get("/upload/").await.refused(404, "404 page not found");
    let got = rig.get("/x/..//list?path=a&b").await.is(301);
    assert_eq!(got.field("location"), "/list?path=a&b");
    assert_eq!(
        got.text(),
        "<a href=\"/list?path=a&amp;b\">Moved Permanently</a>.\n\n"
    );
    rig.get("/%6cist").await.is(200);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let rig = Rig::open().await;
    let [alice, bob] = [
        [("x-forwarded-for", "192.0.2.1")],
        [("x-forwarded-for", "192.0.2.2")],
    ];
    let half = async |path: &str| {
        let chunk = serde_json::json!({
            "path": path, "chunk_id": 0, "data": STANDARD.encode("half"), "checksum": "", "total": 2,
        });
        let sent = rig.send("POST /upload", &alice, chunk.to_string());
        sent.await.is(200);
    };
    let seen = async |path: &str, from: &[(&str, &str)]| {
        let line = format!("GET /upload/status?path={path}");
        rig.send(&line, from, "").await.is(200).json()["exists"]
            .as_bool()
            .unwrap()
    };
    half("f").await;
    assert!(
        seen("f", &bob).await,
        "without a trusted proxy all are this machine"
    );
    rig.server.set_limits(Limits {
        connections: ConnectionLimits {
            trusted: Arc::new(Networks::parse(&["127.0.0.1"]).unwrap()),
            ..ConnectionLimits::default()
        },
        ..Limits::default()
    });
    half("g").await;
    assert_eq!(
        (seen("g", &alice).await, seen("g", &bob).await),
        (true, false)
    );
}
