//! Whether whoever began a request may go on with it. A token that is revoked stops what runs with it as well: the
//! bytes of a body still count where they can be continued, but nothing is committed with them, and a download ends
//! broken. A token that expires meanwhile does not: whoever began in time may finish.

use crate::facts::Facts;
use crate::server::Server;
use gfl_core::auth::Standing as OfToken;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Looked at so often while bytes move: a revoked token stops within a second.
const LOOK_EVERY_MS: u64 = 500;
/// What is told when it is gone.
pub const REVOKED: &str = "the token was revoked while the request was running";

/// Of one request. Present where there is a token.
pub struct Standing {
    server: Arc<Server>,
    facts: Arc<Facts>,
    next: Instant,
}

impl Standing {
    /// Of a request whose caller is known by now; none when no token let it in.
    pub fn of(server: &Arc<Server>, facts: &Arc<Facts>) -> Option<Standing> {
        facts.token.get()?;
        Some(Standing {
            server: Arc::clone(server),
            facts: Arc::clone(facts),
            next: Instant::now() + Duration::from_millis(LOOK_EVERY_MS),
        })
    }

    /// Whether it was found to be gone.
    pub fn was_lost(&self) -> bool {
        self.facts.is_revoked.load(Relaxed)
    }

    /// Whether the token is gone, looked at now and then.
    pub fn is_lost(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next {
            return self.was_lost();
        }
        self.next = now + Duration::from_millis(LOOK_EVERY_MS);
        self.is_lost_now()
    }

    /// Whether it is gone at this moment: before something is made of all the bytes.
    pub fn is_lost_now(&self) -> bool {
        let Some(token) = self.facts.token.get() else {
            return false;
        };
        let lost = match self.server.app.token_standing(token) {
            OfToken::Good => false,
            OfToken::Revoked => true,
            // Whoever rewrites the file in place makes all tokens unknown for a moment.
            OfToken::Unknown => !self.server.tokens.is_settling(),
        };
        if lost {
            self.facts.is_revoked.store(true, Relaxed);
        }
        lost
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standing(..)")
    }
}
