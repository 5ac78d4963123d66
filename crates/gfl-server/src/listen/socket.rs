//! A stream, encrypted or not, with the deadlines that hyper does not keep: a request head that trickles, an answer
//! that nobody reads or that is read drop by drop, and a last answer that must arrive although the client is still
//! sending.
//! Knows bytes and time, not HTTP.

use super::slots::{Running, Slot};
use crate::pace::Pace;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A request head must be complete this long after its first byte.
const HEAD_MS_MAX: u64 = 10_000;
/// A peer that takes no byte of an answer for so long, or on average less than [`crate::pace::RATE_BYTES_PER_S_MIN`],
/// is cut off. Longer than for a body, because the kernel tells of room in its buffer only when there is much of it.
const ANSWER_WINDOW_MS: u64 = 120_000;
/// Read at once while a head is expected. More would let everybody fill a large buffer with requests that he does not
/// wait for the answers to.
const HEAD_READ_BYTES_MAX: usize = 8 * 1024;
/// After an answer to a body that nobody read, what still comes is thrown away for at most so long …
const LINGER_MS_MAX: u64 = 2_000;
/// … and at most so many bytes. Closing at once would reset the connection and destroy the answer on its way.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Small, because everybody can make a connection end like this.
const LINGER_BUF_BYTES: usize = 4 * 1024;

/// Where a connection stands, told by the request handler to the socket.
pub(super) struct Phase {
    slot: Arc<Slot>,
    /// A request is being handled: bytes that arrive are a body.
    busy: AtomicBool,
    /// A head has begun, and its rest is waited for.
    partial: AtomicBool,
    /// Heads read so far.
    heads: AtomicU32,
    /// Something was read since the last head.
    fresh: AtomicBool,
    /// The last answer left a body unread.
    unread: AtomicBool,
    /// Bytes that the peer's side has taken.
    sent: AtomicU64,
}

impl Phase {
    pub(super) fn new(slot: Arc<Slot>) -> Phase {
        Phase {
            slot,
            busy: AtomicBool::new(false),
            partial: AtomicBool::new(false),
            heads: AtomicU32::new(0),
            fresh: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// For a connection that knows itself where its requests begin: several may run at once.
    pub(super) fn without_heads(slot: Arc<Slot>) -> Phase {
        let phase = Phase::new(slot);
        phase.busy.store(true, Ordering::Relaxed);
        phase
    }

    /// A request begins; to be dropped when its answer is sent. The flag says that it came together with the one
    /// before.
    pub(super) fn head_read(&self) -> (Running, bool) {
        let pipelined = !self.fresh.swap(false, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        self.partial.store(false, Ordering::Relaxed);
        (self.slot.run(), pipelined)
    }

    /// Nothing runs, and the next head has only begun.
    pub(super) fn is_in_head(&self) -> bool {
        self.partial.load(Ordering::Relaxed) && !self.slot.is_running()
    }

    /// Bytes that were taken from us since the beginning.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
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
    /// How fast answers are taken.
    taken: Pace,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, phase: Arc<Phase>) -> Socket<S> {
        Socket {
            stream,
            phase,
            head: None,
            heads_seen: 0,
            taken: Pace::new(ANSWER_WINDOW_MS),
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
            let mut buf = vec![0; LINGER_BUF_BYTES];
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
    fn unless_slow(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.taken.moved(bytes as u64);
            self.phase.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        self.unless_stalled(cx, written)
    }

    /// The same for what tells no bytes.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(done) => {
                self.taken.heard(Instant::now());
                Poll::Ready(done)
            }
            Poll::Pending => {
                let too_slow = ready!(self.taken.poll_wait(cx));
                let why = format!("the peer is too slow with the answer: {too_slow}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
        }
    }
}

fn sleep_ms(ms: u64) -> Sleep {
    tokio::time::sleep(Duration::from_millis(ms))
}

/// Reads at most so many bytes; how many it were.
fn read_some<S: AsyncRead>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    bytes_max: usize,
) -> Poll<io::Result<usize>> {
    let bytes_max = bytes_max.min(buf.remaining());
    let mut some = ReadBuf::new(buf.initialize_unfilled_to(bytes_max));
    ready!(stream.poll_read(cx, &mut some))?;
    let bytes = some.filled().len();
    buf.advance(bytes);
    Poll::Ready(Ok(bytes))
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
        if this.phase.busy.load(Ordering::Relaxed) {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let read = read_some(Pin::new(&mut this.stream), cx, buf, HEAD_READ_BYTES_MAX);
        let read = match read {
            Poll::Ready(Ok(bytes)) => {
                if bytes > 0 {
                    this.phase.fresh.store(true, Ordering::Relaxed);
                    this.head
                        .get_or_insert_with(|| Box::pin(sleep_ms(HEAD_MS_MAX)));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        };
        if read.is_pending()
            && let Some(head) = this.head.as_mut()
        {
            this.phase.partial.store(true, Ordering::Relaxed);
            if head.as_mut().poll(cx).is_ready() {
                let why = "the request head did not arrive in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
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
        self.unless_slow(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_slow(cx, written)
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
