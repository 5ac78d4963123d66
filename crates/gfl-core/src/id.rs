//! Identifiers: 128 bits in 26 lower-case base32 characters, safe in file names and URLs.

use crate::clock::Clock;
use std::fmt;
use std::sync::Arc;

/// Crockford's base32 alphabet: no letters that are mistaken for digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of every id in characters.
pub const ID_CHARS: usize = 26;

fn encode(bytes: [u8; 16]) -> String {
    let mut n = u128::from_be_bytes(bytes);
    let mut out = [b'0'; ID_CHARS];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(n & 31) as usize];
        n >>= 5;
    }
    out.iter().map(|b| char::from(*b)).collect()
}

/// A version's id, which is also the key of its bytes in a store. Starts with its time, so that
/// rows and folders stay in order of creation; 80 random bits keep it unguessable.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A new key at the clock's time.
    pub fn new(clock: &dyn Clock) -> Key {
        let mut bytes = [0u8; 16];
        clock.random(&mut bytes[6..]);
        let ms = clock.now_ms().max(0).to_be_bytes();
        bytes[..6].copy_from_slice(&ms[2..]);
        Key(encode(bytes).into())
    }

    /// Accepts exactly what [`Key::new`] makes, so that a key from outside can never name
    /// anything but a key's file.
    pub fn parse(text: &str) -> Option<Key> {
        let ok = text.len() == ID_CHARS && text.bytes().all(|b| ALPHABET.contains(&b));
        ok.then(|| Key(text.into()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

/// An upload session's id: 128 random bits (it is a capability for its owner only).
pub fn upload_id(clock: &dyn Clock) -> String {
    let mut bytes = [0u8; 16];
    clock.random(&mut bytes);
    encode(bytes)
}
