//! Waiting for something to become true, with a deadline; never a sleep that hopes.

use std::time::{Duration, Instant};

/// Asks again and again until `ready` gives a value; panics with `what` after `seconds`.
pub fn until<T>(what: &str, seconds: u64, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {seconds} s in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
