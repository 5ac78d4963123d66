//! What is let go: kept content past its time, or while the disk is short of space; sessions that
//! nobody continued.

use super::UploadState;
use super::shared::Shared;
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::uploads::{self, Origin};
use crate::catalog::{Tx, entries, versions};
use crate::error::{Error, Result};
use crate::limits::{PRUNE_BATCH, UPLOAD_DONE_MS};

impl Shared {
    /// One step over kept content; true when there may be more to do.
    pub(crate) async fn prune_step(&self) -> Result<bool> {
        let now_ms = self.clock.now_ms();
        let space = self.store.space().await?;
        let short = space.total_bytes > 0
            && space.free_bytes.saturating_mul(100) / space.total_bytes
                < self.settings.undo_free_percent_min;
        let before = if short {
            now_ms
        } else {
            now_ms - self.settings.undo_ms
        };
        // When space is short a few at a time, so that no more history goes than must.
        let batch = if short { 16 } else { PRUNE_BATCH };
        let rows = self
            .db
            .read("old kept", (before, batch), |tx, (before, batch)| {
                Box::pin(kept::oldest(tx, *before, *batch))
            })
            .await?;
        if rows.is_empty() {
            return Ok(false);
        }
        // Rows first, bytes last: a row never points at missing bytes (invariant 4).
        self.db
            .write("prune", rows.clone(), |tx, rows| {
                Box::pin(forget_rows(tx, rows))
            })
            .await?;
        for row in &rows {
            self.store.remove_kept(&row.id).await?;
        }
        tracing::info!(
            count = rows.len(),
            short,
            "pruned {} kept versions",
            rows.len()
        );
        Ok(true)
    }

    /// Removes rows below deleted and pruned directories, in steps; true when there is more.
    pub(crate) async fn sweep_limbo(&self) -> Result<bool> {
        self.db
            .write("sweep", self.clock.now_ms(), |tx, _| {
                Box::pin(sweep_rows(tx))
            })
            .await
    }

    /// Ends sessions without activity; true when there may be more.
    pub(crate) async fn expire_uploads(&self) -> Result<bool> {
        let now_ms = self.clock.now_ms();
        let before = now_ms - self.settings.upload_expiry_ms.min(UPLOAD_DONE_MS);
        let rows = self
            .db
            .read("idle uploads", before, |tx, before| {
                Box::pin(uploads::idle_since(tx, *before, PRUNE_BATCH))
            })
            .await?;
        let mut ended = 0;
        for row in &rows {
            let limit = match row.state {
                UploadState::Receiving | UploadState::Committing => self.settings.upload_expiry_ms,
                UploadState::Done | UploadState::Failed => UPLOAD_DONE_MS,
            };
            let live_ms = self.sessions.get(&row.id).map(|s| s.live.lock().active_ms);
            let active_ms = live_ms.unwrap_or(row.active_ms).max(row.active_ms);
            if now_ms - active_ms < limit {
                continue;
            }
            if row.origin == Origin::V0 && row.state == UploadState::Receiving {
                self.v0_drop(row).await?;
            } else {
                self.end_upload(row).await?;
            }
            ended += 1;
        }
        Ok(ended > 0 && ended == rows.len())
    }

    /// Checkpoints sessions that received something since the last time.
    pub(crate) async fn checkpoint_due(&self, age_ms: i64) -> Result<()> {
        let now_ms = self.clock.now_ms();
        for session in self.sessions.all() {
            let due = {
                let live = session.live.lock();
                live.dirty_bytes > 0 && now_ms - live.last_checkpoint_ms >= age_ms
            };
            if due {
                self.checkpoint(&session).await?;
            }
        }
        Ok(())
    }
}

async fn forget_rows(tx: &mut Tx<'_>, rows: &[KeptRow]) -> Result<()> {
    for row in rows {
        kept::remove(tx, &row.id).await?;
        if row.is_dir {
            // The rows below are swept in steps; nothing can reach them any more.
            entries::relocate(tx, row.entry, entries::SWEEP, row.id.as_str()).await?;
        } else {
            versions::remove(tx, &row.id).await?;
        }
    }
    Ok(())
}

/// One step: children of doomed directories. Files go with their versions; directories become doomed.
async fn sweep_rows(tx: &mut Tx<'_>) -> Result<bool> {
    let doomed = entries::some_children(tx, entries::SWEEP, 1).await?;
    let Some((dir, _)) = doomed.first().copied() else {
        return Ok(false);
    };
    let children = entries::some_children(tx, dir, PRUNE_BATCH).await?;
    if children.is_empty() {
        entries::remove(tx, dir).await?;
        return Ok::<_, Error>(true);
    }
    for (id, is_dir) in children {
        if is_dir {
            entries::relocate(tx, id, entries::SWEEP, &id.to_string()).await?;
        } else {
            versions::remove_of_entry(tx, id).await?;
            entries::remove(tx, id).await?;
        }
    }
    Ok(true)
}
