//! One connection from its first byte: whether it speaks TLS, what is spoken inside, and what it gets when that is
//! not what this port is for.

use super::slots::{Cutoff, Slot, Told};
use super::socket::{Phase, Socket};
use super::{IDLE_MS_MAX, Transport, http1, http2};
use crate::server::Server;
use crate::tls::{self, Tls};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

/// A handshake is over this long after its first byte. Where only TLS is spoken, that byte counts too.
const HANDSHAKE_MS_MAX: u64 = 10_000;
/// The first byte of every TLS connection: a record with a handshake message (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// A fatal alert, `handshake_failure`: what TLS clients of a port without TLS can read.
const HANDSHAKE_FAILURE: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];
/// After a refusal, what still comes is thrown away for at most so long and so many bytes: closing at once would
/// destroy the refusal on its way.
const REFUSED_MS_MAX: u64 = 2_000;
const REFUSED_BYTES_MAX: usize = 256 * 1024;
/// What HTTP without TLS gets on a port for TLS.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 52\r\nConnection: close\r\n\r\n\
    this port speaks TLS: write https:// in the address\n";
/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_MS: u64 = 60_000;

/// Serves a connection until its end. The slot is given back then, whatever was spoken.
pub(super) async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    server: Arc<Server>,
    transport: Transport,
    slot: Slot,
) {
    tune(&stream);
    let accepted = Instant::now();
    let slot = Arc::new(slot);
    let first = tokio::select! {
        biased;
        first = first_byte(&stream, &transport) => first,
        // Whoever has said nothing yet loses nothing.
        _ = slot.told_more_than(Told::Stay) => None,
    };
    let Some(first) = first else { return };
    let peer = peer.to_canonical();
    let client = Client { server, peer, slot };
    match (first, &transport.tls) {
        (HANDSHAKE_RECORD, Some(tls)) => {
            let begun = if transport.plain {
                Instant::now()
            } else {
                accepted
            };
            let deadline = begun + Duration::from_millis(HANDSHAKE_MS_MAX);
            // Boxed, like what follows: waiting connections carry none of it.
            Box::pin(encrypted(stream, tls, deadline, client, &transport)).await;
        }
        (HANDSHAKE_RECORD, None) => {
            tracing::debug!(%peer, "a TLS handshake on a port without TLS");
            refuse(stream, &HANDSHAKE_FAILURE).await;
        }
        _ if transport.plain => {
            let phase = Arc::new(Phase::new(Arc::clone(&client.slot)));
            let socket = Socket::new(stream, Arc::clone(&phase));
            Box::pin(http1::serve(socket, phase, client)).await;
        }
        (b'A'..=b'Z', _) => {
            tracing::debug!(%peer, "a request without TLS on a port for TLS");
            refuse(stream, USE_HTTPS.as_bytes()).await;
        }
        _ => tracing::debug!(%peer, "neither TLS nor HTTP"),
    }
}

/// Whom a connection belongs to, and the place it has, by which it is told to go.
pub(super) struct Client {
    pub(super) server: Arc<Server>,
    pub(super) peer: IpAddr,
    pub(super) slot: Arc<Slot>,
}

/// What the client says first; it stays in the socket. None when it says nothing.
async fn first_byte(stream: &TcpStream, transport: &Transport) -> Option<u8> {
    let ms_max = if transport.plain {
        IDLE_MS_MAX
    } else {
        HANDSHAKE_MS_MAX
    };
    let mut first = [0];
    let peek = stream.peek(&mut first);
    match timeout(Duration::from_millis(ms_max), peek).await {
        Ok(Ok(1)) => Some(first[0]),
        _ => None,
    }
}

async fn encrypted(
    stream: TcpStream,
    tls: &Tls,
    deadline: Instant,
    client: Client,
    transport: &Transport,
) {
    // Boxed twice: an idle connection carries neither the handshake nor room for its stream in every future that
    // the stream has passed through, which was a third of what it cost.
    let Some(stream) = Box::pin(handshake(stream, tls, deadline, &client)).await else {
        return;
    };
    if tls::is_h2(&stream) {
        let phase = Arc::new(Phase::without_heads(Arc::clone(&client.slot)));
        let socket = Socket::new(stream, Arc::clone(&phase));
        Box::pin(http2::serve(socket, phase, client, &transport.shares)).await;
    } else {
        let phase = Arc::new(Phase::new(Arc::clone(&client.slot)));
        let socket = Socket::new(stream, Arc::clone(&phase));
        Box::pin(http1::serve(socket, phase, client)).await;
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    deadline: Instant,
    client: &Client,
) -> Option<Box<TlsStream<TcpStream>>> {
    let peer = client.peer;
    let shaken = tokio::select! {
        shaken = timeout_at(deadline, tls.accept(stream)) => shaken,
        _ = client.slot.told_more_than(Told::Stay) => return None,
    };
    match shaken {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => tracing::debug!(%peer, "the TLS handshake failed: {error}"),
        Err(_) => {
            client.slot.cut_by(Cutoff::HandshakeTime);
            tracing::debug!(%peer, "the TLS handshake was not over in time");
        }
    }
    None
}

async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    let refusal = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(REFUSED_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whoever does not wait for it does not want it.
    let _ = timeout(Duration::from_millis(REFUSED_MS_MAX), refusal).await;
}

fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_millis(KEEPALIVE_MS));
    // Both are improvements only: a connection without them still works.
    let _ = stream.set_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_whole_answer() {
        let (head, body) = USE_HTTPS.split_once("\r\n\r\n").unwrap();
        let length = format!("Content-Length: {}", body.len());
        assert!(head.lines().any(|line| line == length), "{length}");
    }
}
