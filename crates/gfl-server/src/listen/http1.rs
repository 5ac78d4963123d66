//! HTTP/1.1 on one connection: one request after the other. A connection is hyper's state plus a boxed future while
//! a request runs. The socket comes back when hyper is done with it, so that its last answer arrives.

use super::connection::Client;
use super::slots::Told;
use super::socket::{Phase, Socket};
use super::{IDLE_MS_MAX, nothing_runs, wait_for};
use crate::body::Body;
use crate::incoming::RequestBody;
use crate::server::Server;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// hyper's buffer for one connection, in each direction.
const CONNECTION_BUF_BYTES: usize = 64 * 1024;
/// Header fields of one request; twice hyper's default is never needed by a client of ours.
const HEADERS_MAX: usize = 100;
/// Bytes of one request's head: a longest path with every byte escaped, a token, and room for more. Every connection
/// may hold so much before anybody knows who it is.
const HEAD_BYTES_MAX: usize = 20 * 1024;

/// Serves requests until one side has enough.
pub(super) async fn serve<S>(socket: Socket<S>, phase: Arc<Phase>, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Client { server, peer, slot } = client;
    let handler = Handler {
        server,
        peer,
        phase: Arc::clone(&phase),
    };
    let mut http = builder().serve_connection(TokioIo::new(socket), handler);
    let mut told = Told::Stay;
    // Boxed, so that only who is asked to go carries it.
    let mut vacated = None;
    let outcome = loop {
        let run = std::future::poll_fn(|cx| http.poll_without_shutdown(cx));
        tokio::select! {
            biased;
            outcome = run => break outcome,
            () = wait_for(&mut vacated) => break Ok(()),
            now = slot.told_more_than(told) => {
                told = now;
                // hyper ends what is idle, and would wait for the rest of a head.
                if told == Told::Cut || (told == Told::Vacate && phase.is_in_head()) {
                    break Ok(());
                }
                if told == Told::Vacate {
                    vacated = Some(Box::pin(nothing_runs(Arc::clone(&slot))));
                }
                Pin::new(&mut http).graceful_shutdown();
            }
        }
    };
    if let Err(error) = outcome {
        // Clients go away all the time; only someone who looks for it wants to read about it.
        tracing::debug!(%peer, "connection ended: {error}");
    }
    // A request that still runs is cut here: its body breaks off, and what arrived of it is kept.
    let socket = http.into_parts().io.into_inner();
    if told < Told::Cut {
        tokio::select! {
            () = socket.close() => {}
            // Somebody needs the place more than this client needs its answer.
            _ = slot.told_more_than(told.max(Told::Finish)) => {}
        }
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(IDLE_MS_MAX))
        .max_buf_size(CONNECTION_BUF_BYTES)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .half_close(false)
        .keep_alive(true);
    builder
}

/// Hands one connection's requests to the server.
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
        let (running, pipelined) = self.phase.head_read();
        let (server, peer, phase) = (Arc::clone(&self.server), self.peer, Arc::clone(&self.phase));
        // Boxed, so that an idle connection does not carry the state of a running request.
        Box::pin(async move {
            if pipelined {
                // Others first: who sends a thousand requests at once must not be served before those who sent one.
                tokio::task::yield_now().await;
            }
            let request = request.map(RequestBody::from_socket);
            let (answer, reusable) = server.handle(peer, request).await;
            phase.answered(reusable);
            Ok(answer.map(|body| body.on_end(Box::new(|_, _| drop(running)))))
        })
    }
}
