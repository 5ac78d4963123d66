//! Positioned reads and writes that do all they are asked for: short results, signals and limits of one call
//! end here.

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, pread, pwritev, retry_on_intr};
use std::io::IoSlice;

/// Pieces of one `pwritev` (the kernel's `IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// Writes all pieces one after the other from `offset` on.
pub(super) fn write_all(fd: BorrowedFd<'_>, offset: u64, data: &[Bytes]) -> Result<(), Errno> {
    let mut slices: Vec<IoSlice<'_>> = data
        .iter()
        .filter(|piece| !piece.is_empty())
        .map(|piece| IoSlice::new(piece))
        .collect();
    write_slices(fd, offset, &mut slices)
}

/// Writes all slices; a short write goes on where it stopped.
pub(super) fn write_slices(
    fd: BorrowedFd<'_>,
    mut offset: u64,
    slices: &mut [IoSlice<'_>],
) -> Result<(), Errno> {
    let total = slices
        .iter()
        .fold(0u64, |sum, piece| sum.saturating_add(piece.len() as u64));
    if offset.saturating_add(total) > i64::MAX as u64 {
        return Err(Errno::FBIG);
    }
    let mut rest = slices;
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(PIECES_MAX)];
        let written = retry_on_intr(|| pwritev(fd, batch, offset))?;
        if written == 0 {
            // A disk that takes nothing without saying why.
            return Err(Errno::IO);
        }
        offset += written as u64;
        // A short write goes on where it stopped.
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Reads exactly `len` bytes; what lies past the end is zeros.
pub(super) fn read_zeroed(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = read_some(fd, offset, len)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Reads up to `len` bytes; fewer only at the end.
pub(super) fn read_some(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset.saturating_add(bytes.len() as u64);
        if at > i64::MAX as u64 || retry_on_intr(|| pread(fd, spare_capacity(&mut bytes), at))? == 0
        {
            break;
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
