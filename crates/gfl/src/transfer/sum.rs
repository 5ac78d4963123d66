//! The BLAKE3 root of a file whose parts are hashed side by side, in whatever order they come.
//!
//! Pure: bytes in, root out. Holds the group values of parts that came early, and of no others.

use gfl_api::limits::GROUP_BYTES;
use gfl_api::tree::{GroupHasher, RootBuilder, groups_in};
use gfl_api::{Cv, Root};
use std::collections::BTreeMap;

/// Hashes one part, from a group's beginning on.
pub(crate) struct PartHasher {
    group: GroupHasher,
    first: u64,
    cvs: Vec<Cv>,
}

/// A hashed part.
pub(crate) struct PartSum {
    first: u64,
    cvs: Vec<Cv>,
    /// The root, if this part is a file of one group.
    alone: Option<Root>,
}

impl PartHasher {
    /// Begins at byte `start`, which must be a multiple of the group size.
    pub(crate) fn new(start: u64) -> Self {
        let first = start / GROUP_BYTES;
        Self {
            group: GroupHasher::new(first),
            first,
            cvs: Vec::new(),
        }
    }

    /// Takes the next bytes of the part.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.group.room() == 0 {
                let next = GroupHasher::new(self.group.index() + 1);
                self.cvs
                    .push(std::mem::replace(&mut self.group, next).finish());
            }
            let room = usize::try_from(self.group.room()).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.group.update(now);
            bytes = rest;
        }
    }

    /// Ends the part.
    pub(crate) fn finish(mut self) -> PartSum {
        let alone = if self.cvs.is_empty() {
            self.group.clone().finish_as_file()
        } else {
            None
        };
        if !self.group.is_empty() {
            self.cvs.push(self.group.finish());
        }
        PartSum {
            first: self.first,
            cvs: self.cvs,
            alone,
        }
    }
}

/// Collects the parts of one file.
#[derive(Default)]
pub(crate) struct FileSum {
    builder: RootBuilder,
    early: BTreeMap<u64, Vec<Cv>>,
    alone: Option<Root>,
}

impl FileSum {
    /// Takes a part; each once.
    pub(crate) fn add(&mut self, part: PartSum) {
        if part.first == 0 {
            self.alone = part.alone;
        }
        self.early.insert(part.first, part.cvs);
        while let Some(cvs) = self.early.remove(&self.builder.groups()) {
            if cvs.is_empty() {
                break;
            }
            cvs.into_iter().for_each(|cv| self.builder.push(cv));
        }
    }

    /// The root of a file of `len` bytes; none if parts are missing.
    pub(crate) fn finish(self, len: u64) -> Option<Root> {
        match groups_in(len) {
            0 => Some(Root::of(b"")),
            groups if groups != self.builder.groups() => None,
            1 => self.alone,
            _ => self.builder.finish().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_any_order_give_the_root_of_the_whole() {
        const GROUP: usize = GROUP_BYTES as usize;
        for len in [0, 1, GROUP - 1, GROUP, GROUP + 1, 5 * GROUP, 5 * GROUP + 7] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
            for part in [GROUP, 2 * GROUP, 8 * GROUP] {
                let mut sums: Vec<PartSum> = (0..len.div_ceil(part))
                    .map(|i| {
                        let mut hasher = PartHasher::new((i * part) as u64);
                        bytes[i * part..len.min((i + 1) * part)]
                            .chunks(9_999)
                            .for_each(|b| hasher.update(b));
                        hasher.finish()
                    })
                    .collect();
                sums.reverse();
                let mut file = FileSum::default();
                sums.into_iter().for_each(|sum| file.add(sum));
                assert_eq!(
                    file.finish(len as u64),
                    Some(Root::of(&bytes)),
                    "{len} in parts of {part}"
                );
            }
        }
    }

    #[test]
    fn a_missing_part_gives_no_root() {
        let mut file = FileSum::default();
        let mut hasher = PartHasher::new(GROUP_BYTES);
        hasher.update(b"x");
        file.add(hasher.finish());
        assert_eq!(file.finish(GROUP_BYTES + 1), None);
    }
}
