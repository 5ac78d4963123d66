//! Zeroes that need no room on disk: what was never written of a file reads as zeroes.

use super::write_all_at;
use std::fs::File;
use std::io;

/// What file systems keep room for at once.
const BLOCK_BYTES: usize = 4096;
/// Fewer zeroes inside of data are written: a hole costs the file system an entry of its own.
const HOLE_BYTES_MIN: usize = 64 * 1024;

/// Writes `bytes` at an offset of a file that has nothing there yet, but for long runs of zeroes.
pub(crate) fn write_around_zeroes(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut written = 0;
    for zeroes in holes(bytes, at) {
        write_all_at(file, &bytes[written..zeroes.start], at + written as u64)?;
        written = zeroes.end;
    }
    write_all_at(file, &bytes[written..], at + written as u64)
}

/// The runs of whole blocks of zeroes that are worth leaving out. Those at an end count in any case: what comes next may
/// go on with zeroes.
fn holes(bytes: &[u8], at: u64) -> Vec<std::ops::Range<usize>> {
    let mut holes: Vec<std::ops::Range<usize>> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        // Up to the next border of a block in the file.
        let in_block = ((at + start as u64) % BLOCK_BYTES as u64) as usize;
        let end = (start + BLOCK_BYTES - in_block).min(bytes.len());
        if is_zero(&bytes[start..end]) {
            match holes.last_mut() {
                Some(hole) if hole.end == start => hole.end = end,
                _ => holes.push(start..end),
            }
        }
        start = end;
    }
    let is_worth = |hole: &std::ops::Range<usize>| {
        hole.len() >= HOLE_BYTES_MIN || hole.start == 0 || hole.end == bytes.len()
    };
    holes.retain(is_worth);
    holes
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLE: usize = HOLE_BYTES_MIN;

    #[test]
    fn only_long_runs_of_whole_blocks_are_holes() {
        let with = |data: &[usize], len: usize| {
            let mut bytes = vec![0; len];
            data.iter().for_each(|at| bytes[*at] = 1);
            bytes
        };
        let all = |bytes: &[u8], at| -> Vec<(usize, usize)> {
            let holes = holes(bytes, at).into_iter();
            holes.map(|hole| (hole.start, hole.end)).collect()
        };
        assert_eq!(all(&[], 7), []);
        assert_eq!(all(&[0; 10], 7), [(0, 10)], "an end of what may be longer");
        assert_eq!(all(&[1; 10_000], 0), []);
        // Data at both ends, and zeroes between their blocks.
        let bytes = with(&[0, HOLE + 2 * BLOCK_BYTES - 1], HOLE + 2 * BLOCK_BYTES);
        assert_eq!(all(&bytes, 0), [(BLOCK_BYTES, BLOCK_BYTES + HOLE)]);
        assert_eq!(all(&bytes[..HOLE], 0), [(BLOCK_BYTES, HOLE)]);
        let short = with(&[0, HOLE - 1], HOLE);
        assert_eq!(all(&short, 0), [], "too short inside of data");
        // Blocks are those of the file.
        assert_eq!(all(&bytes, 1)[0].0, BLOCK_BYTES - 1);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_reads_as_written_and_takes_less_room() {
        use std::os::unix::fs::MetadataExt;
        let mut content = vec![0_u8; 4 << 20];
        for at in [5, 70_000, 1_000_000, 1_000_001, (3 << 20) + 4095] {
            content[at] = 7;
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(content.len() as u64).unwrap();
        // Pieces as odd as a network makes them.
        for (n, piece) in content.chunks(100_003).enumerate() {
            write_around_zeroes(&file, piece, n as u64 * 100_003).unwrap();
        }
        let mut read = vec![1; content.len()];
        crate::local::read_exact_at(&file, &mut read, 0).unwrap();
        assert!(read == content);
        let room = file.metadata().unwrap().blocks() * 512;
        assert!(room < 1 << 20, "{room} bytes on disk");
    }
}
