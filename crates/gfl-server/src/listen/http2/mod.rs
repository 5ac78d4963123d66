//! HTTP/2 on one connection: many requests at once, each in a stream of its own (RFC 9113). hyper speaks it; what is
//! decided here is how much of it one client may have, and when a connection is over.
//!
//! Bodies that nobody reads end their stream and not the connection, so nothing here is like HTTP/1's
//! `Connection: close`.

use super::connection::Client;
use super::slots::{Cutoff, Slot, Told};
use super::socket::{Phase, Socket};
use super::streams::{ANSWER_WINDOW, Counted, Running, Shares, Streams, Verdict};
use super::{nothing_moves, nothing_runs, wait_for};
use crate::body::Body;
use crate::incoming::RequestBody;
use crate::problem::Failure;
use crate::server::Server;
use gfl_api::problem::Code;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

/// Requests at once on one connection; the protocol's own recommendation is 100, which only serves browsers that
/// load pages.
const STREAMS_MAX: u32 = 32;
/// Header fields of one request, counted as HTTP/2 counts them.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// Bytes of one answer that wait for the client's window beside the piece that is next.
const SEND_BUF_BYTES: usize = 64 * 1024;
/// Streams reset by the client before they were looked at, and after a mistake of its own.
const RESETS_UNSEEN_MAX: usize = 20;
const RESETS_OWN_MAX: usize = 256;
/// A silent client is asked so often whether it is there, and must answer within this time.
const PING_EVERY_MS: u64 = 30_000;
const PONG_MS_MAX: u64 = 20_000;

/// Serves requests until one side has enough.
pub(super) async fn serve<S>(
    socket: Socket<S>,
    phase: Arc<Phase>,
    client: Client,
    shares: &Arc<Shares>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Client { server, peer, slot } = client;
    let window = shares.window();
    let streams = Arc::new(Streams::default());
    let handler = Handler {
        server,
        peer,
        slot: Arc::clone(&slot),
        streams: Arc::clone(&streams),
        shares: Arc::clone(shares),
    };
    let http = builder(window.bytes()).serve_connection(TokioIo::new(socket), handler);
    let mut http = pin!(http);
    let mut look = pin!(sleep(streams.first_look()));
    let mut leaving = false;
    let mut told = Told::Stay;
    // Boxed, so that only who is asked to go carries it.
    let mut vacated: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    let outcome = loop {
        tokio::select! {
            outcome = &mut http => break outcome,
            // What still runs in a stream sees its connection go, and keeps what arrived.
            () = wait_for(&mut vacated) => return,
            now = slot.told_more_than(told) => {
                told = now;
                if told == Told::Cut {
                    return;
                }
                leaving = true;
                http.as_mut().graceful_shutdown();
                // Saying goodbye takes an answer, which not every client gives.
                let slot = Arc::clone(&slot);
                vacated = Some(match told {
                    // Somebody needs the place more than this client needs the rest of its answer.
                    Told::Vacate => Box::pin(nothing_runs(slot)),
                    _ => Box::pin(nothing_moves(slot, Arc::clone(&phase))),
                });
            }
            () = streams.abused() => {
                slot.cut_by(Cutoff::Resets);
                tracing::debug!(%peer, "connection cut: its requests are cancelled as fast as they come");
                return;
            }
            () = &mut look => match streams.verdict(phase.sent()) {
                Verdict::Wait(until) => look.as_mut().reset(until),
                Verdict::Idle if !leaving => {
                    leaving = true;
                    http.as_mut().graceful_shutdown();
                    // The end of the last answer may still be on its way: less than a slow line takes in a window.
                    look.as_mut().reset(Instant::now() + ANSWER_WINDOW);
                }
                Verdict::Idle => return,
                Verdict::Slow => {
                    slot.cut_by(Cutoff::AnswerTime);
                    tracing::debug!(%peer, "connection cut: the peer is too slow with its answers");
                    return;
                }
            },
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

fn builder(window_bytes: u32) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_connection_window_size(window_bytes)
        .initial_stream_window_size(window_bytes)
        .max_send_buf_size(SEND_BUF_BYTES)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(RESETS_OWN_MAX)
        .keep_alive_interval(Duration::from_millis(PING_EVERY_MS))
        .keep_alive_timeout(Duration::from_millis(PONG_MS_MAX));
    builder
}

/// Hands one connection's requests to the server.
struct Handler {
    server: Arc<Server>,
    peer: IpAddr,
    slot: Arc<Slot>,
    streams: Arc<Streams>,
    shares: Arc<Shares>,
}

impl Service<Request<Incoming>> for Handler {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Counted>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = Running::begin(&self.streams, &self.shares);
        // Whoever has a request running is not asked to make place.
        let place = self.slot.run();
        let (server, peer) = (Arc::clone(&self.server), self.peer);
        Box::pin(async move {
            let Some(running) = running else {
                return Ok(too_many());
            };
            let request = request.map(RequestBody::from_socket);
            let (answer, _) = server.handle(peer, request).await;
            let answer = answer.map(|body| body.on_end(Box::new(|_, _| drop(place))));
            Ok(answer.map(|body| Counted::new(body, Some(running))))
        })
    }
}

/// The answer when all connections together have too many requests running.
fn too_many() -> Response<Counted> {
    let text = "too many requests are running at once; try again, or use one connection for each";
    let answer: Response<Body> = Failure::new(Code::Busy, text).into_answer("");
    answer.map(|body| Counted::new(body, None))
}

#[cfg(test)]
mod tests;
