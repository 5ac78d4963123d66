//! One file from the server: ranges over several connections, resumable, verified before it gets its name.
//!
//! A download belongs to one content, named by its entity tag. Every request demands that tag, so bytes of two
//! contents never meet in one file: when it changes on the server, the download begins again.

use super::partial::{Content, Partial, mark};
use super::sum::{FileSum, PartHasher};
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::dest::Place;
use crate::local::pieces::{PIECE_BYTES, Pieces};
use crate::local::write_all_at;
use crate::remote::{Error, Kind, Part};
use crate::ui::words;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::try_join_all;
use gfl_api::http::{Etag, parse_mode, parse_mtime};
use gfl_api::problem::Code;
use gfl_api::v1::Entry;
use gfl_api::{FilePath, RangeSet, Root, plan};
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// From here on several connections are worth it.
const PARALLEL_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// How often a file may change on the server, or prove damaged on our disk, before we give up.
const RESTARTS_MAX: u32 = 3;
/// Pieces between the network and the disk of one connection.
const QUEUED_PIECES: usize = 4;

/// A file that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downloaded {
    /// Bytes.
    pub(crate) size: u64,
    /// Its root, as computed here.
    pub(crate) b3: Root,
    /// Whether the server could say what it should be.
    pub(crate) is_verified: bool,
}

/// Why an attempt at a whole file ended without one.
enum Again {
    /// The content changed on the server.
    Changed,
    /// Bytes on our disk were not what the notes said.
    Damaged,
}

impl Transfer<'_> {
    /// Brings `remote`, which is `entry`, to `place`. `durable`: whether it must be on disk when this returns.
    pub(crate) async fn download(
        &self,
        remote: &FilePath,
        entry: &Entry,
        place: &Place,
        durable: bool,
    ) -> Result<Downloaded> {
        let mut entry = entry.clone();
        for _ in 0..=RESTARTS_MAX {
            match self.attempt(remote, &entry, place, durable).await? {
                Ok(done) => {
                    self.tally.done(done.size);
                    return Ok(done);
                }
                Err(Again::Changed) => self
                    .ui
                    .note(format!("{remote}: it changed on the server, starting over")),
                Err(Again::Damaged) => self.ui.note(format!(
                    "{remote}: the bytes kept here were damaged, starting over"
                )),
            }
            entry = self.v1.entry(remote).await?;
        }
        let message = "it keeps changing on the server; try again later";
        Err(Failed::new(Exit::Conflict, message).into())
    }

    async fn attempt(
        &self,
        remote: &FilePath,
        entry: &Entry,
        place: &Place,
        durable: bool,
    ) -> Result<std::result::Result<Downloaded, Again>> {
        let content = Content {
            etag: strong_etag(entry),
            len: entry.size,
        };
        let (partial, have) = {
            let (place, content) = (place.clone(), content.clone());
            blocking(move || Partial::open(&place, content)).await?
        }
        .with_context(|| format!("cannot write {}", place.shown().display()))?;
        self.tally.resumed_bytes.fetch_add(have.total(), Relaxed);
        if !have.is_empty() {
            let (have, all) = (words::bytes(have.total()), words::bytes(content.len));
            self.ui
                .note(format!("{remote}: continuing, {have} of {all} are there"));
        }
        let is_resumed = !have.is_empty();
        let run = Run::new(self, remote, &content, &partial, have);
        let fetched = match content.etag {
            Some(_) => run.all_parts().await,
            None => run.whole().await,
        };
        match fetched {
            Ok(()) => {}
            Err(error) if is_changed(&error) => {
                partial.discard()?;
                return Ok(Err(Again::Changed));
            }
            Err(error) => return Err(error),
        }
        let (sum, told) = run.finish();
        let b3 = sum
            .finish(content.len)
            .context("not every part was hashed; this is a defect of gfl")?;
        let expected = expected_root(entry).or(told);
        if expected.is_some_and(|expected| expected != b3) {
            partial.discard()?;
            if is_resumed {
                return Ok(Err(Again::Damaged));
            }
            return Err(damaged(remote, b3, expected));
        }
        let (mtime, mode) = (
            entry.mtime.as_deref().and_then(parse_mtime),
            entry.mode.as_deref().and_then(parse_mode),
        );
        blocking(move || partial.publish(mtime, mode, durable))
            .await?
            .with_context(|| format!("cannot write {}", place.shown().display()))?;
        Ok(Ok(Downloaded {
            size: content.len,
            b3,
            is_verified: expected.is_some(),
        }))
    }

    /// Writes a file to stdout as it arrives. Resumes broken connections; what is out cannot be taken back, so damage
    /// shows as an error at the end.
    pub(crate) async fn download_to_stdout(
        &self,
        remote: &FilePath,
        entry: &Entry,
    ) -> Result<Downloaded> {
        let etag = strong_etag(entry);
        let mut hasher = PartHasher::new(0);
        let mut told = expected_root(entry);
        let (mut at, len) = (0, entry.size);
        let mut attempts = self.v1.http.attempts();
        while at < len {
            let before = at;
            let mut take = |piece: &Bytes| {
                hasher.update(piece);
                at += piece.len() as u64;
                self.ui.progress().advance(piece.len() as u64);
                self.ui.raw(piece)
            };
            let got = self
                .stream(remote, etag.as_deref(), before..len, &mut told, &mut take)
                .await;
            self.tally.moved_bytes.fetch_add(at - before, Relaxed);
            match got {
                Ok(()) => {}
                // Without a strong tag nobody can say that the rest belongs to what is out already.
                Err(error) if etag.is_none() && at > 0 => return Err(error),
                Err(error) => {
                    if at > before {
                        attempts.progressed();
                    }
                    self.v1
                        .http
                        .pause(&mut attempts, error.downcast::<Error>()?)
                        .await?;
                }
            }
        }
        self.ui.flush()?;
        let mut sum = FileSum::default();
        sum.add(hasher.finish());
        let b3 = sum
            .finish(len)
            .context("not every byte was hashed; this is a defect of gfl")?;
        if told.is_some_and(|told| told != b3) {
            return Err(damaged(remote, b3, told));
        }
        self.tally.done(len);
        Ok(Downloaded {
            size: len,
            b3,
            is_verified: told.is_some(),
        })
    }

    async fn stream(
        &self,
        remote: &FilePath,
        etag: Option<&str>,
        range: Range<u64>,
        told: &mut Option<Root>,
        take: &mut impl FnMut(&Bytes) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut left = range.end - range.start;
        let asked = (range.start > 0).then_some(range);
        let Part { b3, mut answer, .. } = self.v1.get(remote, asked, etag).await?;
        *told = told.or(b3);
        while let Some(piece) = answer.piece().await? {
            take(&piece)?;
            left = left.saturating_sub(piece.len() as u64);
        }
        if left > 0 {
            Err(Error::network("the answer was cut short").into())
        } else {
            Ok(())
        }
    }
}

/// One content on its way to disk.
struct Run<'a> {
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
}

impl<'a> Run<'a> {
    fn new(
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

    fn finish(self) -> (FileSum, Option<Root>) {
        let told = self.told.into_inner().ok().flatten();
        (self.sum.into_inner().unwrap_or_default(), told)
    }

    /// Parts side by side, each resumed where it broke off.
    async fn all_parts(&self) -> Result<()> {
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
    async fn whole(&self) -> Result<()> {
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
            return Err(changed(self.remote));
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
        result.with_context(|| format!("cannot write {}", self.remote))?;
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
            if let Err(error) = write_all_at(&self.file, &piece, at) {
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

/// The tag that names the content exactly, if there is one.
fn strong_etag(entry: &Entry) -> Option<String> {
    let etag = entry.etag.clone()?;
    Etag::parse(&etag).filter(|etag| !etag.weak)?;
    Some(etag)
}

/// What the content's root should be, as far as the entry tells.
fn expected_root(entry: &Entry) -> Option<Root> {
    let told = entry.b3.as_deref().and_then(|text| text.parse().ok());
    told.or_else(|| entry.etag.as_deref().and_then(Root::parse_etag))
}

fn changed(remote: &FilePath) -> anyhow::Error {
    Error::from_answer(
        412,
        format!("{remote} changed on the server").as_bytes(),
        None,
    )
    .into()
}

fn is_changed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| {
        error.status == 412
            || matches!(
                error.code,
                Code::PreconditionFailed | Code::RangeNotSatisfiable
            )
    })
}

fn damaged(remote: &FilePath, got: Root, wanted: Option<Root>) -> anyhow::Error {
    let wanted = wanted.map_or_else(|| "unknown".to_owned(), |root| root.to_string());
    Error::new(
        Kind::Integrity,
        format!(
            "{remote}: the bytes that arrived are not the file's (got {got}, expected {wanted})"
        ),
    )
    .with_hint("get it again; if this repeats, check memory and disks of both machines")
    .into()
}
