//! The body of a request while it arrives. Turns whatever carries it into the core's [`BodyStream`], gives up on
//! a client that has stopped sending, and knows afterwards whether the connection can be used again.
//! Knows nothing of what the bytes mean.

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use gfl_core::files::{BodyBroken, BodyStream};
use http_body::Body as _;
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body that brings no byte for so long is broken.
const STALL_MS_MAX: u64 = 60_000;
/// Over HTTP/2 a stream whose body nobody reads is reset this long after its answer. At once would do by the protocol
/// (RFC 9113 section 8.1), but several clients, curl 7 among them, then forget the answer.
const RESET_MS_MIN: u64 = 1_000;
/// An unread body up to this size is read and thrown away, so that the connection stays usable.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// … if it comes within this time.
const DRAIN_MS_MAX: u64 = 1_000;

enum Source {
    Socket(Incoming),
    /// Tests, and other protocols later.
    Given(Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>),
}

struct Inner {
    source: Source,
    taken_bytes: u64,
    started: bool,
    ended: bool,
}

/// The body of a request. Empty without any allocation when the request has none.
pub struct RequestBody {
    inner: Option<Arc<Mutex<Inner>>>,
    declared_bytes: Option<u64>,
}

/// What remains with the connection after a handler took the body.
pub struct Rest {
    inner: Option<Arc<Mutex<Inner>>>,
    declared_bytes: Option<u64>,
}

/// Why a body could not be read whole.
#[derive(Debug)]
pub enum ReadError {
    /// Longer than allowed.
    TooLarge,
    /// The client stopped.
    Broken(String),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> RequestBody {
        RequestBody {
            inner: None,
            declared_bytes: Some(0),
        }
    }

    /// What hyper reads from the socket.
    pub fn from_socket(incoming: Incoming) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::empty();
        }
        let declared_bytes = incoming.size_hint().exact();
        RequestBody::of(Source::Socket(incoming), declared_bytes)
    }

    /// Pieces from elsewhere; an `Err` is a broken connection.
    pub fn given(
        pieces: impl Stream<Item = Result<Bytes, String>> + Send + 'static,
        declared_bytes: Option<u64>,
    ) -> RequestBody {
        RequestBody::of(Source::Given(Box::pin(pieces)), declared_bytes)
    }

    /// Bytes in memory.
    pub fn full(bytes: impl Into<Bytes>) -> RequestBody {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        RequestBody::given(futures_util::stream::iter([Ok(bytes)]), Some(len))
    }

    fn of(source: Source, declared_bytes: Option<u64>) -> RequestBody {
        let inner = Inner {
            source,
            taken_bytes: 0,
            started: false,
            ended: false,
        };
        RequestBody {
            inner: Some(Arc::new(Mutex::new(inner))),
            declared_bytes,
        }
    }

    /// Content-Length, or zero without a body; `None` when it is chunked.
    pub fn declared_bytes(&self) -> Option<u64> {
        self.declared_bytes
    }

    /// The part that stays with the connection.
    pub fn rest(&self) -> Rest {
        Rest {
            inner: self.inner.clone(),
            declared_bytes: self.declared_bytes,
        }
    }

    /// The body as the core takes it.
    pub fn into_stream(self) -> BodyStream {
        match self.inner {
            None => Box::pin(futures_util::stream::empty()),
            Some(inner) => Box::pin(Pieces {
                inner,
                stalled: Box::pin(tokio::time::sleep(Duration::from_millis(STALL_MS_MAX))),
                heard: Instant::now(),
                over: false,
            }),
        }
    }

    /// The whole body, at most `bytes_max`.
    pub async fn read_all(self, bytes_max: usize) -> Result<Bytes, ReadError> {
        if self.declared_bytes.is_some_and(|n| n > bytes_max as u64) {
            return Err(ReadError::TooLarge);
        }
        let mut stream = self.into_stream();
        let mut whole = BytesMut::new();
        while let Some(piece) = next(&mut stream).await {
            let piece = piece.map_err(|BodyBroken(why)| ReadError::Broken(why))?;
            if whole.len() + piece.len() > bytes_max {
                return Err(ReadError::TooLarge);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// The next piece of a body.
pub async fn next(stream: &mut BodyStream) -> Option<Result<Bytes, BodyBroken>> {
    std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

impl Rest {
    /// Called when [`Rest::settle`] said no, where a body can be ended by itself: keeps what nobody reads a little longer, so that the answer arrives first. The client can send no more of it than its
    /// window holds.
    pub fn outlive_the_answer(self) {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(RESET_MS_MIN)).await;
            drop(self);
        });
    }

    /// Called when the answer is ready. Throws a short rest of the body away; true when the connection can be
    /// used again, false when it must be closed after the answer.
    pub async fn settle(&self, expects_continue: bool) -> bool {
        let Some(inner) = &self.inner else {
            return true;
        };
        {
            let state = lock(inner);
            if state.ended {
                return true;
            }
            if Arc::strong_count(inner) > 1 {
                // The answer is made while the body is being read, now or soon: it belongs to whoever reads it.
                return true;
            }
            let left = self
                .declared_bytes
                .map(|n| n.saturating_sub(state.taken_bytes));
            // Reading now would invite a client that waits for "100 Continue" to send what nobody wants.
            if (expects_continue && !state.started) || left.is_none_or(|n| n > DRAIN_BYTES_MAX) {
                return false;
            }
        }
        let drain = async {
            let mut dropped_bytes = 0;
            while let Some(piece) = std::future::poll_fn(|cx| lock(inner).poll_piece(cx)).await {
                match piece {
                    Ok(bytes) => dropped_bytes += bytes.len() as u64,
                    Err(_) => return false,
                }
                if dropped_bytes > DRAIN_BYTES_MAX {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(Duration::from_millis(DRAIN_MS_MAX), drain)
            .await
            .unwrap_or(false)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.started = true;
        loop {
            let piece = match &mut self.source {
                Source::Given(stream) => ready!(stream.as_mut().poll_next(cx)),
                Source::Socket(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    None => None,
                    Some(Err(e)) => Some(Err(e.to_string())),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => Some(Ok(bytes)),
                        // Trailers carry nothing that is understood here.
                        Err(_) => continue,
                    },
                },
            };
            match &piece {
                None => self.ended = true,
                Some(Ok(bytes)) => self.taken_bytes += bytes.len() as u64,
                Some(Err(_)) => {}
            }
            if let Source::Socket(body) = &self.source
                && body.is_end_stream()
            {
                self.ended = true;
            }
            return Poll::Ready(piece);
        }
    }
}

struct Pieces {
    inner: Arc<Mutex<Inner>>,
    stalled: Pin<Box<Sleep>>,
    heard: Instant,
    over: bool,
}

impl Stream for Pieces {
    type Item = Result<Bytes, BodyBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(piece) = lock(&this.inner).poll_piece(cx) {
            this.heard = Instant::now();
            return Poll::Ready(match piece {
                Some(Err(why)) => {
                    this.over = true;
                    Some(Err(BodyBroken(format!("the body broke off: {why}"))))
                }
                Some(Ok(bytes)) => Some(Ok(bytes)),
                None => {
                    this.over = true;
                    None
                }
            });
        }
        // The timer is moved only when it fires: resetting it for every piece would cost more than the piece.
        while this.stalled.as_mut().poll(cx).is_ready() {
            let deadline = this.heard + Duration::from_millis(STALL_MS_MAX);
            if Instant::now() >= deadline {
                this.over = true;
                let seconds = STALL_MS_MAX / 1000;
                return Poll::Ready(Some(Err(BodyBroken(format!("no byte for {seconds} s")))));
            }
            this.stalled.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn reads_whole_bodies_up_to_a_limit() {
        assert_eq!(RequestBody::full("abc").read_all(3).await.unwrap(), "abc");
        assert!(matches!(
            RequestBody::full("abc").read_all(2).await,
            Err(ReadError::TooLarge)
        ));
        let chunked = RequestBody::given(stream::iter([Ok("ab".into()), Ok("c".into())]), None);
        assert!(matches!(
            chunked.read_all(2).await,
            Err(ReadError::TooLarge)
        ));
        let broken = RequestBody::given(stream::iter([Err("reset".into())]), Some(5));
        assert!(matches!(
            broken.read_all(9).await,
            Err(ReadError::Broken(_))
        ));
        assert_eq!(RequestBody::empty().read_all(0).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_is_broken() {
        let mut silent = RequestBody::given(stream::pending(), Some(5)).into_stream();
        let begun = Instant::now();
        assert!(next(&mut silent).await.unwrap().is_err());
        assert_eq!(begun.elapsed().as_millis() as u64 / 100, STALL_MS_MAX / 100);
        assert!(next(&mut silent).await.is_none());
    }

    #[tokio::test]
    async fn an_unread_rest_decides_about_the_connection() {
        let unread = |len: Option<u64>, expects| async move {
            let body = RequestBody::given(stream::iter([Ok(Bytes::from_static(b"abcde"))]), len);
            let rest = body.rest();
            drop(body);
            rest.settle(expects).await
        };
        assert!(unread(Some(5), false).await);
        assert!(!unread(Some(5), true).await);
        assert!(!unread(None, false).await);
        assert!(!unread(Some(1 << 30), false).await);
        assert!(RequestBody::empty().rest().settle(true).await);
    }
}
