//! The TCP listener: accepts, caps, serves and drains connections. The only place that knows hyper's connection.
//! Knows nothing of paths, users or files; what a request means is [`Server::handle`]'s business.
//!
//! `connection` finds out what a connection speaks, `http1` and `http2` speak it, `socket` keeps the deadlines of
//! bytes and `streams` those of HTTP/2's streams.

mod connection;
mod http1;
mod http2;
mod socket;
mod streams;

use crate::server::Server;
use crate::tls::Tls;
use connection::connection;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
pub use streams::Shares;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::{Semaphore, watch};

/// Connections served at once. More wait in the kernel's queue and are not refused.
pub const CONNECTIONS_MAX: usize = 4096;
/// The kernel's queue of connections that wait to be accepted.
const BACKLOG_CONNECTIONS: u32 = 1024;
/// A connection that is used for nothing is closed after this. (A head that has begun gets less: see [`socket`].)
const IDLE_MS_MAX: u64 = 75_000;
/// Pause after accepting failed for want of file descriptors or memory.
const ACCEPT_RETRY_MS: u64 = 100;

/// What a connection may speak, and what all connections share.
#[derive(Clone, Debug)]
pub struct Transport {
    /// TLS, if there is a certificate.
    pub tls: Option<Arc<Tls>>,
    /// Requests without TLS are answered. Without this and without `tls` nothing is.
    pub plain: bool,
    /// What HTTP/2 connections share.
    pub shares: Arc<Shares>,
}

impl Transport {
    /// HTTP without TLS.
    pub fn plain() -> Transport {
        Transport::new(None, true)
    }

    /// TLS if there is a certificate; without TLS if that is allowed.
    pub fn new(tls: Option<Arc<Tls>>, plain: bool) -> Transport {
        Transport {
            tls,
            plain,
            shares: Arc::default(),
        }
    }
}

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

/// Accepts until `shutdown` resolves; then finishes what runs, at most `drain_ms_max` long. Returns whether
/// everything came to its end.
pub async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    transport: Transport,
    shutdown: impl Future<Output = ()>,
    drain_ms_max: u64,
) -> bool {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(false);
    tokio::select! {
        () = accept(listener, &server, &transport, &slots, &stopped) => {}
        () = shutdown => {}
    }
    server.start_draining();
    let _ = stop.send(true);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    tokio::time::timeout(Duration::from_millis(drain_ms_max), slots.acquire_many(all))
        .await
        .is_ok()
}

async fn accept(
    listener: TcpListener,
    server: &Arc<Server>,
    transport: &Transport,
    slots: &Arc<Semaphore>,
    stopped: &watch::Receiver<bool>,
) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (server, transport) = (Arc::clone(server), transport.clone());
                let stopped = stopped.clone();
                tokio::spawn(connection(
                    stream,
                    peer.ip(),
                    server,
                    transport,
                    stopped,
                    slot,
                ));
            }
            Err(e) if belongs_to_connection(&e) => {}
            Err(e) => {
                tracing::warn!("accepting a connection failed, trying again: {e}");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// The error of one connection that died in the queue, and not of the listener.
fn belongs_to_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
