//! HTTP/1.1 on one connection: one request after the other. A connection is hyper's state plus a boxed future while
//! a request runs. The socket comes back when hyper is done with it, so that its last answer arrives.

use super::IDLE_MS_MAX;
use super::connection::{Client, until_stop};
use super::socket::{Phase, Socket};
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

/// Serves requests until one side has enough.
pub(super) async fn serve<S>(socket: Socket<S>, phase: Arc<Phase>, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Client {
        server,
        peer,
        mut stopped,
    } = client;
    let handler = Handler {
        server,
        peer,
        phase,
    };
    let mut http = builder().serve_connection(TokioIo::new(socket), handler);
    let outcome = tokio::select! {
        outcome = &mut http => outcome,
        () = until_stop(&mut stopped) => {
            Pin::new(&mut http).graceful_shutdown();
            (&mut http).await
        }
    };
    if let Err(error) = outcome {
        // Clients go away all the time; only someone who looks for it wants to read about it.
        tracing::debug!(%peer, "connection ended: {error}");
    }
    http.into_parts().io.into_inner().close().await;
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(IDLE_MS_MAX))
        .max_buf_size(CONNECTION_BUF_BYTES)
        .max_headers(HEADERS_MAX)
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
        self.phase.head_read();
        let (server, peer, phase) = (Arc::clone(&self.server), self.peer, Arc::clone(&self.phase));
        // Boxed, so that an idle connection does not carry the state of a running request.
        Box::pin(async move {
            let request = request.map(RequestBody::from_socket);
            let (answer, reusable) = server.handle(peer, request).await;
            phase.answered(reusable);
            Ok(answer)
        })
    }
}
