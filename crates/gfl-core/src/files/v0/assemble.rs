//! Making one file of the chunks.

use super::{Spool, completes, internal};
use crate::auth::Caller;
use crate::catalog::uploads::UploadRow;
use crate::error::Result;
use crate::files::Committed;
use crate::files::commit::Candidate;
use crate::files::shared::Shared;
use crate::id::Key;
use crate::limits::IO_BYTES_MAX;
use crate::store::Draft;
use crate::stream::{GroupCollector, write_values};
use bytes::Bytes;
use std::sync::Arc;

/// Where the chunks of a complete session stand.
#[derive(Default)]
struct Layout {
    /// Chunks in drafts of their own: where they belong, their size, their key.
    asides: Vec<(u64, u64, Key)>,
    /// Chunks of the session's draft that a chunk of another size has shifted.
    moved: bool,
    len: u64,
}

impl Shared {
    /// Every chunk is there: makes the file.
    pub(super) async fn v0_complete(&self, caller: &Caller, row: &UploadRow) -> Result<Committed> {
        let layout = self.v0_layout(row).await?;
        self.check_size(layout.len, &row.path)?;
        let main = self.v0_main(row).await?;
        let candidate = if layout.moved {
            self.v0_reassemble(row, &*main, layout.len).await?
        } else {
            for (at, size, key) in &layout.asides {
                let from = self.v0_aside(key).await?;
                copy_bytes(&*from, 0, *size, &*main, *at).await?;
            }
            self.v0_candidate(&row.path, main, layout.len).await?
        };
        let candidate = Candidate {
            upload: Some(completes(row)),
            // The session can be completed again when this fails, from what it has.
            keep_draft: !layout.moved,
            ..candidate
        };
        let committed = self.commit(caller, candidate).await?;
        self.v0_asked.forget(&row.id);
        for (_, _, key) in &layout.asides {
            self.forget_draft(key).await;
        }
        if layout.moved {
            self.forget_draft(&row.version).await;
        }
        Ok(committed)
    }

    async fn v0_layout(&self, row: &UploadRow) -> Result<Layout> {
        let regular = row.slot_bytes.unwrap_or(0);
        let mut layout = Layout::default();
        self.each_slot(&row.id, |slot| {
            match &slot.aside {
                Some(key) => layout.asides.push((layout.len, slot.size, key.clone())),
                None => layout.moved |= u64::from(slot.slot) * regular != layout.len,
            }
            layout.len += slot.size;
        })
        .await?;
        Ok(layout)
    }

    async fn v0_aside(&self, key: &Key) -> Result<Arc<dyn Draft>> {
        self.store
            .reopen(key)
            .await?
            .ok_or_else(|| internal("a chunk's bytes are missing; begin again"))
    }

    /// Chunks of odd sizes: everything is written once more, in order, into a fresh draft.
    async fn v0_reassemble(
        &self,
        row: &UploadRow,
        main: &dyn Draft,
        len: u64,
    ) -> Result<Candidate> {
        let key = Key::new(&*self.clock);
        let whole = self.store.create(&key, Some(len)).await?;
        let done = match self.v0_copy_all(row, main, &*whole).await {
            Ok(()) => self.v0_candidate(&row.path, whole, len).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            self.forget_draft(&key).await;
        }
        done
    }

    async fn v0_copy_all(
        &self,
        row: &UploadRow,
        main: &dyn Draft,
        whole: &dyn Draft,
    ) -> Result<()> {
        let regular = row.slot_bytes.unwrap_or(0);
        let mut slots = Vec::new();
        self.each_slot(&row.id, |slot| {
            slots.push((slot.slot, slot.size, slot.aside.clone()))
        })
        .await?;
        let mut at = 0;
        for (slot, size, aside) in slots {
            match aside {
                None => copy_bytes(main, u64::from(slot) * regular, size, whole, at).await?,
                Some(key) => {
                    let from = self.v0_aside(&key).await?;
                    copy_bytes(&*from, 0, size, whole, at).await?;
                }
            }
            at += size;
        }
        Ok(())
    }
}

/// Writes the bytes of a spool that has a draft at an offset of the session's draft.
pub(super) async fn copy_spool(spool: &mut Spool, to: &dyn Draft, at: u64) -> Result<()> {
    let len = spool.len();
    let from = spool.make_draft().await?;
    copy_bytes(&*from, 0, len, to, at).await
}

async fn copy_bytes(from: &dyn Draft, start: u64, len: u64, to: &dyn Draft, at: u64) -> Result<()> {
    let mut done = 0;
    while done < len {
        let n = usize::try_from(len - done)
            .unwrap_or(usize::MAX)
            .min(IO_BYTES_MAX);
        let data = from.read_at(start + done, n).await?;
        write_hashed(to, at + done, data).await?;
        done += n as u64;
    }
    Ok(())
}

/// Groups that are written whole get their value now; for the others the old value, if any, would be
/// wrong and is cleared.
pub(super) async fn write_hashed(to: &dyn Draft, at: u64, data: Bytes) -> Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut collector = GroupCollector::new(at);
    collector.update(&data);
    collector.end(None);
    to.write_at(at, vec![data]).await?;
    write_values(to, &collector.take()).await
}
