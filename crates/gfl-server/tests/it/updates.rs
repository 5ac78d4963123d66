use crate::common::Rig;
use std::fs;
use std::sync::Arc;

const MANIFEST: &str = "/version.json";
const SIGNATURE: &str = "/version.json.minisig";

/// A server that offers the release in its folder.
async fn rig() -> Rig {
    let mut rig = Rig::with_token(&["list"]).await;
    let file = rig.dir.path().join("release.json");
    let server = Arc::get_mut(&mut rig.server).expect("nobody else has it yet");
    server.about.updates_file = Some(file);
    rig
}

#[tokio::test]
async fn everybody_gets_the_two_files_as_they_are() {
    let rig = rig().await;
    let anonymous = [("authorization", "-")];
    for (target, name, content) in [
        (MANIFEST, "release.json", "{\"version\": \"0.2.0\"}\n"),
        (SIGNATURE, "release.json.minisig", "untrusted comment: x\n"),
    ] {
        rig.send(&format!("GET {target}"), &anonymous, "")
            .await
            .is(404);
        fs::write(rig.dir.path().join(name), content).unwrap();
        let got = rig
            .send(&format!("GET {target}"), &anonymous, "")
            .await
            .is(200);
        assert_eq!(
            (got.text(), got.field("cache-control")),
            (content, "no-cache")
        );
        let head = rig
            .send(&format!("HEAD {target}"), &anonymous, "")
            .await
            .is(200);
        assert_eq!(head.text(), "");
        assert_eq!(head.field("content-length"), content.len().to_string());
        let post = rig
            .send(&format!("POST {target}"), &anonymous, "")
            .await
            .is(405);
        assert_eq!(post.field("allow"), "GET, HEAD");
    }
    assert_eq!(
        rig.get(MANIFEST).await.field("content-type"),
        "application/json"
    );
    fs::write(rig.dir.path().join("release.json"), "new").unwrap();
    assert_eq!(
        rig.get(MANIFEST).await.is(200).text(),
        "new",
        "read at each request"
    );
}

#[tokio::test]
async fn nothing_is_offered_unless_configured_and_nothing_endless() {
    let none = Rig::open().await;
    none.get(MANIFEST).await.is(404);
    none.get(SIGNATURE).await.is(404);
    let rig = rig().await;
    fs::write(
        rig.dir.path().join("release.json"),
        vec![b' '; 256 * 1024 + 1],
    )
    .unwrap();
    let got = rig.get(MANIFEST).await.is(404);
    assert!(!got.text().contains("release.json"), "{}", got.text());
}
