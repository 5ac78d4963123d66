//! Room on a full disk. Kept content is given up for a write that finds none, the oldest first. When even the
//! catalog finds none, its ballast is let go, and nothing is added until that is back: what room there is then
//! is for what makes more.

use super::shared::Shared;
use crate::catalog::kept;
use crate::error::{Error, Kind, Result};
use crate::limits::{BALLAST_FREE_BYTES_MIN, PRUNE_BATCH_SHORT, ROOM_TRIES_MAX};
use crate::store::roomy::{Rooms, Wanted};
use async_trait::async_trait;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

/// The application, for its own store.
pub(crate) struct OfShared {
    shared: Weak<Shared>,
    made: AtomicU64,
    /// One at a time: who waits finds what the one before has made.
    turn: tokio::sync::Mutex<()>,
}

impl OfShared {
    pub(crate) fn new(shared: Weak<Shared>) -> OfShared {
        OfShared {
            shared,
            made: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

#[async_trait]
impl Rooms for OfShared {
    async fn admit(&self) -> Result<()> {
        match self.shared.upgrade() {
            Some(shared) if shared.ballast_is_out() && !shared.refill_ballast().await? => {
                Err(Error::new(
                    Kind::StorageFull,
                    "the server's disk is full, and nothing can be added until there is room again; delete something",
                ))
            }
            _ => Ok(()),
        }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    async fn make(&self, wanted: Wanted, made: u64, tries: u32) -> Result<bool> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(false);
        };
        let _turn = self.turn.lock().await;
        if self.made() != made {
            return Ok(true);
        }
        if !shared.is_worth_it(wanted, tries).await? || !shared.make_room().await {
            return Ok(false);
        }
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    fn let_go(&self) -> bool {
        let shared = self.shared.upgrade();
        shared.is_some_and(|shared| {
            let ballast = shared.db.ballast();
            shared.is_on_one_disk() && ballast.is_some_and(|ballast| ballast.release())
        })
    }
}

impl Shared {
    /// Whether giving up history may help.
    async fn is_worth_it(&self, wanted: Wanted, tries: u32) -> Result<bool> {
        if !self.ballast_is_out() {
            return match wanted {
                Wanted::File(bytes) => Ok(tries > 0 || self.may_fit(bytes).await?),
                Wanted::Piece => Ok(tries < ROOM_TRIES_MAX),
            };
        }
        // It has to make room for the ballast first.
        let bytes = match wanted {
            Wanted::File(bytes) => bytes.saturating_add(BALLAST_FREE_BYTES_MIN),
            Wanted::Piece => BALLAST_FREE_BYTES_MIN,
        };
        Ok(self.is_on_one_disk() && (tries > 0 || self.may_fit(bytes).await?))
    }

    /// Gives up the oldest kept content; false when there is none left to give.
    async fn make_room(&self) -> bool {
        let given = async {
            // Everything that is certainly in its place, however young.
            let before = self.clock.now_ms() + 1;
            if self.prune_before(before, PRUNE_BATCH_SHORT).await? {
                return Ok(true);
            }
            // What was retired just now is in its place once it is settled, by us or by the job.
            self.settle_round().await?;
            self.prune_before(before, PRUNE_BATCH_SHORT).await
        };
        given.await.unwrap_or_else(|error: Error| {
            tracing::warn!(error = ?error, "no room could be made");
            false
        })
    }

    /// Whether so much would fit if nothing were kept. Otherwise announcing an impossible length would be
    /// enough to destroy everybody's history.
    async fn may_fit(&self, bytes: u64) -> Result<bool> {
        let space = self.store.space().await?;
        if bytes <= space.free_bytes {
            return Ok(true);
        }
        let kept_bytes = self
            .db
            .read("kept bytes", (), |tx, ()| Box::pin(kept::bytes(tx)))
            .await?;
        Ok(bytes <= space.free_bytes.saturating_add(kept_bytes))
    }

    fn ballast_is_out(&self) -> bool {
        self.db.ballast().is_some_and(|ballast| ballast.is_out())
    }

    /// Whether what is kept takes room from the catalog.
    fn is_on_one_disk(&self) -> bool {
        self.db
            .ballast()
            .is_some_and(|ballast| ballast.is_on_disk_of(&self.settings.storage_dir))
    }

    /// Takes the ballast aboard if it is not there and there is room; false while it is out.
    pub(crate) async fn refill_ballast(&self) -> Result<bool> {
        let Some(ballast) = self.db.ballast().filter(|ballast| !ballast.is_there()) else {
            return Ok(true);
        };
        let ballast = ballast.clone();
        let done = tokio::task::spawn_blocking(move || {
            ballast.refill().map(|there| there || !ballast.is_out())
        });
        done.await
            .map_err(|e| Error::new(Kind::Internal, "taking ballast stopped").caused_by(e))?
            .map_err(|e| {
                Error::new(Kind::Internal, "the catalog's folder cannot be written").caused_by(e)
            })
    }
}
