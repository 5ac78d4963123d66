use crate::common::Rig;

#[tokio::test]
async fn alive_and_ready_until_the_end_is_near() {
    let rig = Rig::with_token(&["*"]).await;
    let anonymous = [("authorization", "-")];
    for target in ["/livez", "/readyz", "/healthz"] {
        let got = rig
            .send(&format!("GET {target}"), &anonymous, "")
            .await
            .is(200);
        assert_eq!(
            (got.text(), got.field("cache-control")),
            ("ok\n", "no-store")
        );
        let head = rig
            .send(&format!("HEAD {target}"), &anonymous, "")
            .await
            .is(200);
        assert_eq!((head.text(), head.field("content-length")), ("", "3"));
        assert_eq!(
            rig.send(&format!("POST {target}"), &anonymous, "")
                .await
                .status,
            405
        );
    }
    rig.server.start_draining();
    rig.get("/livez").await.is(200);
    rig.get("/readyz").await.is(503);
    rig.get("/healthz").await.is(503);
}

#[tokio::test]
async fn every_answer_carries_its_id() {
    let rig = Rig::open().await;
    let got = rig
        .send("GET /livez", &[("x-request-id", "mine-1")], "")
        .await;
    assert_eq!(
        (got.field("x-request-id"), got.field("server")),
        ("mine-1", "gfl")
    );
    assert_eq!(rig.get("/nothing").await.field("x-request-id").len(), 16);
}
