//! What is let go: kept content past its time, or while the disk is short of space; sessions that
//! nobody continued; events past their time.

use super::UploadState;
use super::doubt::Then;
use super::rows::forget_kept;
use super::shared::Shared;
use crate::catalog::events::{self, Outdated};
use crate::catalog::intents::{self, Step};
use crate::catalog::kept::{self, KeptRow};
use crate::catalog::uploads::{self, Origin, UploadRow};
use crate::catalog::{Tx, entries, versions};
use crate::error::{Error, Result};
use crate::id::Key;
use crate::limits::{
    EVENTS_BATCH, EVENTS_BATCHES_PER_ROUND, KEPT_MS_MIN, PRUNE_BATCH, PRUNE_BATCH_SHORT,
    UPLOAD_DONE_MS,
};
use gfl_api::path::FilePath;
use std::sync::atomic::Ordering;

/// The first event that a follower has still to read. There are no followers yet.
const NOBODY_FOLLOWS: i64 = i64::MAX;

impl Shared {
    /// One step over kept content; true when there may be more to do.
    pub(crate) async fn prune_step(&self) -> Result<bool> {
        let now_ms = self.clock.now_ms();
        let space = self.store.space().await?;
        let short = space.total_bytes > 0
            && space.free_bytes.saturating_mul(100) / space.total_bytes
                < self.settings.undo_free_percent_min;
        let undo_ms = if short { 0 } else { self.settings.undo_ms };
        let before = now_ms - undo_ms.max(KEPT_MS_MIN);
        // When space is short a few at a time, so that no more history goes than must.
        let batch = if short {
            PRUNE_BATCH_SHORT
        } else {
            PRUNE_BATCH
        };
        self.prune_before(before, batch).await
    }

    /// Lets go of the oldest content that was retired before a time; false when there is none.
    pub(super) async fn prune_before(&self, before: i64, batch: i64) -> Result<bool> {
        let rows = self
            .db
            .read("old kept", (before, batch), |tx, (before, batch)| {
                Box::pin(kept::oldest(tx, *before, *batch))
            })
            .await?;
        if rows.is_empty() {
            return Ok(false);
        }
        // Rows first, bytes last: a row never points at missing bytes (invariant 4). The intents see to it
        // that a crash in between leaves no bytes without a row either.
        let keys = rows.iter().map(|row| row.id.clone()).collect();
        let doomed = self
            .db
            .write("prune", rows, |tx, rows| Box::pin(forget_rows(tx, rows)))
            .await
            .map_err(|error| self.doubted(error, &[], Then::Prune(keys)))?;
        let count = doomed.len();
        for (key, intent) in doomed {
            match self.store.remove_kept(&key).await {
                Ok(()) => self.unsettled.push(intent, &[], None),
                Err(error) => {
                    tracing::warn!(%key, error = ?error, "a pruned version could not be removed yet");
                    self.unfinished.push(intent, &[]);
                }
            }
        }
        tracing::info!(count, "pruned {count} kept versions");
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

    /// Forgets events past their time, and those beyond their number: one round of bounded batches.
    pub(crate) async fn prune_events(&self) -> Result<()> {
        let outdated = Outdated {
            before_ms: self.clock.now_ms() - self.settings.events_ms,
            rows_max: self.settings.events_rows_max,
            keep_from: NOBODY_FOLLOWS,
        };
        for _ in 0..EVENTS_BATCHES_PER_ROUND {
            let gone = self
                .db
                .write("prune events", outdated.clone(), |tx, outdated| {
                    Box::pin(events::forget(tx, outdated, EVENTS_BATCH))
                })
                .await?;
            if gone < EVENTS_BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Ends sessions without activity.
    pub(crate) async fn expire_uploads(&self) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let mut after = String::new();
        loop {
            let args = (
                now_ms - self.settings.upload_expiry_ms,
                now_ms - UPLOAD_DONE_MS,
                after,
            );
            let rows = self
                .db
                .read("idle uploads", args, |tx, (open, ended, after)| {
                    Box::pin(uploads::idle_since(tx, *open, *ended, after, PRUNE_BATCH))
                })
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.id.clone();
            for row in &rows {
                // One that cannot be ended now must not keep the others.
                match self.expire(row, now_ms).await {
                    Ok(true) if row.state == UploadState::Receiving => self.tell_expired(row),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(upload = %row.id, error = ?error, "an expired upload could not be ended yet")
                    }
                }
            }
        }
    }

    fn tell_expired(&self, row: &UploadRow) {
        self.measured
            .uploads_expired
            .fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            who = %row.owner.escape_debug(),
            file = %row.path.as_str().escape_debug(),
            "an unfinished upload has expired"
        );
    }

    /// True when it was ended, false when it is in use after all.
    async fn expire(&self, row: &UploadRow, now_ms: i64) -> Result<bool> {
        // What is in memory may be more recent than what was checkpointed.
        if row.state == UploadState::Receiving
            && let Some(session) = self.sessions.get(&row.id)
            && now_ms - session.live.lock().active_ms < self.settings.upload_expiry_ms
        {
            return Ok(false);
        }
        if row.origin == Origin::V0 && row.state == UploadState::Receiving {
            return self.v0_expire(row).await;
        }
        self.end_upload(row).await?;
        Ok(true)
    }

    /// Checkpoints sessions that received something since the last time.
    pub(crate) async fn checkpoint_due(&self, age_ms: i64) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let mut failed = None;
        for session in self.sessions.all() {
            let due = {
                let live = session.live.lock();
                live.dirty_bytes > 0 && now_ms - live.last_checkpoint_ms >= age_ms
            };
            // A draft whose disk failed must not keep the others from being announced.
            if due && let Err(error) = self.checkpoint(&session).await {
                if !error.is_away() {
                    tracing::warn!(upload = %session.id, error = ?error, "no checkpoint of an upload");
                }
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Removes the rows that are still there; returns whose bytes are to go, each with its intent.
async fn forget_rows(tx: &mut Tx<'_>, rows: &[KeptRow]) -> Result<Vec<(Key, i64)>> {
    let mut doomed = Vec::with_capacity(rows.len());
    for row in rows {
        // Restored meanwhile: the bytes are somebody's file again.
        if kept::get(tx, &row.id).await?.is_none() {
            continue;
        }
        forget_kept(tx, &row.id).await?;
        let step = Step::Remove {
            key: row.id.clone(),
        };
        let intent = intents::insert(tx, &FilePath::root(), row.ino, "", &step).await?;
        doomed.push((row.id.clone(), intent));
    }
    Ok(doomed)
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
            versions::remove_current_of(tx, id).await?;
            entries::remove(tx, id).await?;
        }
    }
    Ok(true)
}
