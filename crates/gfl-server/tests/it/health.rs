use crate::common::{Got, Rig};
use std::fs;
use std::time::Duration;

/// Makes what was found a moment ago old.
async fn a_second_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(1_001)).await;
    tokio::time::resume();
}

/// The answer once it is as wanted. What was found is told for a second, and the look after that takes a moment.
async fn once(rig: &Rig, target: &str, wanted: impl Fn(&Got) -> bool) -> Got {
    for _ in 0..1_000 {
        a_second_later().await;
        let got = rig
            .send(&format!("GET {target}"), &[("authorization", "-")], "")
            .await;
        if wanted(&got) {
            return got;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{target} never told what it should");
}

async fn once_red(rig: &Rig, target: &str) -> Got {
    once(rig, target, |got| got.status == 503).await
}

/// Readiness a second later must be red, say these lines, and name no path of this machine.
#[track_caller]
fn red(rig: &Rig, got: Got, lines: &[&str]) {
    let got = got.is(503);
    for line in lines {
        assert!(
            got.text().lines().any(|told| told.starts_with(line)),
            "{line}: {}",
            got.text()
        );
    }
    assert!(got.text().ends_with("readyz check failed\n"));
    let path = rig.dir.path().to_string_lossy();
    assert!(!got.text().contains(&*path), "{}", got.text());
}

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
    red(
        &rig,
        rig.get("/readyz").await,
        &["[-]shutdown failed: the server is about to end"],
    );
    rig.get("/healthz").await.is(503);
}

#[tokio::test]
async fn readiness_names_what_is_red() {
    let rig = Rig::with_token(&["*"]).await;
    let at = |name: &str| rig.dir.path().join(name);
    let green =
        "[+]storage ok\n[+]catalog ok\n[+]meta_dir ok\n[+]tokens_file ok\nreadyz check passed\n";
    assert_eq!(rig.get("/readyz?verbose").await.is(200).text(), green);
    assert_eq!(rig.get("/readyz").await.is(200).text(), "ok\n");

    // Moved away: the server still holds it open, and the next start would not find it.
    fs::rename(at("data"), at("moved")).unwrap();
    rig.get("/readyz").await.is(200);
    let gone = "[-]storage failed: it cannot be found any more";
    let others = ["[+]catalog ok", "[+]meta_dir ok", "[+]tokens_file ok"];
    red(
        &rig,
        once_red(&rig, "/readyz").await,
        &[&[gone][..], &others].concat(),
    );
    rig.get("/livez").await.is(200);
    // Another folder in its place, as when a disk is mounted over it.
    fs::create_dir(at("data")).unwrap();
    a_second_later().await;
    let another = "[-]storage failed: another folder or disk is in its place";
    red(&rig, rig.get("/healthz").await, &[another, others[0]]);
    fs::remove_dir(at("data")).unwrap();
    fs::rename(at("moved"), at("data")).unwrap();
    a_second_later().await;
    assert_eq!(rig.get("/readyz").await.is(200).text(), "ok\n");

    fs::rename(at("meta"), at("moved")).unwrap();
    let gone = "[-]meta_dir failed: it cannot be found any more";
    let got = once_red(&rig, "/readyz").await;
    red(&rig, got, &["[+]storage ok", gone]);
    fs::rename(at("moved"), at("meta")).unwrap();
    // In the way of what is written there to see whether it can be.
    fs::create_dir(at("meta/probe")).unwrap();
    a_second_later().await;
    let unwritable = "[-]meta_dir failed: it cannot be written";
    red(
        &rig,
        rig.get("/readyz").await,
        &["[+]storage ok", "[+]catalog ok", unwritable],
    );
    fs::remove_dir(at("meta/probe")).unwrap();
    a_second_later().await;
    rig.get("/readyz").await.is(200);
    assert_eq!(
        fs::read_dir(at("meta"))
            .unwrap()
            .flatten()
            .filter(|e| e.file_name() == "probe")
            .count(),
        0
    );

    rig.server.app.close().await;
    red(
        &rig,
        once_red(&rig, "/readyz").await,
        &[
            "[+]storage ok",
            "[-]catalog failed: the catalog",
            "[+]meta_dir ok",
        ],
    );
    fs::remove_dir_all(at("data/.gfl")).unwrap();
    a_second_later().await;
    red(
        &rig,
        rig.get("/readyz").await,
        &[
            "[-]storage failed: cannot write to the storage folder",
            "[-]catalog failed: not asked",
        ],
    );
}

#[tokio::test]
async fn a_broken_token_file_is_red_when_it_lasts() {
    let rig = Rig::with_token(&["*"]).await;
    let file = rig.dir.path().join("tokens.json");
    let good = fs::read_to_string(&file).unwrap();
    let look = || async {
        a_second_later().await;
        rig.send("GET /readyz?verbose", &[("authorization", "-")], "")
            .await
    };
    fs::write(&file, "{").unwrap();
    look().await.is(200);
    let broken = "[-]tokens_file failed: it cannot be used, nobody is let in";
    red(
        &rig,
        once_red(&rig, "/readyz").await,
        &["[+]storage ok", broken],
    );
    // A server without tokens does what it was told to.
    fs::write(&file, "").unwrap();
    look().await.is(200);
    let verbose = "/readyz?verbose";
    let remark = "[+]tokens_file ok: it holds no tokens, nobody is let in\n";
    once(&rig, verbose, |got| got.text().contains(remark)).await;
    fs::write(&file, &good).unwrap();
    let fine = "[+]tokens_file ok\n";
    let got = once(&rig, verbose, |got| got.text().contains(fine)).await;
    got.is(200);
    // Without authentication there is nothing to look at.
    let open = Rig::open().await;
    let got = open.get("/readyz?verbose").await.is(200);
    assert!(!got.text().contains("tokens_file"), "{}", got.text());
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
