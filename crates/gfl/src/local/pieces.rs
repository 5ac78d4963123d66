//! Pieces of files in buffers that are used again: reading a terabyte allocates a handful of them.

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

/// Bytes of one piece: stays in the second-level cache between reading, hashing and sending.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;
/// Buffers kept for later. More may be out at once, bounded by the queues they stand in.
const KEPT_MAX: usize = 64;

type Free = Arc<Mutex<Vec<Box<[u8]>>>>;

/// Buffers waiting for use.
#[derive(Clone, Default)]
pub(crate) struct Pieces(Free);

struct Lent {
    buf: Option<Box<[u8]>>,
    len: usize,
    free: Free,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buf
            .as_deref()
            .map(|buf| &buf[..self.len])
            .unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(buf), Ok(mut free)) = (self.buf.take(), self.free.lock())
            && free.len() < KEPT_MAX
        {
            free.push(buf);
        }
    }
}

impl Pieces {
    /// Fills a buffer with exactly `len` bytes (at most [`PIECE_BYTES`]) by `fill`.
    pub(crate) fn with(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        let kept = self.0.lock().ok().and_then(|mut free| free.pop());
        let mut buf = kept.unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice());
        let len = len.min(PIECE_BYTES);
        let filled = fill(&mut buf[..len]);
        let lent = Lent {
            buf: Some(buf),
            len,
            free: Arc::clone(&self.0),
        };
        filled?;
        Ok(Bytes::from_owner(lent))
    }

    /// Reads `len` bytes (at most [`PIECE_BYTES`]) of a file.
    pub(crate) fn read(&self, file: &File, at: u64, len: usize) -> io::Result<Bytes> {
        self.with(len, |buf| super::read_exact_at(file, buf, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let pieces = Pieces::default();
        let piece = pieces
            .with(3, |buf| {
                buf.copy_from_slice(b"abc");
                Ok(())
            })
            .unwrap();
        let slice = piece.slice(1..);
        drop(piece);
        assert_eq!(&slice[..], b"bc");
        assert!(pieces.0.lock().unwrap().is_empty(), "still lent");
        drop(slice);
        assert_eq!(pieces.0.lock().unwrap().len(), 1);
        assert!(pieces.with(3, |_| Err(io::Error::other("x"))).is_err());
        assert_eq!(
            pieces.0.lock().unwrap().len(),
            1,
            "a failed read gives its buffer back"
        );
    }
}
