//! A body taken in pieces, and written while the next piece arrives. Memory is counted from one budget:
//! a piece takes its share when it is there and gives it back when it is written, so that a slow client
//! holds nothing while it is silent.

use super::groups::{GroupCollector, write_values};
use crate::error::{Error, Kind, Result};
use crate::files::{BodyBroken, BodyStream};
use crate::limits::{BODY_BUDGET_BYTES, GATHER_BYTES, GATHER_MS, IO_BYTES_MAX};
use crate::store::Draft;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

const UNIT_BYTES: usize = 1024;

/// The bytes that all bodies of the process may hold at once.
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget(Arc::new(Semaphore::new(BODY_BUDGET_BYTES / UNIT_BYTES)))
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let most = u32::try_from(BODY_BUDGET_BYTES / UNIT_BYTES).unwrap_or(u32::MAX);
        self.0
            .clone()
            .acquire_many_owned(units.min(most))
            .await
            .ok()
    }
}

/// Bytes in memory, with their share of the budget.
pub(crate) struct Batch {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) len: usize,
    permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Batch {
    /// Gives the share of the budget back early: the bytes are few and will not be written for a while.
    pub(crate) fn give_back(&mut self) {
        self.permit = None;
    }

    /// Takes the first `n` bytes off; both halves share the permit.
    pub(crate) fn split_to(&mut self, n: usize) -> Batch {
        let mut pieces = Vec::new();
        let mut left = n.min(self.len);
        let len = left;
        while left > 0 && !self.pieces.is_empty() {
            if self.pieces[0].len() <= left {
                left -= self.pieces[0].len();
                pieces.push(self.pieces.remove(0));
            } else {
                pieces.push(self.pieces[0].split_to(left));
                left = 0;
            }
        }
        self.len -= len;
        Batch {
            pieces,
            len,
            permit: self.permit.clone(),
        }
    }
}

/// A body that is taken in batches.
pub(crate) struct Intake {
    body: BodyStream,
    budget: Arc<Budget>,
    /// What exceeded the last batch.
    spare: VecDeque<Bytes>,
    /// What comes in drops, behind that.
    drops: BytesMut,
    broken: Option<BodyBroken>,
    ended: bool,
}

impl Intake {
    pub(crate) fn new(body: BodyStream, budget: Arc<Budget>) -> Intake {
        Intake {
            body,
            budget,
            spare: VecDeque::new(),
            drops: BytesMut::new(),
            broken: None,
            ended: false,
        }
    }

    /// The body has ended, as far as can be told without waiting.
    pub(crate) fn ended(&self) -> bool {
        self.ended && !self.has_bytes() && self.broken.is_none()
    }

    /// Why the body has broken off, whatever came of it before; for those who can use no part of it.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.broken.take().map(gone)
    }

    fn has_bytes(&self) -> bool {
        !self.spare.is_empty() || !self.drops.is_empty()
    }

    /// Returns what was taken too much.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        debug_assert!(self.drops.is_empty(), "a batch takes them all");
        let mut pieces: VecDeque<Bytes> = batch.pieces.into();
        pieces.append(&mut self.spare);
        self.spare = pieces;
    }

    /// Waits until there is something to take, or the end, or a break. Loses nothing when it is dropped.
    pub(crate) async fn wait(&mut self) {
        while !self.has_bytes() && !self.ended && self.broken.is_none() {
            let piece = self.body.next().await;
            self.keep(piece);
        }
    }

    fn keep(&mut self, piece: Option<Result<Bytes, BodyBroken>>) {
        match piece {
            None => self.ended = true,
            Some(Err(broken)) => self.broken = Some(broken),
            Some(Ok(bytes)) if bytes.len() < GATHER_BYTES => self.drops.extend_from_slice(&bytes),
            Some(Ok(bytes)) => {
                self.flush_drops();
                self.spare.push_back(bytes);
            }
        }
    }

    fn flush_drops(&mut self) {
        if !self.drops.is_empty() {
            self.spare
                .push_back(std::mem::take(&mut self.drops).freeze());
        }
    }

    /// More may come, and what is there is not worth much.
    fn is_little(&self) -> bool {
        self.spare.is_empty()
            && self.drops.len() < GATHER_BYTES
            && !self.ended
            && self.broken.is_none()
    }

    /// Writing has a price by the piece: whoever sends byte by byte must not make the disk busy for everybody.
    async fn gather(&mut self) {
        let enough = async {
            while self.is_little() {
                let piece = self.body.next().await;
                self.keep(piece);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(GATHER_MS), enough).await;
    }

    /// Waits for some bytes, a little longer if they are few, then adds what is there already, at most
    /// [`IO_BYTES_MAX`]. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        self.wait().await;
        self.gather().await;
        let mut pieces = Vec::new();
        let mut len = 0;
        while len < IO_BYTES_MAX {
            let Some(piece) = self.ready() else { break };
            len += piece.len();
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return match self.broken.take() {
                None => Ok(None),
                Some(broken) => {
                    self.ended = true;
                    Err(gone(broken))
                }
            };
        }
        if len > IO_BYTES_MAX
            && let Some(last) = pieces.last_mut()
        {
            let keep = last.len() - (len - IO_BYTES_MAX);
            self.spare.push_front(last.split_off(keep));
            len = IO_BYTES_MAX;
        }
        let permit = self.budget.take(len).await.map(Arc::new);
        Ok(Some(Batch {
            pieces,
            len,
            permit,
        }))
    }

    /// A piece that is there without waiting.
    fn ready(&mut self) -> Option<Bytes> {
        while self.is_little() {
            let Some(piece) = self.body.next().now_or_never() else {
                break;
            };
            self.keep(piece);
        }
        self.flush_drops();
        self.spare.pop_front()
    }
}

fn gone(broken: BodyBroken) -> Error {
    Error::new(
        Kind::ClientGone,
        format!("the body ended early: {}", broken.0),
    )
}

/// Writes batches to a draft, one behind the other, while the caller fetches the next.
pub(crate) struct Sink {
    draft: Arc<dyn Draft>,
    pos: u64,
    /// End of what is certainly written.
    written: u64,
    running: Option<JoinHandle<Result<u64>>>,
    groups: GroupCollector,
}

impl Sink {
    /// Starts at `pos`.
    pub(crate) fn new(draft: Arc<dyn Draft>, pos: u64) -> Sink {
        Sink {
            draft,
            pos,
            written: pos,
            running: None,
            groups: GroupCollector::new(pos),
        }
    }

    /// End of what is certainly written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Hands a batch over; waits for the one before.
    pub(crate) async fn push(&mut self, batch: Batch) -> Result<()> {
        for piece in &batch.pieces {
            self.groups.update(piece);
        }
        self.wait().await?;
        let (at, end) = (self.pos, self.pos + batch.len as u64);
        self.pos = end;
        let (draft, values) = (self.draft.clone(), self.groups.take());
        self.running = Some(tokio::spawn(async move {
            let Batch { pieces, permit, .. } = batch;
            draft.write_at(at, pieces).await?;
            write_values(&*draft, &values).await?;
            drop(permit);
            Ok(end)
        }));
        Ok(())
    }

    /// Something is being written.
    pub(crate) fn busy(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for what is being written. Loses nothing when it is dropped.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        if let Some(running) = &mut self.running {
            let done = running.await;
            self.running = None;
            self.written =
                done.map_err(|e| Error::new(Kind::Internal, "writing stopped").caused_by(e))??;
        }
        Ok(())
    }

    /// Waits for everything, also after an error; `file_len` tells whether the last group is the file's.
    pub(crate) async fn finish(&mut self, file_len: Option<u64>) -> Result<u64> {
        self.wait().await?;
        self.groups.end(file_len);
        let values = self.groups.take();
        write_values(&*self.draft, &values).await?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use tokio::time::Instant;

    fn intake(body: BodyStream) -> Intake {
        Intake::new(body, Arc::new(Budget::new()))
    }

    /// A body of one byte every so many milliseconds.
    fn dripping(bytes: usize, ms: u64) -> BodyStream {
        Box::pin(stream::unfold(bytes, move |left| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            (left > 0).then(|| (Ok(Bytes::from_static(b"x")), left - 1))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn drops_are_gathered_and_wait_for_nobody() {
        let mut slow = intake(dripping(1000, 50));
        let first = slow.next().await.unwrap().unwrap();
        assert_eq!((first.pieces.len(), first.len), (1, 6));
        let mut taken = first.len;
        while let Some(batch) = slow.next().await.unwrap() {
            taken += batch.len;
        }
        assert_eq!(taken, 1000);
        let begun = Instant::now();
        let mut whole = intake(Box::pin(stream::iter([Ok(Bytes::from_static(b"all"))])));
        assert_eq!(whole.next().await.unwrap().unwrap().len, 3);
        assert!(whole.ended() && begun.elapsed().is_zero());
    }

    #[tokio::test]
    async fn pieces_keep_their_order_whatever_their_size() {
        let mut all = Vec::new();
        let pieces: Vec<_> = [1, 5000, 2, 3, 2047, 2048, 1, 300_000, 7]
            .into_iter()
            .zip(1..)
            .map(|(len, fill)| {
                all.extend(vec![fill; len]);
                Ok(Bytes::from(vec![fill; len]))
            })
            .collect();
        let mut body = intake(Box::pin(stream::iter(pieces)));
        let mut got = Vec::new();
        while let Some(batch) = body.next().await.unwrap() {
            assert!(batch.len <= IO_BYTES_MAX);
            let pieces: Vec<u8> = batch.pieces.concat();
            assert_eq!(pieces.len(), batch.len);
            got.extend(pieces);
        }
        assert!(got == all);
    }

    #[tokio::test]
    async fn what_came_before_a_break_is_there() {
        let pieces = [
            Ok(Bytes::from_static(b"ab")),
            Err(BodyBroken("gone".into())),
        ];
        let mut body = intake(Box::pin(stream::iter(pieces)));
        assert_eq!(body.next().await.unwrap().unwrap().len, 2);
        assert_eq!(body.next().await.err().unwrap().kind(), Kind::ClientGone);
    }
}
