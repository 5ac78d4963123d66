//! A stream, encrypted or not, with the deadlines that hyper does not keep: a request head that trickles, an answer
//! that nobody reads, and a last answer that must arrive although the client is still sending.
//! Knows bytes and time, not HTTP.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// A request head must be complete this long after its first byte.
const HEAD_MS_MAX: u64 = 10_000;
/// A peer that takes no byte of an answer for so long is cut off.
const WRITE_STALL_MS_MAX: u64 = 120_000;
/// After an answer to a body that nobody read, what still comes is thrown away for at most so long …
const LINGER_MS_MAX: u64 = 2_000;
/// … and at most so many bytes. Closing at once would reset the connection and destroy the answer on its way.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a connection stands, told by the request handler to the socket.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// A request is being handled: bytes that arrive are a body.
    busy: AtomicBool,
    /// Heads read so far.
    heads: AtomicU32,
    /// The last answer left a body unread.
    unread: AtomicBool,
}

impl Phase {
    pub(super) fn head_read(&self) {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, reusable: bool) {
        self.unread.store(!reusable, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }
}

pub(super) struct Socket<S> {
    stream: S,
    phase: Arc<Phase>,
    /// Runs from the first byte of a head until the head is complete.
    head: Option<Pin<Box<Sleep>>>,
    /// Heads read when `head` was last looked at; a request may begin and end between two reads.
    heads_seen: u32,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, phase: Arc<Phase>) -> Socket<S> {
        Socket {
            stream,
            phase,
            head: None,
            heads_seen: 0,
            stall: None,
        }
    }

    /// Closes so that the last answer arrives.
    pub(super) async fn close(mut self) {
        let unread = self.phase.unread.load(Ordering::Relaxed);
        let linger = async {
            // Over TLS this has something to send, which waits for a peer that reads nothing.
            let _ = self.stream.shutdown().await;
            if !unread {
                return;
            }
            let mut buf = vec![0; 16 * 1024];
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                match self.stream.read(&mut buf).await {
                    Ok(0) | Err(_) => return,
                    Ok(n) => left = left.saturating_sub(n),
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS_MAX), linger).await;
    }

    /// Passes the result of a write on, and gives up when it has waited too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep_ms(WRITE_STALL_MS_MAX)));
        if stall.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer reads nothing of the answer",
            )));
        }
        Poll::Pending
    }
}

fn sleep_ms(ms: u64) -> Sleep {
    tokio::time::sleep(Duration::from_millis(ms))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let heads = this.phase.heads.load(Ordering::Relaxed);
        if heads != this.heads_seen {
            this.heads_seen = heads;
            this.head = None;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.phase.busy.load(Ordering::Relaxed) {
            return read;
        }
        if buf.filled().len() > before && this.head.is_none() {
            this.head = Some(Box::pin(sleep_ms(HEAD_MS_MAX)));
        }
        if read.is_pending()
            && let Some(head) = this.head.as_mut()
            && head.as_mut().poll(cx).is_ready()
        {
            let why = "the request head did not arrive in time";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // Encrypted bytes wait in the stream, so flushing it and saying goodbye can stall too.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.unless_stalled(cx, shut)
    }
}
