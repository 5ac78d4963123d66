//! How fast the other side of a connection gives or takes bytes, counted only while it is waited for: time in which
//! the server itself is busy (a slow disk, a short budget) is nobody's fault. Knows bytes and time, nothing of HTTP.
//!
//! The limit is an average over a window and not a pause between two bytes: a peer that sends one byte a minute
//! would otherwise hold a connection, a task and an open file for ever.

use futures_util::task::AtomicWaker;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What a peer must give or take on average over a window. A modem line of the last century does three times that.
pub const RATE_BYTES_PER_S_MIN: u64 = 1024;

/// One direction of one transfer.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    /// Waited in this window, up to the wait that runs.
    waited: Duration,
    /// Bytes moved in this window.
    bytes: u64,
    /// Waited since the last byte, up to the wait that runs.
    silent: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why a peer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooSlow {
    /// Not one byte for so long.
    Silent(Duration),
    /// Less than the rate for so long.
    Slow(Duration),
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooSlow::Silent(time) => write!(f, "no byte for {} s", time.as_secs()),
            TooSlow::Slow(time) => {
                let rate = RATE_BYTES_PER_S_MIN / 1024;
                write!(f, "less than {rate} KiB/s for {} s", time.as_secs())
            }
        }
    }
}

impl Pace {
    /// Averages over `window_ms` of waiting.
    pub fn new(window_ms: u64) -> Pace {
        Pace {
            window: Duration::from_millis(window_ms),
            waited: Duration::ZERO,
            bytes: 0,
            silent: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    /// The wait, if one runs, was over at `at`.
    pub fn heard(&mut self, at: Instant) {
        if let Some(since) = self.waiting_since.take() {
            let wait = at.saturating_duration_since(since);
            self.waited += wait;
            self.silent += wait;
        }
    }

    /// Bytes went through.
    pub fn moved(&mut self, bytes: u64) {
        if bytes > 0 {
            self.heard(Instant::now());
            self.bytes = self.bytes.saturating_add(bytes);
            self.silent = Duration::ZERO;
        }
    }

    /// Nothing goes through at present: ready when that has lasted too long.
    pub fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            let now = Instant::now();
            self.heard(now);
            self.waiting_since = Some(now);
            if self.silent >= self.window {
                return Poll::Ready(TooSlow::Silent(self.window));
            }
            if self.waited >= self.window {
                if self.bytes < self.window.as_secs() * RATE_BYTES_PER_S_MIN {
                    return Poll::Ready(TooSlow::Slow(self.window));
                }
                (self.waited, self.bytes) = (Duration::ZERO, 0);
            }
            // Deadlines never move to the front, so that the timer is only looked at when it fires: setting it for
            // every piece would cost more than the piece.
            let deadline = now + (self.window - self.waited.max(self.silent));
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// A waker that notes when it was woken first: a task may look at what came only much later.
#[derive(Debug, Default)]
pub struct Noting {
    woken: Mutex<Option<Instant>>,
    task: AtomicWaker,
}

impl Noting {
    /// Wakes the task of `cx` from now on.
    pub fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// When it was woken, if it was since the last question.
    pub fn take(&self) -> Option<Instant> {
        self.woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.woken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const WINDOW_MS: u64 = 60_000;

    /// Waits up to `ms`; what the pace says about it.
    async fn wait(pace: &mut Pace, ms: u64) -> Option<TooSlow> {
        let too_slow = poll_fn(|cx| pace.poll_wait(cx));
        tokio::time::timeout(Duration::from_millis(ms), too_slow)
            .await
            .ok()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_trickling_end_after_a_window() {
        let begun = Instant::now();
        let mut silent = Pace::new(WINDOW_MS);
        let why = wait(&mut silent, u64::MAX / 2).await.unwrap();
        assert_eq!(why.to_string(), "no byte for 60 s");
        assert_eq!(begun.elapsed().as_secs(), 60);

        let begun = Instant::now();
        let mut trickle = Pace::new(WINDOW_MS);
        let why = loop {
            if let Some(why) = wait(&mut trickle, 50_000).await {
                break why;
            }
            trickle.moved(1);
        };
        assert_eq!(why.to_string(), "less than 1 KiB/s for 60 s");
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_lives_for_hours() {
        let mut pace = Pace::new(WINDOW_MS);
        for _ in 0..400 {
            assert_eq!(wait(&mut pace, 29_000).await, None);
            pace.moved(30 * 1024);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_first_minute_buys_no_second_one() {
        let mut pace = Pace::new(WINDOW_MS);
        pace.moved(1 << 30);
        assert_eq!(wait(&mut pace, 59_000).await, None);
        pace.moved(1);
        assert_eq!(wait(&mut pace, 59_000).await, None);
        pace.moved(1);
        assert!(matches!(
            wait(&mut pace, 59_000).await,
            Some(TooSlow::Slow(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_own_time_does_not_count() {
        let mut pace = Pace::new(WINDOW_MS);
        for _ in 0..100 {
            assert_eq!(wait(&mut pace, 500).await, None);
            // It came now, and is fetched long after.
            pace.heard(Instant::now());
            tokio::time::advance(Duration::from_secs(50)).await;
            pace.moved(1024);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_waker_notes_when_it_was_first_woken() {
        let noting = Arc::new(Noting::default());
        assert_eq!(noting.take(), None);
        let at = Instant::now();
        Arc::clone(&noting).wake();
        tokio::time::advance(Duration::from_secs(5)).await;
        Arc::clone(&noting).wake();
        assert_eq!((noting.take(), noting.take()), (Some(at), None));
    }
}
