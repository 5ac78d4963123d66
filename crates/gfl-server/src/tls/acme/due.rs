//! When a certificate is renewed, and when a failure is tried again. Pure; time and chance are given.

use gfl_api::certificate::Validity;

/// After a success nothing is asked for so long, whatever the new certificate says.
pub(super) const PAUSE_S: i64 = 60 * 60;
/// The first failure is tried again after this, each further one after four times as long …
const RETRY_S_MIN: i64 = 60;
/// … up to this. Authorities count failures: five an hour are allowed at Let's Encrypt.
const RETRY_S_MAX: i64 = 6 * 60 * 60;

/// A number from 0 to 999.
pub(super) fn random() -> i64 {
    let mut bytes = [0; 2];
    // Without randomness everybody comes at the same moment, which works too.
    let _ = getrandom::fill(&mut bytes);
    i64::from(u16::from_le_bytes(bytes)) % 1000
}

/// When a certificate is to be renewed: after two thirds of its life, up to a twentieth earlier, so that not
/// everybody comes at the same moment.
pub(super) fn renewal_s(validity: Validity, random: i64) -> i64 {
    let life_s = validity
        .not_after_s
        .saturating_sub(validity.not_before_s)
        .max(0);
    validity.not_before_s + life_s / 3 * 2 - life_s / 20 * random / 1000
}

/// How long to wait after so many failures in a row: a fifth more or less.
pub(super) fn retry_s(failures: u32, random: i64) -> i64 {
    let exponent = failures.saturating_sub(1).min(8);
    let wait_s = (RETRY_S_MIN * 4_i64.pow(exponent)).min(RETRY_S_MAX);
    wait_s + wait_s * (random - 500) / 2500
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 24 * 60 * 60;

    #[test]
    fn a_third_of_the_life_is_left() {
        let validity = Validity {
            not_before_s: 1000,
            not_after_s: 1000 + 90 * DAY_S,
        };
        assert_eq!(renewal_s(validity, 0), 1000 + 60 * DAY_S);
        let early = 1000 + 60 * DAY_S - renewal_s(validity, 999);
        assert!((4 * DAY_S..5 * DAY_S).contains(&early), "{early}");
        // Nonsense is due, and overflows nothing.
        let nonsense = Validity {
            not_before_s: 10,
            not_after_s: i64::MIN,
        };
        assert!(renewal_s(nonsense, 999) <= 10);
    }

    #[test]
    fn failures_are_tried_ever_later() {
        let waits: Vec<i64> = (1..8).map(|n| retry_s(n, 500)).collect();
        assert_eq!(waits, [60, 240, 960, 3840, 15360, 21600, 21600]);
        assert_eq!((retry_s(1, 0), retry_s(1, 999)), (48, 71));
        assert!(retry_s(u32::MAX, 999) < 8 * 60 * 60);
        assert!((0..1000).contains(&random()));
    }
}
