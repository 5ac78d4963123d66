//! Open drafts and contents of the store in memory.

use super::disk::{Body, Disk};
use super::draft_name;
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::{Content, Draft, Stamp, file_mode};
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::tree::Cv;
use parking_lot::Mutex;
use std::sync::Arc;

/// An open draft.
pub(super) struct MemoryDraft {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) key: Key,
    pub(super) ino: u64,
    pub(super) body: Arc<Mutex<Body>>,
}

#[async_trait]
impl Draft for MemoryDraft {
    fn key(&self) -> &Key {
        &self.key
    }

    async fn write_at(&self, mut offset: u64, data: Vec<Bytes>) -> Result<()> {
        let total: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        if offset.saturating_add(total) > crate::limits::FILE_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, "no file can be this large"));
        }
        let mut body = self.body.lock();
        for piece in data {
            body.write(offset, &piece);
            offset += piece.len() as u64;
        }
        Ok(())
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        if offset > crate::limits::FILE_BYTES_MAX {
            return Ok(vec![0; len].into());
        }
        Ok(self.body.lock().read(offset, len).into())
    }

    async fn write_groups(&self, first: u64, values: &[Cv]) -> Result<()> {
        let mut disk = self.disk.lock();
        let groups = disk.groups.entry(self.key.as_str().to_owned()).or_default();
        groups.extend(values.iter().zip(first..).map(|(cv, index)| (index, *cv)));
        Ok(())
    }

    async fn read_groups(&self, first: u64, count: usize) -> Result<Vec<Option<Cv>>> {
        let disk = self.disk.lock();
        let groups = disk.groups.get(self.key.as_str());
        let one = |index| groups?.get(&index).copied().filter(|cv| *cv != [0; 32]);
        Ok((first..).take(count).map(one).collect())
    }

    async fn sync(&self) -> Result<()> {
        let name = draft_name(&self.key);
        if self.disk.lock().sync_file(&name, self.key.as_str()) {
            return Ok(());
        }
        Err(Error::new(
            Kind::NotFound,
            "the received data is gone; start this upload anew",
        ))
    }

    async fn finish(&self, size: u64, mtime_ns: i64, mode: Option<u32>) -> Result<Stamp> {
        let mut disk = self.disk.lock();
        {
            let mut body = self.body.lock();
            body.resize(size);
            body.mtime_ns = mtime_ns;
            body.mode = mode.map_or(0o644, file_mode);
        }
        disk.touch(self.ino, |_| {});
        let gone = || Error::new(Kind::NotFound, "the received data is gone");
        disk.stamp(&draft_name(&self.key)).ok_or_else(gone)
    }
}

/// Open content.
pub(super) struct MemoryContent {
    pub(super) stamp: Stamp,
    pub(super) mode: u32,
    pub(super) body: Arc<Mutex<Body>>,
}

#[async_trait]
impl Content for MemoryContent {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let body = self.body.lock();
        let left = usize::try_from(body.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        Ok(body.read(offset, len.min(left)).into())
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn mode(&self) -> u32 {
        self.mode
    }

    async fn unchanged(&self) -> Result<bool> {
        let body = self.body.lock();
        Ok((body.size, body.mtime_ns) == (self.stamp.size, self.stamp.mtime_ns))
    }
}
