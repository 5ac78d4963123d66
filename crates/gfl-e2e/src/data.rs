//! Reproducible bytes: everything follows from a seed, at any offset, without keeping it in memory.

use std::io::{self, Read};

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and its n-th output needs no earlier one.
fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Random decisions of a test.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same decisions.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Seeded by `GFL_SEED` if set (to replay), else by the clock. Print it when a test fails.
    pub fn seed_of_run() -> u64 {
        if let Some(seed) = std::env::var("GFL_SEED").ok().and_then(|s| s.parse().ok()) {
            return seed;
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |d| d.as_nanos() as u64 >> 10)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// 0 … `n`-1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n.max(1)
    }

    /// `low` … `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

/// Fills `buf` with what stands at `offset` of the endless stream `seed`.
pub fn fill_at(seed: u64, offset: u64, buf: &mut [u8]) {
    let (mut word, mut skip) = (offset / 8, (offset % 8) as usize);
    let mut rest = buf;
    while !rest.is_empty() {
        let bytes = mix(seed.wrapping_add(STEP.wrapping_mul(word.wrapping_add(1)))).to_le_bytes();
        let take = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(take);
        head.copy_from_slice(&bytes[skip..skip + take]);
        (rest, word, skip) = (tail, word + 1, 0);
    }
}

/// The first `len` bytes of stream `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    fill_at(seed, 0, &mut out);
    out
}

/// A reader over stream `seed`, for bodies larger than memory.
#[derive(Debug)]
pub struct Stream {
    seed: u64,
    at: u64,
    end: u64,
}

impl Stream {
    /// `start` … `end` of the stream.
    pub fn new(seed: u64, start: u64, end: u64) -> Stream {
        Stream {
            seed,
            at: start,
            end,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (self.end - self.at).min(buf.len() as u64) as usize;
        fill_at(self.seed, self.at, &mut buf[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

/// BLAKE3 in hex, as in `Gfl-Blake3`.
pub fn b3(data: &[u8]) -> String {
    blake3::hash(data).to_hex().to_string()
}

/// BLAKE3 in hex of everything a reader gives.
pub fn b3_of(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            n => hasher.update(&buf[..n]),
        };
    }
}

/// BLAKE3 of pieces.
#[derive(Debug, Default)]
pub struct Hash(blake3::Hasher);

impl Hash {
    /// Of nothing yet.
    pub fn new() -> Hash {
        Hash::default()
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest in hex.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256(data: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(data))
}

/// SHA-256 as in `Content-Digest` and `Repr-Digest`.
pub fn sha256_field(data: &[u8]) -> String {
    use base64::Engine;
    use sha2::Digest;
    let b64 = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(data));
    format!("sha-256=:{b64}:")
}

/// Content that names itself: 8 bytes of id, whose low 24 bits are the length, then its own stream.
/// Whatever a server returns can be told to be whole, torn or somebody else's.
pub fn marked(id: u64) -> Vec<u8> {
    let mut out = bytes(id, marked_len(id));
    out[..8].copy_from_slice(&id.to_le_bytes());
    out
}

/// An id for marked content number `n` of `len` bytes (8 … 16 Mi).
pub fn mark(n: u64, len: u64) -> u64 {
    assert!(
        (8..1 << 24).contains(&len),
        "marked content has 8 bytes to 16 MiB"
    );
    (n << 24) | len
}

/// Length of marked content.
pub fn marked_len(id: u64) -> usize {
    (id & 0xff_ffff) as usize
}

/// Whose content this is, or what is wrong with it.
pub fn identify(content: &[u8]) -> Result<u64, String> {
    let Some(head) = content.first_chunk::<8>() else {
        return Err(format!(
            "{} bytes, too short to be anybody's",
            content.len()
        ));
    };
    let id = u64::from_le_bytes(*head);
    if marked_len(id) != content.len() {
        return Err(format!(
            "{id:x}: {} bytes instead of {}",
            content.len(),
            marked_len(id)
        ));
    }
    let whole = marked(id);
    match whole.iter().zip(content).position(|(a, b)| a != b) {
        None => Ok(id),
        Some(at) => Err(format!("{id:x}: torn at byte {at} of {}", content.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_same_from_any_offset() {
        let whole = bytes(7, 100);
        for start in 0..20 {
            let mut piece = vec![0; 33];
            fill_at(7, start as u64, &mut piece);
            assert_eq!(piece, whole[start..start + 33]);
        }
    }

    #[test]
    fn torn_content_is_recognised() {
        let id = mark(3, 100);
        let mut content = marked(id);
        assert_eq!(identify(&content), Ok(id));
        content[60] ^= 1;
        assert!(identify(&content).is_err());
        assert!(identify(&content[..99]).is_err());
    }
}
