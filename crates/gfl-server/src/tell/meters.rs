//! The counters behind `/metrics`. Counting costs an atomic addition, or for each request one short lock; nothing is
//! summed up before somebody asks. Every label is one of a few words known here: never a path, a user or an id.

use super::classify::{Direction, Protocol, Transfer};
use super::page::Buckets;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the durations of requests, in seconds.
pub const DURATION_BOUNDS_S: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];
/// How a file's transfer can end.
pub const RESULTS: [&str; 3] = ["complete", "failed", "aborted"];
/// Why callers are refused.
pub const AUTH_REASONS: [&str; 7] = [
    "missing",
    "malformed",
    "invalid",
    "expired",
    "revoked",
    "challenge",
    "unavailable",
];
/// Limits whose being hit is told from the status of an answer.
const LIMITS_BY_STATUS: [(u16, &str); 5] = [
    (408, "body_time"),
    (413, "size"),
    (429, "rate"),
    (503, "busy"),
    (507, "storage"),
];

/// The methods that have a label of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// All of them.
#[derive(Debug)]
pub struct Meters {
    requests: Mutex<Requests>,
    /// By direction and protocol; shared with the bodies that are under way.
    bytes: [[Arc<AtomicU64>; 3]; 2],
    running: [AtomicU64; 2],
    /// Files, by direction, protocol and result.
    files: [[[AtomicU64; 3]; 3]; 2],
    uploads_cancelled: AtomicU64,
    auth_failures: [AtomicU64; 7],
    limits: Mutex<BTreeMap<&'static str, u64>>,
}

/// What is counted by request.
#[derive(Debug, Default)]
struct Requests {
    counts: BTreeMap<(&'static str, &'static str, u16), u64>,
    durations: BTreeMap<&'static str, Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [u64; DURATION_BOUNDS_S.len() + 1],
    sum: Duration,
}

/// A transfer, counted while it runs.
#[derive(Debug)]
pub struct Running {
    meters: Arc<Meters>,
    direction: Direction,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meters.running[self.direction as usize].fetch_sub(1, Relaxed);
    }
}

impl Meters {
    /// All zero.
    pub fn new() -> Arc<Meters> {
        Arc::new(Meters {
            requests: Mutex::default(),
            bytes: Default::default(),
            running: Default::default(),
            files: Default::default(),
            uploads_cancelled: AtomicU64::new(0),
            auth_failures: Default::default(),
            // An alert wants a zero to rise from.
            limits: Mutex::new(LIMITS_BY_STATUS.map(|(_, name)| (name, 0)).into()),
        })
    }

    /// A request has ended.
    pub fn request(&self, method: &Method, route: &'static str, status: u16, took: Duration) {
        let method = METHODS
            .into_iter()
            .find(|name| *name == method.as_str())
            .unwrap_or("other");
        let mut requests = lock(&self.requests);
        *requests.counts.entry((route, method, status)).or_default() += 1;
        requests.durations.entry(route).or_default().add(took);
        drop(requests);
        if let Some((_, limit)) = LIMITS_BY_STATUS.iter().find(|(code, _)| *code == status) {
            self.limit_hit(limit);
        }
    }

    /// A limit turned somebody away or ended something. `limit` is a word of the source.
    pub fn limit_hit(&self, limit: &'static str) {
        *lock(&self.limits).entry(limit).or_default() += 1;
    }

    /// Somebody was not recognised, for one of [`AUTH_REASONS`].
    pub fn auth_failed(&self, reason: &str) {
        if let Some(index) = AUTH_REASONS.iter().position(|known| *known == reason) {
            self.auth_failures[index].fetch_add(1, Relaxed);
        }
    }

    /// Where the bytes of such transfers are counted while they move.
    pub fn bytes(&self, transfer: Transfer) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes[transfer.direction as usize][transfer.protocol as usize])
    }

    /// A transfer begins.
    pub fn begin(self: &Arc<Self>, direction: Direction) -> Running {
        self.running[direction as usize].fetch_add(1, Relaxed);
        Running {
            meters: Arc::clone(self),
            direction,
        }
    }

    /// So many files' transfers have ended with one of [`RESULTS`].
    pub fn files(&self, transfer: Transfer, result: &str, count: u64) {
        if let Some(index) = RESULTS.iter().position(|known| *known == result) {
            let of = &self.files[transfer.direction as usize][transfer.protocol as usize];
            of[index].fetch_add(count, Relaxed);
        }
    }

    /// Somebody gave an upload session up.
    pub fn upload_cancelled(&self) {
        self.uploads_cancelled.fetch_add(1, Relaxed);
    }

    /// Requests by route, method and status.
    pub fn request_counts(&self) -> Vec<((&'static str, &'static str, u16), u64)> {
        let requests = lock(&self.requests);
        requests.counts.iter().map(|(k, v)| (*k, *v)).collect()
    }

    /// Durations by route.
    pub fn durations(&self) -> Vec<(&'static str, Buckets)> {
        let requests = lock(&self.requests);
        let buckets = |histogram: &Histogram| Buckets {
            counts: histogram.counts.to_vec(),
            sum: histogram.sum.as_secs_f64(),
        };
        let durations = requests.durations.iter();
        durations.map(|(route, h)| (*route, buckets(h))).collect()
    }

    /// Bytes moved so far.
    pub fn bytes_so_far(&self, direction: Direction, protocol: Protocol) -> u64 {
        self.bytes[direction as usize][protocol as usize].load(Relaxed)
    }

    /// Transfers that run.
    pub fn running(&self, direction: Direction) -> u64 {
        self.running[direction as usize].load(Relaxed)
    }

    /// Files whose transfer ended in the order of [`RESULTS`].
    pub fn files_so_far(&self, direction: Direction, protocol: Protocol) -> [u64; 3] {
        let files = &self.files[direction as usize][protocol as usize];
        [0, 1, 2].map(|index: usize| files[index].load(Relaxed))
    }

    /// Upload sessions given up.
    pub fn cancelled(&self) -> u64 {
        self.uploads_cancelled.load(Relaxed)
    }

    /// Refusals in the order of [`AUTH_REASONS`].
    pub fn auth_failures(&self) -> [u64; 7] {
        [0, 1, 2, 3, 4, 5, 6].map(|index: usize| self.auth_failures[index].load(Relaxed))
    }

    /// Limits and how often they were hit.
    pub fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        lock(&self.limits).iter().map(|(k, v)| (*k, *v)).collect()
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let beyond = DURATION_BOUNDS_S.len();
        let index = DURATION_BOUNDS_S
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(beyond);
        self.counts[index] += 1;
        self.sum = self.sum.saturating_add(took);
    }
}

/// The status of a request whose client left before there was an answer, as nginx has it.
pub const CLIENT_LEFT: u16 = 499;

/// Why a core error that refuses a credential does so, as one of [`AUTH_REASONS`].
pub fn auth_reason(error: &gfl_core::Error) -> &'static str {
    let message = error.message();
    if error.kind() != gfl_core::Kind::Unauthenticated {
        return "unavailable";
    }
    for (words, reason) in [
        ("header required", "missing"),
        ("hallenge", "challenge"),
        ("revoked", "revoked"),
        ("expired", "expired"),
    ] {
        if message.contains(words) {
            return reason;
        }
    }
    "invalid"
}

/// Whether a status is that of a success.
pub fn is_success(status: StatusCode) -> bool {
    status.as_u16() < 400
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let meters = Meters::new();
        for n in 0..100 {
            let method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
            meters.request(&method, "/x", 200, Duration::from_millis(3));
            meters.auth_failed(&format!("reason {n}"));
        }
        assert_eq!(meters.request_counts(), [(("/x", "other", 200), 100)]);
        assert_eq!(meters.auth_failures(), [0; 7]);
    }

    #[test]
    fn durations_fall_into_their_buckets() {
        let meters = Meters::new();
        for ms in [1, 2, 3, 700_000] {
            meters.request(&Method::GET, "/x", 413, Duration::from_millis(ms));
        }
        let (_, buckets) = meters.durations().pop().unwrap();
        assert_eq!(
            (&buckets.counts[..4], buckets.counts.last()),
            (&[1, 1, 1, 0][..], Some(&1))
        );
        assert!((buckets.sum - 700.006).abs() < 1e-9);
        assert!(meters.limits_hit().contains(&("size", 4)));
        assert!(meters.limits_hit().contains(&("storage", 0)));
    }

    #[test]
    fn what_runs_is_counted_while_it_runs() {
        let meters = Meters::new();
        let (one, two) = (meters.begin(Direction::Up), meters.begin(Direction::Up));
        assert_eq!(
            (
                meters.running(Direction::Up),
                meters.running(Direction::Down)
            ),
            (2, 0)
        );
        drop(one);
        drop(two);
        assert_eq!(meters.running(Direction::Up), 0);
    }
}
