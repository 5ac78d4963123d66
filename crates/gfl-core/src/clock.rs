//! Time and randomness as parameters, so that tests decide both.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time and random bytes.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
    /// Nanoseconds since the Unix epoch (for a file's mtime when the client gave none).
    fn now_ns(&self) -> i64 {
        self.now_ms().saturating_mul(1_000_000)
    }
    /// Fills `buf` with unpredictable bytes.
    fn random(&self, buf: &mut [u8]);
}

/// The machine's clock and the kernel's random numbers.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.now_ns() / 1_000_000
    }

    fn now_ns(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|d| i64::try_from(d.as_nanos()).ok())
            .unwrap_or(0)
    }

    fn random(&self, buf: &mut [u8]) {
        // Without randomness no id would be unguessable: there is nothing sensible to continue with.
        getrandom::fill(buf).expect("the kernel gives random bytes");
    }
}

/// A clock that tests move by hand, with reproducible "randomness" from a seed.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    state: parking_lot::Mutex<u64>,
}

impl ManualClock {
    /// Starts at `now_ms` with `seed`.
    pub fn new(now_ms: i64, seed: u64) -> Self {
        ManualClock {
            now_ms: AtomicI64::new(now_ms),
            state: parking_lot::Mutex::new(seed),
        }
    }

    /// Moves time forward.
    pub fn advance_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn random(&self, buf: &mut [u8]) {
        // SplitMix64 (Steele, Lea, Flood 2014): enough for distinct ids in tests.
        let mut state = self.state.lock();
        for chunk in buf.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
