//! The graceful end, with its limits.

use crate::common::Rig;
use crate::connection::{listen, read_until};
use gfl_server::limits::{Drain, Limits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

fn drain(rig: &Rig, notice_ms: u64, limit_ms: u64) {
    rig.server.set_limits(Limits {
        drain: Drain {
            notice_ms,
            limit_ms,
        },
        ..Limits::default()
    });
}

async fn status(address: std::net::SocketAddr, target: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let get = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(get.as_bytes()).await.ok()?;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    Some(head.split(' ').nth(1)?.to_owned())
}

#[tokio::test]
async fn it_says_that_it_is_not_ready_before_it_stops_accepting() {
    let rig = Rig::open().await;
    rig.store("f", "content").await;
    drain(&rig, 5_000, 1_000);
    let mut listening = listen(&rig).await;
    let address = listening.address;
    assert_eq!(status(address, "/readyz").await.as_deref(), Some("200"));
    listening.stop.take().unwrap().send(()).unwrap();
    while !rig.server.is_draining() {
        tokio::task::yield_now().await;
    }
    for (target, expected) in [
        ("/readyz", "503"),
        ("/livez", "200"),
        ("/v1/files/f", "200"),
    ] {
        assert_eq!(
            status(address, target).await.as_deref(),
            Some(expected),
            "{target}"
        );
    }
    assert!(!listening.served.is_finished());
    tokio::time::pause();
    let begun = Instant::now();
    assert!(listening.served.await.unwrap());
    let seconds = begun.elapsed().as_secs();
    assert!((1..=5).contains(&seconds), "{seconds} s");
    assert!(TcpStream::connect(address).await.is_err());
}

/// Begins a request whose body does not end, and waits until the server has it.
async fn endless(rig: &Rig, address: std::net::SocketAddr, head: &str, body: &[u8]) -> TcpStream {
    let running = || {
        let counts = rig.server.slots.counts();
        counts.open - counts.waiting
    };
    let before = running();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    while running() == before {
        sleep(Duration::from_millis(5)).await;
    }
    stream
}

#[tokio::test]
async fn what_does_not_finish_is_cut_and_what_came_of_it_is_kept() {
    let rig = Rig::open().await;
    drain(&rig, 0, 2_000);
    let begin = [("upload-complete", "?0"), ("upload-length", "500000")];
    let session = rig
        .send("POST /v1/uploads?path=part", &begin, "")
        .await
        .is(201);
    let target = session.field("location").to_owned();
    let mut listening = listen(&rig).await;
    let address = listening.address;
    let part = format!(
        "PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-499999/500000\r\n\
         Content-Length: 500000\r\n\r\n"
    );
    let chunked = "PUT /v1/files/chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut streams = [
        endless(&rig, address, &part, &[7; 300_000]).await,
        endless(&rig, address, chunked, b"5\r\nhello\r\n").await,
        endless(
            &rig,
            address,
            "PUT /v1/files/whole HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
            b"hello",
        )
        .await,
    ];
    while rig.get(&target).await.json()["received"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        sleep(Duration::from_millis(20)).await;
    }
    let begun = Instant::now();
    listening.stop.take().unwrap().send(()).unwrap();
    assert!(!listening.served.await.unwrap(), "something was cut");
    let ms = begun.elapsed().as_millis();
    assert!((2_000..4_500).contains(&ms), "{ms} ms");
    for stream in &mut streams {
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(!got.contains(" 200 ") && !got.contains(" 201 "), "{got}");
    }
    // A body without a length that was cut is no whole body.
    rig.get("/v1/files/chunked").await.is(404);
    rig.get("/v1/files/whole").await.is(404);
    let received = rig.get(&target).await.json()["received"][0].clone();
    assert_eq!(received, serde_json::json!([0, 300_000]));
}
