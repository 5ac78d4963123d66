//! The body of a request while it arrives. Turns whatever carries it into the core's [`BodyStream`], gives up on
//! a client that has stopped sending, and knows afterwards whether the connection can be used again.
//! Knows nothing of what the bytes mean.

use crate::pace::{Noting, Pace};
use crate::standing::{REVOKED, Standing};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use gfl_core::files::{BodyBroken, BodyStream};
use http_body::Body as _;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// A body that brings no byte for so long, or on average less than [`crate::pace::RATE_BYTES_PER_S_MIN`], is broken.
const BODY_WINDOW_MS: u64 = 60_000;
/// An unread body up to this size is read and thrown away, so that the connection stays usable. Small, because its
/// buffer stays with the connection, and anybody may send such a body.
const DRAIN_BYTES_MAX: u64 = 16 * 1024;
/// … if it comes within this time.
const DRAIN_MS_MAX: u64 = 1_000;
/// Over HTTP/2 a stream whose body nobody reads is reset this long after its answer. At once would do by the protocol
/// (RFC 9113 section 8.1), but several clients, curl 7 among them, then forget the answer.
const RESET_MS_MIN: u64 = 1_000;
/// A piece up to this size is copied: as a part of the buffer that it was read into it would keep that alive, and a
/// body that comes byte by byte would take thousands of times its size.
const COPY_BYTES_MAX: usize = 4 * 1024;

enum Source {
    Socket(Incoming),
    /// Tests, and other protocols later.
    Given(Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>),
}

struct Inner {
    source: Source,
    taken_bytes: Arc<AtomicU64>,
    counter: Option<Arc<AtomicU64>>,
    started: bool,
    ended: bool,
    /// Whether its sender may go on.
    standing: Option<Standing>,
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

/// Counts the bytes of a body while they arrive.
#[derive(Default)]
pub struct Received(Option<Arc<AtomicU64>>);

impl Received {
    /// The bytes so far; none where there is no body.
    pub fn bytes(&self) -> Option<u64> {
        self.0.as_ref().map(|bytes| bytes.load(Relaxed))
    }
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
            taken_bytes: Arc::default(),
            counter: None,
            standing: None,
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

    /// The counter of what arrives.
    pub fn received(&self) -> Received {
        let inner = self.inner.as_ref();
        Received(inner.map(|inner| Arc::clone(&lock(inner).taken_bytes)))
    }

    /// Counts what arrives there as well.
    pub fn count_into(&self, counter: Arc<AtomicU64>) {
        if let Some(inner) = &self.inner {
            lock(inner).counter = Some(counter);
        }
    }

    /// Breaks off when whoever sends it may not go on.
    pub fn only_while(&self, standing: Option<Standing>) {
        if let Some(inner) = &self.inner {
            lock(inner).standing = standing;
        }
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
            Some(inner) => {
                let came = Arc::new(Noting::default());
                Box::pin(Pieces {
                    inner,
                    pace: Pace::new(BODY_WINDOW_MS),
                    waker: Waker::from(Arc::clone(&came)),
                    came,
                    over: false,
                })
            }
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
    /// Called when [`Rest::settle`] said no, where a body can be ended by itself: keeps what nobody reads a little
    /// longer, so that the answer arrives first. The client can send no more of it than its window holds.
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
                .map(|n| n.saturating_sub(state.taken_bytes.load(Relaxed)));
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
        if self.standing.as_ref().is_some_and(Standing::was_lost) {
            return Poll::Ready(Some(Err(REVOKED.to_owned())));
        }
        self.started = true;
        loop {
            let piece = match &mut self.source {
                Source::Given(stream) => ready!(stream.as_mut().poll_next(cx)),
                Source::Socket(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    None => None,
                    Some(Err(e)) => Some(Err(e.to_string())),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => Some(Ok(of_own_size(bytes))),
                        // Trailers carry nothing that is understood here.
                        Err(_) => continue,
                    },
                },
            };
            let is_last = match &self.source {
                _ if piece.is_none() => true,
                Source::Socket(body) => body.is_end_stream(),
                Source::Given(_) => false,
            };
            let is_lost = self
                .standing
                .as_mut()
                .is_some_and(|standing| match is_last {
                    true => standing.is_lost_now(),
                    false => standing.is_lost(),
                });
            if is_lost {
                return Poll::Ready(Some(Err(REVOKED.to_owned())));
            }
            self.ended = is_last;
            if let Some(Ok(bytes)) = &piece {
                self.taken_bytes.fetch_add(bytes.len() as u64, Relaxed);
                if let Some(counter) = &self.counter {
                    counter.fetch_add(bytes.len() as u64, Relaxed);
                }
            }
            return Poll::Ready(piece);
        }
    }
}

fn of_own_size(bytes: Bytes) -> Bytes {
    match bytes.len() <= COPY_BYTES_MAX {
        true => Bytes::copy_from_slice(&bytes),
        false => bytes,
    }
}

struct Pieces {
    inner: Arc<Mutex<Inner>>,
    pace: Pace,
    /// When the next piece was there, however late it is asked for.
    came: Arc<Noting>,
    waker: Waker,
    over: bool,
}

impl Stream for Pieces {
    type Item = Result<Bytes, BodyBroken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        this.came.register(cx);
        if let Some(at) = this.came.take() {
            this.pace.heard(at);
        }
        let mut noting = Context::from_waker(&this.waker);
        let piece = lock(&this.inner).poll_piece(&mut noting);
        if let Poll::Ready(piece) = piece {
            return Poll::Ready(match piece {
                Some(Err(why)) => {
                    this.over = true;
                    Some(Err(BodyBroken(format!("the body broke off: {why}"))))
                }
                Some(Ok(bytes)) => {
                    this.pace.moved(bytes.len() as u64);
                    Some(Ok(bytes))
                }
                None => {
                    this.over = true;
                    None
                }
            });
        }
        let too_slow = ready!(this.pace.poll_wait(cx));
        this.over = true;
        Poll::Ready(Some(Err(BodyBroken(too_slow.to_string()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, stream};
    use tokio::time::Instant;

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
        assert_eq!(begun.elapsed().as_secs(), BODY_WINDOW_MS / 1000);
        assert!(next(&mut silent).await.is_none());
    }

    /// Pieces of so many bytes, one every so many seconds.
    fn trickle(bytes: usize, seconds: u64) -> RequestBody {
        let pieces = stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Some((Ok(Bytes::from(vec![0; bytes])), ()))
        });
        RequestBody::given(pieces, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickling_body_is_broken_and_a_slow_one_is_not() {
        let mut drops = trickle(1, 50).into_stream();
        assert!(next(&mut drops).await.unwrap().is_ok());
        let begun = Instant::now();
        let BodyBroken(why) = next(&mut drops).await.unwrap().unwrap_err();
        assert_eq!(why, "less than 1 KiB/s for 60 s");
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!(next(&mut drops).await.is_none());

        let mut slow = trickle(10 * 1024, 9).into_stream();
        for _ in 0..1000 {
            assert!(next(&mut slow).await.unwrap().is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_slow_itself_does_not_blame_the_client() {
        let (send, receive) = futures_channel(1);
        let mut body = RequestBody::given(receive, None).into_stream();
        for _ in 0..100 {
            // Asked for, not there yet; comes at once; fetched after a minute at the disk.
            assert!(next(&mut body).now_or_never().is_none());
            send.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
            tokio::time::advance(Duration::from_secs(59)).await;
            assert!(next(&mut body).await.unwrap().is_ok());
        }
    }

    /// A queue as a stream.
    fn futures_channel(
        len: usize,
    ) -> (
        tokio::sync::mpsc::Sender<Result<Bytes, String>>,
        impl Stream<Item = Result<Bytes, String>> + Send,
    ) {
        let (send, mut receive) = tokio::sync::mpsc::channel(len);
        (send, stream::poll_fn(move |cx| receive.poll_recv(cx)))
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
