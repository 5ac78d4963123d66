//! How many probes are answered: so many a second from one address, so many in all. What is more is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Answers to one address at once: a few runs of a client, each of which asks several times on several ways.
const PER_ADDRESS: Rate = Rate {
    burst: 24,
    per_second: 4,
};
/// Answers in all: at most 100 kB/s.
const IN_ALL: Rate = Rate {
    burst: 100,
    per_second: 100,
};
/// Addresses remembered. With more, whoever waits longest is forgotten; the limit on all holds without memory.
const ADDRESSES_MAX: usize = 1024;

struct Rate {
    burst: u32,
    per_second: u32,
}

/// Answers left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn full(rate: &Rate, now: Instant) -> Self {
        Self {
            left: rate.burst,
            filled: now,
        }
    }

    fn take(&mut self, rate: &Rate, now: Instant) -> bool {
        let every = Duration::from_secs(1) / rate.per_second;
        let gained = now.saturating_duration_since(self.filled).as_nanos() / every.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained).min(rate.burst);
        // The part of a second that is not yet an answer is kept.
        self.filled += every.saturating_mul(gained.min(rate.burst * 1024));
        if self.left == rate.burst {
            self.filled = now;
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

/// Who was answered how often.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    all: Option<Bucket>,
    addresses: HashMap<IpAddr, Bucket>,
}

impl Allowance {
    /// Whether one more answer may go to `address`.
    pub(super) fn grants(&mut self, address: IpAddr, now: Instant) -> bool {
        if !self.addresses.contains_key(&address) && self.addresses.len() >= ADDRESSES_MAX {
            self.forget_oldest();
        }
        let own = self
            .addresses
            .entry(address)
            .or_insert_with(|| Bucket::full(&PER_ADDRESS, now));
        // Its own first: one who floods must not use up what belongs to all.
        own.take(&PER_ADDRESS, now)
            && self
                .all
                .get_or_insert_with(|| Bucket::full(&IN_ALL, now))
                .take(&IN_ALL, now)
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .addresses
            .iter()
            .min_by_key(|(_, bucket)| bucket.filled);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn granted(allowance: &mut Allowance, address: IpAddr, tries: u32, now: Instant) -> u32 {
        (0..tries)
            .map(|_| u32::from(allowance.grants(address, now)))
            .sum()
    }

    #[test]
    fn one_address_gets_its_share_and_no_more() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        assert_eq!(granted(&mut allowance, address(1), 1000, start), 24);
        assert_eq!(
            granted(&mut allowance, address(2), 1, start),
            1,
            "others are not touched"
        );
        let later = |ms| start + Duration::from_millis(ms);
        assert_eq!(granted(&mut allowance, address(1), 10, later(249)), 0);
        assert_eq!(granted(&mut allowance, address(1), 10, later(250)), 1);
        assert_eq!(granted(&mut allowance, address(1), 10, later(1_000)), 3);
        assert_eq!(
            granted(&mut allowance, address(1), 1000, later(3_600_000)),
            24
        );
    }

    #[test]
    fn all_together_get_theirs_however_many_they_are() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let first: u32 = (0..5000)
            .map(|n| granted(&mut allowance, address(n), 1, start))
            .sum();
        assert_eq!(first, 100);
        assert!(allowance.addresses.len() <= ADDRESSES_MAX);
        let second = start + Duration::from_secs(1);
        let next: u32 = (0..5000)
            .map(|n| granted(&mut allowance, address(n), 1, second))
            .sum();
        assert_eq!(next, 100);
    }
}
