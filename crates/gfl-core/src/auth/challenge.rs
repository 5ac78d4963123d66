//! v0's challenge scheme: nonces that cost no memory until they are used.
//!
//! A nonce carries its time and a MAC of this process, so anybody may ask for any number of them; only
//! used ones are remembered, until they would have expired anyway.

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::limits::{CHALLENGE_MS, CHALLENGES_MAX};
use gfl_api::tokens::ct_eq;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::HashMap;

/// A fresh challenge.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// 64 hex digits.
    pub nonce: String,
    /// Unix ms.
    pub expires_ms: i64,
}

pub(super) struct Challenges {
    secret: [u8; 32],
    /// Used nonces and when they expire.
    used: Mutex<HashMap<String, i64>>,
}

fn invalid() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "Challenge validation failed: invalid or expired nonce",
    )
}

impl Challenges {
    pub(super) fn new(clock: &dyn Clock) -> Challenges {
        let mut secret = [0; 32];
        clock.random(&mut secret);
        Challenges {
            secret,
            used: Mutex::default(),
        }
    }

    fn mac(&self, head: &[u8]) -> Option<[u8; 16]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(head);
        let tag = mac.finalize().into_bytes();
        tag.get(..16)?.try_into().ok()
    }

    /// Makes a nonce: 8 bytes of time, 8 random bytes, 16 bytes of MAC.
    pub(super) fn issue(&self, clock: &dyn Clock) -> Result<Challenge> {
        let expires_ms = clock.now_ms() + CHALLENGE_MS;
        let mut nonce = [0u8; 32];
        nonce[..8].copy_from_slice(&expires_ms.to_be_bytes());
        clock.random(&mut nonce[8..16]);
        let mac = self.mac(&nonce[..16]).ok_or_else(invalid)?;
        nonce[16..].copy_from_slice(&mac);
        Ok(Challenge {
            nonce: hex::encode(nonce),
            expires_ms,
        })
    }

    /// Uses a nonce up, whatever the response turns out to be.
    pub(super) fn consume(&self, nonce: &str, now_ms: i64) -> Result<()> {
        let bytes: [u8; 32] = hex::decode(nonce)
            .ok()
            .and_then(|b| b.try_into().ok())
            .ok_or_else(invalid)?;
        let mac = self.mac(&bytes[..16]).ok_or_else(invalid)?;
        if !ct_eq(&mac, &bytes[16..]) {
            return Err(invalid());
        }
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[..8]);
        let expires_ms = i64::from_be_bytes(time);
        if now_ms >= expires_ms {
            return Err(Error::new(
                Kind::Unauthenticated,
                "Challenge validation failed: challenge expired",
            ));
        }
        let mut used = self.used.lock();
        if used.len() >= CHALLENGES_MAX {
            used.retain(|_, expires| *expires > now_ms);
        }
        // Only holders of a token id get here; still, the table stays bounded.
        if used.len() >= CHALLENGES_MAX {
            return Err(Error::new(
                Kind::Busy,
                "too many challenges at once, try again later",
            ));
        }
        match used.insert(nonce.to_ascii_lowercase(), expires_ms) {
            None => Ok(()),
            Some(_) => Err(invalid()),
        }
    }
}
