//! The life of the listeners: accepting, and the graceful end.

use super::Transport;
use super::connection::connection;
use super::slots::Told;
use crate::server::Server;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Pause after accepting failed for want of file descriptors or memory.
const ACCEPT_RETRY_MS: u64 = 100;
/// After the drain limit connections are cut; what they leave behind is written within this time.
const CUT_MS_MAX: u64 = 2_000;

/// Accepts until `shutdown` resolves. Then, in this order: says for a while that it is not ready; accepts no more;
/// closes idle connections; lets requests finish, within a limit; cuts the rest. Returns whether nothing was cut.
pub async fn serve(
    listeners: Vec<TcpListener>,
    server: Arc<Server>,
    transport: Transport,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&server), transport.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        _ = accepting.join_next() => {
            tracing::error!("accepting connections ended unexpectedly, the server ends");
        }
    }
    server.start_draining();
    let drain = server.limits().drain;
    tokio::time::sleep(Duration::from_millis(drain.notice_ms)).await;
    accepting.shutdown().await;
    server.slots.tell_all(Told::Finish);
    let limit = Duration::from_millis(drain.limit_ms);
    let finished = tokio::time::timeout(limit, server.slots.emptied()).await;
    if finished.is_ok() {
        return true;
    }
    server.slots.tell_all(Told::Cut);
    let _ = tokio::time::timeout(Duration::from_millis(CUT_MS_MAX), server.slots.emptied()).await;
    false
}

async fn accept(listener: TcpListener, server: Arc<Server>, transport: Transport) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Whoever comes while all places are taken waits here, and those behind him in the kernel's queue.
                if let Some(slot) = server.slots.admit(peer.ip()).await {
                    let (server, transport) = (Arc::clone(&server), transport.clone());
                    tokio::spawn(connection(stream, peer.ip(), server, transport, slot));
                }
            }
            Err(e) if belongs_to_connection(&e) => {}
            Err(e) => {
                tracing::warn!("accepting a connection failed, trying again: {e}");
                server.slots.make_place();
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
