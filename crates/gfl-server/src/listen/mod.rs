//! Listeners and connections: binds, accepts ([`serve`]), caps ([`Slots`]), serves and drains. The only place that
//! knows hyper's connection. Knows nothing of paths, users or files; what a request means is [`Server::handle`]'s
//! business.
//!
//! A connection is one small task: hyper's state plus a boxed future while a request runs. The socket comes back
//! when hyper is done with it ([`http1::Connection::into_parts`]); idle parking can later use the same seam.

mod accept;
#[cfg(unix)]
mod admin;
mod slots;
mod socket;

pub use accept::serve;
#[cfg(unix)]
pub use admin::AdminSocket;
pub use slots::{Counts, Slots};

use crate::body::Body;
use crate::incoming::RequestBody;
use crate::server::Server;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use slots::{Slot, Told};
use socket::{Phase, Socket};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

/// The kernel's queue of connections that wait to be accepted.
const BACKLOG_CONNECTIONS: u32 = 1024;
/// hyper's buffer for one connection, in each direction.
const CONNECTION_BUF_BYTES: usize = 64 * 1024;
/// A connection that is used for nothing is closed after this. (A head that has begun gets less: see [`socket`].)
const IDLE_MS_MAX: u64 = 75_000;
/// Who is asked for his place and has an answer left that he does not read keeps it no longer than this.
const VACATE_MS_MAX: u64 = 2_000;
/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_MS: u64 = 60_000;
/// Header fields of one request; twice hyper's default is never needed by a client of ours.
const HEADERS_MAX: usize = 100;
/// Bytes of one request's head: a longest path with every byte escaped, a token, and room for more. Every connection
/// may hold so much before anybody knows who it is.
const HEAD_BYTES_MAX: usize = 20 * 1024;

/// Binds `address` (`host:port`, `:port` or an IP). An empty host is all interfaces, as in Go.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let address = match address.strip_prefix(':') {
        Some(port) => return bind_any(port),
        None if address.is_empty() => return bind_any("80"),
        None => address,
    };
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    let mut candidates: Vec<SocketAddr> = lookup_host(address).await?.collect();
    // `localhost` names both loopbacks; IPv4 is the one that Go chose and old clients use.
    candidates.sort_by_key(SocketAddr::is_ipv6);
    for candidate in candidates {
        match bind_one(candidate) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// All interfaces: IPv6 that also takes IPv4 where the machine has it, else IPv4.
fn bind_any(port: &str) -> io::Result<TcpListener> {
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is not a number"))?;
    bind_one(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| bind_one(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))))
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if cfg!(unix) {
        // Otherwise a restart has to wait until the kernel forgets the old connections.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG_CONNECTIONS)
}

async fn connection(stream: TcpStream, peer: IpAddr, server: Arc<Server>, slot: Slot) {
    tune(&stream);
    let slot = Arc::new(slot);
    let phase = Arc::new(Phase::new(Arc::clone(&slot)));
    let handler = Handler {
        server,
        peer: peer.to_canonical(),
        phase: Arc::clone(&phase),
    };
    let mut http = builder().serve_connection(
        TokioIo::new(Socket::new(stream, Arc::clone(&phase))),
        handler,
    );
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

/// Resolves when no request has run for a while.
async fn nothing_runs(slot: Arc<Slot>) {
    let mut ran = true;
    while ran {
        ran = slot.is_running();
        tokio::time::sleep(Duration::from_millis(VACATE_MS_MAX)).await;
        ran |= slot.is_running();
    }
}

/// Never, if there is nothing to wait for.
async fn wait_for<F: Future<Output = ()>>(what: &mut Option<Pin<Box<F>>>) {
    match what {
        Some(what) => what.as_mut().await,
        None => std::future::pending().await,
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

fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_millis(KEEPALIVE_MS));
    // Both are improvements only: a connection without them still works.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
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
