//! Chunks of v0 uploads: which of them are there, and where.

use super::uploads::{SlotRow, damaged};
use super::{Tx, key_column};

use crate::error::Result;

/// Forgets a v0 chunk, before its bytes are replaced (invariant 3).
pub async fn remove_slot(tx: &mut Tx<'_>, id: &str, slot: u32) -> Result<()> {
    let removed = tx
        .exec(
            "DELETE FROM upload_slot WHERE upload = $1 AND slot = $2",
            &[id.into(), slot.into()],
        )
        .await?;
    if removed == 1 {
        tx.exec(
            "UPDATE upload SET slots_have = slots_have - 1 WHERE id = $1",
            &[id.into()],
        )
        .await?;
    }
    Ok(())
}

/// How many v0 chunks there are with smaller numbers.
pub async fn count_slots_before(tx: &mut Tx<'_>, id: &str, slot: u32) -> Result<u32> {
    let row = tx
        .row(
            "SELECT COUNT(*) FROM upload_slot WHERE upload = $1 AND slot < $2",
            &[id.into(), slot.into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.u32(0)?))
}

/// v0 chunks from a number on.
pub async fn slots(tx: &mut Tx<'_>, id: &str, from: u32, limit: i64) -> Result<Vec<SlotRow>> {
    let rows = tx
        .rows(
            "SELECT slot, size, aside, sha256, at_ms FROM upload_slot WHERE upload = $1 AND slot >= $2 \
             ORDER BY slot LIMIT $3",
            &[id.into(), from.into(), limit.into()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(SlotRow {
                slot: row.u32(0)?,
                size: row.u64(1)?,
                aside: row.opt_text(2)?.map(|t| key_column(&t)).transpose()?,
                sha256: row.opt_array(3)?.ok_or_else(damaged)?,
                at_ms: row.int(4)?,
            })
        })
        .collect()
}
