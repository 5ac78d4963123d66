//! A stream, encrypted or not, with the limits that hyper does not keep: how much of a body is read at once, an answer
//! that nobody reads or that is read drop by drop, and a last answer that must arrive although the client is still
//! sending.
//! Knows bytes and time, not HTTP.

use super::head::Given;
use super::slots::{Cutoff, Running, Slot};
use crate::incoming::Received;
use crate::pace::Pace;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A peer that takes no byte of an answer for so long, or on average less than [`crate::pace::RATE_BYTES_PER_S_MIN`],
/// is cut off. Longer than for a body, because the kernel tells of room in its buffer only when there is much of it.
const ANSWER_WINDOW_MS: u64 = 120_000;
/// Read at once while a request runs and no content comes out of it …
const WARY_READ_BYTES: usize = 2 * 1024;
/// … and altogether: chunk extensions, trailers, and the next request. Nobody needs more of them, and they are kept
/// until they end.
const FRUITLESS_BYTES_MAX: usize = 2 * 1024;
/// Read at once of content, unless more is granted: one byte less than hyper's smallest buffer, because a full one
/// makes it twice as large.
const READ_BYTES_MAX: usize = 8 * 1024 - 1;
/// After an answer to a body that nobody read, what still comes is thrown away for at most so long …
const LINGER_MS_MAX: u64 = 2_000;
/// … and at most so many bytes. Closing at once would reset the connection and destroy the answer on its way.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Small, because everybody can make a connection end like this.
const LINGER_BUF_BYTES: usize = 4 * 1024;

/// Where a connection stands, told by the request handler to the socket and by both to who serves the connection.
pub(super) struct Phase {
    slot: Arc<Slot>,
    /// Bytes are frames of several requests at once, so that nothing can be said about one of them.
    framed: bool,
    /// A request has begun, and its answer is not made, or not handed over whole.
    running: AtomicBool,
    /// Heads read so far.
    heads: AtomicU32,
    /// The body of the last request.
    body: Mutex<Received>,
    /// Something was read since the last head.
    fresh: AtomicBool,
    /// The next head is asked for …
    wanted: AtomicBool,
    /// … and the last answer has been taken by the kernel.
    flushed: AtomicBool,
    /// The last answer left a body unread.
    unread: AtomicBool,
    /// Bytes that the peer's side has taken.
    sent: AtomicU64,
}

/// A request that runs. Dropped when its answer has been handed over or given up.
pub(super) struct Turn {
    phase: Arc<Phase>,
    _running: Running,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.phase.running.store(false, Ordering::Relaxed);
    }
}

impl Phase {
    pub(super) fn new(slot: Arc<Slot>) -> Phase {
        Phase {
            slot,
            framed: false,
            running: AtomicBool::new(false),
            heads: AtomicU32::new(0),
            body: Mutex::default(),
            fresh: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            flushed: AtomicBool::new(true),
            unread: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// For a connection that knows itself where its requests begin: several may run at once.
    pub(super) fn without_heads(slot: Arc<Slot>) -> Phase {
        Phase {
            framed: true,
            ..Phase::new(slot)
        }
    }

    /// A request begins. The flag says that it came together with the one before.
    pub(super) fn head_read(self: &Arc<Self>, body: Received) -> (Turn, bool) {
        let pipelined = !self.fresh.swap(false, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.running.store(true, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Relaxed);
        self.flushed.store(false, Ordering::Relaxed);
        *self.body.lock() = body;
        let turn = Turn {
            phase: Arc::clone(self),
            _running: self.slot.run(),
        };
        (turn, pipelined)
    }

    /// Nothing more is served after what runs.
    pub(super) fn is_told(&self) -> bool {
        self.slot.is_told()
    }

    /// Heads read so far.
    pub(super) fn heads(&self) -> u32 {
        self.heads.load(Ordering::Relaxed)
    }

    /// No request runs, all answers are out, and the next head is waited for.
    pub(super) fn is_between_requests(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is(&self.wanted) && is(&self.flushed) && !is(&self.running)
    }

    /// Bytes that were taken from us since the beginning.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self, reusable: bool) {
        self.unread.store(!reusable, Ordering::Relaxed);
    }

    /// What changes whenever the bytes that were read have come to something.
    fn fruit(&self) -> (u32, u64) {
        (self.heads(), self.body.lock().bytes().unwrap_or_default())
    }
}

pub(super) struct Socket<S> {
    stream: S,
    phase: Arc<Phase>,
    /// Read before, and not yet asked for.
    given: Given,
    /// What had come out of the bytes when somebody last looked.
    fruit: (u32, u64),
    /// Read since something came out.
    read_bytes: usize,
    /// Of these, after it was seen that nothing came out.
    wary_bytes: usize,
    /// What was read last was content.
    flows: bool,
    /// The right to read in large pieces.
    large: Option<OwnedSemaphorePermit>,
    /// How fast answers are taken.
    taken: Pace,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, phase: Arc<Phase>) -> Socket<S> {
        Socket {
            stream,
            phase,
            given: Given::default(),
            fruit: (0, 0),
            read_bytes: 0,
            wary_bytes: 0,
            flows: false,
            large: None,
            taken: Pace::new(ANSWER_WINDOW_MS),
        }
    }

    /// The next read gives this.
    pub(super) fn give(&mut self, given: Given) {
        self.given = given;
        self.phase.fresh.store(true, Ordering::Relaxed);
        self.phase.wanted.store(false, Ordering::Relaxed);
        self.phase.flushed.store(true, Ordering::Relaxed);
    }

    /// Between requests: reads at most `bytes_max` directly, however large the buffer of a request was.
    pub(super) fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        self.large = None;
        read_some(&mut self.stream, cx, bytes_max, take)
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

    /// How much may be read at once while a request runs; `None`: whatever there is.
    fn read_bytes_max(&mut self) -> io::Result<Option<usize>> {
        if self.phase.framed || self.large.is_some() {
            return Ok(None);
        }
        let fruit = self.phase.fruit();
        let last = std::mem::replace(&mut self.fruit, fruit);
        if fruit != last {
            let is_content = fruit.0 == last.0 && self.read_bytes > 0;
            if is_content && self.flows && self.read_bytes >= READ_BYTES_MAX {
                // The last read was full, and content came out of it: more follows.
                self.large = self.phase.slot.room().large_reads();
            }
            let content = fruit.1.saturating_sub(last.1);
            self.flows = is_content && content >= self.read_bytes as u64 / 2;
            (self.read_bytes, self.wary_bytes) = (0, 0);
        } else if self.read_bytes > 0 {
            // Once this may be because the content is being counted just now, but not twice.
            self.flows = false;
            if self.wary_bytes > FRUITLESS_BYTES_MAX {
                let why = "too much of the body is no content";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        Ok(match (&self.large, self.flows) {
            (Some(_), _) => None,
            (None, true) => Some(READ_BYTES_MAX),
            (None, false) => Some(WARY_READ_BYTES),
        })
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
                self.phase.slot.cut_by(Cutoff::AnswerTime);
                let why = format!("the peer is too slow with the answer: {too_slow}");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
        }
    }
}

/// Reads by way of the stack: a buffer that is offered and not filled must not become memory.
fn read_some<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    bytes_max: usize,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut some = [0; READ_BYTES_MAX];
    let mut some = ReadBuf::new(&mut some[..bytes_max.min(READ_BYTES_MAX)]);
    ready!(Pin::new(stream).poll_read(cx, &mut some))?;
    take(some.filled());
    Poll::Ready(Ok(some.filled().len()))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given.read(buf) {
            return Poll::Ready(Ok(()));
        }
        if !this.phase.framed && !this.phase.running.load(Ordering::Relaxed) {
            // Who serves the connection sees it, and reads the next head himself.
            this.phase.wanted.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        let Some(bytes_max) = this.read_bytes_max()? else {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        };
        let bytes_max = bytes_max.min(buf.remaining());
        let read = read_some(&mut this.stream, cx, bytes_max, |some| buf.put_slice(some));
        let bytes = ready!(read)?;
        this.read_bytes += bytes;
        if !this.flows {
            this.wary_bytes += bytes;
        }
        Poll::Ready(Ok(()))
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
        // hyper only asks when it has nothing left to write itself.
        if matches!(flushed, Poll::Ready(Ok(()))) && !self.phase.running.load(Ordering::Relaxed) {
            self.phase.flushed.store(true, Ordering::Relaxed);
        }
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.unless_stalled(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::LARGE_READS_MAX;
    use super::super::slots::Slots;
    use super::*;
    use crate::incoming::RequestBody;
    use futures_util::FutureExt;
    use std::net::Ipv4Addr;
    use tokio::io::DuplexStream;

    /// A connection that reads the body of a request, and the client's end of it.
    struct Bed {
        socket: Socket<DuplexStream>,
        theirs: DuplexStream,
        /// What the request's body takes its pieces from.
        content: tokio::sync::mpsc::UnboundedSender<usize>,
        body: gfl_core::files::BodyStream,
        _turn: Turn,
    }

    impl Bed {
        async fn new(slots: &Arc<Slots>) -> Bed {
            let (ours, theirs) = tokio::io::duplex(1024 * 1024);
            let slot = slots.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap();
            let phase = Arc::new(Phase::new(Arc::new(slot)));
            let (content, mut pieces) = tokio::sync::mpsc::unbounded_channel();
            let pieces = futures_util::stream::poll_fn(move |cx| {
                let piece = pieces.poll_recv(cx);
                piece.map(|bytes| bytes.map(|n| Ok(vec![0; n].into())))
            });
            let body = RequestBody::given(pieces, None);
            let (turn, _) = phase.head_read(body.received());
            Bed {
                socket: Socket::new(ours, phase),
                theirs,
                content,
                body: body.into_stream(),
                _turn: turn,
            }
        }

        /// The client sends so much at once; how much of it is read at once.
        async fn read(&mut self, sent: usize) -> io::Result<usize> {
            self.theirs.write_all(&vec![0; sent]).await.unwrap();
            let mut buf = vec![0; 64 * 1024];
            self.socket.read(&mut buf).await
        }

        /// So much of what was read turns out to be content.
        async fn yields(&mut self, bytes: usize) {
            self.content.send(bytes).unwrap();
            crate::incoming::next(&mut self.body)
                .await
                .unwrap()
                .unwrap();
        }
    }

    #[tokio::test]
    async fn large_pieces_are_for_content_that_flows() {
        let slots: Arc<Slots> = Arc::default();
        let mut flowing = Vec::new();
        for _ in 0..LARGE_READS_MAX {
            let mut bed = Bed::new(&slots).await;
            assert_eq!(bed.read(100_000).await.unwrap(), WARY_READ_BYTES);
            bed.yields(WARY_READ_BYTES - 9).await;
            assert_eq!(bed.read(1).await.unwrap(), READ_BYTES_MAX);
            bed.yields(READ_BYTES_MAX - 9).await;
            assert_eq!(bed.read(1).await.unwrap(), 64 * 1024);
            flowing.push(bed);
        }
        let mut bed = Bed::new(&slots).await;
        assert_eq!(bed.read(100_000).await.unwrap(), WARY_READ_BYTES);
        bed.yields(WARY_READ_BYTES).await;
        for _ in 0..3 {
            assert_eq!(bed.read(100_000).await.unwrap(), READ_BYTES_MAX);
            bed.yields(READ_BYTES_MAX).await;
        }
        // Whose request is over gives its room away.
        let mut last = flowing.pop().unwrap();
        let between = std::future::poll_fn(|cx| last.socket.poll_some(cx, 1, |_| {}));
        between.await.unwrap();
        assert_eq!(bed.read(100_000).await.unwrap(), 64 * 1024);
    }

    #[tokio::test]
    async fn a_body_that_is_not_content_is_broken_off() {
        let mut bed = Bed::new(&Arc::default()).await;
        for _ in 0..1000 {
            // Framing of small chunks.
            assert_eq!(bed.read(6).await.unwrap(), 6);
            bed.yields(1).await;
        }
        // A piece that is counted a little late is none of it.
        bed.read(WARY_READ_BYTES).await.unwrap();
        bed.yields(WARY_READ_BYTES).await;
        assert_eq!(bed.read(100_000).await.unwrap(), READ_BYTES_MAX);
        bed.read(1).await.unwrap();
        bed.yields(READ_BYTES_MAX).await;
        let mut read = 0;
        let why = loop {
            match bed.read(1000).await {
                Ok(bytes) => read += bytes,
                Err(why) => break why,
            }
        };
        let most = READ_BYTES_MAX + FRUITLESS_BYTES_MAX + WARY_READ_BYTES;
        assert!(read <= most, "{read}");
        assert_eq!(why.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn between_requests_nothing_is_read() {
        let slots: Arc<Slots> = Arc::default();
        let slot = slots.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let phase = Arc::new(Phase::new(Arc::new(slot)));
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut socket = Socket::new(ours, Arc::clone(&phase));
        theirs.write_all(b"GET").await.unwrap();
        let mut buf = [0; 9];
        assert!(socket.read(&mut buf).now_or_never().is_none());
        assert!(phase.is_between_requests());
        // While an answer is made, what comes may be the end of the connection.
        let (turn, pipelined) = phase.head_read(Received::default());
        assert!(pipelined && !phase.is_between_requests());
        assert_eq!(socket.read(&mut buf).await.unwrap(), 3);
        drop(turn);
        assert!(socket.read(&mut buf).now_or_never().is_none());
        assert!(!phase.is_between_requests(), "the answer is not out");
        socket.flush().await.unwrap();
        assert!(phase.is_between_requests());
    }
}
