//! Connections to one server: HTTP/1.1 over TCP or TLS, kept for reuse, watched for stalls.
//!
//! Knows nothing of paths, retries or what a status means. A request goes out on a warm connection if there is one;
//! how many there are is decided by how many requests run at once.

use super::body::{Body, Gauge};
use super::tls::{Certificate, Tls, Trust};
use super::url::Origin;
use super::{Error, Kind};
use bytes::Bytes;
use http::{Request, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One read from the socket: large enough for 10 Gbit/s, small enough to stay in the cache.
const READ_BYTES: usize = 256 * 1024;
const IDLE_MAX: usize = 16;

/// The connections to one server.
#[derive(Debug)]
pub(crate) struct Pool {
    origin: Origin,
    trust: Trust,
    /// Made for the first connection: reading the system's authorities takes its time.
    tls: OnceCell<Tls>,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: http1::SendRequest<Body>,
    moved: Arc<AtomicU64>,
    driver: AbortHandle,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer whose head has arrived. Dropping it before the end closes its connection.
pub(crate) struct Answer {
    /// Status and fields.
    pub(crate) head: response::Parts,
    body: Incoming,
    gauge: Option<Arc<Gauge>>,
    stall: Duration,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Pool {
    /// No connection yet.
    pub(crate) fn new(origin: Origin, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            origin,
            trust,
            tls: OnceCell::new(),
            idle: Mutex::default(),
        })
    }

    /// The certificate that the server showed last.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.tls.get()?.seen()
    }

    /// Whom these connections lead to.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends a request and waits for the head of the answer. Fails when no byte moves for `stall`.
    pub(crate) async fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
        stall: Duration,
    ) -> Result<Answer, Error> {
        loop {
            let (mut connection, is_warm) = self.take().await?;
            let gauge = request.body().gauge();
            let moved = Arc::clone(&connection.moved);
            let sending = connection.sender.try_send_request(request);
            match unless_stalled(sending, &moved, gauge.as_deref(), stall).await? {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let pool = Arc::clone(self);
                    return Ok(Answer {
                        head,
                        body,
                        gauge,
                        stall,
                        connection: Some(connection),
                        pool,
                    });
                }
                Err(mut failed) => match failed.take_message() {
                    // A warm connection that the server had closed meanwhile: nothing was sent, nothing is lost.
                    Some(unsent) if is_warm => request = unsent,
                    _ => return Err(self.describe(&failed.into_error())),
                },
            }
        }
    }

    async fn take(&self) -> Result<(Connection, bool), Error> {
        loop {
            let warm = self.idle.lock().ok().and_then(|mut idle| idle.pop());
            match warm {
                Some(mut connection) => {
                    if !connection.sender.is_closed() && connection.sender.ready().await.is_ok() {
                        return Ok((connection, true));
                    }
                }
                None => return Ok((self.connect().await?, false)),
            }
        }
    }

    fn give_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < IDLE_MAX
        {
            idle.push(connection);
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let tcp = reach(&self.origin).await?;
        let moved = Arc::new(AtomicU64::new(0));
        let wire = Watched {
            tcp,
            moved: Arc::clone(&moved),
        };
        let (sender, driver) = if self.origin.is_tls {
            let tls = self
                .tls
                .get_or_try_init(async || Tls::new(&self.trust))
                .await?;
            let shaken = shake(tls, &self.origin, wire).await?;
            self.speak(shaken.map_err(|error| not_tls(&self.origin, &error))?)
                .await?
        } else {
            self.speak(wire).await?
        };
        Ok(Connection {
            sender,
            moved,
            driver,
        })
    }

    /// Begins HTTP/1.1 on a stream.
    async fn speak<S>(&self, stream: S) -> Result<(http1::SendRequest<Body>, AbortHandle), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .read_buf_exact_size(Some(READ_BYTES))
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|error| self.describe(&error))?;
        let driver = tokio::spawn(async move {
            // Its failures reach the one who waits for the answer.
            let _ = connection.await;
        });
        Ok((sender, driver.abort_handle()))
    }

    /// A failure of the connection, in words.
    fn describe(&self, error: &hyper::Error) -> Error {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            // Our own body broke off: that is the caller's failure, and not the network's.
            if cause.is::<super::body::Broken>() {
                return Error::new(Kind::Refused, cause.to_string());
            }
            why = cause.to_string();
            source = cause.source();
        }
        Error::network(format!("connection to {} lost: {why}", self.origin))
    }
}

impl Answer {
    /// The next piece of the body.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(connection) = &self.connection else {
                return Ok(None);
            };
            let moved = Arc::clone(&connection.moved);
            let next = self.body.frame();
            match unless_stalled(next, &moved, self.gauge.as_deref(), self.stall).await? {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(self.pool.describe(&error)),
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.pool.give_back(connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body, which must not be longer than `bytes_max`.
    pub(crate) async fn bytes(mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            if all.len() + piece.len() > bytes_max {
                return Err(Error::protocol(format!(
                    "the server's answer is longer than {bytes_max} bytes"
                )));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// A field of the head as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}

/// A TCP connection.
async fn reach(origin: &Origin) -> Result<TcpStream, Error> {
    let Origin { host, port, .. } = origin;
    let failed = |why: String| {
        Error::unreachable(format!("cannot reach {origin}: {why}"))
            .with_hint("is the server running? `gfl config HOST:PORT` sets the address")
    };
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), *port)))
        .await
        .map_err(|_| failed(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    // Small requests must not wait for the acknowledgement of earlier ones.
    tcp.set_nodelay(true)
        .map_err(|error| failed(error.to_string()))?;
    Ok(tcp)
}

/// A TLS handshake. The inner error: what is there does not speak TLS, or not to us.
async fn shake<S>(
    tls: &Tls,
    origin: &Origin,
    stream: S,
) -> Result<Result<TlsStream<S>, io::Error>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(CONNECT_TIMEOUT, tls.connect(&origin.host, stream)).await {
        Ok(Ok(stream)) => Ok(Ok(stream)),
        Ok(Err(error)) => match tls.describe(&error, origin) {
            Some(about_certificate) => Err(about_certificate),
            None => Ok(Err(error)),
        },
        Err(_) => Ok(Err(io::ErrorKind::TimedOut.into())),
    }
}

/// A handshake that failed for something else than the certificate. A connection that broke may do better next time;
/// another protocol will not.
fn not_tls(origin: &Origin, error: &io::Error) -> Error {
    let message = format!("no encrypted connection to {origin}: {error}");
    if error
        .get_ref()
        .is_some_and(|cause| cause.is::<rustls::Error>())
    {
        Error::new(Kind::Refused, message)
            .with_hint("does it speak TLS at this port? An address with http:// goes without")
    } else {
        Error::unreachable(message)
    }
}

/// What is found behind an address.
#[derive(Debug)]
pub(crate) enum Look {
    /// A server that speaks TLS and shows this.
    Tls(Certificate),
    /// Something else, and how that showed.
    Other(Error),
}

/// Looks who is there, by a TLS handshake on which nothing is sent.
pub(crate) async fn look(origin: &Origin, trust: &Trust) -> Result<Look, Error> {
    let tls = Tls::look(trust)?;
    let tcp = reach(origin).await?;
    match shake(&tls, origin, tcp).await? {
        Ok(_) => match tls.seen() {
            Some(certificate) => Ok(Look::Tls(certificate)),
            None => Ok(Look::Other(Error::protocol(
                "the server showed no certificate",
            ))),
        },
        Err(error) => Ok(Look::Other(not_tls(origin, &error))),
    }
}

/// Waits for `work` as long as bytes move in either direction, or as long as it is we who hold things up.
async fn unless_stalled<F: Future>(
    work: F,
    moved: &AtomicU64,
    gauge: Option<&Gauge>,
    stall: Duration,
) -> Result<F::Output, Error> {
    let mut work = std::pin::pin!(work);
    let mut seen = moved.load(Relaxed);
    loop {
        if let Ok(output) = timeout(stall, &mut work).await {
            return Ok(output);
        }
        let now = moved.load(Relaxed);
        if now == seen && !gauge.is_some_and(Gauge::is_starved) {
            return Err(Error::network(format!(
                "no byte moved for {} s",
                stall.as_secs()
            )));
        }
        seen = now;
    }
}

/// Counts the bytes that move.
struct Watched {
    tcp: TcpStream,
    moved: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(context, buf);
        self.moved
            .fetch_add((buf.filled().len() - before) as u64, Relaxed);
        polled
    }
}

impl Watched {
    fn count(&self, polled: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &polled {
            self.moved.fetch_add(*written as u64, Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(context, buf);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write_vectored(context, bufs);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
