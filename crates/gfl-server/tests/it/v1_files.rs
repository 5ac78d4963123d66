use crate::common::Rig;
use bytes::Bytes;
use gfl_server::incoming::RequestBody;

const HELLO_B3: &str = "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24";

#[tokio::test]
async fn a_file_is_stored_read_and_deleted() {
    let rig = Rig::open().await;
    let fields = [
        ("gfl-mtime", "2020-01-02T03:04:05.000000006Z"),
        ("gfl-mode", "0600"),
        ("gfl-blake3", HELLO_B3),
        (
            "repr-digest",
            "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:",
        ),
    ];
    let put = rig
        .send("PUT /v1/files/a%20b/%C3%BC", &fields, "hello world")
        .await
        .is(201);
    let done = put.json();
    assert_eq!(
        (&done["path"], &done["created"], &done["size"]),
        (&"a b/ü".into(), &true.into(), &11.into())
    );
    assert_eq!(put.field("etag"), format!("\"b3-{HELLO_B3}\""));
    assert_eq!(put.field("content-location"), "/v1/files/a%20b/%C3%BC");
    assert_eq!(put.field("gfl-blake3"), HELLO_B3);

    let got = rig.get("/v1/files/a%20b/%C3%BC").await.is(200);
    assert_eq!(got.text(), "hello world");
    for (name, want) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "11"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Thu, 02 Jan 2020 03:04:05 GMT"),
        ("gfl-mtime", "2020-01-02T03:04:05.000000006Z"),
        ("gfl-mode", "0600"),
        ("gfl-blake3", HELLO_B3),
        (
            "repr-digest",
            "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:",
        ),
    ] {
        assert_eq!(got.field(name), want, "{name}");
    }
    let head = rig
        .send("HEAD /v1/files/a%20b/%C3%BC", &[("range", "bytes=0-1")], "")
        .await
        .is(200);
    assert_eq!((head.text(), head.field("content-length")), ("", "11"));
    rig.send("PUT /v1/files/a%20b/%C3%BC", &[], "2")
        .await
        .is(200);
    rig.send("DELETE /v1/files/a%20b/%C3%BC", &[], "")
        .await
        .is(204);
    rig.get("/v1/files/a%20b/%C3%BC")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn several_ranges_are_one_multipart() {
    let rig = Rig::open().await;
    rig.store("f", "hello world").await;
    let got = rig
        .send("GET /v1/files/f", &[("range", "bytes=0-4,-5")], "")
        .await
        .is(206);
    let boundary = got
        .field("content-type")
        .split("boundary=")
        .nth(1)
        .unwrap()
        .to_owned();
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/11\r\n\r\n{text}\r\n"
        )
    };
    assert_eq!(
        got.text(),
        part("0-4", "hello") + &part("6-10", "world") + &format!("--{boundary}--\r\n")
    );
    assert_eq!(got.field("content-length"), got.body.len().to_string());
    assert_eq!(got.field("content-range"), "");
    let behind = rig
        .send("GET /v1/files/f", &[("range", "bytes=99-")], "")
        .await;
    assert_eq!(behind.field("content-range"), "bytes */11");
    behind.problem(416, "range-not-satisfiable");
}

#[tokio::test]
async fn a_large_file_comes_back_whole() {
    let rig = Rig::open().await;
    let content: Bytes = (0..3_000_001u32)
        .map(|i| (i.wrapping_mul(31) >> 3) as u8)
        .collect::<Vec<_>>()
        .into();
    rig.store("large", content.clone()).await;
    let budget = rig.server.budget.free();
    assert!(rig.get("/v1/files/large").await.is(200).body == content);
    assert_eq!(rig.server.budget.free(), budget);
}

#[tokio::test]
async fn writes_that_are_refused() {
    let rig = Rig::open().await;
    rig.store("f", "old").await;
    let put = |fields: &'static [(&'static str, &'static str)]| {
        rig.send("PUT /v1/files/f", fields, "new")
    };
    put(&[("if-none-match", "*")])
        .await
        .problem(412, "precondition-failed");
    put(&[("if-match", "\"b3-00\"")])
        .await
        .problem(412, "precondition-failed");
    put(&[("if-match", "b3-00")])
        .await
        .problem(400, "invalid-request");
    put(&[("content-range", "bytes 0-2/9")])
        .await
        .problem(400, "invalid-request");
    put(&[("content-encoding", "gzip")])
        .await
        .problem(415, "unsupported-media-type");
    put(&[("gfl-mtime", "yesterday")])
        .await
        .problem(400, "invalid-request");
    put(&[("gfl-mode", "rw")])
        .await
        .problem(400, "invalid-request");
    put(&[("gfl-blake3", HELLO_B3)])
        .await
        .problem(400, "digest-mismatch");
    put(&[(
        "content-digest",
        "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:",
    )])
    .await
    .problem(400, "digest-mismatch");
    put(&[("content-digest", "md5=:AAAA:")])
        .await
        .problem(400, "invalid-request");
    rig.send("PUT /v1/files/f/x", &[], "")
        .await
        .problem(409, "not-a-directory");
    rig.send("POST /v1/files/f", &[], "")
        .await
        .problem(405, "method-not-allowed");
    assert_eq!(rig.get("/v1/files/f").await.text(), "old");
}

#[tokio::test]
async fn paths_that_are_none() {
    let rig = Rig::open().await;
    for bad in ["a//b", "..", "a/%2e%2e/b", "a%2Fb", "%00", "%zz", "%ff"] {
        rig.get(&format!("/v1/files/{bad}"))
            .await
            .problem(400, "invalid-path");
    }
    rig.get("/v1/files/.gfl/drafts")
        .await
        .problem(400, "reserved-path");
    rig.get("/v1/nothing").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_broken_body_stores_nothing() {
    let rig = Rig::open().await;
    let pieces = futures_util::stream::iter([Ok("ab".into()), Err("reset".to_owned())]);
    let got = rig
        .send_body("PUT /v1/files/f", &[], RequestBody::given(pieces, Some(5)))
        .await;
    got.problem(408, "timeout");
    let short = RequestBody::given(futures_util::stream::iter([Ok("ab".into())]), Some(5));
    assert!(rig.send_body("PUT /v1/files/f", &[], short).await.status >= 400);
    assert_eq!(
        rig.get("/v1/files/").await.json()["entries"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn an_early_refusal_does_not_read_the_body() {
    let rig = Rig::with_token(&["list"]).await;
    let endless = || RequestBody::given(futures_util::stream::pending(), Some(1 << 40));
    let got = rig.send_body("PUT /v1/files/f", &[], endless()).await;
    assert_eq!((got.reusable, got.field("connection")), (false, "close"));
    got.problem(403, "forbidden");
    let anonymous = [("authorization", "-"), ("expect", "100-continue")];
    let got = rig
        .send_body("PUT /v1/files/f", &anonymous, endless())
        .await;
    assert!(!got.reusable);
    assert_eq!(got.headers.get_all("www-authenticate").iter().count(), 2);
    got.problem(401, "unauthenticated");
    let short = rig.send("PUT /v1/files/f", &[], "short").await;
    assert!(short.reusable && short.status == 403);
}

#[tokio::test]
async fn directories() {
    let rig = Rig::open().await;
    rig.send("PUT /v1/files/d/e/", &[], "").await.is(201);
    rig.send("PUT /v1/files/d/e/", &[], "").await.is(200);
    rig.store("d/f", "12").await;
    rig.store("d/e/g", "3").await;
    rig.get("/v1/files/d").await.problem(409, "is-a-directory");
    rig.get("/v1/files/d/f/")
        .await
        .problem(409, "not-a-directory");
    rig.get("/v1/files/no/").await.problem(404, "not-found");
    let names = |json: &serde_json::Value, key: &str| -> Vec<String> {
        json["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e[key].as_str().unwrap().to_owned())
            .collect()
    };
    let page = rig.get("/v1/files/d/?limit=1").await.is(200).json();
    assert_eq!(names(&page, "name"), ["e"]);
    let cursor = page["next"].as_str().unwrap();
    let page = rig
        .get(&format!("/v1/files/d/?limit=1&cursor={cursor}"))
        .await
        .is(200)
        .json();
    assert_eq!(
        (names(&page, "name"), &page["next"]),
        (vec!["f".to_owned()], &serde_json::Value::Null)
    );
    assert_eq!(
        (&page["entries"][0]["type"], &page["entries"][0]["size"]),
        (&"file".into(), &2.into())
    );
    let all = rig.get("/v1/files/?recursive=true").await.is(200).json();
    assert_eq!(names(&all, "path"), ["d", "d/e", "d/e/g", "d/f"]);
    let lines = rig
        .send(
            "GET /v1/files/?recursive",
            &[("accept", "application/x-ndjson")],
            "",
        )
        .await
        .is(200)
        .lines();
    assert_eq!(lines.len(), 5);
    assert_eq!(
        lines[4],
        serde_json::json!({"end":true,"count":4,"skipped":0,"unreadable":0})
    );
    for bad in [
        "limit=0",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=10001",
        "limit=99999999999999999999",
        "cursor=!",
        "recursive=perhaps",
        "a=%zz",
    ] {
        rig.get(&format!("/v1/files/d/?{bad}"))
            .await
            .problem(400, "invalid-request");
    }
    for (target, max) in [
        ("/v1/files/d/", 10_000),
        ("/v1/uploads", 1_000),
        ("/v1/versions/d/f", 1_000),
    ] {
        let over = max + 1;
        let problem = rig
            .get(&format!("{target}?limit={over}"))
            .await
            .problem(400, "invalid-request");
        let detail = problem["detail"].as_str().unwrap();
        let want = format!("limit is a whole number from 1 to {max}, not \"{over}\"");
        assert!(detail.ends_with(&want), "{detail}");
        assert_eq!(problem["limit_max"], max);
        rig.get(&format!("{target}?limit={max}")).await.is(200);
    }
    // A stream of everything cannot keep to a limit.
    rig.send(
        "GET /v1/files/d/?limit=1",
        &[("accept", "application/x-ndjson")],
        "",
    )
    .await
    .problem(400, "invalid-request");
    rig.send("DELETE /v1/files/d/", &[], "")
        .await
        .problem(409, "not-empty");
    rig.send("DELETE /v1/files/d", &[], "")
        .await
        .problem(409, "is-a-directory");
    rig.send("DELETE /v1/files/?recursive=true", &[], "")
        .await
        .problem(403, "forbidden");
    rig.send("DELETE /v1/files/d/?recursive=true", &[], "")
        .await
        .is(204);
}

#[tokio::test]
async fn who_and_what() {
    let rig = Rig::with_token(&["list", "download"]).await;
    let hello = rig
        .send("GET /v1/", &[("authorization", "-")], "")
        .await
        .is(200)
        .json();
    assert_eq!(
        (&hello["name"], &hello["api"]),
        (&"GoFlux Lite".into(), &1.into())
    );
    let me = rig.get("/v1/me").await.is(200).json();
    assert_eq!(
        (&me["user"], &me["permissions"]),
        (&"alice".into(), &serde_json::json!(["list", "download"]))
    );
    assert_eq!(me["expires"], "2999-01-01T00:00:00Z");
    rig.send("GET /v1/me", &[("authorization", "-")], "")
        .await
        .problem(401, "unauthenticated");
    let basic = rig
        .send("GET /v1/me", &[("authorization", "Basic bm9ib2R5Og==")], "")
        .await;
    basic.problem(401, "unauthenticated");
    let got = rig.send("DELETE /v1/me", &[], "").await;
    assert_eq!(got.field("allow"), "GET, HEAD");
    got.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn metadata_and_versions() {
    let rig = Rig::open().await;
    rig.store("f", "one").await;
    rig.store("f", "two").await;
    let merge = [("content-type", "application/merge-patch+json")];
    let entry = rig
        .send("PATCH /v1/meta/f", &merge, r#"{"mode":"0600"}"#)
        .await
        .is(200)
        .json();
    assert_eq!(
        (&entry["mode"], &entry["path"]),
        (&"0600".into(), &"f".into())
    );
    rig.send("PATCH /v1/meta/f", &[], "{}")
        .await
        .problem(415, "unsupported-media-type");
    rig.send("PATCH /v1/meta/f", &merge, "{")
        .await
        .problem(400, "invalid-request");
    rig.send("PATCH /v1/meta/f", &merge, r#"{"mode":null}"#)
        .await
        .problem(400, "invalid-request");
    for (patch, why) in [
        (
            r#"{"mode":"0644","mtim":"2026-01-02T03:04:05Z"}"#,
            r#"f: the patch: unknown member "mtim", did you mean "mtime""#,
        ),
        (
            r#"{"owner":"root"}"#,
            r#"f: the patch: unknown member "owner", known are mtime, mode"#,
        ),
    ] {
        let problem = rig
            .send("PATCH /v1/meta/f", &merge, patch)
            .await
            .problem(400, "invalid-request");
        assert_eq!(problem["detail"], why);
    }
    // Nothing of a patch that was refused has happened.
    assert_eq!(rig.get("/v1/meta/f").await.is(200).json()["mode"], "0600");
    assert_eq!(rig.get("/v1/meta/").await.is(200).json()["type"], "dir");
    rig.get("/v1/meta/no").await.problem(404, "not-found");

    let versions = rig.get("/v1/versions/f").await.is(200).json();
    let kept = &versions["versions"][1];
    assert_eq!(
        (&versions["versions"][0]["state"], &kept["state"]),
        (&"current".into(), &"kept".into())
    );
    let id = kept["id"].as_str().unwrap();
    assert_eq!(
        rig.get(&format!("/v1/files/f?version={id}"))
            .await
            .is(200)
            .text(),
        "one"
    );
    rig.get("/v1/files/f?version=nonsense")
        .await
        .problem(404, "not-found");
    rig.send(&format!("POST /v1/versions/f?restore={id}"), &[], "")
        .await
        .is(200);
    assert_eq!(rig.get("/v1/files/f").await.text(), "one");
}

#[tokio::test]
async fn a_folder_has_no_content() {
    let rig = Rig::open().await;
    for (target, fields) in [("PUT /v1/files/d/", &[][..]), ("PUT /v1/files/", &[])] {
        let got = rig.send(target, fields, "content").await;
        got.problem(400, "invalid-request");
    }
    assert!(!rig.data("d").exists());
    rig.send("PUT /v1/files/d/", &[], "").await.is(201);
}

#[tokio::test]
async fn a_malformed_field_is_told_with_the_path() {
    let rig = Rig::open().await;
    for (name, value) in [
        ("gfl-blake3", "abc"),
        ("gfl-mtime", "yesterday"),
        ("gfl-mode", "rwx"),
        ("content-digest", "sha-256=nonsense"),
    ] {
        // A short name stands in many words.
        for path in ["a/b", "a"] {
            let line = format!("PUT /v1/files/{path}");
            let got = rig.send(&line, &[(name, value)], "x").await;
            let text = got.text();
            assert!(text.contains(&format!("\"detail\":\"{path}: ")), "{text}");
            got.problem(400, "invalid-request");
        }
    }
    assert!(!rig.data("a").exists());
}
