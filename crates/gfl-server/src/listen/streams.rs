//! The streams of HTTP/2 connections: how many run, whether anything moves in them, and what all connections share.
//! Knows no frames; hyper has those.

use super::IDLE_MS_MAX;
use crate::body::{Body, BodyError};
use crate::pace::RATE_BYTES_PER_S_MIN;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
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
/// A peer that takes less than [`RATE_BYTES_PER_S_MIN`] on average over so much time in which all answers wait for it
/// is cut off: the same as for HTTP/1.1, but counted here too, because a closed window of HTTP/2 keeps no write waiting.
pub(super) const ANSWER_WINDOW: Duration = Duration::from_secs(120);
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
    state: Mutex<State>,
    abuse: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers have not been handed over whole.
    open: u32,
    /// Those of them that wait for the peer: a piece is handed over and the next not asked for.
    waiting: u32,
    begun: u32,
    cancelled: u32,
    /// The last change of any of these.
    changed: Instant,
    /// How long all of them have waited for the peer, in this window, up to `changed`.
    waited: Duration,
    /// What had been sent on the connection when this window began.
    sent_before: u64,
}

/// What is to be done about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; look again then.
    Wait(Instant),
    /// It has been used for nothing for long enough.
    Idle,
    /// Its peer takes nothing, or next to nothing.
    Slow,
}

impl Default for Streams {
    fn default() -> Streams {
        let state = State {
            open: 0,
            waiting: 0,
            begun: 0,
            cancelled: 0,
            changed: Instant::now(),
            waited: Duration::ZERO,
            sent_before: 0,
        };
        Streams {
            state: Mutex::new(state),
            abuse: Notify::new(),
        }
    }
}

impl State {
    /// Whatever takes long while this is false, it is not the peer: a handler is at work, or content is being read.
    fn waits_for_peer(&self) -> bool {
        self.open > 0 && self.waiting == self.open
    }

    /// Before every change, and before a look.
    fn count_time(&mut self) {
        let now = Instant::now();
        if self.waits_for_peer() {
            self.waited += now - self.changed;
        }
        self.changed = now;
    }
}

impl Streams {
    /// How long until [`Streams::verdict`] can have something to say.
    pub(super) fn first_look(&self) -> Duration {
        Duration::from_millis(IDLE_MS_MAX)
    }

    /// What is to be done now. `sent` are all bytes that the connection has taken since it began.
    pub(super) fn verdict(&self, sent: u64) -> Verdict {
        let mut state = self.state.lock();
        if state.open == 0 {
            let limit = state.changed + Duration::from_millis(IDLE_MS_MAX);
            return match limit > Instant::now() {
                true => Verdict::Wait(limit),
                false => Verdict::Idle,
            };
        }
        state.count_time();
        if state.waited >= ANSWER_WINDOW {
            if sent - state.sent_before < RATE_BYTES_PER_S_MIN * ANSWER_WINDOW.as_secs() {
                return Verdict::Slow;
            }
            (state.waited, state.sent_before) = (Duration::ZERO, sent);
        }
        Verdict::Wait(state.changed + (ANSWER_WINDOW - state.waited))
    }

    /// Resolves when the client only makes work.
    pub(super) async fn abused(&self) {
        self.abuse.notified().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        state.count_time();
        change(&mut state)
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
        let extra = streams.change(|state| {
            let extra = match state.open {
                // One request at a time is what a connection is for.
                0 => None,
                _ => Some(Arc::clone(&shares.streams).try_acquire_owned().ok()?),
            };
            state.open += 1;
            state.begun = state.begun.saturating_add(1);
            Some(extra)
        })?;
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
            self.streams.change(|state| match waiting {
                true => state.waiting += 1,
                false => state.waiting -= 1,
            });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.set_waiting(false);
        let is_abuse = self.streams.change(|state| {
            state.open -= 1;
            if self.finished {
                return false;
            }
            state.cancelled = state.cancelled.saturating_add(1);
            state.cancelled > CANCELLED_MAX && state.cancelled > state.begun / 2
        });
        if is_abuse {
            self.streams.abuse.notify_one();
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
