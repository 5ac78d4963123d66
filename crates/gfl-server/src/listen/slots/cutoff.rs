//! Limits of connections that no answer tells about, counted for whoever watches the server.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why the server ends a connection on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// A request's head was begun and not finished in time.
    HeadTime,
    /// It is longer than a head may be.
    HeadSize,
    /// A TLS handshake was not over in time.
    HandshakeTime,
    /// The peer does not take its answer, or takes it drop by drop.
    AnswerTime,
    /// Requests are cancelled as fast as they come (HTTP/2).
    Resets,
}

impl Cutoff {
    /// Each of them, in the order of their numbers.
    pub const ALL: [Cutoff; 5] = [
        Cutoff::HeadTime,
        Cutoff::HeadSize,
        Cutoff::HandshakeTime,
        Cutoff::AnswerTime,
        Cutoff::Resets,
    ];

    /// The value of its label in `/metrics`.
    pub const fn name(self) -> &'static str {
        match self {
            Cutoff::HeadTime => "head_time",
            Cutoff::HeadSize => "head_size",
            Cutoff::HandshakeTime => "handshake_time",
            Cutoff::AnswerTime => "answer_time",
            Cutoff::Resets => "http2_resets",
        }
    }
}

/// How often each has happened.
#[derive(Debug, Default)]
pub(super) struct Cutoffs([AtomicU64; Cutoff::ALL.len()]);

impl Cutoffs {
    pub(super) fn count(&self, why: Cutoff) {
        self.0[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn totals(&self) -> [(Cutoff, u64); Cutoff::ALL.len()] {
        Cutoff::ALL.map(|why| (why, self.0[why as usize].load(Relaxed)))
    }
}
