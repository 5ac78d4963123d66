//! The body of a request: nothing, bytes at hand, or a stream that somebody else fills.
//!
//! Knows nothing of what the bytes mean. It counts what it hands out and tells when it has to wait for its source,
//! so that a slow disk is not taken for a dead network.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces that may wait between the one who reads and the one who sends.
const QUEUED_PIECES: usize = 4;

/// The body of a request.
pub(crate) enum Body {
    /// None.
    Empty,
    /// All of it, at hand.
    Full(Bytes),
    /// Filled through a [`Feed`].
    Stream(Stream),
}

/// The receiving end of a [`Feed`].
pub(crate) struct Stream {
    pieces: mpsc::Receiver<Result<Bytes, Broken>>,
    left: Option<u64>,
    gauge: Arc<Gauge>,
}

/// What is known about a body on its way.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    sent: AtomicU64,
    starved: AtomicBool,
}

/// The source failed: the request is to be torn down, not ended.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// The end that is filled.
pub(crate) type Feed = mpsc::Sender<Result<Bytes, Broken>>;

impl Gauge {
    /// Bytes handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether the connection waits for us.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Relaxed)
    }
}

impl Body {
    /// A stream of exactly `len` bytes, or of unknown length.
    pub(crate) fn stream(len: Option<u64>) -> (Feed, Arc<Gauge>, Self) {
        let (feed, pieces) = mpsc::channel(QUEUED_PIECES);
        let gauge = Arc::new(Gauge::default());
        let stream = Stream {
            pieces,
            left: len,
            gauge: Arc::clone(&gauge),
        };
        (feed, gauge, Self::Stream(stream))
    }

    /// The gauge of a stream.
    pub(crate) fn gauge(&self) -> Option<Arc<Gauge>> {
        match self {
            Self::Stream(stream) => Some(Arc::clone(&stream.gauge)),
            Self::Empty | Self::Full(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => stream.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = self.pieces.poll_recv(context);
        self.gauge.starved.store(piece.is_pending(), Relaxed);
        let piece = match piece {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        Poll::Ready(match (piece, self.left) {
            (Some(Ok(bytes)), left) => {
                let len = bytes.len() as u64;
                self.gauge.sent.fetch_add(len, Relaxed);
                match left {
                    Some(left) if left < len => {
                        Some(Err(Broken("more bytes than announced".into())))
                    }
                    _ => {
                        self.left = left.map(|left| left - len);
                        Some(Ok(Frame::data(bytes)))
                    }
                }
            }
            (Some(Err(broken)), _) => Some(Err(broken)),
            // The source went away before it was done: ending here would make a short body look whole.
            (None, Some(left)) if left > 0 => {
                Some(Err(Broken(format!("{left} bytes are missing"))))
            }
            (None, _) => None,
        })
    }
}
