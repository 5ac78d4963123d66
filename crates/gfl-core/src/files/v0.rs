//! v0 uploads: chunks by number, in any order and of any size, over the same drafts and the same commit.
//!
//! A chunk's place is unknown until the sizes are. Once a chunk that is not the last has fixed the
//! regular size S, chunk k goes to k*S of the session's draft. What does not fit that (another size, the
//! last chunk first) waits in a draft of its own and is put in place at the end.
//! Identity: owner, peer address, cleaned path (v0 sends nothing else).

use super::commit::Candidate;
use super::put::{check_digests, file_mode};
use super::shared::Shared;
use super::{
    BodyStream, Committed, Expected, FileMeta, Preconditions, Put, UploadState, V0Chunk, V0Status,
};
use crate::auth::{Caller, Verb};
use crate::catalog::uploads::{self, Origin, SlotRow, UploadRow};
use crate::error::{Error, Kind, Result};
use crate::id::{Key, upload_id};
use crate::limits::IO_BYTES_MAX;
use crate::store::{Draft, Store};
use crate::stream::{GroupCollector, root_of_draft, write_values};
use bytes::{Bytes, BytesMut};
use gfl_api::path::FilePath;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A session with another number of chunks is somebody's running upload while it is this young;
/// older, it is abandoned and makes way.
const MISMATCH_REPLACE_MS: i64 = 60_000;
/// Slots read at once.
const SLOTS_PER_STEP: i64 = 4096;

/// Decoded bytes of one chunk while its JSON is still being read: a little in memory, more in a draft
/// of its own.
pub struct Spool {
    store: Arc<dyn Store>,
    key: Key,
    buffer: BytesMut,
    draft: Option<Arc<dyn Draft>>,
    len: u64,
    sha: Sha256,
    groups: GroupCollector,
}

impl Spool {
    fn new(store: Arc<dyn Store>, key: Key) -> Spool {
        Spool {
            store,
            key,
            buffer: BytesMut::new(),
            draft: None,
            len: 0,
            sha: Sha256::new(),
            groups: GroupCollector::new(0),
        }
    }

    /// Adds decoded bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.sha.update(&data);
        self.groups.update(&data);
        self.len += data.len() as u64;
        self.buffer.extend_from_slice(&data);
        if self.buffer.len() >= IO_BYTES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No byte so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    async fn flush(&mut self) -> Result<()> {
        let draft = match &self.draft {
            Some(draft) => draft.clone(),
            None => self
                .draft
                .insert(self.store.create(&self.key, None).await?)
                .clone(),
        };
        let data = self.buffer.split().freeze();
        let at = self.len - data.len() as u64;
        draft.write_at(at, vec![data]).await?;
        write_values(&*draft, &self.groups.take()).await
    }

    /// Makes the bytes a draft whatever their number.
    async fn into_draft(&mut self) -> Result<Arc<dyn Draft>> {
        if self.draft.is_none() || !self.buffer.is_empty() {
            self.flush().await?;
        }
        self.groups.end(Some(self.len));
        let draft = self
            .draft
            .clone()
            .ok_or_else(|| internal("a chunk without a draft"))?;
        write_values(&*draft, &self.groups.take()).await?;
        Ok(draft)
    }
}

fn internal(what: &str) -> Error {
    Error::new(Kind::Internal, what.to_owned())
}

impl Shared {
    /// Starts receiving a chunk.
    pub(crate) fn v0_spool(&self) -> Spool {
        Spool::new(self.store.clone(), Key::new(&*self.clock))
    }

    /// Files a chunk; `Some` when it completed the upload.
    pub(crate) async fn v0_chunk(
        &self,
        caller: &Caller,
        chunk: V0Chunk,
        mut spool: Spool,
    ) -> Result<Option<Committed>> {
        let key = spool.key.clone();
        let filed = self.v0_file(caller, &chunk, &mut spool).await;
        // A chunk that became a draft of its own, or the whole file, keeps its bytes.
        let kept = matches!(&filed, Ok((_, true)));
        if spool.draft.is_some() && !kept {
            self.forget_draft(&key).await;
        }
        filed.map(|(committed, _)| committed)
    }

    async fn v0_file(
        &self,
        caller: &Caller,
        chunk: &V0Chunk,
        spool: &mut Spool,
    ) -> Result<(Option<Committed>, bool)> {
        let sha256: [u8; 32] = spool.sha.clone().finalize().into();
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
        self.check_target(caller, &chunk.path, &Preconditions::default())
            .await?;
        let turn = self.v0_turns.turn(caller, &chunk.path);
        let _turn = turn.lock().await;
        let session = self.v0_session(caller, chunk).await?;
        if session.is_none() && chunk.total == 1 {
            let committed = self.v0_whole(caller, chunk, spool).await?;
            return Ok((Some(committed), true));
        }
        let mut row = match session {
            Some(row) => row,
            None => self.v0_open(caller, chunk).await?,
        };
        let aside = self.v0_place(&mut row, chunk, spool, sha256).await?;
        let committed = self.v0_try_complete(caller, &row).await?;
        Ok((committed, aside))
    }

    /// A file of one chunk needs no session.
    async fn v0_whole(
        &self,
        caller: &Caller,
        chunk: &V0Chunk,
        spool: &mut Spool,
    ) -> Result<Committed> {
        if spool.draft.is_none() {
            let data = spool.buffer.split().freeze();
            let put = Put {
                path: chunk.path.clone(),
                len: Some(data.len() as u64),
                meta: FileMeta::default(),
                expected: Expected::default(),
                pre: Preconditions::default(),
            };
            let body: BodyStream = Box::pin(futures_util::stream::iter([Ok(data)]));
            return self.put(caller, put, body).await;
        }
        let draft = spool.into_draft().await?;
        self.v0_commit(caller, &chunk.path, draft, spool.len, None)
            .await
    }

    async fn v0_commit(
        &self,
        caller: &Caller,
        path: &FilePath,
        draft: Arc<dyn Draft>,
        len: u64,
        upload: Option<String>,
    ) -> Result<Committed> {
        self.check_size(len, path)?;
        let (root, _) = root_of_draft(&*draft, len, false).await?;
        check_digests(&Expected::default(), root, None, path)?;
        let mode = file_mode(None);
        let stamp = draft.finish(len, self.clock.now_ns(), Some(mode)).await?;
        let candidate = Candidate {
            path: path.clone(),
            draft,
            stamp,
            mode,
            root: Some(root),
            sha256: None,
            pre: Preconditions::default(),
            upload,
            event: None,
        };
        self.commit(caller, candidate).await
    }

    /// The caller's open session for this path, unless it is an abandoned one of another shape.
    async fn v0_session(&self, caller: &Caller, chunk: &V0Chunk) -> Result<Option<UploadRow>> {
        let Some(row) = self.v0_row(caller, &chunk.path).await? else {
            return Ok(None);
        };
        if row.slots == Some(chunk.total) {
            return Ok(Some(row));
        }
        if self.clock.now_ms() - row.active_ms < MISMATCH_REPLACE_MS {
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
        };
        self.store.create(&row.version, None).await?;
        self.db
            .write("begin v0 upload", row.clone(), |tx, row| {
                Box::pin(uploads::insert(tx, row))
            })
            .await?;
        Ok(row)
    }

    /// Ends a session with all its drafts.
    pub(crate) async fn v0_drop(&self, row: &UploadRow) -> Result<()> {
        let asides = self.v0_asides(&row.id).await?;
        self.db
            .write("end v0 upload", row.id.clone(), |tx, id| {
                Box::pin(uploads::remove(tx, id))
            })
            .await?;
        self.store.discard(&row.version).await?;
        for key in asides {
            self.store.discard(&key).await?;
        }
        Ok(())
    }

    async fn v0_asides(&self, id: &str) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        self.each_slot(id, |slot| keys.extend(slot.aside.clone()))
            .await?;
        Ok(keys)
    }

    /// Calls `f` with every recorded slot in order.
    async fn each_slot(&self, id: &str, mut f: impl FnMut(&SlotRow)) -> Result<()> {
        let mut from = 0;
        loop {
            let slots = self
                .db
                .read("slots", (id.to_owned(), from), |tx, (id, from)| {
                    Box::pin(uploads::slots(tx, id, *from, SLOTS_PER_STEP))
                })
                .await?;
            let Some(last) = slots.last() else {
                return Ok(());
            };
            from = last.slot + 1;
            slots.iter().for_each(&mut f);
        }
    }

    /// Puts a chunk where it belongs and records it. True when the spool's draft stays as its own.
    async fn v0_place(
        &self,
        row: &mut UploadRow,
        chunk: &V0Chunk,
        spool: &mut Spool,
        sha256: [u8; 32],
    ) -> Result<bool> {
        let slot = chunk.chunk_id;
        let before = self.v0_slot(&row.id, slot).await?;
        if let Some(before) = &before {
            if before.sha256 == sha256 && before.size == spool.len {
                return Ok(false);
            }
            self.v0_replace(row, slot, before.clone()).await?;
        }
        let last = chunk.total - 1;
        if slot < last && row.slot_bytes.is_none() && spool.len > 0 {
            row.slot_bytes = Some(spool.len);
            let args = (row.id.clone(), spool.len);
            self.db
                .write("v0 chunk size", args, |tx, (id, n)| {
                    Box::pin(uploads::set_slot_bytes(tx, id, *n))
                })
                .await?;
        }
        let regular = match row.slot_bytes {
            Some(size) if slot < last => spool.len == size,
            Some(size) => spool.len <= size,
            None => false,
        };
        let draft = if regular {
            let size = row.slot_bytes.unwrap_or(0);
            let main = self.v0_main(row).await?;
            let at = u64::from(slot)
                .checked_mul(size)
                .filter(|at| at.saturating_add(size) <= self.settings.max_file_bytes)
                .ok_or_else(|| Error::new(Kind::TooLarge, format!("{}: too large", chunk.path)))?;
            copy_spool(spool, &*main, at).await?;
            main
        } else {
            spool.into_draft().await?
        };
        // Recorded only when durable: the status announces what is recorded (invariant 3).
        draft.sync().await?;
        let slot = SlotRow {
            slot,
            size: spool.len,
            aside: (!regular).then(|| spool.key.clone()),
            sha256,
            at_ms: self.clock.now_ms(),
        };
        self.db
            .write("v0 chunk", (row.id.clone(), slot), |tx, (id, slot)| {
                Box::pin(async move {
                    uploads::put_slot(tx, id, slot).await?;
                    uploads::touch(tx, id, slot.at_ms).await
                })
            })
            .await?;
        Ok(!regular)
    }

    async fn v0_slot(&self, id: &str, slot: u32) -> Result<Option<SlotRow>> {
        let slots = self
            .db
            .read("v0 slot", (id.to_owned(), slot), |tx, (id, slot)| {
                Box::pin(uploads::slots(tx, id, *slot, 1))
            })
            .await?;
        Ok(slots.into_iter().find(|s| s.slot == slot))
    }

    /// A chunk comes again with other bytes: its row goes before its bytes are touched. When it is the
    /// first chunk, the source has changed (v0 clients always restart at 0): older chunks go too.
    async fn v0_replace(&self, row: &UploadRow, slot: u32, before: SlotRow) -> Result<()> {
        let mut doomed = vec![before];
        if slot == 0 {
            let horizon = self.clock.now_ms() - MISMATCH_REPLACE_MS;
            self.each_slot(&row.id, |s| {
                if s.slot != 0 && s.at_ms < horizon {
                    doomed.push(s.clone());
                }
            })
            .await?;
        }
        let slots: Vec<u32> = doomed.iter().map(|s| s.slot).collect();
        self.db
            .write(
                "v0 chunks replaced",
                (row.id.clone(), slots),
                |tx, (id, slots)| {
                    Box::pin(async move {
                        for slot in slots {
                            uploads::remove_slot(tx, id, *slot).await?;
                        }
                        Ok::<_, Error>(())
                    })
                },
            )
            .await?;
        for key in doomed.iter().filter_map(|s| s.aside.as_ref()) {
            self.store.discard(key).await?;
        }
        Ok(())
    }

    async fn v0_main(&self, row: &UploadRow) -> Result<Arc<dyn Draft>> {
        match self.store.reopen(&row.version).await? {
            Some(draft) => Ok(draft),
            None => self.store.create(&row.version, None).await,
        }
    }

    /// Completes the upload when every chunk is there.
    async fn v0_try_complete(&self, caller: &Caller, row: &UploadRow) -> Result<Option<Committed>> {
        let total = row.slots.unwrap_or(0);
        let regular = row.slot_bytes.unwrap_or(0);
        let mut count = 0u32;
        let mut len = 0u64;
        let mut moved = false;
        let mut asides: Vec<(u64, u64, Key)> = Vec::new();
        self.each_slot(&row.id, |slot| {
            match &slot.aside {
                Some(key) => asides.push((len, slot.size, key.clone())),
                // A chunk before it had another size, so this one's place has shifted.
                None => moved |= u64::from(slot.slot) * regular != len,
            }
            count += 1;
            len += slot.size;
        })
        .await?;
        if count < total {
            return Ok(None);
        }
        self.check_size(len, &row.path)?;
        let main = self.v0_main(row).await?;
        let draft = if moved {
            self.v0_reassemble(row, &*main).await?
        } else {
            for (at, size, key) in &asides {
                let Some(from) = self.store.reopen(key).await? else {
                    return Err(internal("a chunk's bytes are missing; begin again"));
                };
                copy_bytes(&*from, 0, *size, &*main, *at).await?;
            }
            main
        };
        let committed = self
            .v0_commit(caller, &row.path, draft.clone(), len, Some(row.id.clone()))
            .await?;
        for (_, _, key) in &asides {
            self.forget_draft(key).await;
        }
        if moved {
            self.forget_draft(&row.version).await;
        }
        Ok(Some(committed))
    }

    /// Chunks of odd sizes: everything is written once more, in order, into a fresh draft.
    async fn v0_reassemble(&self, row: &UploadRow, main: &dyn Draft) -> Result<Arc<dyn Draft>> {
        let regular = row.slot_bytes.unwrap_or(0);
        let whole = self.store.create(&Key::new(&*self.clock), None).await?;
        let mut slots = Vec::new();
        self.each_slot(&row.id, |slot| {
            slots.push((slot.slot, slot.size, slot.aside.clone()))
        })
        .await?;
        let mut at = 0;
        for (slot, size, aside) in slots {
            match aside {
                None => copy_bytes(main, u64::from(slot) * regular, size, &*whole, at).await?,
                Some(key) => {
                    let Some(from) = self.store.reopen(&key).await? else {
                        return Err(internal("a chunk's bytes are missing; begin again"));
                    };
                    copy_bytes(&*from, 0, size, &*whole, at).await?;
                }
            }
            at += size;
        }
        Ok(whole)
    }

    /// For `/upload/status`.
    pub(crate) async fn v0_status(
        &self,
        caller: &Caller,
        path: &FilePath,
    ) -> Result<Option<V0Status>> {
        // v0 asks for the permission to upload here, not to list.
        if caller.may(Verb::Create, path).is_err() {
            caller.may(Verb::Overwrite, path)?;
        }
        let Some(row) = self.v0_row(caller, path).await? else {
            return Ok(None);
        };
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

/// Writes a spool's bytes at an offset of the session's draft.
async fn copy_spool(spool: &mut Spool, to: &dyn Draft, at: u64) -> Result<()> {
    match &spool.draft {
        None => {
            let data = spool.buffer.split().freeze();
            write_hashed(to, at, data).await
        }
        Some(_) => {
            let len = spool.len;
            let from = spool.into_draft().await?;
            copy_bytes(&*from, 0, len, to, at).await
        }
    }
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
async fn write_hashed(to: &dyn Draft, at: u64, data: Bytes) -> Result<()> {
    use gfl_api::limits::GROUP_BYTES;
    if data.is_empty() {
        return Ok(());
    }
    let end = at + data.len() as u64;
    let (first, last) = (at / GROUP_BYTES, (end - 1) / GROUP_BYTES);
    let mut collector = GroupCollector::new(at);
    collector.update(&data);
    collector.end(None);
    let mut values = vec![[0u8; 32]; usize::try_from(last - first + 1).unwrap_or(0)];
    for (index, cv) in collector.take() {
        if let Some(value) = usize::try_from(index - first)
            .ok()
            .and_then(|i| values.get_mut(i))
        {
            *value = cv;
        }
    }
    to.write_at(at, vec![data]).await?;
    to.write_groups(first, &values).await
}
