//! One open session in memory, its writers, and its checkpoints.

use crate::catalog::uploads::{self, UploadRow};
use crate::error::{Error, Kind, Result};
use crate::files::shared::Shared;
use crate::files::{UploadState, UploadStatus};
use crate::limits::UPLOAD_RANGES_MAX;
use crate::store::Draft;
use gfl_api::path::FilePath;
use gfl_api::ranges::RangeSet;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long a new writer waits for the one it takes over from.
const FENCE_MS: u64 = 2_000;
/// A writer that was told to end takes what has arrived until nothing comes for this long …
const DRAIN_SILENT_MS: u64 = 25;
/// … but ends after this long in any case.
const DRAIN_MS: u64 = 500;

/// Open sessions by id.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    /// Held while a session is opened from its row, and while the row of one that is not open is removed:
    /// a session that has ended must never be opened from a row that was read before.
    opening: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.open.lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) {
        self.open.lock().remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.open.lock().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.open.lock().len()
    }

    pub(crate) async fn opening(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    fn insert(&self, session: Arc<Session>) -> Arc<Session> {
        self.open
            .lock()
            .entry(session.id.clone())
            .or_insert(session)
            .clone()
    }
}

/// A receiving session.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) path: FilePath,
    pub(crate) draft: Arc<dyn Draft>,
    pub(crate) live: Mutex<Live>,
    /// Held by the request that completes or cancels.
    pub(crate) finishing: tokio::sync::Mutex<()>,
    checkpointing: tokio::sync::Mutex<()>,
    idle: Notify,
}

/// What changes.
pub(crate) struct Live {
    pub(crate) len: Option<u64>,
    pub(crate) received: RangeSet,
    pub(crate) durable: RangeSet,
    pub(crate) active_ms: i64,
    /// Bytes received since the last checkpoint.
    pub(crate) dirty_bytes: u64,
    pub(crate) last_checkpoint_ms: i64,
    pub(crate) door: Door,
    writers: Vec<Writer>,
    next_writer: u64,
}

/// Whether writers may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// They may.
    Open,
    /// A completion runs; when it fails they may again.
    Completing,
    /// Completed, failed or cancelled.
    Closed,
}

struct Writer {
    id: u64,
    range: Range<u64>,
    stop: watch::Sender<bool>,
}

/// A registered writer; dropping it lets the next one in.
pub(crate) struct WriterGuard {
    session: Arc<Session>,
    id: u64,
    stop: watch::Receiver<bool>,
    /// When it was told to end.
    told: Option<Instant>,
}

impl WriterGuard {
    /// Told to end so long ago that it must, whatever still comes.
    pub(crate) fn must_end(&mut self) -> bool {
        if self.told.is_none() && *self.stop.borrow() {
            self.told = Some(Instant::now());
        }
        self.told
            .is_some_and(|told| told.elapsed() >= Duration::from_millis(DRAIN_MS))
    }

    /// Resolves when another request takes over and nothing has come for a moment: what a client sent before
    /// it died is in the kernel's buffers and is received first.
    pub(crate) async fn over(&mut self) {
        // An error means the sender is gone, which only happens after this guard.
        let _ = self.stop.wait_for(|stop| *stop).await;
        let told = *self.told.get_or_insert_with(Instant::now);
        let silent = Instant::now() + Duration::from_millis(DRAIN_SILENT_MS);
        tokio::time::sleep_until(silent.min(told + Duration::from_millis(DRAIN_MS))).await;
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.session.live.lock().writers.retain(|w| w.id != self.id);
        self.session.idle.notify_waiters();
    }
}

impl Session {
    /// Ends the writers that overlap `range` and waits for them.
    pub(crate) async fn fence(&self, range: Range<u64>) -> Result<()> {
        let wait = async {
            loop {
                let idle = self.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                let mut busy = false;
                for writer in &self.live.lock().writers {
                    if writer.range.start < range.end && range.start < writer.range.end {
                        busy = true;
                        // The receiver lives as long as the writer.
                        let _ = writer.stop.send(true);
                    }
                }
                if !busy {
                    return;
                }
                idle.await;
            }
        };
        tokio::time::timeout(Duration::from_millis(FENCE_MS), wait)
            .await
            .map_err(|_| {
                Error::new(
                    Kind::Busy,
                    "another request still writes to this upload, try again",
                )
            })
    }

    /// Registers a writer for `range`, taking over from those that overlap it.
    pub(crate) async fn enter(self: &Arc<Self>, range: Range<u64>) -> Result<WriterGuard> {
        loop {
            self.fence(range.clone()).await?;
            let mut live = self.live.lock();
            match live.door {
                Door::Open => {}
                Door::Completing => {
                    return Err(Error::new(
                        Kind::Busy,
                        "the upload is just being completed, try again",
                    ));
                }
                Door::Closed => return Err(gone()),
            }
            let overlaps = |w: &Writer| w.range.start < range.end && range.start < w.range.end;
            if live.writers.iter().any(overlaps) {
                continue;
            }
            let id = live.next_writer;
            live.next_writer += 1;
            let (stop, stopped) = watch::channel(false);
            live.writers.push(Writer { id, range, stop });
            drop(live);
            return Ok(WriterGuard {
                session: self.clone(),
                id,
                stop: stopped,
                told: None,
            });
        }
    }

    /// Counts bytes as received.
    pub(crate) fn receive(&self, range: Range<u64>, now_ms: i64) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut live = self.live.lock();
        live.dirty_bytes += range.end - range.start;
        live.active_ms = now_ms;
        live.received.insert(range);
        if live.received.len_ranges() > UPLOAD_RANGES_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!("more than {UPLOAD_RANGES_MAX} separate ranges: fill gaps first"),
            ));
        }
        Ok(())
    }
}

/// What the rows of a session say was received.
pub(super) fn ranges_of(pairs: Vec<(u64, u64)>) -> Result<RangeSet> {
    RangeSet::from_pairs(pairs)
        .map_err(|e| Error::new(Kind::Internal, "the catalog holds malformed ranges").caused_by(e))
}

/// The one answer for unknown, expired and foreign sessions.
pub(crate) fn gone() -> Error {
    Error::new(
        Kind::UploadGone,
        "no such upload: it is finished, expired, cancelled or not yours",
    )
}

/// What is announced of a row whose session is not open in memory.
pub(crate) fn row_status(row: &UploadRow, durable: &RangeSet, expiry_ms: i64) -> UploadStatus {
    let done = row.state == UploadState::Done;
    let len = row.length;
    UploadStatus {
        id: row.id.clone(),
        path: row.path.clone(),
        state: row.state,
        len,
        offset: if done {
            len.unwrap_or(0)
        } else {
            durable.contiguous_from_zero()
        },
        received: match (done, len) {
            (true, Some(len)) if len > 0 => vec![(0, len)],
            _ => durable.iter().map(|r| (r.start, r.end)).collect(),
        },
        created_ms: row.created_ms,
        expires_ms: row.active_ms + expiry_ms,
        fingerprint: row.fingerprint.clone(),
    }
}

impl Shared {
    /// The row of a caller's session.
    pub(crate) async fn upload_row(&self, owner: &str, id: &str) -> Result<UploadRow> {
        let row = self
            .db
            .read("upload", id.to_owned(), |tx, id| {
                Box::pin(uploads::get(tx, id))
            })
            .await?;
        row.filter(|row| row.owner == owner && row.origin == uploads::Origin::Native)
            .ok_or_else(gone)
    }

    /// Opens a receiving session: from memory, or from its row and draft after a restart.
    pub(crate) async fn session_of(&self, row: &UploadRow) -> Result<Arc<Session>> {
        if let Some(session) = self.sessions.get(&row.id) {
            return Ok(session);
        }
        let _opening = self.sessions.opening().await;
        if let Some(session) = self.sessions.get(&row.id) {
            return Ok(session);
        }
        // Read again: it may have ended, and left the memory, since the caller looked.
        let (row, pairs) = self
            .db
            .read("open upload", row.id.clone(), |tx, id| {
                Box::pin(async move {
                    let row = uploads::get(tx, id).await?;
                    Ok::<_, Error>((row, uploads::ranges(tx, id).await?))
                })
            })
            .await?;
        let row = row
            .filter(|row| row.state == UploadState::Receiving)
            .ok_or_else(gone)?;
        let durable = ranges_of(pairs)?;
        let draft = match self.store.reopen(&row.version).await? {
            Some(draft) => draft,
            // Nothing was announced, so a draft whose name a power cut took is simply made again.
            None if durable.is_empty() => self.store.create(&row.version, row.length).await?,
            None => {
                return Err(Error::new(
                    Kind::Internal,
                    "the upload's bytes are missing from the store; cancel it and begin again",
                ));
            }
        };
        Ok(self.open_session(&row, draft, durable))
    }

    /// Puts a session into memory.
    pub(crate) fn open_session(
        &self,
        row: &UploadRow,
        draft: Arc<dyn Draft>,
        durable: RangeSet,
    ) -> Arc<Session> {
        self.sessions.insert(Arc::new(Session {
            id: row.id.clone(),
            path: row.path.clone(),
            draft,
            live: Mutex::new(Live {
                len: row.length,
                received: durable.clone(),
                durable,
                active_ms: row.active_ms,
                dirty_bytes: 0,
                last_checkpoint_ms: self.clock.now_ms(),
                door: Door::Open,
                writers: Vec::new(),
                next_writer: 0,
            }),
            finishing: tokio::sync::Mutex::new(()),
            checkpointing: tokio::sync::Mutex::new(()),
            idle: Notify::new(),
        }))
    }

    /// Takes a session that has ended out of memory; requests that still hold it find its door closed.
    pub(crate) fn end_session(&self, session: &Session) {
        session.live.lock().door = Door::Closed;
        self.sessions.remove(&session.id);
    }

    /// Makes what was received durable, then announceable: bytes first, then the rows.
    pub(crate) async fn checkpoint(&self, session: &Session) -> Result<()> {
        let _turn = session.checkpointing.lock().await;
        let now_ms = self.clock.now_ms();
        let (received, changed, dirty_bytes) = {
            let mut live = session.live.lock();
            if live.door == Door::Closed {
                return Ok(());
            }
            live.last_checkpoint_ms = now_ms;
            let dirty_bytes = std::mem::take(&mut live.dirty_bytes);
            (live.received.clone(), changed(&live), dirty_bytes)
        };
        if changed.is_empty() {
            return Ok(());
        }
        let done = self.write_checkpoint(session, changed, now_ms).await;
        let mut live = session.live.lock();
        match done {
            Ok(true) => live.durable = received,
            // It has ended meanwhile: there is nothing to announce any more.
            Ok(false) => {}
            // Counted again, so that the next round tries again.
            Err(_) => live.dirty_bytes += dirty_bytes,
        }
        let closed = live.door == Door::Closed;
        done.map(|_| ())
            .or_else(|e| if closed { Ok(()) } else { Err(e) })
    }

    /// False when the session has ended, so that nothing may be recorded for it.
    async fn write_checkpoint(
        &self,
        session: &Session,
        changed: Vec<Range<u64>>,
        now_ms: i64,
    ) -> Result<bool> {
        session.draft.sync().await?;
        let args = (session.id.clone(), changed, now_ms);
        self.db
            .write("checkpoint", args, |tx, (id, changed, now_ms)| {
                Box::pin(async move {
                    if !uploads::touch(tx, id, *now_ms).await? {
                        return Ok(false);
                    }
                    for range in changed {
                        let pair = [(range.start, range.end)];
                        uploads::put_ranges(tx, id, range.start, range.end, &pair).await?;
                    }
                    Ok::<_, Error>(true)
                })
            })
            .await
    }
}

/// The received ranges that are not recorded just so.
fn changed(live: &Live) -> Vec<Range<u64>> {
    let durable: Vec<Range<u64>> = live.durable.iter().collect();
    live.received
        .iter()
        .filter(|r| {
            durable
                .binary_search_by_key(&(r.start, r.end), |d| (d.start, d.end))
                .is_err()
        })
        .collect()
}
