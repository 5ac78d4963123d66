use crate::common::{Got, Rig};

const PATCH: (&str, &str) = ("content-type", "application/partial-upload");

async fn begin(rig: &Rig, path: &str, len: Option<&str>) -> String {
    let mut fields = vec![("upload-complete", "?0")];
    fields.extend(len.map(|len| ("upload-length", len)));
    let got = rig
        .send(&format!("POST /v1/uploads?path={path}"), &fields, "")
        .await
        .is(201);
    got.field("location").to_owned()
}

async fn part(rig: &Rig, target: &str, range: &str, bytes: &'static str) -> Got {
    rig.send(&format!("PUT {target}"), &[("content-range", range)], bytes)
        .await
}

async fn patch(rig: &Rig, target: &str, offset: &str, complete: &str, bytes: &'static str) -> Got {
    let fields = [
        PATCH,
        ("upload-offset", offset),
        ("upload-complete", complete),
    ];
    rig.send(&format!("PATCH {target}"), &fields, bytes).await
}

#[tokio::test]
async fn parts_in_any_order() {
    let rig = Rig::open().await;
    let target = begin(&rig, "d/f", Some("11")).await;
    let got = part(&rig, &target, "bytes 5-10/11", " world").await.is(204);
    assert_eq!(got.field("upload-offset"), "0");
    let gap = patch(&rig, &target, "11", "?1", "")
        .await
        .problem(409, "upload-incomplete");
    assert_eq!(gap["missing"], serde_json::json!([[0, 5]]));
    part(&rig, &target, "bytes 0-4/11", "hello").await.is(204);
    let head = rig.send(&format!("HEAD {target}"), &[], "").await.is(204);
    assert_eq!(
        (head.field("upload-offset"), head.field("upload-length")),
        ("11", "11")
    );
    assert_eq!(
        (head.field("upload-complete"), head.field("cache-control")),
        ("?0", "no-store")
    );
    let info = rig.get(&target).await.is(200).json();
    assert_eq!(
        (&info["received"], &info["state"]),
        (&serde_json::json!([[0, 11]]), &"receiving".into())
    );
    let done = patch(&rig, &target, "11", "?1", "").await.is(201);
    assert_eq!(done.field("upload-complete"), "?1");
    let again = patch(&rig, &target, "11", "?1", "").await.is(201);
    assert_eq!(
        (again.body.clone(), again.field("etag")),
        (done.body.clone(), done.field("etag"))
    );
    assert_eq!(rig.get("/v1/files/d/f").await.text(), "hello world");
}

#[tokio::test]
async fn appends() {
    let rig = Rig::open().await;
    let target = begin(&rig, "f", None).await;
    let got = patch(&rig, &target, "0", "?0", "hello").await.is(204);
    assert_eq!(
        (got.field("upload-offset"), got.field("upload-complete")),
        ("5", "?0")
    );
    let wrong = patch(&rig, &target, "3", "?0", "x").await;
    assert_eq!(
        (wrong.field("upload-offset"), wrong.field("upload-complete")),
        ("5", "?0")
    );
    let wrong = wrong.problem(409, "offset-mismatch");
    assert_eq!(
        (&wrong["expected-offset"], &wrong["provided-offset"]),
        (&5.into(), &3.into())
    );
    let done = patch(&rig, &target, "5", "?1", " world").await.is(201);
    assert_eq!(done.json()["size"], 11);
    // The last bytes once more, because the answer was lost.
    patch(&rig, &target, "5", "?1", " world").await.is(201);
}

#[tokio::test]
async fn a_session_is_found_again_and_cancelled() {
    let rig = Rig::open().await;
    let fields = [
        ("upload-complete", "?0"),
        ("upload-length", "9"),
        ("gfl-fingerprint", "size=9"),
    ];
    let first = rig
        .send("POST /v1/uploads?path=f", &fields, "")
        .await
        .is(201)
        .json();
    let again = rig
        .send("POST /v1/uploads?path=f", &fields, "")
        .await
        .is(200)
        .json();
    assert_eq!(first["id"], again["id"]);
    let list = rig.get("/v1/uploads").await.is(200).json();
    assert_eq!(
        (
            list["uploads"].as_array().unwrap().len(),
            &list["uploads"][0]["fingerprint"]
        ),
        (1, &"size=9".into())
    );
    let target = format!("/v1/uploads/{}", first["id"].as_str().unwrap());
    rig.send(&format!("DELETE {target}"), &[], "").await.is(204);
    rig.get(&target).await.problem(404, "upload-gone");
    rig.get("/v1/uploads/nonsense")
        .await
        .problem(404, "upload-gone");
}

#[tokio::test]
async fn requests_that_are_none() {
    let rig = Rig::open().await;
    let begin_with = |fields: &'static [(&'static str, &'static str)]| {
        rig.send("POST /v1/uploads?path=f", fields, "")
    };
    begin_with(&[]).await.problem(400, "invalid-request");
    begin_with(&[("upload-complete", "?1")])
        .await
        .problem(400, "invalid-request");
    begin_with(&[("upload-complete", "?0"), ("upload-length", "-1")])
        .await
        .problem(400, "invalid-request");
    begin_with(&[("upload-complete", "?0"), ("gfl-fingerprint", "\u{fc}")])
        .await
        .problem(400, "invalid-request");
    rig.send("POST /v1/uploads", &[("upload-complete", "?0")], "")
        .await
        .problem(400, "invalid-request");
    rig.send(
        "POST /v1/uploads?path=../x",
        &[("upload-complete", "?0")],
        "",
    )
    .await
    .problem(400, "invalid-path");
    let target = begin(&rig, "f", Some("5")).await;
    part(&rig, &target, "bytes 0-4/5", "four")
        .await
        .problem(400, "length-mismatch");
    part(&rig, &target, "0-4", "12345")
        .await
        .problem(400, "invalid-request");
    rig.send(&format!("PUT {target}"), &[], "12345")
        .await
        .problem(400, "invalid-request");
    patch(&rig, &target, "0", "?0", "123456")
        .await
        .problem(400, "length-mismatch");
    let got = rig
        .send(&format!("PATCH {target}"), &[("upload-offset", "0")], "x")
        .await;
    assert_eq!(got.field("accept-patch"), "application/partial-upload");
    got.problem(415, "unsupported-media-type");
    rig.send(&format!("PATCH {target}"), &[PATCH], "x")
        .await
        .problem(400, "invalid-request");
    rig.send(&format!("POST {target}"), &[], "")
        .await
        .problem(405, "method-not-allowed");
}

#[tokio::test]
async fn what_may_not_be_written_is_refused_first() {
    let rig = Rig::with_token(&["list"]).await;
    rig.send("POST /v1/uploads?path=f", &[], "")
        .await
        .problem(403, "forbidden");
}
