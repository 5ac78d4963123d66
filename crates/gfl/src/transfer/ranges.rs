//! The bytes of one content on their way to disk: parts over several connections, each hashed and written on a thread of
//! its own, each taken up where its connection broke.

use super::download::changed;
use super::partial::{Content, Partial, mark};
use super::sum::{FileSum, PartHasher};
use super::{Transfer, blocking};
use crate::local::holes::write_around_zeroes;
use crate::local::pieces::{PIECE_BYTES, Pieces};
use crate::local::write_all_at;
use crate::remote::{Error, Part};
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::try_join_all;
use gfl_api::{FilePath, RangeSet, Root, plan};
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// From here on several connections are worth it.
const PARALLEL_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Pieces between the network and the disk of one connection.
const QUEUED_PIECES: usize = 4;

/// One content on its way to disk.
pub(super) struct Run<'a> {
    transfer: &'a Transfer<'a>,
    remote: &'a FilePath,
    content: &'a Content,
    partial: &'a Partial,
    have: RangeSet,
    queue: Mutex<std::vec::IntoIter<Range<u64>>>,
    sum: Mutex<FileSum>,
    told: Mutex<Option<Root>>,
}

/// Who writes one stretch of bytes: hashes and writes on a thread of its own while the network goes on.
struct Writer {
    file: Arc<File>,
    written: Arc<Mutex<RangeSet>>,
    moved: Arc<AtomicU64>,
    /// Nothing was ever written where this goes: what is not written is zeroes.
    is_new: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        transfer: &'a Transfer<'a>,
        remote: &'a FilePath,
        content: &'a Content,
        partial: &'a Partial,
        have: RangeSet,
    ) -> Self {
        let part_bytes = match content.len {
            0..PARALLEL_BYTES_MIN => PARALLEL_BYTES_MIN,
            len => plan::part_bytes_for(len),
        };
        let parts = plan::parts(std::iter::once(0..content.len), part_bytes);
        Self {
            transfer,
            remote,
            content,
            partial,
            have,
            queue: Mutex::new(parts.into_iter()),
            sum: Mutex::default(),
            told: Mutex::default(),
        }
    }

    pub(super) fn finish(self) -> (FileSum, Option<Root>) {
        let told = self.told.into_inner().ok().flatten();
        (self.sum.into_inner().unwrap_or_default(), told)
    }

    /// Parts side by side, each resumed where it broke off.
    pub(super) async fn all_parts(&self) -> Result<()> {
        try_join_all((0..self.transfer.options.parallel).map(|_| self.work()))
            .await
            .map(drop)
    }

    async fn work(&self) -> Result<()> {
        loop {
            let part = self.queue.lock().ok().and_then(|mut queue| queue.next());
            let Some(part) = part else { return Ok(()) };
            let mut hasher = PartHasher::new(part.start);
            let mut at = part.start;
            let gaps: Vec<Range<u64>> = self.have.gaps(part.clone()).collect();
            for gap in gaps {
                hasher = self.rehash(at..gap.start, hasher).await?;
                at = gap.end;
                hasher = self.fetch(gap, hasher).await?;
            }
            hasher = self.rehash(at..part.end, hasher).await?;
            if let Ok(mut sum) = self.sum.lock() {
                sum.add(hasher.finish());
            }
        }
    }

    /// A content without a strong tag: one request for all of it, and from the beginning after a failure.
    pub(super) async fn whole(&self) -> Result<()> {
        let mut attempts = self.transfer.v1.http.attempts();
        loop {
            let mut at = 0;
            let mut hasher = PartHasher::new(0);
            let fetched = self
                .fetch_once(&mut at, self.content.len, &mut hasher)
                .await;
            match fetched {
                Ok(()) => {
                    if let Ok(mut sum) = self.sum.lock() {
                        sum.add(hasher.finish());
                    }
                    return Ok(());
                }
                Err(error) => {
                    self.transfer.ui.progress().take_back(at);
                    self.transfer.tally.resent_bytes.fetch_add(at, Relaxed);
                    self.transfer
                        .v1
                        .http
                        .pause(&mut attempts, error.downcast::<Error>()?)
                        .await?;
                    // What was written may be of another content: nothing tells them apart.
                    let (partial, len) = (self.partial.file(), self.content.len);
                    blocking(move || partial.set_len(0).and_then(|()| partial.set_len(len)))
                        .await?
                        .with_context(|| {
                            format!("cannot write {}", self.partial.shown().display())
                        })?;
                }
            }
        }
    }

    /// Fetches a gap; a broken connection is taken up where it broke.
    async fn fetch(&self, gap: Range<u64>, mut hasher: PartHasher) -> Result<PartHasher> {
        let mut attempts = self.transfer.v1.http.attempts();
        let mut at = gap.start;
        while at < gap.end {
            let before = at;
            if let Err(error) = self.fetch_once(&mut at, gap.end, &mut hasher).await {
                if at > before {
                    attempts.progressed();
                }
                self.transfer
                    .v1
                    .http
                    .pause(&mut attempts, error.downcast::<Error>()?)
                    .await?;
            }
        }
        Ok(hasher)
    }

    /// One request for `at..end`. `at` and `hasher` are brought forward by what was written, also on failure.
    async fn fetch_once(&self, at: &mut u64, end: u64, hasher: &mut PartHasher) -> Result<()> {
        let is_all = *at == 0 && end == self.content.len;
        let range = (!is_all).then_some(*at..end);
        if *at == end {
            return Ok(());
        }
        let part = self
            .transfer
            .v1
            .get(self.remote, range, self.content.etag.as_deref())
            .await?;
        if part.total != self.content.len || part.range.end != end {
            return Err(changed());
        }
        if let Ok(mut told) = self.told.lock() {
            *told = told.or(part.b3);
        }
        let (pieces, inbox) = mpsc::channel(QUEUED_PIECES);
        let moved = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            file: self.partial.file(),
            written: self.partial.written(),
            moved: Arc::clone(&moved),
            is_new: self.have.is_empty(),
        };
        let (start, taken) = (*at, std::mem::replace(hasher, PartHasher::new(0)));
        let writing = blocking(move || writer.run(start, taken, inbox));
        let reading = self.pass_on(part, end - start, pieces);
        let (wrote, read) = tokio::join!(writing, reading);
        let (back, result) = wrote?;
        *hasher = back;
        *at += moved.load(Relaxed);
        self.transfer
            .tally
            .moved_bytes
            .fetch_add(moved.load(Relaxed), Relaxed);
        result.with_context(|| format!("cannot write {}", self.partial.shown().display()))?;
        Ok(read?)
    }

    /// From the network to the writer.
    async fn pass_on(
        &self,
        mut part: Part,
        len: u64,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), Error> {
        let mut left = len;
        while let Some(piece) = part.answer.piece().await? {
            let size = piece.len() as u64;
            if size > left {
                return Err(Error::protocol("the server sent more bytes than asked for"));
            }
            left -= size;
            if pieces.send(piece).await.is_err() {
                // The writer failed and says why.
                return Ok(());
            }
            self.transfer.ui.progress().advance(size);
            if size > 0 && left > 0 {
                self.note();
            }
        }
        if left > 0 {
            Err(Error::network("the answer was cut short"))
        } else {
            Ok(())
        }
    }

    /// Brings the notes up to date now and then, beside everything else. They are a help for later: a failure to
    /// write them is no failure now.
    fn note(&self) {
        if let Some(notes) = self.partial.due() {
            tokio::task::spawn_blocking(move || notes.write(false));
        }
    }

    /// Hashes bytes that are on disk already.
    async fn rehash(&self, range: Range<u64>, mut hasher: PartHasher) -> Result<PartHasher> {
        if range.is_empty() {
            return Ok(hasher);
        }
        let len = range.end - range.start;
        let (file, pieces) = (self.partial.file(), self.transfer.pieces.clone());
        let hasher = blocking(move || -> std::io::Result<PartHasher> {
            hash_range(&file, range, &pieces, &mut hasher)?;
            Ok(hasher)
        })
        .await?
        .context("cannot read the bytes kept from last time")?;
        self.transfer.ui.progress().advance(len);
        Ok(hasher)
    }
}

impl Writer {
    fn run(
        self,
        mut at: u64,
        mut hasher: PartHasher,
        mut inbox: mpsc::Receiver<Bytes>,
    ) -> (PartHasher, std::io::Result<()>) {
        while let Some(piece) = inbox.blocking_recv() {
            let write = match self.is_new {
                true => write_around_zeroes,
                false => write_all_at,
            };
            if let Err(error) = write(&self.file, &piece, at) {
                return (hasher, Err(error));
            }
            hasher.update(&piece);
            let end = at + piece.len() as u64;
            mark(&self.written, at..end);
            self.moved.fetch_add(piece.len() as u64, Relaxed);
            at = end;
        }
        (hasher, Ok(()))
    }
}

fn hash_range(
    file: &File,
    range: Range<u64>,
    pieces: &Pieces,
    hasher: &mut PartHasher,
) -> std::io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        hasher.update(&pieces.read(file, at, len)?);
        at += len as u64;
    }
    Ok(())
}
