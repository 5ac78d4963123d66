//! Time limits and places of real connections. The clock is stopped once the server runs: it then jumps to whatever
//! is waited for.

use crate::common::Rig;
use crate::connection::{listen, read_until};
use gfl_server::limits::{ConnectionLimits, Limits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const HEAD: &str = "HTTP/1.1\r\nHost: x\r\n";

/// Reads to the end, however it comes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut got).await;
    got
}

/// Sends a byte every `seconds` until the peer has had enough.
async fn drip(stream: &mut TcpStream, seconds: u64) -> (u64, String) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed().as_secs() < 3600, "the peer is very patient");
        let mut buf = [0; 4096];
        tokio::select! {
            n = stream.read(&mut buf) => {
                let n = n.unwrap_or(0);
                return (begun.elapsed().as_secs(), String::from_utf8_lossy(&buf[..n]).into_owned());
            }
            () = sleep(Duration::from_secs(seconds)) => stream.write_all(b"x").await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_head_must_come_in_time() {
    let rig = Rig::open().await;
    let listening = listen(&rig).await;
    let mut silent = TcpStream::connect(listening.address).await.unwrap();
    let mut slow = TcpStream::connect(listening.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nX: ").await.unwrap();
    tokio::time::pause();
    let begun = Instant::now();
    let (seconds, answer) = drip(&mut slow, 3).await;
    // The clock had begun to run before it was stopped.
    assert!((5..=10).contains(&seconds), "{seconds} s");
    assert_eq!(answer, "");
    assert!(rest(&mut silent).await.is_empty());
    let seconds = begun.elapsed().as_secs();
    assert!((70..=75).contains(&seconds), "{seconds} s");
}

#[tokio::test]
async fn a_dripping_body_is_refused_and_what_came_of_it_is_kept() {
    let rig = Rig::open().await;
    let begin = [("upload-complete", "?0"), ("upload-length", "200000")];
    let session = rig
        .send("POST /v1/uploads?path=f", &begin, "")
        .await
        .is(201);
    let target = session.field("location").to_owned();
    let listening = listen(&rig).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    let head = format!(
        "PUT {target} {HEAD}Content-Range: bytes 0-199999/200000\r\nContent-Length: 200000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 100_000]).await.unwrap();
    while rig.get(&target).await.json()["received"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        sleep(Duration::from_millis(20)).await;
    }
    tokio::time::pause();
    let (seconds, answer) = drip(&mut stream, 25).await;
    // The good start was worth one window. How many more there are depends on the machine: while the catalog's thread
    // works, the stopped clock jumps on, and that time is not the client's. [`drip`] has an upper limit.
    assert!(seconds >= 60, "{seconds} s");
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"),
        "{answer}"
    );
    tokio::time::resume();
    let received = &rig.get(&target).await.json()["received"][0];
    assert_eq!(received[0], 0);
    assert!(received[1].as_u64().unwrap() >= 100_000, "{received}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut() {
    const BYTES: usize = 40_000_000;
    let rig = Rig::open().await;
    rig.store("f", vec![1; BYTES]).await;
    let listening = listen(&rig).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    let get = format!("GET /v1/files/f {HEAD}\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    tokio::time::pause();
    let begun = Instant::now();
    while rig.server.slots.counts().open > 0 {
        assert!(
            begun.elapsed().as_secs() < 3600,
            "the server is very patient"
        );
        sleep(Duration::from_secs(1)).await;
    }
    let seconds = begun.elapsed().as_secs();
    assert!((110..=125).contains(&seconds), "{seconds} s");
    assert!(rest(&mut stream).await.len() < BYTES);
}

async fn ask(stream: &mut TcpStream) -> String {
    let get = format!("GET /livez {HEAD}\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    read_until(stream, "\r\n\r\nok\n").await
}

fn places(rig: &Rig, connections_max: usize) {
    rig.server.set_limits(Limits {
        connections: ConnectionLimits {
            connections_max,
            ..ConnectionLimits::default()
        },
        ..Limits::default()
    });
}

#[tokio::test]
async fn the_longest_idle_connection_makes_place() {
    let rig = Rig::open().await;
    places(&rig, 2);
    let listening = listen(&rig).await;
    let mut first = TcpStream::connect(listening.address).await.unwrap();
    ask(&mut first).await;
    let mut second = TcpStream::connect(listening.address).await.unwrap();
    ask(&mut second).await;
    ask(&mut first).await;
    let mut third = TcpStream::connect(listening.address).await.unwrap();
    ask(&mut third).await;
    assert_eq!(
        second.read(&mut [0; 8]).await.unwrap(),
        0,
        "it was idle for longest"
    );
    ask(&mut first).await;
    // Connections that never said anything, and those that began and stopped, are no obstacle either.
    let mut crowd = Vec::new();
    for half in ["", "GET /li", "", "GET /livez HTTP/1.1\r\n"] {
        let mut one = TcpStream::connect(listening.address).await.unwrap();
        one.write_all(half.as_bytes()).await.unwrap();
        crowd.push(one);
    }
    let mut last = TcpStream::connect(listening.address).await.unwrap();
    ask(&mut last).await;
    assert!(rig.server.slots.counts().open <= 2);
}

#[tokio::test]
async fn answers_that_nobody_reads_keep_no_place() {
    let rig = Rig::open().await;
    places(&rig, 1);
    let listening = listen(&rig).await;
    let mut greedy = TcpStream::connect(listening.address).await.unwrap();
    let asks = format!("GET /livez {HEAD}\r\n").repeat(1000);
    let full = Duration::from_millis(300);
    while let Ok(sent) = tokio::time::timeout(full, greedy.write_all(asks.as_bytes())).await {
        sent.unwrap();
    }
    tokio::time::pause();
    let begun = Instant::now();
    let mut next = TcpStream::connect(listening.address).await.unwrap();
    ask(&mut next).await;
    let seconds = begun.elapsed().as_secs();
    assert!(seconds < 10, "{seconds} s");
}

#[tokio::test]
async fn making_place_costs_no_transfer() {
    const BYTES: usize = 12_000_000;
    let rig = Rig::open().await;
    rig.store("f", vec![1; BYTES]).await;
    places(&rig, 1);
    let listening = listen(&rig).await;
    let mut reader = TcpStream::connect(listening.address).await.unwrap();
    let get = format!("GET /v1/files/f {HEAD}\r\n");
    reader.write_all(get.as_bytes()).await.unwrap();
    read_until(&mut reader, "HTTP/1.1 200").await;
    let address = listening.address;
    let newcomer = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await
    });
    let mut got = 0;
    let mut buf = vec![0; 1 << 16];
    loop {
        // Slow enough to be asked to go many times.
        sleep(Duration::from_millis(1)).await;
        match reader.read(&mut buf).await.unwrap() {
            0 => break,
            n => got += n,
        }
    }
    assert!(got > BYTES - 4096, "{got} bytes and a part of the head");
    newcomer.await.unwrap();
}
