//! When to try again, and how long to wait before.
//!
//! Knows nothing of requests and holds no clock: the caller sleeps. Waiting times are drawn from the whole span
//! ("full jitter"), so that many clients of one server do not return in step.

use super::Error;
use std::time::{Duration, Instant};

const DELAY_MS_BASE: u64 = 200;
const DELAY_MS_MAX: u64 = 10_000;
/// How long a server that was there is waited for: a machine that starts again takes some minutes.
const ABSENCE_MAX: Duration = Duration::from_secs(5 * 60);

/// How often to try again without progress in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    tries: u32,
    /// Whether a server that was there is waited for, however many tries that takes.
    is_patient: bool,
}

/// The tries of one piece of work.
#[derive(Debug)]
pub(crate) struct Attempts {
    retries: Retries,
    /// Failures since the last progress.
    in_a_row: u32,
    /// Those of them that are limited by their number.
    counted: u32,
    /// When the first of them was.
    first: Option<Instant>,
}

/// When a failure was, and what is known of the server by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// The server was there earlier in this run.
    pub(crate) was_there: bool,
}

impl Moment {
    /// Now.
    pub(crate) fn now(was_there: bool) -> Self {
        let now = Instant::now();
        Self { now, was_there }
    }
}

/// A pause before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Until then.
    pub(crate) delay: Duration,
    /// How long the server is still waited for, where that is a matter of time.
    pub(crate) left: Option<Duration>,
}

/// There is no next try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// The server was waited for so long.
    pub(crate) after: Option<Duration>,
    /// The server wants to be asked again only after so long.
    pub(crate) not_before: Option<Duration>,
}

impl Retries {
    /// So many, and longer for a server that was there and is gone.
    pub(crate) fn patient(tries: u32) -> Self {
        Self {
            tries,
            is_patient: true,
        }
    }

    /// So many and no more.
    pub(crate) fn exactly(tries: u32) -> Self {
        Self {
            tries,
            is_patient: false,
        }
    }

    /// Begins a piece of work.
    pub(crate) fn begin(self) -> Attempts {
        Attempts {
            retries: self,
            in_a_row: 0,
            counted: 0,
            first: None,
        }
    }
}

impl Attempts {
    /// Work got done: the next failure is the first one again.
    pub(crate) fn progressed(&mut self) {
        *self = self.retries.begin();
    }

    /// Whether nothing failed yet since the last progress.
    pub(crate) fn is_first(&self) -> bool {
        self.in_a_row == 0
    }

    /// Takes note of a failure.
    pub(crate) fn failed(&mut self, error: &Error, moment: Moment) -> Result<Wait, GivenUp> {
        self.failed_with(error, moment, random_u64())
    }

    fn failed_with(
        &mut self,
        error: &Error,
        Moment { now, was_there }: Moment,
        random: u64,
    ) -> Result<Wait, GivenUp> {
        if !error.is_transient() {
            return Err(GivenUp::default());
        }
        let tried = now.saturating_duration_since(*self.first.get_or_insert(now));
        let left = ABSENCE_MAX.saturating_sub(tried);
        let is_waited_for = self.retries.is_patient && was_there && error.is_absence();
        let is_over = match is_waited_for {
            true => left.is_zero(),
            false => self.counted >= self.retries.tries,
        };
        if is_over {
            return Err(GivenUp {
                after: is_waited_for.then_some(tried),
                not_before: error.retry_after,
            });
        }
        self.in_a_row += 1;
        self.counted += u32::from(!is_waited_for);
        let delay = match error.retry_after {
            Some(wanted) if wanted > left => {
                return Err(GivenUp {
                    after: None,
                    not_before: Some(wanted),
                });
            }
            Some(wanted) => wanted,
            None => Duration::from_millis(delay_ms(self.in_a_row, random)).min(left),
        };
        Ok(Wait {
            delay,
            left: is_waited_for.then_some(left),
        })
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

    fn at(start: Instant, seconds: u64, was_there: bool) -> Moment {
        let now = start + Duration::from_secs(seconds);
        Moment { now, was_there }
    }

    #[test]
    fn gives_up_after_the_retries_unless_there_is_progress() {
        let lost = Error::network("reset");
        let start = Instant::now();
        // A server that was never there, and one that was where the number of tries is wished for.
        for (retries, was_there) in [(Retries::patient(2), false), (Retries::exactly(2), true)] {
            let moment = at(start, 0, was_there);
            let mut attempts = retries.begin();
            for _ in 0..2 {
                assert_eq!(attempts.failed(&lost, moment).unwrap().left, None);
            }
            assert_eq!(attempts.failed(&lost, moment), Err(GivenUp::default()));
            attempts.progressed();
            assert!(attempts.failed(&lost, moment).is_ok());
        }
        let mut never = Retries::exactly(0).begin();
        assert!(never.failed(&lost, at(start, 0, true)).is_err());
    }

    #[test]
    fn a_server_that_was_there_is_waited_for_some_minutes() {
        let (gone, start) = (Error::unreachable("refused"), Instant::now());
        let seconds = Duration::from_secs;
        let mut attempts = Retries::patient(2).begin();
        for at_s in [0, 10, 20, 100, 200, 298] {
            let wait = attempts.failed_with(&gone, at(start, at_s, true), 10_000);
            let wait = wait.unwrap();
            assert_eq!(wait.left, Some(seconds(300 - at_s)));
            assert!(
                wait.delay <= seconds(300 - at_s),
                "the last try is at the end"
            );
        }
        // An error of a server that is there counts by itself, as ever.
        let broken = Error::from_answer(500, b"", None);
        for _ in 0..2 {
            assert!(attempts.failed(&broken, at(start, 299, true)).is_ok());
        }
        assert!(attempts.failed(&broken, at(start, 299, true)).is_err());
        let after = Some(seconds(300));
        let given_up = attempts.failed(&gone, at(start, 300, true));
        assert_eq!(given_up.unwrap_err().after, after);
        attempts.progressed();
        let wait = attempts.failed(&gone, at(start, 1000, true)).unwrap();
        assert_eq!(
            wait.left, after,
            "the time begins with the first failure in a row"
        );
    }

    #[test]
    fn final_answers_are_final_and_retry_after_is_honoured() {
        let start = Instant::now();
        let quota = Error::new(Kind::Limit, "quota");
        let mut attempts = Retries::patient(8).begin();
        assert!(attempts.failed(&quota, at(start, 0, true)).is_err());
        for was_there in [true, false] {
            let mut attempts = Retries::patient(8).begin();
            let mut busy = Error::from_answer(503, b"", Some(Duration::from_secs(150)));
            let wait = attempts.failed(&busy, at(start, 0, was_there)).unwrap();
            assert_eq!(wait.delay, Duration::from_secs(150));
            // Past the end there is nobody to wait: it is told instead.
            busy.retry_after = Some(Duration::from_secs(151));
            let given_up = attempts.failed(&busy, at(start, 150, was_there));
            assert_eq!(given_up.unwrap_err().not_before, busy.retry_after);
        }
    }

    #[test]
    fn giving_up_says_how_long_it_was_tried() {
        let why = GivenUp {
            after: Some(Duration::from_millis(300_400)),
            not_before: None,
        };
        let error = Error::unreachable("refused").given_up(why, true);
        assert_eq!(error.to_string(), "refused; it was waited for 5 min");
        assert!(error.is_broken_off());
        let refused = Error::new(Kind::Limit, "quota").given_up(GivenUp::default(), true);
        assert!(!refused.is_broken_off(), "going on would not help");
    }
}
