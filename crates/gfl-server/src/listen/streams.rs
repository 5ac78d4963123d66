//! The streams of HTTP/2 connections: how many run, whether anything moves in them, and what all connections share.
//! Knows no frames; hyper has those.

use super::IDLE_MS_MAX;
use crate::body::{Body, BodyError};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Requests that run at once on all connections together, beyond one for each: with 4096 connections it is not the
/// limit of one connection that keeps memory small.
const EXTRA_STREAMS_MAX: usize = 512;
/// Received and unread bytes of request bodies, over all connections, beyond [`WINDOW_FLOOR_BYTES`] for each.
const WINDOWS_BYTES: usize = 8 * 1024 * 1024;
/// What one connection may send without waiting for us: as much as there is left. 1 MiB fills 20 MB/s at 50 ms.
const WINDOW_BYTES: [usize; 2] = [1024 * 1024, 256 * 1024];
/// … and never less than the protocol's own start.
const WINDOW_FLOOR_BYTES: usize = 64 * 1024;
/// Answers that wait for the peer, all of them, for so long.
const STALL_MS_MAX: u64 = 120_000;
/// Requests taken back by the client before they were answered: more than these, and more than half of all, is an
/// attack (rapid reset, CVE-2023-44487) and no change of mind.
const CANCELLED_MAX: u32 = 100;

/// What all HTTP/2 connections share.
#[derive(Debug)]
pub struct Shares {
    streams: Arc<Semaphore>,
    windows: Arc<Semaphore>,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares {
            streams: Arc::new(Semaphore::new(EXTRA_STREAMS_MAX)),
            windows: Arc::new(Semaphore::new(WINDOWS_BYTES)),
        }
    }
}

/// How much one connection may send ahead. Dropping it gives the bytes to others.
pub(super) struct Window {
    bytes: usize,
    _taken: Option<OwnedSemaphorePermit>,
}

impl Window {
    pub(super) fn bytes(&self) -> u32 {
        u32::try_from(self.bytes).unwrap_or(u32::MAX)
    }
}

impl Shares {
    /// A window for a new connection. Always granted, perhaps small.
    pub(super) fn window(&self) -> Window {
        let take = |bytes: usize| {
            let amount = u32::try_from(bytes).ok()?;
            let taken = Arc::clone(&self.windows)
                .try_acquire_many_owned(amount)
                .ok()?;
            Some(Window {
                bytes,
                _taken: Some(taken),
            })
        };
        WINDOW_BYTES.into_iter().find_map(take).unwrap_or(Window {
            bytes: WINDOW_FLOOR_BYTES,
            _taken: None,
        })
    }
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    born: Instant,
    /// Requests whose answers have not been handed over whole.
    open: AtomicU32,
    /// Those of them that wait for the peer: a piece is handed over and the next not asked for.
    waiting: AtomicU32,
    begun: AtomicU32,
    cancelled: AtomicU32,
    /// When something moved last, in milliseconds since `born`.
    moved_ms: AtomicU64,
    abuse: Notify,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; look again then.
    Wait(Instant),
    /// It has been used for nothing for long enough.
    Idle,
    /// Its peer takes nothing.
    Stalled,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            born: Instant::now(),
            open: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            moved_ms: AtomicU64::new(0),
            abuse: Notify::new(),
        }
    }
}

impl Streams {
    /// How long until [`Streams::verdict`] can have something to say.
    pub(super) fn first_look(&self) -> Duration {
        Duration::from_millis(IDLE_MS_MAX)
    }

    /// What is to be done now.
    pub(super) fn verdict(&self) -> Verdict {
        let open = self.open.load(Relaxed);
        let limit_ms = match open {
            0 => IDLE_MS_MAX,
            _ => STALL_MS_MAX,
        };
        let moved = self.born + Duration::from_millis(self.moved_ms.load(Relaxed));
        let limit = Duration::from_millis(limit_ms);
        let now = Instant::now();
        if open > 0 && self.waiting.load(Relaxed) < open {
            // A handler is at work, or content is being read: whatever takes long, it is not the peer.
            return Verdict::Wait(now + limit);
        }
        match (moved + limit > now, open) {
            (true, _) => Verdict::Wait(moved + limit),
            (false, 0) => Verdict::Idle,
            (false, _) => Verdict::Stalled,
        }
    }

    /// Resolves when the client only makes work.
    pub(super) async fn abused(&self) {
        self.abuse.notified().await;
    }

    fn moved(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Relaxed);
    }
}

/// One request that runs.
pub(super) struct Running {
    streams: Arc<Streams>,
    _extra: Option<OwnedSemaphorePermit>,
    waiting: bool,
    finished: bool,
}

impl Running {
    /// Counts a request. None when all connections together have too many.
    pub(super) fn begin(streams: &Arc<Streams>, shares: &Shares) -> Option<Running> {
        let extra = match streams.open.load(Relaxed) {
            // One request at a time is what a connection is for.
            0 => None,
            _ => Some(Arc::clone(&shares.streams).try_acquire_owned().ok()?),
        };
        streams.open.fetch_add(1, Relaxed);
        streams.begun.fetch_add(1, Relaxed);
        streams.moved();
        Some(Running {
            streams: Arc::clone(streams),
            _extra: extra,
            waiting: false,
            finished: false,
        })
    }

    fn set_waiting(&mut self, waiting: bool) {
        if waiting != self.waiting {
            self.waiting = waiting;
            match waiting {
                true => self.streams.waiting.fetch_add(1, Relaxed),
                false => self.streams.waiting.fetch_sub(1, Relaxed),
            };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.set_waiting(false);
        let streams = &self.streams;
        streams.open.fetch_sub(1, Relaxed);
        streams.moved();
        if self.finished {
            return;
        }
        let cancelled = streams.cancelled.fetch_add(1, Relaxed) + 1;
        if cancelled > CANCELLED_MAX && cancelled > streams.begun.load(Relaxed) / 2 {
            streams.abuse.notify_one();
        }
    }
}

/// The body of an answer, which counts as running until it is handed over.
pub(super) struct Counted {
    body: Body,
    running: Option<Running>,
}

impl Counted {
    pub(super) fn new(body: Body, running: Option<Running>) -> Counted {
        Counted { body, running }
    }

    fn note(&mut self, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.running.as_mut() {
            running.streams.moved();
            change(running);
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Whoever asks for the next piece has got rid of the last.
        self.note(|running| running.set_waiting(false));
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &next {
            Some(Ok(_)) => self.note(|running| running.set_waiting(true)),
            // An answer that we break off is no whim of the client's.
            Some(Err(_)) | None => self.note(|running| running.finished = true),
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // A body of known length is not asked for its end.
        if self.body.is_end_stream() {
            self.note(|running| running.finished = true);
        }
    }
}
