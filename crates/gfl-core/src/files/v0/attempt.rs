//! Where one attempt at a file ends and the next begins. A v0 chunk does not say, and chunks of two contents
//! must not become one file.
//!
//! The client of v0.1 sends every chunk again, from the first one on, whatever became of an earlier attempt;
//! others may send chunks in any order, and only what is missing when they have asked for it. So:
//! - the first chunk, coming again, begins the upload anew;
//! - after a silence so does every chunk that does not go on where the others end, unless somebody has asked
//!   what is missing;
//! - otherwise a chunk that comes again with other bytes replaces itself alone, as in v0.1.
//!
//! What cannot be told: chunks that fall into places which an attempt cut off just now left free, from a client
//! that sends out of order. docs/compat.md says so.

use super::{SILENT_MS, Spool};
use crate::catalog::slots;
use crate::catalog::uploads::UploadRow;
use crate::error::Result;
use crate::files::V0Chunk;
use crate::files::shared::Shared;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Swept when there are more.
const ASKED_MAX: usize = 1024;

/// When somebody asked what is missing of an upload, by the upload's id.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<String, i64>>);

impl Asked {
    pub(super) fn note(&self, id: &str, now_ms: i64) {
        let mut asked = self.0.lock();
        if asked.len() >= ASKED_MAX {
            // Older ones say nothing any more.
            asked.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < SILENT_MS);
        }
        asked.insert(id.to_owned(), now_ms);
    }

    pub(super) fn forget(&self, id: &str) {
        self.0.lock().remove(id);
    }

    fn at_ms(&self, id: &str) -> i64 {
        self.0.lock().get(id).copied().unwrap_or(i64::MIN)
    }
}

impl Shared {
    /// Whether a chunk is the beginning of another attempt, so that what was received before makes way.
    pub(super) async fn v0_begins_anew(
        &self,
        row: &UploadRow,
        chunk: &V0Chunk,
        spool: &Spool,
        sha256: [u8; 32],
    ) -> Result<bool> {
        let known = self.v0_slot(&row.id, chunk.chunk_id).await?;
        let same = known.as_ref().map(|slot| slot.sha256 == sha256);
        if row.slots_have == chunk.total {
            // Complete, and could not be made a file (a crash, a full disk): a chunk that it knows is a retry.
            return Ok(chunk.chunk_id == 0 || same != Some(true));
        }
        if chunk.chunk_id == 0 && known.is_some() {
            return Ok(row.slots_have > 1);
        }
        // From the last answer to the beginning of this request: a slow line is not silent.
        let heard_ms = row.active_ms.max(self.v0_asked.at_ms(&row.id));
        if spool.begun_ms().saturating_sub(heard_ms) < SILENT_MS {
            return Ok(false);
        }
        Ok(same == Some(false) || !self.v0_goes_on(row, chunk.chunk_id).await?)
    }

    /// All chunks before this one are there. The first one goes on with nothing.
    async fn v0_goes_on(&self, row: &UploadRow, slot: u32) -> Result<bool> {
        let before = self
            .db
            .read("v0 chunks before", (row.id.clone(), slot), |tx, (id, n)| {
                Box::pin(slots::count_slots_before(tx, id, *n))
            })
            .await?;
        Ok(slot > 0 && before == slot)
    }
}
