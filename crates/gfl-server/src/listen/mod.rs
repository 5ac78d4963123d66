//! Listeners and connections: binds, accepts ([`serve`]), caps ([`Slots`]), serves and drains. The only place that
//! knows hyper's connection. Knows nothing of paths, users or files; what a request means is [`Server::handle`]'s
//! business.
//!
//! `connection` finds out what a connection speaks, `http1` and `http2` speak it, `head` waits for requests, `socket`
//! keeps the deadlines of bytes and `streams` those of HTTP/2's streams; `room` is the memory that they share.

mod accept;
#[cfg(unix)]
mod admin;
mod connection;
mod head;
mod http1;
mod http2;
mod room;
mod slots;
mod socket;
mod streams;

pub use accept::serve;
#[cfg(unix)]
pub use admin::AdminSocket;
pub use slots::{Counts, Cutoff, Slots};
pub use streams::Shares;

use crate::tls::Tls;
use slots::Slot;
use socket::Phase;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// The kernel's queue of connections that wait to be accepted.
const BACKLOG_CONNECTIONS: u32 = 1024;
/// A connection that is used for nothing is closed after this. (A head that has begun gets less: see [`head`].)
const IDLE_MS_MAX: u64 = 75_000;
/// Who is asked for his place and has an answer left that he does not read keeps it no longer than this.
const VACATE_MS_MAX: u64 = 2_000;

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

/// Resolves when no request has run for a while.
async fn nothing_runs(slot: Arc<Slot>) {
    let mut ran = true;
    while ran {
        ran = slot.is_running();
        tokio::time::sleep(Duration::from_millis(VACATE_MS_MAX)).await;
        ran |= slot.is_running();
    }
}

/// Resolves when no request has run for a while, and no rest of an answer was on its way either.
async fn nothing_moves(slot: Arc<Slot>, phase: Arc<Phase>) {
    loop {
        let (ran, sent) = (slot.is_running(), phase.sent());
        tokio::time::sleep(Duration::from_millis(VACATE_MS_MAX)).await;
        if !ran && !slot.is_running() && phase.sent() == sent {
            return;
        }
    }
}

/// Never, if there is nothing to wait for.
async fn wait_for<F: Future<Output = ()> + ?Sized>(what: &mut Option<Pin<Box<F>>>) {
    match what {
        Some(what) => what.as_mut().await,
        None => std::future::pending().await,
    }
}
