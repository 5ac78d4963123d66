use crate::common::{Got, Rig};
use bytes::Bytes;
use gfl_api::frames::{self, Decoder, Event, FileHeader};
use gfl_api::tree::Root;
use gfl_server::incoming::RequestBody;
use serde_json::json;

const BULK: (&str, &str) = ("content-type", "application/vnd.gfl.bulk");

fn stream(files: &[(&str, &[u8])], end: bool) -> Vec<u8> {
    let mut body = frames::MAGIC.to_vec();
    for (index, (path, content)) in (0..).zip(files) {
        let b3 = Some(Root::of(content));
        let header = FileHeader {
            index,
            path: (*path).into(),
            size: content.len() as u64,
            b3,
            ..FileHeader::default()
        };
        body.extend(frames::encode_file(&header).unwrap());
        body.extend(*content);
    }
    if end {
        body.extend(frames::encode_end());
    }
    body
}

fn decode(got: &Got) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut input = got.body.clone();
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event(&mut input).unwrap() {
        match (events.last_mut(), event) {
            (Some(Event::Data(before)), Event::Data(now)) => {
                *before = [&before[..], &now].concat().into()
            }
            (_, event) => events.push(event),
        }
    }
    decoder.finish().unwrap();
    events
}

#[tokio::test]
async fn many_files_up_and_down() {
    let rig = Rig::open().await;
    let large: Vec<u8> = (0..500_000u32).map(|i| (i % 253) as u8).collect();
    let names: Vec<String> = (0..300).map(|i| format!("d{}/f{i}", i % 7)).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), n.as_bytes())).collect();
    files.insert(150, ("large", &large));
    files.insert(20, ("empty", b""));
    let lines = rig
        .send("POST /v1/bulk", &[BULK], stream(&files, true))
        .await
        .is(200)
        .lines();
    assert_eq!(lines.len(), files.len() + 1);
    assert_eq!(
        lines.last().unwrap(),
        &json!({"end":true,"count":files.len()})
    );
    for line in &lines[..files.len()] {
        let (path, content) = files[line["index"].as_u64().unwrap() as usize];
        assert_eq!(
            (&line["path"], &line["status"]),
            (&path.into(), &201.into()),
            "{line}"
        );
        assert_eq!(line["b3"], Root::of(content).to_string());
    }
    let wanted: Vec<_> = files
        .iter()
        .map(|(path, _)| json!({"path": path}))
        .collect();
    let got = rig
        .send(
            "POST /v1/bulk/get",
            &[],
            json!({"paths": wanted}).to_string(),
        )
        .await
        .is(200);
    let mut events = decode(&got).into_iter();
    for (index, (path, content)) in (0..).zip(&files) {
        match events.next() {
            Some(Event::FileStart(header)) => {
                assert_eq!((header.index, header.path.as_str()), (index, *path))
            }
            other => panic!("{other:?}"),
        }
        if !content.is_empty() {
            assert!(
                events.next() == Some(Event::Data(Bytes::copy_from_slice(content))),
                "{path}"
            );
        }
        assert_eq!(events.next(), Some(Event::FileEnd));
    }
    assert_eq!(events.next(), Some(Event::End));
}

#[tokio::test]
async fn one_bad_file_stops_no_other() {
    let rig = Rig::open().await;
    let files: [(&str, &[u8]); 4] = [
        ("a", b"1"),
        ("../evil", b"2"),
        (".gfl/x", b"3"),
        ("b", b"4"),
    ];
    let mut body = stream(&files, false);
    let wrong = FileHeader {
        index: 9,
        path: "c".into(),
        size: 1,
        b3: Some(Root::of(b"other")),
        ..FileHeader::default()
    };
    body.extend(frames::encode_file(&wrong).unwrap());
    body.extend(b"5");
    body.extend(frames::encode_end());
    let lines = rig
        .send("POST /v1/bulk", &[BULK], body)
        .await
        .is(200)
        .lines();
    let of = |index: u64| lines.iter().find(|l| l["index"] == index).unwrap();
    assert_eq!(
        (&of(0)["status"], &of(3)["status"]),
        (&201.into(), &201.into())
    );
    assert_eq!(of(1)["problem"]["code"], "invalid-path");
    assert_eq!(of(2)["problem"]["code"], "reserved-path");
    assert_eq!(of(9)["problem"]["code"], "digest-mismatch");

    let big = Bytes::from(vec![7; 8 * 1024 * 1024 + 1]);
    rig.store("big", big).await;
    let b3 = Root::of(b"1").to_string();
    let ask = json!({"paths":[{"path":"no"},{"path":"a","b3":b3},{"path":"big"},{"path":"../x"},{"path":"b"}]});
    let events = decode(
        &rig.send("POST /v1/bulk/get", &[], ask.to_string())
            .await
            .is(200),
    );
    let errors: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            Event::Error(e) => Some((e.index, e.status, e.code.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        errors,
        [
            (0, 404, "not-found"),
            (1, 304, "not-modified"),
            (2, 413, "too-large"),
            (3, 400, "invalid-path")
        ]
    );
    assert!(events.contains(&Event::Data("4".into())));
}

#[tokio::test]
async fn a_stream_cut_short_keeps_what_arrived_whole() {
    let rig = Rig::open().await;
    let large = vec![1; 200_000];
    let body = stream(&[("a", b"1"), ("b", &large)], false);
    let cut = Bytes::from(body[..body.len() - 1].to_vec());
    let pieces = futures_util::stream::iter([Ok(cut), Err("reset".to_owned())]);
    let got = rig
        .send_body("POST /v1/bulk", &[BULK], RequestBody::given(pieces, None))
        .await
        .is(200);
    let lines = got.lines();
    assert!(
        lines.iter().any(|l| l["path"] == "a" && l["status"] == 201),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap()["problem"]["code"], "timeout");
    assert!(!rig.data("b").exists());

    let truncated = rig
        .send("POST /v1/bulk", &[BULK], stream(&[("c", b"3")], false))
        .await
        .is(200)
        .lines();
    assert_eq!(
        truncated.last().unwrap()["problem"]["code"],
        "invalid-request"
    );
    assert!(rig.data("c").exists());
    rig.send("POST /v1/bulk", &[BULK], "nonsense")
        .await
        .problem(400, "invalid-request");
    rig.send("POST /v1/bulk", &[], "nonsense")
        .await
        .problem(415, "unsupported-media-type");
    rig.send("PUT /v1/bulk", &[BULK], "")
        .await
        .problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_batch_of_operations() {
    let rig = Rig::open().await;
    rig.store("a", "1").await;
    let ops = json!({"ops":[
        {"op":"mkdir","path":"d"},
        {"op":"move","path":"a","to":"d/b"},
        {"op":"copy","path":"d/b","to":"c"},
        {"op":"copy","path":"d/b","to":"c"},
        {"op":"stat","path":"c"},
        {"op":"stat","path":"a"},
        {"op":"delete","path":"d"},
        {"op":"delete","path":"d","recursive":true},
        {"op":"restore","path":"d"},
        {"op":"frobnicate","path":"x"},
        {"op":"move","path":"c"},
        {"op":"delete","path":"/","recursive":true},
    ]});
    let results = rig
        .send("POST /v1/batch", &[], ops.to_string())
        .await
        .is(200)
        .json();
    let statuses: Vec<_> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].as_u64().unwrap())
        .collect();
    assert_eq!(
        statuses,
        [201, 201, 201, 409, 200, 404, 409, 204, 200, 400, 400, 403],
        "{results:#}"
    );
    assert_eq!(results["results"][4]["entry"]["path"], "c");
    assert_eq!(results["results"][5]["problem"]["code"], "not-found");
    let many: Vec<_> = (0..1001).map(|_| json!({"op":"stat","path":"c"})).collect();
    rig.send("POST /v1/batch", &[], json!({"ops": many}).to_string())
        .await
        .problem(413, "too-large");
    rig.send("POST /v1/batch", &[], "[]")
        .await
        .problem(400, "invalid-request");
}

/// Each of these would have meant the root, or less than was written.
#[tokio::test]
async fn malformed_operations_name_themselves() {
    let rig = Rig::open().await;
    rig.store("keep", "1").await;
    let bad = [
        (
            json!({"op":"delete","pth":"keep","recursive":true}),
            r#"unknown member "pth", did you mean "path""#,
        ),
        (
            json!({"op":"delete","recursive":true}),
            "path is missing, name what this is about",
        ),
        (
            json!({"op":"delete","path":"","recursive":true}),
            "path is empty, and the root stays where it is",
        ),
        (
            json!({"op":"move","path":"","to":"x"}),
            "path is empty, and the root stays where it is",
        ),
        (
            json!({"op":"restore"}),
            "path is missing, name what this is about",
        ),
        (
            json!({"op":"copy","path":"keep"}),
            "to is missing, name the new path",
        ),
        (
            json!({"op":"move","path":"keep","to":""}),
            "to is empty, and the root cannot be replaced",
        ),
        (
            json!({"path":"keep"}),
            "op is missing, op is delete, mkdir, move, copy, stat or restore",
        ),
        (
            json!({"op":"mv","path":"keep"}),
            "op is delete, mkdir, move, copy, stat or restore",
        ),
        (
            json!({"op":"stat","path":"keep","version":"x"}),
            "version goes with restore only",
        ),
    ];
    let mut ops: Vec<_> = bad.iter().map(|(op, _)| op.clone()).collect();
    ops.push(json!({"op":"stat","path":""}));
    ops.push(json!({"op":"mkdir","path":""}));
    ops.push(json!({"op":"stat","path":"keep"}));
    let answer = rig
        .send("POST /v1/batch", &[], json!({"ops": ops}).to_string())
        .await
        .is(200)
        .json();
    let results = answer["results"].as_array().unwrap();
    for (index, ((op, why), result)) in bad.iter().zip(results).enumerate() {
        assert_eq!(result["index"], index);
        assert_eq!(result["status"], 400, "{op}: {result}");
        assert_eq!(result["problem"]["code"], "invalid-request");
        assert_eq!(
            result["problem"]["detail"],
            format!("ops[{index}]: {why}"),
            "{op}"
        );
        assert!(result["problem"]["member"].is_string(), "{op}: {result}");
    }
    for result in &results[bad.len()..] {
        assert_eq!(result["status"], 200, "{result}");
    }
    let whole = rig
        .send(
            "POST /v1/batch",
            &[],
            json!({"ops":[],"op":"stat"}).to_string(),
        )
        .await
        .problem(400, "invalid-request");
    assert_eq!(
        whole["detail"],
        r#"the body: unknown member "op", did you mean "ops""#
    );
}

#[tokio::test]
async fn a_malformed_bulk_get_is_refused_whole() {
    let rig = Rig::open().await;
    rig.store("a", "1").await;
    for (paths, why) in [
        (
            json!([{"path":"a"},{"pahts":"a"}]),
            r#"paths[1]: unknown member "pahts", did you mean "path""#,
        ),
        (
            json!([{"path":"a","blake3":"00"}]),
            r#"paths[0]: unknown member "blake3", known are path, b3"#,
        ),
        (json!([{}]), "paths[0]: path is missing, name a file"),
    ] {
        let problem = rig
            .send(
                "POST /v1/bulk/get",
                &[],
                json!({"paths": paths}).to_string(),
            )
            .await
            .problem(400, "invalid-request");
        assert_eq!(problem["detail"], why);
    }
    let many = vec![json!({"path":"a"}); 10_001];
    rig.send("POST /v1/bulk/get", &[], json!({"paths": many}).to_string())
        .await
        .problem(413, "too-large");
}

/// A bulk put whose body is not yet whole: the answer on its way, and the end that is missing.
fn unfinished(
    rig: &Rig,
    proxy: Option<&str>,
) -> (
    impl Future<Output = http::Response<gfl_server::body::Body>>,
    tokio::sync::mpsc::Sender<Result<Bytes, String>>,
) {
    let (send, pieces) = tokio::sync::mpsc::channel(2);
    let begin = Bytes::from(stream(&[("a", b"1")], false));
    send.try_send(Ok(begin)).unwrap();
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async {
        Some((pieces.recv().await?, pieces))
    });
    let mut request = http::Request::post("/v1/bulk").header(BULK.0, BULK.1);
    if let Some(field) = proxy {
        request = request.header(field, "192.0.2.1");
    }
    let request = request.body(RequestBody::given(pieces, None)).unwrap();
    let server = std::sync::Arc::clone(&rig.server);
    let peer = std::net::IpAddr::from([127, 0, 0, 1]);
    (async move { server.handle(peer, request).await.0 }, send)
}

#[tokio::test]
async fn through_a_proxy_answers_wait_for_the_end_of_the_request() {
    use http_body_util::BodyExt;
    use std::time::Duration;
    use tokio::time::timeout;
    let rig = Rig::open().await;
    let (answer, _unfinished) = unfinished(&rig, None);
    let direct = timeout(Duration::from_secs(10), answer).await;
    assert_eq!(direct.expect("answered while it is read").status(), 200);
    for field in ["x-forwarded-for", "forwarded", "via"] {
        let _ = std::fs::remove_file(rig.data("a"));
        let (answer, send) = unfinished(&rig, Some(field));
        let mut answer = std::pin::pin!(answer);
        // Stored, and still not answered.
        while !rig.data("a").exists() {
            let early = timeout(Duration::from_millis(10), &mut answer).await;
            assert!(early.is_err(), "{field}: answered before the end");
        }
        assert!(
            timeout(Duration::from_millis(10), &mut answer)
                .await
                .is_err()
        );
        send.send(Ok(frames::encode_end())).await.unwrap();
        drop(send);
        let whole = answer.await.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(whole.to_vec()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].contains("\"path\":\"a\""),
            "{text}"
        );
        assert!(lines[1].contains("\"end\":true"), "{text}");
    }
}
