//! HTTP/1.1 on one connection: one request after the other. While requests come, a connection is hyper's state plus a
//! boxed future for the request that runs; while it waits for the next one it is next to nothing (see [`head`]). The
//! socket comes back when hyper is done with it, so that its last answer arrives.

use super::connection::Client;
use super::head::{self, HEAD_BYTES_MAX};
use super::slots::{Cutoff, Slot, Told};
use super::socket::{Phase, Socket};
use super::{nothing_runs, wait_for};
use crate::body::Body;
use crate::incoming::RequestBody;
use crate::server::Server;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};

/// hyper's buffer for one connection, in each direction.
const CONNECTION_BUF_BYTES: usize = 64 * 1024;
/// Header fields of one request; twice hyper's default is never needed by a client of ours.
const HEADERS_MAX: usize = 100;

/// Serves requests until one side has enough.
pub(super) async fn serve<S>(mut socket: Socket<S>, phase: Arc<Phase>, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Client { server, peer, slot } = client;
    let handler = Handler {
        server,
        peer,
        phase,
    };
    let mut left = Bytes::new();
    let mut told = Told::Stay;
    while let Some(head) = head::next(&mut socket, left, &slot).await {
        socket.give(head);
        let end;
        // Boxed, so that a connection which waits carries nothing of it.
        (socket, end) = Box::pin(requests(socket, handler.clone(), &slot)).await;
        match end {
            End::Waits(behind) => left = behind,
            End::Over(so_far) => {
                told = so_far;
                break;
            }
        }
    }
    if told < Told::Cut {
        tokio::select! {
            () = socket.close() => {}
            // Somebody needs the place more than this client needs its answer.
            _ = slot.told_more_than(told.max(Told::Finish)) => {}
        }
    }
}

/// How a run of requests ends.
enum End {
    /// The next one is waited for, and this is there of it.
    Waits(Bytes),
    /// The connection is over, having been told so much.
    Over(Told),
}

/// Serves requests as long as they come without a pause.
async fn requests<S>(socket: Socket<S>, handler: Handler, slot: &Arc<Slot>) -> (Socket<S>, End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, phase) = (handler.peer, Arc::clone(&handler.phase));
    let heads = phase.heads();
    let mut http = builder().serve_connection(TokioIo::new(socket), handler);
    let mut told = Told::Stay;
    // Boxed, so that only who is asked to go carries it.
    let mut vacated = None;
    let outcome = loop {
        let run = poll_fn(|cx| match http.poll_without_shutdown(cx) {
            Poll::Pending if phase.is_between_requests() => Poll::Ready(None),
            run => run.map(Some),
        });
        tokio::select! {
            biased;
            outcome = run => break outcome,
            () = wait_for(&mut vacated) => break Some(Ok(())),
            now = slot.told_more_than(told) => {
                told = now;
                if told == Told::Cut {
                    break Some(Ok(()));
                }
                if told == Told::Vacate {
                    vacated = Some(Box::pin(nothing_runs(Arc::clone(slot))));
                }
                Pin::new(&mut http).graceful_shutdown();
            }
        }
    };
    // A request that still runs is cut here: its body breaks off, and what arrived of it is kept.
    let parts = http.into_parts();
    let socket = parts.io.into_inner();
    // A head that hyper cannot read although it has an end would come back for ever.
    let is_head = phase.heads() != heads || parts.read_buf.is_empty();
    match outcome {
        None if told == Told::Stay && is_head => return (socket, End::Waits(parts.read_buf)),
        // Clients go away all the time; only someone who looks for it wants to read about it.
        Some(Err(error)) => {
            if error.is_parse_too_large() {
                slot.cut_by(Cutoff::HeadSize);
            }
            tracing::debug!(%peer, "connection ended: {error}");
        }
        _ => {}
    }
    (socket, End::Over(told))
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(CONNECTION_BUF_BYTES)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .half_close(false)
        .keep_alive(true);
    builder
}

/// Hands one connection's requests to the server.
#[derive(Clone)]
struct Handler {
    server: Arc<Server>,
    peer: IpAddr,
    phase: Arc<Phase>,
}

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(RequestBody::from_socket);
        let (turn, pipelined) = self.phase.head_read(request.body().received());
        let (server, peer, phase) = (Arc::clone(&self.server), self.peer, Arc::clone(&self.phase));
        // Boxed, so that an idle connection does not carry the state of a running request.
        Box::pin(async move {
            if pipelined {
                // Others first: who sends a thousand requests at once must not be served before those who sent one.
                tokio::task::yield_now().await;
            }
            let (mut answer, reusable) = server.handle(peer, request).await;
            if phase.is_told() {
                // Said before hyper is told: it answers a request that is whole at once.
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            phase.answered(reusable);
            Ok(answer.map(|body| body.on_end(Box::new(|_, _| drop(turn)))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;
    use crate::server::About;
    use gfl_core::App;
    use gfl_core::clock::SystemClock;
    use gfl_core::settings::Settings;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
    use tokio::task::JoinHandle;

    /// Few, so that an answer does not fit.
    const PIPE_BYTES: usize = 2 * 1024;
    const GET: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

    struct Bed {
        slots: Arc<Slots>,
        peer: BufReader<DuplexStream>,
        served: JoinHandle<()>,
        _dir: tempfile::TempDir,
    }

    impl Bed {
        async fn new() -> Bed {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings::new(dir.path().join("data"), dir.path().join("meta"));
            let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
            let slots: Arc<Slots> = Arc::default();
            let slot = Arc::new(slots.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap());
            let phase = Arc::new(Phase::new(Arc::clone(&slot)));
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            let client = Client {
                server: Server::new(app, About::default()),
                peer: Ipv4Addr::LOCALHOST.into(),
                slot,
            };
            let socket = Socket::new(ours, Arc::clone(&phase));
            Bed {
                slots,
                peer: BufReader::new(theirs),
                served: tokio::spawn(serve(socket, phase, client)),
                _dir: dir,
            }
        }

        async fn send(&mut self, text: impl AsRef<[u8]>) {
            self.peer.write_all(text.as_ref()).await.unwrap();
        }

        /// The next answer's head, and its body.
        async fn answer(&mut self) -> (String, Vec<u8>) {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(self.peer.read_line(&mut head).await.unwrap() > 0, "{head}");
            }
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            self.peer.read_exact(&mut body).await.unwrap();
            (head, body)
        }

        #[track_caller]
        fn expect(answer: &(String, Vec<u8>), status: u16) {
            let line = format!("HTTP/1.1 {status} ");
            assert!(answer.0.starts_with(&line), "{}", answer.0);
        }

        async fn ask(&mut self, text: impl AsRef<[u8]>, status: u16) -> Vec<u8> {
            self.send(text).await;
            let answer = self.answer().await;
            Bed::expect(&answer, status);
            answer.1
        }

        /// Until the connection waits for a request, with nothing of hyper left.
        async fn waits(&self) {
            while self.slots.counts().waiting == 0 {
                tokio::task::yield_now().await;
            }
        }

        async fn ended(mut self) {
            let mut rest = Vec::new();
            self.peer.read_to_end(&mut rest).await.unwrap();
            self.served.await.unwrap();
            assert_eq!(String::from_utf8_lossy(&rest), "");
        }
    }

    #[tokio::test]
    async fn requests_follow_each_other_in_every_cut() {
        let mut bed = Bed::new().await;
        for _ in 0..3 {
            bed.ask(GET, 200).await;
            bed.waits().await;
        }
        // Several at once, the last of them in two halves.
        let many = GET.repeat(5);
        let (most, rest) = many.split_at(many.len() - 9);
        bed.send(most).await;
        for _ in 0..4 {
            Bed::expect(&bed.answer().await, 200);
        }
        bed.waits().await;
        bed.ask(rest, 200).await;
        let put = "PUT /v1/files/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let parts = [put, "3\r\nabc\r\n", "2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n", GET];
        for part in parts {
            bed.send(part).await;
        }
        Bed::expect(&bed.answer().await, 201);
        Bed::expect(&bed.answer().await, 200);
        let get = "GET /v1/files/a HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(bed.ask(get, 200).await, b"abcde");
        bed.ask(GET.replace("Host", "Connection: close\r\nHost"), 200)
            .await;
        bed.ended().await;
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_yet_is_not_lost() {
        let mut bed = Bed::new().await;
        let content = vec![b'x'; 700_000];
        let put = format!(
            "PUT /v1/files/a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        bed.send(put).await;
        bed.ask(&content, 201).await;
        for _ in 0..2 {
            bed.send("GET /v1/files/a HTTP/1.1\r\nHost: x\r\n\r\n")
                .await;
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            // The next request comes before the answer to this one is taken.
            bed.send(GET).await;
            assert_eq!(bed.answer().await.1, content);
            Bed::expect(&bed.answer().await, 200);
        }
    }

    #[tokio::test]
    async fn a_graceful_end_answers_what_has_begun() {
        let mut bed = Bed::new().await;
        bed.ask(GET, 200).await;
        let (most, rest) = GET.split_at(9);
        bed.send(most).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        bed.slots.tell_all(Told::Finish);
        bed.send(rest).await;
        let answer = bed.answer().await;
        Bed::expect(&answer, 200);
        assert!(answer.0.to_ascii_lowercase().contains("connection: close"));
        bed.ended().await;
        let bed = Bed::new().await;
        bed.slots.tell_all(Told::Finish);
        bed.ended().await;
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused() {
        let line = |n: usize| format!("X: {}\r\n", "a".repeat(n));
        let get = |fields: &str| GET.replace("\r\n\r\n", &format!("\r\n{fields}\r\n"));
        let mut bed = Bed::new().await;
        bed.ask(get(&line(16 * 1024)), 200).await;
        bed.ask(get(&"A: b\r\n".repeat(99)), 200).await;
        bed.ask(get(&"A: b\r\n".repeat(100)), 431).await;
        bed.ended().await;
        let mut bed = Bed::new().await;
        let slots = Arc::clone(&bed.slots);
        bed.send(&get(&line(30_000))[..HEAD_BYTES_MAX]).await;
        Bed::expect(&bed.answer().await, 431);
        bed.ended().await;
        assert!(slots.cutoffs().contains(&(Cutoff::HeadSize, 1)));
        let mut bed = Bed::new().await;
        bed.ask("GET\r\n\r\n", 400).await;
        bed.ended().await;
    }
}
