//! What only a real connection shows.

use crate::common::Rig;
use gfl_server::listen;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<bool>,
}

pub(crate) async fn listen(rig: &Rig) -> Listening {
    let listener = listen::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = tokio::spawn(listen::serve(
        vec![listener],
        Arc::clone(&rig.server),
        listen::Transport::plain(),
        shutdown,
    ));
    Listening {
        address,
        stop: Some(stop),
        served,
    }
}

pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut got = Vec::new();
    let mut buf = [0; 4096];
    while !String::from_utf8_lossy(&got).contains(end) {
        let n = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buf))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buf[..n]);
    }
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn keep_alive_and_a_graceful_end() {
    let rig = Rig::open().await;
    let mut listening = listen(&rig).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let got = read_until(&mut stream, "\r\n\r\nok\n").await;
        assert!(
            got.starts_with("HTTP/1.1 200 OK\r\n") && got.contains("date: "),
            "{got}"
        );
    }
    // A request that has begun is finished, the idle connection is closed, and nobody new comes in.
    let mut busy = TcpStream::connect(listening.address).await.unwrap();
    let head =
        "PUT /v1/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    busy.write_all(head.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut busy, "\r\n\r\n")
            .await
            .contains("100 Continue")
    );
    listening.stop.take().unwrap().send(()).unwrap();
    assert_eq!(
        stream.read(&mut [0; 8]).await.unwrap(),
        0,
        "the idle connection is closed"
    );
    busy.write_all(b"abcd").await.unwrap();
    let got = read_until(&mut busy, "\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 201 Created\r\n") && got.contains("connection: close"),
        "{got}"
    );
    assert!(
        listening.served.await.unwrap(),
        "everything came to its end"
    );
    assert!(rig.server.is_draining());
    assert!(TcpStream::connect(listening.address).await.is_err());
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer_while_it_is_still_sending() {
    let rig = Rig::with_token(&["list"]).await;
    let listening = listen(&rig).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream
        .write_all(b"PUT /v1/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        .await
        .unwrap();
    let block = vec![0; 64 * 1024];
    for _ in 0..32 {
        if stream.write_all(&block).await.is_err() {
            break;
        }
    }
    let got = read_until(&mut stream, "\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 401 Unauthorized\r\n") && got.contains("connection: close"),
        "{got}"
    );
}

#[tokio::test]
async fn expect_is_answered_only_when_the_body_is_wanted() {
    let rig = Rig::open().await;
    let listening = listen(&rig).await;
    let head = |path: &str, more: &str| {
        format!(
            "PUT /v1/files/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n{more}\r\n"
        )
    };
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream.write_all(head("f", "").as_bytes()).await.unwrap();
    let got = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(got, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 201 Created")
    );
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream
        .write_all(head("f", "If-None-Match: *\r\n").as_bytes())
        .await
        .unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 412 Precondition Failed")
    );
}

#[tokio::test]
async fn a_file_changed_while_it_is_sent_never_looks_complete() {
    let rig = Rig::open().await;
    rig.store("f", vec![1; 30_000_000]).await;
    let listening = listen(&rig).await;
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    stream
        .write_all(b"GET /v1/files/f HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut buf = vec![0; 1 << 20];
    let mut got = stream.read(&mut buf).await.unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(rig.data("f"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"edited", 29_999_000).unwrap();
    loop {
        match stream.read(&mut buf).await {
            Ok(0) | Err(_) => break,
            Ok(n) => got += n,
        }
    }
    assert!(got < 30_000_000, "{got} bytes look like the whole file");
}
