//! Sets of byte ranges: which bytes of a file are there. Half-open, sorted, neighbours merged.
//!
//! Knows nothing of uploads or disks. A hostile sender can make a set as long as it sends separate ranges, so
//! whoever inserts for others watches [`RangeSet::len_ranges`].

use std::{fmt, ops::Range};

/// A set of bytes kept as sorted, disjoint, non-touching half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the pairs `[start, end)` of a stored or received set: each must be non-empty, behind the one before
    /// it, and may touch it.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, PairError> {
        let mut set = Self::new();
        for (start, end) in pairs {
            if start >= end || set.end() > start {
                return Err(PairError { start, end });
            }
            set.insert(start..end);
        }
        Ok(set)
    }

    /// The ranges as `[start, end]` pairs, the form of [`crate::v1::UploadInfo`].
    pub fn to_pairs(&self) -> Vec<[u64; 2]> {
        self.ranges.iter().map(|r| [r.start, r.end]).collect()
    }

    /// Adds a range, merging it with what it overlaps or touches; an empty range adds nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let behind = self.ranges.partition_point(|r| r.start <= range.end);
        let merged = match self.ranges.get(first..behind) {
            Some([]) | None => range,
            Some(touched) => {
                let start = touched
                    .first()
                    .map_or(range.start, |r| r.start.min(range.start));
                start..touched.last().map_or(range.end, |r| r.end.max(range.end))
            }
        };
        self.ranges.splice(first..behind, [merged]);
    }

    /// Takes a range out; what is not there is no matter.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        let behind = self.ranges.partition_point(|r| r.start < range.end);
        if first >= behind {
            return;
        }
        let left = self.ranges[first].start..range.start;
        let right = range.end..self.ranges[behind - 1].end;
        let kept = [left, right].into_iter().filter(|r| r.start < r.end);
        self.ranges.splice(first..behind, kept);
    }

    /// Whether every byte of `range` is in the set; true for an empty range.
    pub fn contains(&self, range: Range<u64>) -> bool {
        let at = self.ranges.partition_point(|r| r.end < range.end);
        range.is_empty() || self.ranges.get(at).is_some_and(|r| r.start <= range.start)
    }

    /// Whether any byte of `range` is in the set.
    pub fn overlaps(&self, range: Range<u64>) -> bool {
        let at = self.ranges.partition_point(|r| r.end <= range.start);
        !range.is_empty() && self.ranges.get(at).is_some_and(|r| r.start < range.end)
    }

    /// The gaps below `len`, in order.
    pub fn missing_within(&self, len: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        self.gaps(0..len)
    }

    /// The parts of `within` that are not in the set, in order.
    pub fn gaps(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.ranges.partition_point(|r| r.end <= within.start);
        let end = within.end;
        let mut at = within.start;
        let inside = self.ranges[first..]
            .iter()
            .cloned()
            .take_while(move |r| r.start < end);
        // The end itself closes the last gap.
        inside
            .chain(std::iter::once(end..end))
            .map(move |r| {
                let gap = at..r.start;
                at = at.max(r.end);
                gap
            })
            .filter(|gap| gap.start < gap.end)
    }

    /// The end of the range that begins at 0: an upload's offset. 0 if the first byte is missing.
    pub fn contiguous_from_zero(&self) -> u64 {
        self.ranges
            .first()
            .filter(|r| r.start == 0)
            .map_or(0, |r| r.end)
    }

    /// Whether the set is exactly the bytes below `len`: nothing missing, nothing beyond.
    pub fn is_exactly(&self, len: u64) -> bool {
        self.contiguous_from_zero() == len && self.end() == len
    }

    /// The number of bytes in the set.
    pub fn total(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// The number of separate ranges.
    pub fn len_ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the set holds no byte.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The end of the last range; 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.end)
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + '_ {
        self.ranges.iter().cloned()
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<T: IntoIterator<Item = Range<u64>>>(ranges: T) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl Extend<Range<u64>> for RangeSet {
    fn extend<T: IntoIterator<Item = Range<u64>>>(&mut self, ranges: T) {
        for range in ranges {
            self.insert(range);
        }
    }
}

/// A pair that cannot follow in a list of ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairError {
    /// The pair's start.
    pub start: u64,
    /// The pair's end.
    pub end: u64,
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end } = self;
        write!(
            f,
            "byte range [{start}, {end}) is empty or out of order; list ranges ascending without overlap"
        )
    }
}

impl std::error::Error for PairError {}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "lists of one range are meant"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: u64 = 48;

    /// The same set as one flag per byte.
    fn bits(set: &RangeSet) -> Vec<bool> {
        (0..SPACE).map(|i| set.contains(i..i + 1)).collect()
    }

    fn runs(flags: impl Iterator<Item = bool>) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (i, flag) in flags.enumerate() {
            let i = i as u64;
            match runs.last_mut() {
                Some(last) if flag && last.end == i => last.end = i + 1,
                _ if flag => runs.push(i..i + 1),
                _ => {}
            }
        }
        runs
    }

    #[test]
    fn pairs() {
        let set = RangeSet::from_pairs([(0, 5), (5, 7), (9, 10)]).unwrap();
        assert_eq!(set.to_pairs(), [[0, 7], [9, 10]]);
        assert_eq!(
            (set.total(), set.end(), set.contiguous_from_zero()),
            (8, 10, 7)
        );
        for bad in [
            vec![(3, 3)],
            vec![(4, 2)],
            vec![(0, 5), (4, 6)],
            vec![(5, 6), (0, 1)],
        ] {
            assert!(RangeSet::from_pairs(bad).is_err());
        }
    }

    #[test]
    fn the_far_end() {
        let mut set = RangeSet::new();
        set.insert(u64::MAX - 1..u64::MAX);
        assert_eq!(
            set.missing_within(u64::MAX).collect::<Vec<_>>(),
            [0..u64::MAX - 1]
        );
        set.insert(0..u64::MAX);
        assert!(set.is_exactly(u64::MAX));
        assert_eq!(set.missing_within(u64::MAX).count(), 0);
    }

    proptest! {
        #[test]
        fn behaves_like_a_bitmap(
            steps in prop::collection::vec((any::<bool>(), 0..SPACE, 0..SPACE), 0..24),
            a in 0..SPACE, b in 0..SPACE,
        ) {
            let mut set = RangeSet::new();
            let mut model = vec![false; SPACE as usize];
            for (add, a, b) in steps {
                let range = a.min(b)..a.max(b);
                model[range.start as usize..range.end as usize].fill(add);
                if add { set.insert(range) } else { set.remove(range) }
            }
            prop_assert_eq!(&bits(&set), &model);
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), runs(model.iter().copied()));
            prop_assert_eq!(set.total(), model.iter().filter(|x| **x).count() as u64);
            let range = a.min(b)..a.max(b);
            let piece = &model[range.start as usize..range.end as usize];
            prop_assert_eq!(set.contains(range.clone()), piece.iter().all(|x| *x));
            prop_assert_eq!(set.overlaps(range.clone()), piece.iter().any(|x| *x));
            let gaps = runs((0..SPACE).map(|i| range.contains(&i) && !model[i as usize]));
            prop_assert_eq!(set.gaps(range).collect::<Vec<_>>(), gaps);
            let missing = runs((0..a).map(|i| !model[i as usize]));
            prop_assert_eq!(set.missing_within(a).collect::<Vec<_>>(), missing);
            let whole = set.contiguous_from_zero();
            prop_assert_eq!(whole, model.iter().take_while(|x| **x).count() as u64);
            let pairs = set.to_pairs();
            prop_assert_eq!(RangeSet::from_pairs(pairs.iter().map(|p| (p[0], p[1]))).unwrap(), set);
        }
    }
}
