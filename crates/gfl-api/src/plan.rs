//! How a file is cut into parts for parallel transfer. Client and server cut alike, so that parts line up with
//! groups of the hash tree and with parts of an object store.
//!
//! Knows nothing of connections: who takes which part, and how many at once, is the transfer's business.

use crate::limits::{PART_BYTES_DEFAULT, PART_BYTES_MAX, PART_BYTES_MIN};
use std::ops::Range;

/// Parts a file should at least have, as long as they do not get smaller than [`PART_BYTES_MIN`].
const PARTS_WANTED: u64 = 8;

/// Parts above which they get larger, up to [`PART_BYTES_MAX`].
const PARTS_MANY: u64 = 1024;

/// The part size for a file of `len` bytes: a power of two from [`PART_BYTES_MIN`] to [`PART_BYTES_MAX`], by
/// default [`PART_BYTES_DEFAULT`], smaller where there would be few parts, larger where there would be many.
pub const fn part_bytes_for(len: u64) -> u64 {
    let mut part = PART_BYTES_DEFAULT;
    while part > PART_BYTES_MIN && len / part < PARTS_WANTED {
        part /= 2;
    }
    while part < PART_BYTES_MAX && len / part > PARTS_MANY {
        part *= 2;
    }
    part
}

/// Cuts the missing ranges at every multiple of `part_bytes`, in order. A range that begins or ends between two
/// multiples gives a shorter part there; nothing that is not missing is ever included.
///
/// `part_bytes` of 0 is taken as [`PART_BYTES_DEFAULT`].
pub fn parts(missing: impl IntoIterator<Item = Range<u64>>, part_bytes: u64) -> Vec<Range<u64>> {
    parts_iter(missing, part_bytes).collect()
}

/// As [`parts`], one at a time: for files whose list of parts should not stand in memory.
pub fn parts_iter(
    missing: impl IntoIterator<Item = Range<u64>>,
    part_bytes: u64,
) -> impl Iterator<Item = Range<u64>> {
    let part_bytes = if part_bytes == 0 {
        PART_BYTES_DEFAULT
    } else {
        part_bytes
    };
    missing.into_iter().flat_map(move |range| {
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let boundary = (at / part_bytes + 1).saturating_mul(part_bytes);
            let part = at..boundary.min(range.end);
            at = part.end;
            Some(part)
        })
    })
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "lists of one range are meant"
)]
mod tests {
    use super::*;
    use crate::{RangeSet, limits::GROUP_BYTES};
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn sizes() {
        for (len, want) in [
            (0, 1),
            (10 * MIB, 1),
            (16 * MIB, 2),
            (64 * MIB, 8),
            (1024 * MIB, 8),
            (16 * 1024 * MIB, 16),
            (1024 * 1024 * MIB, 64),
            (u64::MAX, 64),
        ] {
            assert_eq!(part_bytes_for(len), want * MIB, "{len}");
        }
    }

    #[test]
    fn cuts_at_multiples() {
        assert_eq!(parts([0..25], 10), [0..10, 10..20, 20..25]);
        assert_eq!(parts([5..9, 15..31], 10), [5..9, 15..20, 20..30, 30..31]);
        assert!(parts([], 10).is_empty());
        assert_eq!(
            parts([u64::MAX - 1..u64::MAX], 10),
            [u64::MAX - 1..u64::MAX]
        );
    }

    proptest! {
        #[test]
        fn parts_are_the_missing_bytes_and_whole_groups(
            have in prop::collection::vec((0u64..100, 0u64..100), 0..6), len in 0u64..100 * MIB,
        ) {
            let have: RangeSet = have.iter().map(|(a, b)| a.min(b) * MIB..a.max(b) * MIB).collect();
            let size = part_bytes_for(len);
            let list = parts(have.missing_within(len), size);
            prop_assert!(list.iter().all(|p| p.end - p.start <= size && p.start % GROUP_BYTES == 0));
            prop_assert!(list.iter().all(|p| p.end == len || p.end % GROUP_BYTES == 0));
            prop_assert_eq!(list.iter().map(|p| p.end - p.start).sum::<u64>(),
                have.missing_within(len).map(|p| p.end - p.start).sum::<u64>());
            let covered: RangeSet = list.into_iter().collect();
            prop_assert!(have.missing_within(len).eq(covered.iter()));
        }
    }
}
