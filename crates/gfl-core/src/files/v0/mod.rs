//! v0 uploads: chunks by number, in any order and of any size, over the same drafts and the same commit.
//!
//! A chunk's place is unknown until the sizes are. Once a chunk that is not the last has fixed the
//! regular size S, chunk k goes to k*S of the session's draft. What does not fit that (another size, the
//! last chunk first) waits in a draft of its own and is put in place at the end.
//! Identity: owner, peer address, cleaned path (v0 sends nothing else). So a second attempt at a file looks
//! like more of the first one; `attempt` tells them apart as far as that can be told.

mod assemble;
mod attempt;
mod place;
mod spool;

pub(crate) use attempt::Asked;
pub use spool::Spool;

use super::commit::{Candidate, Completes};
use super::doubt::Then;
use super::finish::maybe_written;
use super::put::file_mode;
use super::shared::Shared;
use super::{
    BodyStream, Committed, Expected, FileMeta, Preconditions, Put, UploadState, V0Chunk, V0Status,
};
use crate::auth::Caller;
use crate::catalog::slots;
use crate::catalog::uploads::{self, Origin, SlotRow, UploadRow};
use crate::error::{Error, Kind, Result};
use crate::id::{Key, upload_id};
use crate::limits::UPLOADS_PER_OWNER_MAX;
use crate::store::Draft;
use crate::stream::root_of_draft;
use bytes::Bytes;
use gfl_api::limits::V0_CHUNKS_MAX;
use gfl_api::path::FilePath;
use std::sync::Arc;

/// An upload that was silent for so long is abandoned: it makes way for one with another number of chunks,
/// and is not added to by chance.
const SILENT_MS: i64 = 60_000;
/// Slots read at once.
const SLOTS_PER_STEP: i64 = 4096;

fn internal(what: &str) -> Error {
    Error::new(Kind::Internal, what.to_owned())
}

/// What was done with a chunk.
enum Filed {
    /// It is recorded; its bytes stand in the session's draft (false) or in the spool's own (true).
    Recorded { aside: bool },
    /// It was recorded before.
    Known,
}

impl Shared {
    /// Starts receiving a chunk.
    pub(crate) fn v0_spool(&self) -> Spool {
        let key = Key::new(&*self.clock);
        Spool::new(self.store.clone(), key, self.clock.now_ms())
    }

    /// Files a chunk; `Some` when it completed the upload.
    pub(crate) async fn v0_chunk(
        &self,
        caller: &Caller,
        chunk: V0Chunk,
        mut spool: Spool,
    ) -> Result<Option<Committed>> {
        let filed = self.v0_file(caller, &chunk, &mut spool).await;
        // Before the answer, so that no spool outlives its request.
        if let Err(error) = spool.discard().await {
            tracing::warn!(key = %spool.key(), error = ?error, "a draft could not be removed");
        }
        filed
    }

    async fn v0_file(
        &self,
        caller: &Caller,
        chunk: &V0Chunk,
        spool: &mut Spool,
    ) -> Result<Option<Committed>> {
        let sha256 = spool.sha256();
        check_chunk(chunk, sha256)?;
        self.check_target(caller, &chunk.path, &Preconditions::default())
            .await?;
        let turn = self
            .v0_turns
            .turn(caller.user(), caller.peer(), &chunk.path);
        let _turn = turn.lock().await;
        let session = self.v0_session(caller, chunk).await?;
        if session.is_none() && chunk.total == 1 {
            return self.v0_whole(caller, chunk, spool).await.map(Some);
        }
        let mut row = match session {
            Some(row) if !self.v0_begins_anew(&row, chunk, spool, sha256).await? => row,
            Some(left_over) => {
                self.v0_drop(&left_over).await?;
                self.v0_open(caller, chunk).await?
            }
            None => self.v0_open(caller, chunk).await?,
        };
        match self.v0_place(&mut row, chunk, spool, sha256).await? {
            Filed::Recorded { aside: true } => spool.hand_over(),
            Filed::Recorded { aside: false } | Filed::Known => {}
        }
        if row.slots_have < chunk.total {
            return Ok(None);
        }
        self.v0_complete(caller, &row).await.map(Some)
    }

    /// A file of one chunk needs no session.
    async fn v0_whole(
        &self,
        caller: &Caller,
        chunk: &V0Chunk,
        spool: &mut Spool,
    ) -> Result<Committed> {
        if let Some(data) = spool.take_small() {
            let put = Put {
                path: chunk.path.clone(),
                len: Some(data.len() as u64),
                meta: FileMeta::default(),
                expected: Expected::default(),
                pre: Preconditions::default(),
            };
            let frames: Vec<Result<Bytes, super::BodyBroken>> = vec![Ok(data)];
            let body: BodyStream = Box::pin(futures_util::stream::iter(frames));
            return self.put(caller, put, body).await;
        }
        let draft = spool.make_draft().await?;
        let candidate = self.v0_candidate(&chunk.path, draft, spool.len()).await?;
        // From here on the commit decides what becomes of the draft.
        spool.hand_over();
        self.commit(caller, candidate).await
    }

    async fn v0_candidate(
        &self,
        path: &FilePath,
        draft: Arc<dyn Draft>,
        len: u64,
    ) -> Result<Candidate> {
        self.check_size(len, path)?;
        let (root, _) = root_of_draft(&*draft, len, false).await?;
        let mode = file_mode(None);
        let stamp = draft.finish(len, self.clock.now_ns(), Some(mode)).await?;
        Ok(Candidate {
            path: path.clone(),
            draft,
            stamp,
            mode,
            root: Some(root),
            sha256: None,
            pre: Preconditions::default(),
            upload: None,
            keep_draft: false,
            event: None,
        })
    }

    /// The caller's open session for this path, unless it is an abandoned one of another shape.
    async fn v0_session(&self, caller: &Caller, chunk: &V0Chunk) -> Result<Option<UploadRow>> {
        let Some(row) = self.v0_row(caller, &chunk.path).await? else {
            return Ok(None);
        };
        if row.slots == Some(chunk.total) {
            return Ok(Some(row));
        }
        if self.clock.now_ms() - row.active_ms < SILENT_MS {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "session error: chunk count mismatch: session has {}, request has {}",
                    row.slots.unwrap_or(0),
                    chunk.total
                ),
            ));
        }
        self.v0_drop(&row).await?;
        Ok(None)
    }

    async fn v0_row(&self, caller: &Caller, path: &FilePath) -> Result<Option<UploadRow>> {
        let args = (caller.user().to_owned(), path.clone());
        let rows = self
            .db
            .read("find v0 upload", args, |tx, (owner, path)| {
                Box::pin(uploads::receiving_for(tx, owner, path, 256))
            })
            .await?;
        Ok(rows
            .into_iter()
            .find(|r| r.origin == Origin::V0 && r.peer == caller.peer()))
    }

    async fn v0_open(&self, caller: &Caller, chunk: &V0Chunk) -> Result<UploadRow> {
        let now_ms = self.clock.now_ms();
        let row = UploadRow {
            id: upload_id(&*self.clock),
            owner: caller.user().to_owned(),
            origin: Origin::V0,
            peer: caller.peer().to_owned(),
            path: chunk.path.clone(),
            version: Key::new(&*self.clock),
            length: None,
            slots: Some(chunk.total),
            slot_bytes: None,
            state: UploadState::Receiving,
            fingerprint: None,
            mtime_ns: None,
            mode: None,
            b3: None,
            sha256: None,
            if_match: None,
            if_none_match: None,
            created_ms: now_ms,
            active_ms: now_ms,
            outcome: None,
            slots_have: 0,
        };
        self.store.create(&row.version, None).await?;
        let opened = self
            .db
            .write("begin v0 upload", row.clone(), |tx, row| {
                Box::pin(async move {
                    if uploads::count_of_owner(tx, &row.owner).await? >= UPLOADS_PER_OWNER_MAX {
                        return Err(Error::new(
                            Kind::Busy,
                            format!(
                                "{UPLOADS_PER_OWNER_MAX} uploads are open already: finish some"
                            ),
                        ));
                    }
                    uploads::insert(tx, row).await
                })
            })
            .await;
        if let Err(error) = opened {
            if !maybe_written(&error) {
                self.forget_draft(&row.version).await;
            }
            return Err(self.doubted(error, &[], Then::begun(&row.version)));
        }
        Ok(row)
    }

    /// Ends a session with all its drafts.
    async fn v0_drop(&self, row: &UploadRow) -> Result<()> {
        let mut drafts = vec![row.version.clone()];
        self.each_slot(&row.id, |slot| drafts.extend(slot.aside.clone()))
            .await?;
        self.db
            .write("end v0 upload", row.id.clone(), |tx, id| {
                Box::pin(uploads::remove(tx, id))
            })
            .await?;
        self.v0_asked.forget(&row.id);
        for key in &drafts {
            self.forget_draft(key).await;
        }
        Ok(())
    }

    /// Ends a session that nobody continued, unless a chunk comes at this moment.
    pub(crate) async fn v0_expire(&self, row: &UploadRow) -> Result<bool> {
        let turn = self.v0_turns.turn(&row.owner, &row.peer, &row.path);
        let _turn = turn.lock().await;
        let now = self
            .db
            .read("v0 upload", row.id.clone(), |tx, id| {
                Box::pin(uploads::get(tx, id))
            })
            .await?;
        match now {
            Some(now) if now.state == UploadState::Receiving && now.active_ms == row.active_ms => {
                self.v0_drop(&now).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Calls `f` with every recorded slot in order.
    async fn each_slot(&self, id: &str, mut f: impl FnMut(&SlotRow)) -> Result<()> {
        let mut from = 0;
        loop {
            let slots = self
                .db
                .read("slots", (id.to_owned(), from), |tx, (id, from)| {
                    Box::pin(slots::slots(tx, id, *from, SLOTS_PER_STEP))
                })
                .await?;
            let Some(last) = slots.last() else {
                return Ok(());
            };
            from = last.slot + 1;
            slots.iter().for_each(&mut f);
        }
    }

    /// The drafts of a session that was completed, apart from the one that became the file: its own, unless
    /// another was `made`.
    pub(crate) async fn v0_left_over(&self, id: &str, made: Option<&Key>) -> Result<Vec<Key>> {
        let row = self
            .db
            .read("v0 upload", id.to_owned(), |tx, id| {
                Box::pin(uploads::get(tx, id))
            })
            .await?;
        let mut keys = Vec::new();
        keys.extend(
            row.map(|row| row.version)
                .filter(|key| made.is_some_and(|made| made != key)),
        );
        self.each_slot(id, |slot| keys.extend(slot.aside.clone()))
            .await?;
        Ok(keys)
    }

    async fn v0_main(&self, row: &UploadRow) -> Result<Arc<dyn Draft>> {
        match self.store.reopen(&row.version).await? {
            Some(draft) => Ok(draft),
            None => self.store.create(&row.version, None).await,
        }
    }

    /// For `/upload/status`.
    pub(crate) async fn v0_status(
        &self,
        caller: &Caller,
        path: &FilePath,
    ) -> Result<Option<V0Status>> {
        // v0 asks for the permission to upload here, not to list.
        caller.may_store(path)?;
        let Some(row) = self.v0_row(caller, path).await? else {
            return Ok(None);
        };
        self.v0_asked.note(&row.id, self.clock.now_ms());
        let total = row.slots.unwrap_or(0);
        let mut received = vec![false; usize::try_from(total).unwrap_or(0)];
        self.each_slot(&row.id, |slot| {
            if let Some(flag) = usize::try_from(slot.slot)
                .ok()
                .and_then(|slot| received.get_mut(slot))
            {
                *flag = true;
            }
        })
        .await?;
        Ok(Some(V0Status { total, received }))
    }
}

fn completes(row: &UploadRow) -> Completes {
    Completes {
        id: row.id.clone(),
        len: row.length,
    }
}

fn check_chunk(chunk: &V0Chunk, sha256: [u8; 32]) -> Result<()> {
    if chunk.sha256.is_some_and(|sha| sha != sha256) {
        return Err(Error::new(
            Kind::DigestMismatch,
            format!(
                "{}: chunk {} does not have its checksum; send it again",
                chunk.path, chunk.chunk_id
            ),
        ));
    }
    if chunk.total == 0 || chunk.chunk_id >= chunk.total {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "invalid chunk ID: {} (total: {})",
                chunk.chunk_id, chunk.total
            ),
        ));
    }
    if u64::from(chunk.total) > V0_CHUNKS_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!("{}: more than {V0_CHUNKS_MAX} chunks", chunk.path),
        ));
    }
    Ok(())
}
