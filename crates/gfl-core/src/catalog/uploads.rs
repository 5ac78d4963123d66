//! Tables `upload`, `upload_range` and the writing of `upload_slot`: sessions and what is durable of them.

use super::{Row, Tx, Value, key_column, path_column};
use crate::error::{Error, Kind, Result};
use crate::files::UploadState;
use crate::id::Key;
use gfl_api::path::FilePath;
use gfl_api::tree::Root;

/// Which protocol made a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// v1.
    Native,
    /// v0 chunks by number.
    V0,
}

/// A session's row.
#[derive(Debug, Clone)]
pub struct UploadRow {
    /// Id.
    pub id: String,
    /// User.
    pub owner: String,
    /// Protocol.
    pub origin: Origin,
    /// Peer address (part of a v0 session's identity).
    pub peer: String,
    /// Target.
    pub path: FilePath,
    /// Key of the draft, and of the version it becomes.
    pub version: Key,
    /// Length if known.
    pub length: Option<u64>,
    /// v0: chunks in all.
    pub slots: Option<u32>,
    /// v0: size of a regular chunk once known.
    pub slot_bytes: Option<u64>,
    /// State.
    pub state: UploadState,
    /// The client's mark.
    pub fingerprint: Option<String>,
    /// ns.
    pub mtime_ns: Option<i64>,
    /// Bits.
    pub mode: Option<u32>,
    /// Expected root.
    pub b3: Option<Root>,
    /// Expected SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// If-Match as received.
    pub if_match: Option<String>,
    /// If-None-Match as received.
    pub if_none_match: Option<String>,
    /// Unix ms.
    pub created_ms: i64,
    /// Last activity, unix ms.
    pub active_ms: i64,
    /// Done: `created` or `replaced`. Failed: the message.
    pub outcome: Option<String>,
    /// v0: chunks recorded so far.
    pub slots_have: u32,
}

/// A v0 chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// Number.
    pub slot: u32,
    /// Bytes.
    pub size: u64,
    /// In a draft of its own; otherwise at `slot * slot_bytes` of the session's draft.
    pub aside: Option<Key>,
    /// Of its bytes.
    pub sha256: [u8; 32],
    /// When received, unix ms.
    pub at_ms: i64,
}

/// Every column, in the order of [`read`], of the rows that fit.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, owner, origin, peer, path, version, length, slots, slot_bytes, state, fingerprint, ",
            "mtime_ns, mode, b3, sha256, if_match, if_none_match, created_ms, active_ms, outcome, ",
            "slots_have FROM upload ",
            $rest
        )
    };
}

pub(super) fn damaged() -> Error {
    Error::new(Kind::Internal, "the catalog holds a malformed upload")
}

fn state_to_sql(state: UploadState) -> i64 {
    match state {
        UploadState::Receiving => 0,
        UploadState::Committing => 1,
        UploadState::Done => 2,
        UploadState::Failed => 3,
    }
}

fn read(row: &Row) -> Result<UploadRow> {
    Ok(UploadRow {
        id: row.text(0)?,
        owner: row.text(1)?,
        origin: if row.int(2)? == 1 {
            Origin::V0
        } else {
            Origin::Native
        },
        peer: row.text(3)?,
        path: path_column(&row.text(4)?)?,
        version: key_column(&row.text(5)?)?,
        length: row.opt_u64(6)?,
        slots: row
            .opt_int(7)?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| damaged())?,
        slot_bytes: row.opt_u64(8)?,
        state: match row.int(9)? {
            0 => UploadState::Receiving,
            1 => UploadState::Committing,
            2 => UploadState::Done,
            3 => UploadState::Failed,
            _ => return Err(damaged()),
        },
        fingerprint: row.opt_text(10)?,
        mtime_ns: row.opt_int(11)?,
        mode: row
            .opt_int(12)?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| damaged())?,
        b3: row.opt_array(13)?.map(Root),
        sha256: row.opt_array(14)?,
        if_match: row.opt_text(15)?,
        if_none_match: row.opt_text(16)?,
        created_ms: row.int(17)?,
        active_ms: row.int(18)?,
        outcome: row.opt_text(19)?,
        slots_have: row.u32(20)?,
    })
}

/// Adds a session.
pub async fn insert(tx: &mut Tx<'_>, u: &UploadRow) -> Result<()> {
    tx.exec(
        "INSERT INTO upload (id, owner, origin, peer, path, version, length, slots, slot_bytes, state, \
         fingerprint, mtime_ns, mode, b3, sha256, if_match, if_none_match, created_ms, active_ms, outcome, \
         slots_have) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        &[
            u.id.as_str().into(),
            u.owner.as_str().into(),
            i64::from(u.origin == Origin::V0).into(),
            u.peer.as_str().into(),
            u.path.as_str().into(),
            u.version.as_str().into(),
            u.length.map(Value::u64).transpose()?.unwrap_or(Value::Null),
            u.slots.into(),
            u.slot_bytes.map(Value::u64).transpose()?.unwrap_or(Value::Null),
            state_to_sql(u.state).into(),
            u.fingerprint.clone().into(),
            u.mtime_ns.into(),
            u.mode.into(),
            u.b3.map(|r| r.0).into(),
            u.sha256.into(),
            u.if_match.clone().into(),
            u.if_none_match.clone().into(),
            u.created_ms.into(),
            u.active_ms.into(),
            u.outcome.clone().into(),
            u.slots_have.into(),
        ],
    )
    .await?;
    Ok(())
}

/// A session by id.
pub async fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<UploadRow>> {
    let row = tx.row(select!("WHERE id = $1"), &[id.into()]).await?;
    row.as_ref().map(read).transpose()
}

/// The caller's receiving sessions for a path, newest first.
pub async fn receiving_for(
    tx: &mut Tx<'_>,
    owner: &str,
    path: &FilePath,
    limit: i64,
) -> Result<Vec<UploadRow>> {
    let rows = tx
        .rows(
            select!(
                "WHERE owner = $1 AND path = $2 AND state = 0 ORDER BY created_ms DESC LIMIT $3"
            ),
            &[owner.into(), path.as_str().into(), limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The newest open native session of the same owner with the same path, length and fingerprint. Without a
/// fingerprint none is the same.
pub async fn same_as(tx: &mut Tx<'_>, u: &UploadRow) -> Result<Option<UploadRow>> {
    let Some(fingerprint) = &u.fingerprint else {
        return Ok(None);
    };
    // Lengths are never negative: that stands for an unknown one, which SQL's `=` does not find.
    let length = u.length.map(Value::u64).transpose()?;
    let row = tx
        .row(
            select!(
                "WHERE owner = $1 AND path = $2 AND state = 0 AND origin = 0 AND fingerprint = $3 \
                 AND COALESCE(length, -1) = $4 ORDER BY created_ms DESC, id LIMIT 1"
            ),
            &[
                u.owner.as_str().into(),
                u.path.as_str().into(),
                fingerprint.as_str().into(),
                length.unwrap_or(Value::Int(-1)),
            ],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// An owner's native sessions after an id.
pub async fn of_owner(
    tx: &mut Tx<'_>,
    owner: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<UploadRow>> {
    let rows = tx
        .rows(
            select!("WHERE owner = $1 AND id > $2 AND origin = 0 ORDER BY id LIMIT $3"),
            &[owner.into(), after.into(), limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// How many receiving sessions an owner has.
pub async fn count_of_owner(tx: &mut Tx<'_>, owner: &str) -> Result<i64> {
    let row = tx
        .row(
            "SELECT COUNT(*) FROM upload WHERE owner = $1 AND state = 0",
            &[owner.into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?))
}

/// Sessions without activity: open ones since one time, ended ones since another. In order of id, so that
/// rows that must stay do not hide those behind them.
pub async fn idle_since(
    tx: &mut Tx<'_>,
    open_ms: i64,
    ended_ms: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<UploadRow>> {
    let rows = tx
        .rows(
            select!(
                "WHERE ((state < 2 AND active_ms < $1) OR (state >= 2 AND active_ms < $2)) AND id > $3 \
                 ORDER BY id LIMIT $4"
            ),
            &[open_ms.into(), ended_ms.into(), after.into(), limit.into()],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Whether a draft belongs to a session that still receives, or is one of its chunks.
pub async fn uses_draft(tx: &mut Tx<'_>, key: &Key) -> Result<bool> {
    let whole = tx
        .row(
            "SELECT 1 FROM upload WHERE version = $1 AND state < 2 LIMIT 1",
            &[key.as_str().into()],
        )
        .await?;
    if whole.is_some() {
        return Ok(true);
    }
    let aside = tx
        .row(
            "SELECT 1 FROM upload_slot s JOIN upload u ON u.id = s.upload \
             WHERE s.aside = $1 AND u.state < 2 LIMIT 1",
            &[key.as_str().into()],
        )
        .await?;
    Ok(aside.is_some())
}

/// Ends a session: done or failed. False when it was not receiving any more. Its parts stay until the
/// commit is certain, because a commit that is taken back needs them again.
pub async fn finish(
    tx: &mut Tx<'_>,
    id: &str,
    state: UploadState,
    outcome: &str,
    now_ms: i64,
) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE upload SET state = $2, outcome = $3, active_ms = $4 WHERE id = $1 AND state = 0",
            &[id.into(), state_to_sql(state).into(), outcome.into(), now_ms.into()],
        )
        .await?;
    Ok(changed == 1)
}

/// Records activity; false when the session has ended, so that nothing may be recorded for it any more.
pub async fn touch(tx: &mut Tx<'_>, id: &str, now_ms: i64) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE upload SET active_ms = $2 WHERE id = $1 AND state = 0",
            &[id.into(), now_ms.into()],
        )
        .await?;
    Ok(changed == 1)
}

/// Records the length once it is known, or that it is not.
pub async fn set_length(tx: &mut Tx<'_>, id: &str, length: Option<u64>) -> Result<()> {
    let length = length.map(Value::u64).transpose()?.unwrap_or(Value::Null);
    tx.exec(
        "UPDATE upload SET length = $2 WHERE id = $1",
        &[id.into(), length],
    )
    .await?;
    Ok(())
}

/// Records the regular chunk size of a v0 session once it is known.
pub async fn set_slot_bytes(tx: &mut Tx<'_>, id: &str, slot_bytes: u64) -> Result<()> {
    tx.exec(
        "UPDATE upload SET slot_bytes = $2 WHERE id = $1",
        &[id.into(), Value::u64(slot_bytes)?],
    )
    .await?;
    Ok(())
}

/// Removes a session and everything of it.
pub async fn remove(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    clear_parts(tx, id).await?;
    tx.exec("DELETE FROM upload WHERE id = $1", &[id.into()])
        .await?;
    Ok(())
}

/// Forgets which parts a session has received.
pub async fn clear_parts(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    tx.exec("DELETE FROM upload_range WHERE upload = $1", &[id.into()])
        .await?;
    tx.exec("DELETE FROM upload_slot WHERE upload = $1", &[id.into()])
        .await?;
    Ok(())
}

/// Forgets the parts of all sessions that have ended.
pub async fn clear_ended(tx: &mut Tx<'_>) -> Result<()> {
    tx.exec(
        "DELETE FROM upload_range WHERE upload IN (SELECT id FROM upload WHERE state >= 2)",
        &[],
    )
    .await?;
    tx.exec(
        "DELETE FROM upload_slot WHERE upload IN (SELECT id FROM upload WHERE state >= 2)",
        &[],
    )
    .await?;
    Ok(())
}

/// Replaces the recorded ranges that lie in `[from, to]` by these.
pub async fn put_ranges(
    tx: &mut Tx<'_>,
    id: &str,
    from: u64,
    to: u64,
    ranges: &[(u64, u64)],
) -> Result<()> {
    tx.exec(
        "DELETE FROM upload_range WHERE upload = $1 AND start_at >= $2 AND start_at <= $3",
        &[id.into(), Value::u64(from)?, Value::u64(to)?],
    )
    .await?;
    for (start, end) in ranges {
        tx.exec(
            "INSERT INTO upload_range (upload, start_at, end_at) VALUES ($1, $2, $3)",
            &[id.into(), Value::u64(*start)?, Value::u64(*end)?],
        )
        .await?;
    }
    Ok(())
}

/// The recorded ranges, sorted.
pub async fn ranges(tx: &mut Tx<'_>, id: &str) -> Result<Vec<(u64, u64)>> {
    let rows = tx
        .rows(
            "SELECT start_at, end_at FROM upload_range WHERE upload = $1 ORDER BY start_at LIMIT 60000",
            &[id.into()],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.u64(0)?, row.u64(1)?)))
        .collect()
}

/// Records a v0 chunk that is not recorded; returns how many there are now.
pub async fn put_slot(tx: &mut Tx<'_>, id: &str, slot: &SlotRow) -> Result<u32> {
    tx.exec(
        "INSERT INTO upload_slot (upload, slot, size, aside, sha256, at_ms) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            id.into(),
            slot.slot.into(),
            Value::u64(slot.size)?,
            slot.aside.as_ref().map(|k| k.as_str().to_owned()).into(),
            slot.sha256.into(),
            slot.at_ms.into(),
        ],
    )
    .await?;
    // Counted, because counting rows for every chunk would cost the square of their number.
    let row = tx
        .row(
            "UPDATE upload SET slots_have = slots_have + 1 WHERE id = $1 RETURNING slots_have",
            &[id.into()],
        )
        .await?;
    row.map_or(Ok(0), |row| Ok(row.u32(0)?))
}

/// Makes a session receiving again after its commit was taken back.
pub async fn reopen(tx: &mut Tx<'_>, id: &str, length: Option<u64>, now_ms: i64) -> Result<()> {
    tx.exec(
        "UPDATE upload SET state = 0, outcome = NULL, active_ms = $2 WHERE id = $1",
        &[id.into(), now_ms.into()],
    )
    .await?;
    set_length(tx, id, length).await
}
