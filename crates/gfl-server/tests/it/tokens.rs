//! A token file that changes: rewritten in place, as v0.1's tool and some editors do it, and tokens that are revoked.

use crate::common::Rig;
use gfl_core::auth::Standing;
use gfl_server::incoming::RequestBody;
use std::fs;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_token_file_being_rewritten_refuses_nobody_for_good() {
    for line in ["GET /v1/me", "GET /list?path=/"] {
        for empty in [true, false] {
            let rig = Rig::with_token(&["*"]).await;
            let file = rig.dir.path().join("tokens.json");
            let good = fs::read_to_string(&file).unwrap();
            if empty {
                fs::write(&file, "").unwrap();
            } else {
                fs::remove_file(&file).unwrap();
            }
            // The request is polled first: it finds no tokens, and is asked again when they are back.
            let (got, ()) = tokio::join!(rig.send(line, &[], ""), async {
                fs::write(&file, &good).unwrap();
            });
            got.is(200);
            // Nobody got in by it who may not.
            let stranger = [("authorization", "Bearer nobody")];
            rig.send(line, &stranger, "").await.is(401);
        }
    }
}

#[tokio::test]
async fn a_token_file_that_stays_empty_lets_nobody_in() {
    let rig = Rig::with_token(&["*"]).await;
    fs::write(rig.dir.path().join("tokens.json"), "").unwrap();
    // The time runs by itself while everybody waits.
    tokio::time::pause();
    let asked = Instant::now();
    rig.get("/v1/me").await.problem(401, "unauthenticated");
    let waited_ms = asked.elapsed().as_millis();
    assert!((2_000..4_000).contains(&waited_ms), "{waited_ms}");
    let asked = Instant::now();
    rig.get("/v1/me").await.problem(401, "unauthenticated");
    assert_eq!(asked.elapsed().as_millis(), 0, "for nothing");
}

/// The last piece of a body comes when the token has been revoked.
async fn revoked_before_the_end(line: &str, fields: &[(&str, &str)]) -> crate::common::Got {
    let rig = Rig::with_token(&["*"]).await;
    let file = rig.dir.path().join("tokens.json");
    let server = std::sync::Arc::clone(&rig.server);
    let pieces = async_stream(move |n| {
        let (file, server) = (file.clone(), std::sync::Arc::clone(&server));
        async move {
            if n == 1 {
                let text = fs::read_to_string(&file).unwrap();
                fs::write(&file, text.replace("\"revoked\":false", "\"revoked\":true")).unwrap();
                let standing = || server.app.token_standing("tok_000000000001");
                while standing() != Standing::Revoked {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            (n < 2).then(|| Ok("12345".into()))
        }
    });
    let got = rig
        .send_body(line, fields, RequestBody::given(pieces, Some(10)))
        .await;
    assert!(!rig.data("f").exists(), "{got:?}");
    got
}

fn async_stream<T, F>(
    make: impl Fn(u32) -> F + Send + 'static,
) -> impl futures_util::Stream<Item = T> + Send + 'static
where
    F: Future<Output = Option<T>> + Send + 'static,
{
    futures_util::stream::unfold((0, make), |(n, make)| async move {
        let item = make(n).await?;
        Some((item, (n + 1, make)))
    })
}

#[tokio::test]
async fn a_token_that_is_revoked_stops_what_runs() {
    let got = revoked_before_the_end("PUT /v1/files/f", &[]).await;
    got.problem(401, "unauthenticated");
    let chunk = [("content-type", "application/json")];
    revoked_before_the_end("POST /upload", &chunk).await.is(401);
}

/// Whoever rewrites the file, or takes an expired token out of it, stops nobody who is in.
#[tokio::test]
async fn a_token_that_is_only_unknown_for_a_moment_stops_nothing() {
    let rig = Rig::with_token(&["*"]).await;
    let file = rig.dir.path().join("tokens.json");
    let pieces = async_stream(move |n| {
        if n == 1 {
            fs::write(&file, "").unwrap();
        }
        std::future::ready((n < 2).then(|| Ok("12345".into())))
    });
    let body = RequestBody::given(pieces, Some(10));
    rig.send_body("PUT /v1/files/f", &[], body).await.is(201);
}
