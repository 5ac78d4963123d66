use super::super::slots::Slots;
use super::*;
use crate::server::About;
use bytes::Bytes;
use futures_util::stream;
use gfl_core::App;
use gfl_core::clock::SystemClock;
use gfl_core::settings::Settings;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::client::conn::http2::{Connection, SendRequest};
use std::net::Ipv4Addr;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

type Sent = BoxBody<Bytes, Infallible>;
type Driver = Connection<TokioIo<DuplexStream>, Sent, TokioExecutor>;

/// Bytes between the two sides, as a network has them.
const PIPE_BYTES: usize = 64 * 1024;

struct Bed {
    server: Arc<Server>,
    shares: Arc<Shares>,
    slots: Arc<Slots>,
    _dir: tempfile::TempDir,
}

/// One client: what sends, and the two ends of its connection.
struct Peer {
    send: SendRequest<Sent>,
    driver: JoinHandle<hyper::Result<()>>,
    served: JoinHandle<()>,
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(dir.path().join("data"), dir.path().join("meta"));
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        Bed {
            server: Server::new(app, About::default()),
            shares: Arc::default(),
            slots: Arc::default(),
            _dir: dir,
        }
    }

    /// The client's end of a connection that is served.
    async fn serve(&self) -> DuplexStream {
        self.served().await.0
    }

    async fn served(&self) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let slot = self.slots.admit(Ipv4Addr::LOCALHOST.into()).await;
        let slot = Arc::new(slot.unwrap());
        let phase = Arc::new(Phase::without_heads(Arc::clone(&slot)));
        let client = Client {
            server: Arc::clone(&self.server),
            peer: Ipv4Addr::LOCALHOST.into(),
            slot,
        };
        let shares = Arc::clone(&self.shares);
        let served = async move {
            serve(
                Socket::new(ours, Arc::clone(&phase)),
                phase,
                client,
                &shares,
            )
            .await
        };
        (theirs, tokio::spawn(served))
    }

    async fn connect(&self) -> Peer {
        let (theirs, served) = self.served().await;
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (send, driver): (_, Driver) = builder.handshake(TokioIo::new(theirs)).await.unwrap();
        Peer {
            send,
            driver: tokio::spawn(driver),
            served,
        }
    }

    async fn store(&self, path: &str, content: Vec<u8>) {
        let mut peer = self.connect().await;
        let put = request("PUT", &format!("/v1/files/{path}"), full(content));
        let answer = peer.send.send_request(put).await.unwrap();
        assert_eq!(answer.status(), 201);
    }
}

fn request(method: &str, path: &str, body: Sent) -> Request<Sent> {
    let uri = format!("https://localhost{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .body(body)
        .unwrap()
}

fn empty() -> Sent {
    Empty::new().boxed()
}

fn full(content: Vec<u8>) -> Sent {
    Full::new(Bytes::from(content)).boxed()
}

/// A body that never comes.
fn silent() -> Sent {
    BodyExt::boxed(StreamBody::new(stream::pending::<
        Result<Frame<Bytes>, Infallible>,
    >()))
}

async fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took longer than {seconds} s"),
    }
}

#[tokio::test]
async fn an_unread_body_ends_its_stream_and_not_the_connection() {
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    for _ in 0..3 {
        // Far more than the window: it can only end by being refused.
        let refused = request("PUT", "/v1/nowhere", full(vec![0; 4 << 20]));
        let answer = within(10, "a refusal", peer.send.send_request(refused)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 404);
        assert!(!answer.headers().contains_key("connection"));
        assert!(
            !answer
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
    let live = request("GET", "/livez", empty());
    assert_eq!(peer.send.send_request(live).await.unwrap().status(), 200);
}

#[tokio::test]
async fn requests_run_beside_each_other() {
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    let slow = peer
        .send
        .send_request(request("PUT", "/v1/files/slow", silent()));
    let slow = tokio::spawn(slow);
    for _ in 0..3 {
        let live = request("GET", "/livez", empty());
        let answer = within(10, "a quick one", peer.send.send_request(live)).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert!(!slow.is_finished());
}

#[tokio::test]
async fn all_connections_together_have_a_limit_and_each_may_have_one() {
    let bed = Bed::new().await;
    let mut held = Vec::new();
    let mut peers = Vec::new();
    // Every connection fills its streams until no more are left for anybody.
    let mut refused = None;
    while refused.is_none() {
        let mut peer = bed.connect().await;
        // One place stays free for the question whether the others have arrived.
        for _ in 1..STREAMS_MAX {
            let mut put = Box::pin(
                peer.send
                    .send_request(request("PUT", "/v1/files/x", silent())),
            );
            tokio::select! {
                answer = &mut put => refused = Some(answer.unwrap()),
                answer = peer.send.send_request(request("GET", "/livez", empty())) => {
                    let _ = answer.unwrap();
                }
            }
            held.push(put);
        }
        peers.push(peer);
        assert!(peers.len() < 64, "nobody is ever refused");
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let mut late = bed.connect().await;
    let live = late.send.send_request(request("GET", "/livez", empty()));
    assert_eq!(within(10, "one request", live).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_peace() {
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    let live = request("GET", "/livez", empty());
    assert_eq!(peer.send.send_request(live).await.unwrap().status(), 200);
    let begun = Instant::now();
    let ended = within(600, "an idle connection", peer.driver)
        .await
        .unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    peer.served.await.unwrap();
    let seconds = begun.elapsed().as_secs();
    assert!((75..80).contains(&seconds), "closed after {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_of_its_answer_is_cut_off() {
    let bed = Bed::new().await;
    bed.store("f", vec![7; 8 << 20]).await;
    let mut peer = bed.connect().await;
    let get = request("GET", "/v1/files/f", empty());
    let answer = peer.send.send_request(get).await.unwrap();
    assert_eq!(answer.status(), 200);
    // The connection lives and answers pings; only this body is not read.
    let begun = Instant::now();
    within(600, "a stalled connection", peer.served)
        .await
        .unwrap();
    let seconds = begun.elapsed().as_secs();
    // What was taken at the beginning is worth one window.
    assert!((115..250).contains(&seconds), "cut off after {seconds} s");
    drop(answer);
}

/// A download whose reader takes so many bytes every so many seconds: how long it lasted, if it was cut off.
async fn taken_in_sips(size: usize, sip: usize, seconds: u64) -> Option<u64> {
    let bed = Bed::new().await;
    bed.store("f", vec![7; size]).await;
    let (theirs, mut served) = bed.served().await;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    // What is not read keeps the server from sending more, as over a slow line.
    builder.initial_stream_window_size(16 * 1024);
    let (mut send, driver): (_, Driver) = builder.handshake(TokioIo::new(theirs)).await.unwrap();
    let driver = tokio::spawn(driver);
    let get = request("GET", "/v1/files/f", empty());
    let mut body = send.send_request(get).await.unwrap().into_body();
    let begun = Instant::now();
    let (mut taken, mut due) = (0, 0);
    while taken < size {
        tokio::select! {
            // Cut off, or done: what was sent before tells which.
            _ = &mut served, if due < size => {
                let seconds = begun.elapsed().as_secs();
                return body.collect().await.is_err().then_some(seconds);
            }
            () = sleep(Duration::from_secs(seconds)) => due += sip,
        }
        while taken < due.min(size) {
            let frame = body.frame().await.unwrap().unwrap();
            taken += frame.into_data().unwrap().len();
        }
    }
    driver.abort();
    None
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sips_at_its_answer_is_cut_off_and_a_slow_one_is_not() {
    let lasted = taken_in_sips(1 << 20, 1, 20).await;
    assert!(
        lasted.is_some_and(|s| (115..300).contains(&s)),
        "{lasted:?}"
    );
    assert_eq!(taken_in_sips(2 << 20, 16 * 1024, 12).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_not_an_idle_peer() {
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    let put = tokio::spawn(
        peer.send
            .send_request(request("PUT", "/v1/files/x", silent())),
    );
    // The body's own deadline comes first, and its answer arrives.
    let answer = within(100, "the refusal of a silent body", put)
        .await
        .unwrap();
    assert!(answer.unwrap().status().is_client_error());
}

#[tokio::test]
async fn who_only_cancels_is_cut_off() {
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    let attack = async {
        loop {
            if peer.send.ready().await.is_err() {
                return;
            }
            let put = peer
                .send
                .send_request(request("PUT", "/v1/files/x", silent()));
            // Dropped as soon as it is on its way.
            let _ = tokio::time::timeout(Duration::from_millis(1), put).await;
        }
    };
    within(60, "an attack", attack).await;
    within(10, "the server's end", peer.served).await.unwrap();
    let mut other = bed.connect().await;
    let live = other.send.send_request(request("GET", "/livez", empty()));
    assert_eq!(live.await.unwrap().status(), 200);
}

async fn json(peer: &mut Peer, request: Request<Sent>) -> serde_json::Value {
    let answer = peer.send.send_request(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a whole one");
    serde_json::from_slice(&body.to_bytes()).unwrap_or_default()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let stream = stream.to_be_bytes();
    [&len[1..], &[kind, flags], &stream, payload].concat()
}

/// A header field that needs no table (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[tokio::test]
async fn what_arrived_of_a_cancelled_upload_stays() {
    const ARRIVES: usize = 16_000;
    let bed = Bed::new().await;
    let mut peer = bed.connect().await;
    let mut begin = request("POST", "/v1/uploads?path=f", empty());
    for (name, value) in [("upload-length", "100000"), ("upload-complete", "?0")] {
        begin.headers_mut().insert(name, value.parse().unwrap());
    }
    let session = json(&mut peer, begin).await;
    let target = format!("/v1/uploads/{}", session["id"].as_str().unwrap());
    // Head, some content and the reset in one piece: the reset is there before the content is looked at.
    let head = [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", &target),
        ("content-range", "bytes 0-99999/100000"),
    ];
    let head: Vec<u8> = head.iter().flat_map(|(n, v)| field(n, v)).collect();
    let wire = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &head),
        frame(0, 0, 1, &[7; ARRIVES]),
        frame(3, 0, 1, &8_u32.to_be_bytes()),
    ];
    let mut raw = bed.serve().await;
    raw.write_all(&wire.concat()).await.unwrap();
    let arrived = async {
        let want = serde_json::json!([[0, ARRIVES]]);
        loop {
            let state = json(&mut peer, request("GET", &target, empty())).await;
            if state["received"] == want {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(20, "what arrived to be kept", arrived).await;
}

#[tokio::test]
async fn what_runs_is_finished_before_the_end() {
    let bed = Bed::new().await;
    bed.store("f", vec![7; 3 << 20]).await;
    let mut peer = bed.connect().await;
    let get = request("GET", "/v1/files/f", empty());
    let answer = peer.send.send_request(get).await.unwrap();
    bed.slots.tell_all(Told::Finish);
    let body = within(30, "the rest", answer.into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes().len(), 3 << 20);
    within(10, "the end", peer.served).await.unwrap();
}

#[test]
fn windows_come_out_of_one_pool() {
    let shares = Shares::default();
    let sizes = |n: usize| -> Vec<_> {
        let windows: Vec<_> = (0..n).map(|_| shares.window()).collect();
        windows.iter().map(|window| window.bytes()).collect()
    };
    assert_eq!(sizes(1), [1 << 20]);
    let all = sizes(100);
    let floor = all.iter().filter(|bytes| **bytes == 64 * 1024).count();
    let charged: u32 = all.iter().filter(|bytes| **bytes > 64 * 1024).sum();
    assert_eq!((charged, floor > 80), (8 << 20, true), "{all:?}");
    assert_eq!(sizes(1), [1 << 20], "given back");
}
