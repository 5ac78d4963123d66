//! BLAKE3 subtree values of 64 KiB groups, however the bytes arrive.

use crate::error::Result;
use crate::store::Draft;
use gfl_api::limits::GROUP_BYTES;
use gfl_api::tree::{
    Cv, GroupHasher, Root, RootBuilder, group_cv, groups_in, root_of_single_group,
};
use sha2::{Digest, Sha256};

/// Outboard values are read in steps of so many (128 KiB).
const VALUES_PER_STEP: u64 = 4096;

/// Stands in the outboard where no value is known.
const NO_VALUE: Cv = [0; 32];

/// Collects the values of those groups that one writer sees whole. For a group that it enters or leaves in
/// the middle it gives [`NO_VALUE`], because an earlier, rejected writer may have left the value of other
/// bytes there; such groups are read back when the file is completed.
pub(crate) struct GroupCollector {
    pos: u64,
    current: Option<GroupHasher>,
    done: Vec<(u64, Cv)>,
}

impl GroupCollector {
    /// For bytes from `start` on.
    pub(crate) fn new(start: u64) -> GroupCollector {
        let mut collector = GroupCollector {
            pos: start,
            current: None,
            done: Vec::new(),
        };
        collector.enter();
        collector
    }

    fn index(&self) -> u64 {
        self.pos / GROUP_BYTES
    }

    fn enter(&mut self) {
        if self.pos.is_multiple_of(GROUP_BYTES) {
            self.current = Some(GroupHasher::new(self.index()));
        }
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = GROUP_BYTES - self.pos % GROUP_BYTES;
            let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            match &mut self.current {
                Some(hasher) => hasher.update(&bytes[..n]),
                None => self.unknown(self.index()),
            }
            self.pos += n as u64;
            bytes = &bytes[n..];
            if self.pos.is_multiple_of(GROUP_BYTES) {
                self.close();
                self.enter();
            }
        }
    }

    fn unknown(&mut self, index: u64) {
        if self.done.last().is_none_or(|(last, _)| *last != index) {
            self.done.push((index, NO_VALUE));
        }
    }

    fn close(&mut self) {
        if let Some(hasher) = self.current.take()
            && !hasher.is_empty()
        {
            self.done.push((hasher.index(), hasher.finish()));
        }
    }

    /// No more bytes. The last, short group counts when it is the file's last one.
    pub(crate) fn end(&mut self, file_len: Option<u64>) {
        if file_len == Some(self.pos) {
            self.close();
        }
        if self.current.take().is_some_and(|hasher| !hasher.is_empty()) {
            self.unknown(self.index());
        }
    }

    /// Values found since the last call, ascending.
    pub(crate) fn take(&mut self) -> Vec<(u64, Cv)> {
        std::mem::take(&mut self.done)
    }
}

/// The root of a complete draft of `len` bytes, from its outboard and, where that has gaps, its bytes.
/// With `want_sha256` everything is read.
pub(crate) async fn root_of_draft(
    draft: &dyn Draft,
    len: u64,
    want_sha256: bool,
) -> Result<(Root, Option<[u8; 32]>)> {
    let mut sha = want_sha256.then(Sha256::new);
    if len <= GROUP_BYTES {
        let bytes = draft.read_at(0, usize::try_from(len).unwrap_or(0)).await?;
        if let Some(sha) = &mut sha {
            sha.update(&bytes);
        }
        return Ok((
            root_of_single_group(&bytes),
            sha.map(|s| s.finalize().into()),
        ));
    }
    let mut tree = RootBuilder::new();
    let groups = groups_in(len);
    let mut first = 0;
    while first < groups {
        let count = (groups - first).min(VALUES_PER_STEP);
        let mut values = draft
            .read_groups(first, usize::try_from(count).unwrap_or(usize::MAX))
            .await?;
        fill_gaps(draft, first, len, &mut values, sha.as_mut()).await?;
        for value in values.into_iter().flatten() {
            tree.push(value);
        }
        first += count;
    }
    let root = tree
        .finish()
        .map_err(|e| crate::Error::new(crate::Kind::Internal, "hash tree failed").caused_by(e))?;
    Ok((root, sha.map(|s| s.finalize().into())))
}

/// Reads the groups whose value is missing, and all of them when a SHA-256 is wanted.
async fn fill_gaps(
    draft: &dyn Draft,
    first: u64,
    len: u64,
    values: &mut [Option<Cv>],
    mut sha: Option<&mut Sha256>,
) -> Result<()> {
    let mut found: Vec<(u64, Cv)> = Vec::new();
    for (i, value) in values.iter_mut().enumerate() {
        if value.is_some() && sha.is_none() {
            continue;
        }
        let index = first + i as u64;
        let start = index * GROUP_BYTES;
        let n = GROUP_BYTES.min(len - start);
        let bytes = draft
            .read_at(start, usize::try_from(n).unwrap_or(0))
            .await?;
        if let Some(sha) = &mut sha {
            sha.update(&bytes);
        }
        if value.is_none() {
            let cv = group_cv(index, &bytes);
            *value = Some(cv);
            found.push((index, cv));
        }
    }
    write_values(draft, &found).await
}

/// Writes values into the outboard, neighbours together.
pub(crate) async fn write_values(draft: &dyn Draft, values: &[(u64, Cv)]) -> Result<()> {
    let mut rest = values;
    while let Some(((first, _), _)) = rest.split_first() {
        let run = rest
            .iter()
            .zip(*first..)
            .take_while(|((index, _), want)| index == want)
            .count();
        let cvs: Vec<Cv> = rest[..run].iter().map(|(_, cv)| *cv).collect();
        draft.write_groups(*first, &cvs).await?;
        rest = &rest[run..];
    }
    Ok(())
}
