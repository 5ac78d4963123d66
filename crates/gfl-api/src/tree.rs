//! The BLAKE3 tree over groups of 64 KiB: group values may be computed in any order by any number of
//! connections, and the whole file's root follows from them without reading a byte again.
//!
//! Knows nothing of files: where group values are kept is the caller's business. The tree is BLAKE3's own (its
//! specification, section 2.1), so the root of a file equals what `b3sum` prints.

use crate::limits::{FILE_BYTES_MAX, GROUP_BYTES};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use std::{fmt, ops::Range, str::FromStr};

/// The value of one group, or of any subtree that is not the whole file (BLAKE3's chaining value). It depends on
/// the group's place: equal content at another offset has another value.
pub type Cv = [u8; 32];

/// The BLAKE3 hash of a whole file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// The root of content held in memory, of any length.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The strong entity tag of this content, quotes included: `"b3-<64 hex digits>"`.
    pub fn etag(&self) -> String {
        format!("\"b3-{self}\"")
    }

    /// The entity tag of this content in a content coding such as `gz` or `zst`: another representation, so
    /// another tag. A tag of this form is refused by [`Root::parse_etag`].
    pub fn etag_coded(&self, coding: &str) -> String {
        format!("\"b3-{self}-{coding}\"")
    }

    /// Reads a tag made by [`Root::etag`]; any other tag, weak ones included, is none of ours.
    pub fn parse_etag(etag: &str) -> Option<Self> {
        etag.strip_prefix("\"b3-")?.strip_suffix('"')?.parse().ok()
    }
}

impl fmt::Display for Root {
    /// 64 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

impl FromStr for Root {
    type Err = TreeError;

    /// Reads 64 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, TreeError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| TreeError::NotHex)?;
        Ok(Self(bytes))
    }
}

impl From<[u8; 32]> for Root {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The number of groups in a file of `len` bytes; 0 for an empty file.
pub const fn groups_in(len: u64) -> u64 {
    len.div_ceil(GROUP_BYTES)
}

/// The bytes of group `index` in a file of `len` bytes; empty behind the end.
pub fn group_range(index: u64, len: u64) -> Range<u64> {
    let start = index.saturating_mul(GROUP_BYTES).min(len);
    start..start.saturating_add(GROUP_BYTES).min(len)
}

/// The value of group `group_index`, whose content is `bytes`.
///
/// # Panics
/// If `bytes` is empty or longer than [`GROUP_BYTES`], or the group lies beyond [`FILE_BYTES_MAX`]: an error of
/// the caller, who cuts the stream into groups.
pub fn group_cv(group_index: u64, bytes: &[u8]) -> Cv {
    let mut group = GroupHasher::new(group_index);
    group.update(bytes);
    group.finish()
}

/// The root of a file that fits into one group. Such a file has no tree: its group value is of no use.
///
/// # Panics
/// If `bytes` is longer than [`GROUP_BYTES`]; use [`Root::of`] where the length is not known to be small.
pub fn root_of_single_group(bytes: &[u8]) -> Root {
    assert!(
        bytes.len() as u64 <= GROUP_BYTES,
        "a group holds at most {GROUP_BYTES} bytes"
    );
    Root::of(bytes)
}

/// Hashes one group whose bytes arrive in pieces.
#[derive(Clone)]
pub struct GroupHasher {
    hasher: blake3::Hasher,
    index: u64,
    len: u64,
}

impl GroupHasher {
    /// Begins group `index`.
    ///
    /// # Panics
    /// If the group lies beyond [`FILE_BYTES_MAX`].
    pub fn new(index: u64) -> Self {
        assert!(
            index < groups_in(FILE_BYTES_MAX),
            "group {index} lies beyond the longest file"
        );
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(index * GROUP_BYTES);
        Self {
            hasher,
            index,
            len: 0,
        }
    }

    /// Adds the next bytes of the group.
    ///
    /// # Panics
    /// If the group would grow beyond [`GROUP_BYTES`]; see [`GroupHasher::room`].
    pub fn update(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() as u64 <= self.room(),
            "a group holds at most {GROUP_BYTES} bytes"
        );
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// The group's place in the file.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that still fit.
    pub fn room(&self) -> u64 {
        GROUP_BYTES - self.len
    }

    /// The group's value.
    ///
    /// # Panics
    /// If no byte was taken: an empty group has no value.
    pub fn finish(self) -> Cv {
        assert!(!self.is_empty(), "an empty group has no value");
        self.hasher.finalize_non_root()
    }

    /// The root of a file that consists of this group alone; none unless it is group 0. The file may be empty.
    pub fn finish_as_file(self) -> Option<Root> {
        (self.index == 0).then(|| Root(*self.hasher.finalize().as_bytes()))
    }
}

/// Builds the root from group values given in order, holding at most one value per level of the tree.
#[derive(Clone, Default)]
pub struct RootBuilder {
    stack: Vec<Cv>,
    groups: u64,
}

impl RootBuilder {
    /// Begins with no groups.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value of the next group.
    pub fn push(&mut self, cv: Cv) {
        // Complete neighbours are merged only now that a further group is known to follow: the last merge of all
        // is a different one, the root's.
        while self.stack.len() > self.groups.count_ones() as usize {
            self.merge_top();
        }
        self.stack.push(cv);
        self.groups += 1;
    }

    /// The number of groups taken.
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// The root. An error for fewer than two groups, since a single group is hashed as the file itself: see
    /// [`GroupHasher::finish_as_file`] and [`Root::of`].
    pub fn finish(mut self) -> Result<Root, TreeError> {
        while self.stack.len() > 2 {
            self.merge_top();
        }
        match self.stack.as_slice() {
            [left, right] => Ok(Root(
                *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
            )),
            _ => Err(TreeError::SingleGroup),
        }
    }

    fn merge_top(&mut self) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack
                .push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }
}

/// The root of a file of `total_len` bytes from the values of its groups in order. An error if the file fits into
/// one group or if the number of values is not [`groups_in`] of the length.
pub fn root_from_groups(
    groups: impl IntoIterator<Item = Cv>,
    total_len: u64,
) -> Result<Root, TreeError> {
    let mut builder = RootBuilder::new();
    let expected = groups_in(total_len);
    for cv in groups {
        if builder.groups == expected {
            return Err(TreeError::GroupCount { expected });
        }
        builder.push(cv);
    }
    if builder.groups != expected {
        return Err(TreeError::GroupCount { expected });
    }
    builder.finish()
}

/// Hashes a stream that arrives in order, of any length, and hands out the value of each group on the way.
#[derive(Clone)]
pub struct TreeHasher {
    group: GroupHasher,
    builder: RootBuilder,
}

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHasher {
    /// Begins at offset 0.
    pub fn new() -> Self {
        Self {
            group: GroupHasher::new(0),
            builder: RootBuilder::new(),
        }
    }

    /// Takes the next bytes and calls `on_group` with index and value of each group known to be complete.
    ///
    /// # Panics
    /// If the stream grows beyond [`FILE_BYTES_MAX`].
    pub fn update(&mut self, mut bytes: &[u8], mut on_group: impl FnMut(u64, Cv)) {
        while !bytes.is_empty() {
            if self.group.room() == 0 {
                let next = GroupHasher::new(self.group.index() + 1);
                let full = std::mem::replace(&mut self.group, next);
                let (index, cv) = (full.index(), full.finish());
                self.builder.push(cv);
                on_group(index, cv);
            }
            let room = usize::try_from(self.group.room()).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.group.update(now);
            bytes = rest;
        }
    }

    /// The bytes taken so far.
    pub fn len(&self) -> u64 {
        self.group.index() * GROUP_BYTES + self.group.len()
    }

    /// Whether no byte was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the stream: calls `on_group` for the last group and returns the root. Together with the calls of
    /// [`TreeHasher::update`] that makes exactly [`groups_in`] calls, also for a file of one group.
    pub fn finish(self, mut on_group: impl FnMut(u64, Cv)) -> Root {
        let Self { group, mut builder } = self;
        let index = group.index();
        if !group.is_empty() {
            let cv = group.clone().finish();
            builder.push(cv);
            on_group(index, cv);
        }
        match builder.finish() {
            Ok(root) => root,
            // Fewer than two groups: the group is the file.
            Err(_) => Root(*group.hasher.finalize().as_bytes()),
        }
    }
}

/// Why there is no root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// The text is not 64 hex digits.
    NotHex,
    /// The file fits into one group, whose value says nothing about the root.
    SingleGroup,
    /// There are more or fewer values than groups.
    GroupCount {
        /// The number of groups the length asks for.
        expected: u64,
    },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHex => f.write_str("not a blake3 hash; give 64 hex digits"),
            Self::SingleGroup => {
                f.write_str("the file has fewer than two groups; hash it as a whole")
            }
            Self::GroupCount { expected } => {
                write!(
                    f,
                    "the file has {expected} groups but another number of group values; hash it again"
                )
            }
        }
    }
}

impl std::error::Error for TreeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: usize = GROUP_BYTES as usize;

    fn content(len: usize) -> Vec<u8> {
        (0..len)
            .map(|i| (i % 251) as u8 ^ (i >> 13) as u8)
            .collect()
    }

    fn groups(bytes: &[u8]) -> Vec<Cv> {
        bytes
            .chunks(GROUP)
            .enumerate()
            .map(|(i, b)| group_cv(i as u64, b))
            .collect()
    }

    #[test]
    fn every_way_gives_the_hash_of_blake3() {
        let mut lens = vec![0, 1, 1023, 1024, 1025, GROUP - 1, GROUP, GROUP + 1];
        for groups in [2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33] {
            lens.extend([groups * GROUP - 1, groups * GROUP, groups * GROUP + 1]);
        }
        for len in lens {
            let bytes = content(len);
            let want = Root::of(&bytes);
            let mut seen = Vec::new();
            let mut tree = TreeHasher::new();
            for piece in bytes.chunks(10_007) {
                tree.update(piece, |index, cv| seen.push((index, cv)));
            }
            assert_eq!(tree.len(), len as u64);
            assert_eq!(
                tree.finish(|index, cv| seen.push((index, cv))),
                want,
                "{len}"
            );
            let cvs = groups(&bytes);
            assert!(seen.iter().map(|s| s.1).eq(cvs.iter().copied()));
            assert!(seen.iter().map(|s| s.0).eq(0..groups_in(len as u64)));
            if len > GROUP {
                assert_eq!(root_from_groups(cvs, len as u64), Ok(want), "{len}");
            } else {
                assert!(root_from_groups(cvs, len as u64).is_err());
                assert_eq!(root_of_single_group(&bytes), want);
                let mut group = GroupHasher::new(0);
                group.update(&bytes);
                assert_eq!(group.finish_as_file(), Some(want));
            }
        }
    }

    #[test]
    fn wrong_number_of_groups_is_refused() {
        let cvs = groups(&content(3 * GROUP));
        for len in [2 * GROUP, 3 * GROUP + 1, 0] {
            assert!(matches!(
                root_from_groups(cvs.clone(), len as u64),
                Err(TreeError::GroupCount { .. })
            ));
        }
        assert_eq!(GroupHasher::new(1).finish_as_file(), None);
        assert_eq!(RootBuilder::new().finish(), Err(TreeError::SingleGroup));
    }

    #[test]
    fn text_forms() {
        let root = Root::of(b"hello world");
        let text = root.to_string();
        assert_eq!(
            text,
            "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
        );
        assert_eq!(text.parse(), Ok(root));
        assert_eq!(Root::parse_etag(&root.etag()), Some(root));
        for bad in [
            format!("W/{}", root.etag()),
            root.etag_coded("gz"),
            text.clone(),
            "\"b3-\"".into(),
        ] {
            assert_eq!(Root::parse_etag(&bad), None, "{bad}");
        }
        assert_eq!("é".repeat(32).parse::<Root>(), Err(TreeError::NotHex));
    }

    #[test]
    fn ranges_of_groups() {
        assert_eq!(group_range(0, 10), 0..10);
        assert_eq!(
            group_range(1, GROUP_BYTES + 5),
            GROUP_BYTES..GROUP_BYTES + 5
        );
        assert!(group_range(7, 10).is_empty());
        assert!(group_range(u64::MAX, u64::MAX).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn groups_in_any_order(len in GROUP + 1..12 * GROUP, seed in any::<u64>()) {
            let bytes = content(len);
            let mut order: Vec<usize> = (0..len.div_ceil(GROUP)).collect();
            order.sort_by_key(|i| blake3::hash(&(seed ^ *i as u64).to_le_bytes()).to_hex());
            let mut cvs = vec![[0; 32]; order.len()];
            for i in order {
                let range = group_range(i as u64, len as u64);
                let mut group = GroupHasher::new(i as u64);
                for piece in bytes[range.start as usize..range.end as usize].chunks(1 + (seed % 30_000) as usize) {
                    group.update(piece);
                }
                cvs[i] = group.finish();
            }
            prop_assert_eq!(root_from_groups(cvs, len as u64), Ok(Root::of(&bytes)));
        }
    }
}
