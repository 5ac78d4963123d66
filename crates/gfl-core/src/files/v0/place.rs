//! Putting one chunk where it belongs.

use super::assemble::{copy_spool, write_hashed};
use super::{Filed, Spool};
use crate::catalog::slots;
use crate::catalog::uploads::{self, SlotRow, UploadRow};
use crate::error::{Error, Kind, Result};
use crate::files::V0Chunk;
use crate::files::shared::Shared;
use crate::files::upload::gone;

impl Shared {
    /// Puts a chunk where it belongs and records it. `row` follows what is recorded.
    pub(super) async fn v0_place(
        &self,
        row: &mut UploadRow,
        chunk: &V0Chunk,
        spool: &mut Spool,
        sha256: [u8; 32],
    ) -> Result<Filed> {
        let slot = chunk.chunk_id;
        if let Some(before) = self.v0_slot(&row.id, slot).await? {
            if before.sha256 == sha256 && before.size == spool.len() {
                self.v0_heard(row).await?;
                return Ok(Filed::Known);
            }
            self.v0_replace(row, before).await?;
        }
        let last = chunk.total - 1;
        if slot < last && row.slot_bytes.is_none() && !spool.is_empty() {
            row.slot_bytes = Some(spool.len());
            let args = (row.id.clone(), spool.len());
            self.db
                .write("v0 chunk size", args, |tx, (id, n)| {
                    Box::pin(uploads::set_slot_bytes(tx, id, *n))
                })
                .await?;
        }
        let regular = match row.slot_bytes {
            Some(size) if slot < last => spool.len() == size,
            Some(size) => spool.len() <= size,
            None => false,
        };
        let draft = if regular {
            let size = row.slot_bytes.unwrap_or(0);
            let main = self.v0_main(row).await?;
            let at = u64::from(slot)
                .checked_mul(size)
                .filter(|at| at.saturating_add(spool.len()) <= self.settings.max_file_bytes)
                .ok_or_else(|| Error::new(Kind::TooLarge, format!("{}: too large", chunk.path)))?;
            match spool.take_small() {
                Some(data) => write_hashed(&*main, at, data).await?,
                None => copy_spool(spool, &*main, at).await?,
            }
            main
        } else {
            spool.make_draft().await?
        };
        // Recorded only when durable: the status announces what is recorded (invariant 3).
        draft.sync().await?;
        let slot = SlotRow {
            slot,
            size: spool.len(),
            aside: (!regular).then(|| spool.key().clone()),
            sha256,
            at_ms: self.clock.now_ms(),
        };
        row.slots_have = self
            .db
            .write("v0 chunk", (row.id.clone(), slot), |tx, (id, slot)| {
                Box::pin(async move {
                    if !uploads::touch(tx, id, slot.at_ms).await? {
                        return Err(gone());
                    }
                    uploads::put_slot(tx, id, slot).await
                })
            })
            .await?;
        Ok(Filed::Recorded { aside: !regular })
    }

    pub(super) async fn v0_slot(&self, id: &str, slot: u32) -> Result<Option<SlotRow>> {
        let slots = self
            .db
            .read("v0 slot", (id.to_owned(), slot), |tx, (id, slot)| {
                Box::pin(slots::slots(tx, id, *slot, 1))
            })
            .await?;
        Ok(slots.into_iter().find(|s| s.slot == slot))
    }

    /// A chunk that is there came again: the upload is alive.
    async fn v0_heard(&self, row: &UploadRow) -> Result<()> {
        let args = (row.id.clone(), self.clock.now_ms());
        self.db
            .write("v0 chunk again", args, |tx, (id, now_ms)| {
                Box::pin(uploads::touch(tx, id, *now_ms))
            })
            .await
            .map(drop)
    }

    /// A chunk comes again with other bytes: its row goes before its bytes are touched.
    async fn v0_replace(&self, row: &UploadRow, before: SlotRow) -> Result<()> {
        let args = (row.id.clone(), before.slot);
        self.db
            .write("v0 chunk replaced", args, |tx, (id, slot)| {
                Box::pin(slots::remove_slot(tx, id, *slot))
            })
            .await?;
        if let Some(key) = &before.aside {
            self.forget_draft(key).await;
        }
        Ok(())
    }
}
