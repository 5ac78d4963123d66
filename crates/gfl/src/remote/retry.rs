//! When to try again, and how long to wait before.
//!
//! Knows nothing of requests and holds no clock: the caller sleeps. Waiting times are drawn from the whole span
//! ("full jitter"), so that many clients of one server do not return in step.

use super::Error;
use std::time::Duration;

const DELAY_MS_BASE: u64 = 200;
const DELAY_MS_MAX: u64 = 10_000;
/// A server may ask for longer than we would wait by ourselves, but not for ever.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// How often to try again without progress in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries(pub(crate) u32);

/// The tries of one piece of work.
#[derive(Debug)]
pub(crate) struct Attempts {
    retries: u32,
    failed: u32,
}

impl Retries {
    /// Begins a piece of work.
    pub(crate) fn begin(self) -> Attempts {
        Attempts {
            retries: self.0,
            failed: 0,
        }
    }
}

impl Attempts {
    /// Work got done: the next failure is the first one again.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Whether nothing failed yet since the last progress.
    pub(crate) fn is_first(&self) -> bool {
        self.failed == 0
    }

    /// Takes note of a failure. `Some` is the time to wait before the next try, `None` means to give up.
    pub(crate) fn failed(&mut self, error: &Error) -> Option<Duration> {
        self.failed_with(error, random_u64())
    }

    fn failed_with(&mut self, error: &Error, random: u64) -> Option<Duration> {
        if !error.is_transient() || self.failed >= self.retries {
            return None;
        }
        self.failed += 1;
        // What the server asks for is the least: it does not know how often it was asked already.
        let wanted = error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(wanted.max(Duration::from_millis(delay_ms(self.failed, random))))
    }
}

/// The delay after the `failed`-th failure in a row, counted from 1.
fn delay_ms(failed: u32, random: u64) -> u64 {
    let span = DELAY_MS_BASE
        .saturating_mul(1_u64.checked_shl(failed).unwrap_or(u64::MAX))
        .min(DELAY_MS_MAX);
    random % (span + 1)
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness every client waits the full span: slower, not wrong.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => DELAY_MS_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Kind;

    #[test]
    fn spans_double_up_to_the_limit() {
        let span = |failed| {
            delay_ms(failed, 0).max((0..20_000).map(|r| delay_ms(failed, r)).max().unwrap())
        };
        assert_eq!(
            [1, 2, 3, 5, 6, 7, 63, 64, 65].map(span),
            [400, 800, 1600, 6400, 10_000, 10_000, 10_000, 10_000, 10_000]
        );
        assert_eq!(delay_ms(3, 0), 0, "jitter begins at nothing");
    }

    #[test]
    fn gives_up_after_the_retries_unless_there_is_progress() {
        let lost = Error::network("reset");
        let mut attempts = Retries(2).begin();
        assert!(attempts.failed(&lost).is_some());
        assert!(attempts.failed(&lost).is_some());
        assert!(attempts.failed(&lost).is_none());
        attempts.progressed();
        assert!(attempts.failed(&lost).is_some());
        assert!(Retries(0).begin().failed(&lost).is_none());
    }

    #[test]
    fn final_answers_are_final_and_retry_after_is_honoured() {
        assert!(
            Retries(8)
                .begin()
                .failed(&Error::new(Kind::Limit, "quota"))
                .is_none()
        );
        let mut busy = Error::from_answer(503, b"", Some(Duration::from_secs(3)));
        assert_eq!(
            Retries(1).begin().failed(&busy),
            Some(Duration::from_secs(3))
        );
        let mut attempts = Retries(8).begin();
        let waits: Vec<_> = (0..7)
            .filter_map(|_| attempts.failed_with(&busy, 9_999))
            .collect();
        assert!(waits.iter().all(|wait| wait.as_secs() >= 3), "{waits:?}");
        assert!(
            waits.last().is_some_and(|wait| wait.as_secs() > 3),
            "a server that stays away is asked less and less often: {waits:?}"
        );
        busy.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(Retries(1).begin().failed(&busy), Some(RETRY_AFTER_MAX));
    }
}
