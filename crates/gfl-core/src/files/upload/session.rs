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

/// How long a new writer waits for the one it takes over from.
const FENCE_MS: u64 = 2_000;

/// Open sessions by id.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

impl Sessions {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.0.lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0.lock().remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.0.lock().values().cloned().collect()
    }

    /// The session that was there first wins: two requests may load the same row at once.
    fn insert(&self, session: Arc<Session>) -> Arc<Session> {
        self.0
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
    /// Completed or cancelled: no writer may begin.
    pub(crate) closed: bool,
    writers: Vec<Writer>,
    next_writer: u64,
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
}

impl WriterGuard {
    /// Resolves when another request takes over.
    pub(crate) async fn stopped(&mut self) {
        // An error means the sender is gone, which only happens after this guard.
        let _ = self.stop.wait_for(|stop| *stop).await;
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
            if live.closed {
                return Err(gone());
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
        let pairs = self
            .db
            .read("ranges", row.id.clone(), |tx, id| {
                Box::pin(uploads::ranges(tx, id))
            })
            .await?;
        let durable = RangeSet::from_pairs(pairs).map_err(|e| {
            Error::new(Kind::Internal, "the catalog holds malformed ranges").caused_by(e)
        })?;
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
        Ok(self.sessions.insert(Arc::new(Session {
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
                closed: false,
                writers: Vec::new(),
                next_writer: 0,
            }),
            finishing: tokio::sync::Mutex::new(()),
            checkpointing: tokio::sync::Mutex::new(()),
            idle: Notify::new(),
        })))
    }

    /// Makes what was received durable, then announceable: bytes first, then the rows.
    pub(crate) async fn checkpoint(&self, session: &Session) -> Result<()> {
        let _turn = session.checkpointing.lock().await;
        let now_ms = self.clock.now_ms();
        let (received, changed) = {
            let mut live = session.live.lock();
            live.dirty_bytes = 0;
            live.last_checkpoint_ms = now_ms;
            let durable: Vec<Range<u64>> = live.durable.iter().collect();
            let changed: Vec<Range<u64>> = live
                .received
                .iter()
                .filter(|r| {
                    durable
                        .binary_search_by_key(&(r.start, r.end), |d| (d.start, d.end))
                        .is_err()
                })
                .collect();
            (live.received.clone(), changed)
        };
        if changed.is_empty() {
            return Ok(());
        }
        session.draft.sync().await?;
        let args = (session.id.clone(), changed, now_ms);
        self.db
            .write("checkpoint", args, |tx, (id, changed, now_ms)| {
                Box::pin(async move {
                    for range in changed {
                        let pair = [(range.start, range.end)];
                        uploads::put_ranges(tx, id, range.start, range.end, &pair).await?;
                    }
                    uploads::touch(tx, id, *now_ms).await
                })
            })
            .await?;
        session.live.lock().durable = received;
        Ok(())
    }
}
