//! A token file that is being rewritten in place, as v0.1's tool and some editors do it.

use crate::common::Rig;
use std::fs;
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
