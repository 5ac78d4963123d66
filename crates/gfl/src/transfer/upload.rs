//! One file to the server: small ones in one request, large ones as a session of parallel parts.
//!
//! A session needs no state here: the server finds it again by path, length and fingerprint, and says which bytes it
//! holds. Those are still hashed on this side, so that the root of the whole is always compared.

use super::sum::{FileSum, PartHasher};
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::pieces::{PIECE_BYTES, Pieces};
use crate::local::{Source, Stamp};
use crate::remote::body::{Body, Broken, Feed};
use crate::remote::{Error, FileMeta, Kind};
use crate::ui::words;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::try_join_all;
use gfl_api::problem::Code;
use gfl_api::v1::{UploadDone, UploadInfo};
use gfl_api::{FilePath, RangeSet, Root, plan};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

/// From here on a file goes in parts.
const SESSION_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// How often a file may change under our hands, or its session be lost, before we give up.
const RESTARTS_MAX: u32 = 1;
/// How often a server may have forgotten parts it had taken.
const REFILLS_MAX: u32 = 3;
/// How much of both ends of a file is in its fingerprint.
const FINGERPRINT_END_BYTES: u64 = 64 * 1024;

impl Transfer<'_> {
    /// Sends a local file to `remote` and returns what the server made of it. Verified end to end.
    pub(crate) async fn upload(&self, local: &Path, remote: &FilePath) -> Result<UploadDone> {
        let mut restarts = 0;
        loop {
            let source =
                Source::open(local).with_context(|| format!("cannot read {}", local.display()))?;
            let source = Arc::new(source);
            let sent = match source.stamp.size {
                0..=SESSION_BYTES_MIN => self.whole(&source, remote).await,
                _ => self.in_parts(&source, remote).await,
            };
            match sent {
                Ok(Some(done)) => {
                    self.tally.done(done.size);
                    return Ok(done);
                }
                // The file changed, or the session is gone: once more from the beginning.
                Ok(None) if restarts < RESTARTS_MAX => restarts += 1,
                Ok(None) => {
                    let message =
                        "it keeps changing while it is sent; try again when nobody writes to it";
                    return Err(Failed::new(Exit::Conflict, message).into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything from stdin, of unknown length, in one request.
    pub(crate) async fn upload_stdin(&self, remote: &FilePath) -> Result<UploadDone> {
        let (feed, gauge, body) = Body::stream(None);
        let pieces = self.pieces.clone();
        let reading = blocking(move || read_stdin(&pieces, &feed));
        let putting = self
            .v1
            .put(remote, body, FileMeta::default(), None, self.conditions());
        let (read, done) = tokio::join!(reading, putting);
        let done = done.map_err(|error| match error.is_transient() {
            true => anyhow::Error::new(error)
                .context("stdin cannot be sent a second time; run the command again"),
            false => error.into(),
        })?;
        let sum = read?.context("cannot read stdin")?;
        check(&done, sum)?;
        self.tally.moved_bytes.fetch_add(gauge.sent(), Relaxed);
        self.tally.done(done.size);
        Ok(done)
    }

    /// One request. Hashed before it is sent, so that the server can refuse a damaged body. None if it changed.
    async fn whole(&self, source: &Arc<Source>, remote: &FilePath) -> Result<Option<UploadDone>> {
        let b3 = {
            let (source, pieces) = (Arc::clone(source), self.pieces.clone());
            blocking(move || hash_file(&source, &pieces))
                .await?
                .context("cannot read the file")?
        };
        let len = source.stamp.size;
        let meta = meta_of(&source.stamp);
        let mut attempts = self.v1.http.attempts();
        let mut resent = 0;
        loop {
            let (feed, gauge, body) = Body::stream(Some(len));
            let (reader, pieces) = (Arc::clone(source), self.pieces.clone());
            let reading =
                blocking(move || send_range(&reader.file, 0..len, &pieces, Some(&feed), None));
            let putting = self.v1.put(remote, body, meta, Some(b3), self.conditions());
            let (read, done) = tokio::join!(reading, putting);
            self.tally.moved_bytes.fetch_add(gauge.sent(), Relaxed);
            if source.has_changed()? {
                return Ok(None);
            }
            match done {
                Ok(done) => {
                    self.ui.progress().advance(len);
                    self.tally.resent_bytes.fetch_add(resent, Relaxed);
                    check(&done, b3)?;
                    return Ok(Some(done));
                }
                Err(error) => {
                    read?.context("cannot read the file")?;
                    resent += gauge.sent();
                    self.v1.http.pause(&mut attempts, error).await?;
                }
            }
        }
    }

    /// A session. None if the file changed or the session vanished.
    async fn in_parts(
        &self,
        source: &Arc<Source>,
        remote: &FilePath,
    ) -> Result<Option<UploadDone>> {
        let len = source.stamp.size;
        let mark = fingerprint(source).context("cannot read the file")?;
        let meta = meta_of(&source.stamp);
        let info = self
            .v1
            .begin_upload(remote, len, &mark, meta, self.conditions())
            .await?;
        let have = received(&info)?;
        self.tally.resumed_bytes.fetch_add(have.total(), Relaxed);
        if !have.is_empty() {
            let (have, all) = (words::bytes(have.total()), words::bytes(len));
            self.ui
                .note(format!("{remote}: continuing, {have} of {all} are there"));
        }
        let parts: Vec<Range<u64>> =
            plan::parts(std::iter::once(0..len), plan::part_bytes_for(len));
        let session = Session {
            transfer: self,
            source,
            id: &info.id,
            len,
            have,
            queue: Mutex::new(parts.into_iter()),
            sum: Mutex::default(),
        };
        let workers = (0..self.options.parallel).map(|_| session.work());
        match try_join_all(workers).await {
            Ok(_) => {}
            Err(error) if is_lost(&error) => {
                // It may be gone already.
                let _ = self.v1.abandon_upload(&info.id).await;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        if source.has_changed()? {
            self.v1.abandon_upload(&info.id).await?;
            return Ok(None);
        }
        let sum = session
            .sum
            .lock()
            .ok()
            .map(|mut sum| std::mem::take(&mut *sum));
        let sum = sum.and_then(|sum| sum.finish(len));
        let sum = sum.context("not every part was hashed; this is a defect of gfl")?;
        for _ in 0..=REFILLS_MAX {
            match self.v1.complete_upload(&info.id, len, sum).await {
                Ok(done) => {
                    check(&done, sum)?;
                    return Ok(Some(done));
                }
                Err(error) if error.code == Code::UploadGone => return Ok(None),
                Err(error) if error.code == Code::UploadIncomplete => session.refill().await?,
                Err(error) => return Err(error.into()),
            }
        }
        let message = "the server keeps losing what it received; look into its log";
        Err(Failed::new(Exit::Failure, message).into())
    }
}

/// One session on its way.
struct Session<'a> {
    transfer: &'a Transfer<'a>,
    source: &'a Arc<Source>,
    id: &'a str,
    len: u64,
    have: RangeSet,
    queue: Mutex<std::vec::IntoIter<Range<u64>>>,
    sum: Mutex<FileSum>,
}

impl Session<'_> {
    /// Takes parts until none is left.
    async fn work(&self) -> Result<()> {
        loop {
            let part = self.queue.lock().ok().and_then(|mut queue| queue.next());
            let Some(part) = part else { return Ok(()) };
            self.part(part).await?;
        }
    }

    /// Hashes one part and sends what the server does not have of it.
    async fn part(&self, part: Range<u64>) -> Result<()> {
        let progress = self.transfer.ui.progress();
        let mut hasher = PartHasher::new(part.start);
        let mut at = part.start;
        let mut failed = Vec::new();
        let gaps: Vec<Range<u64>> = self.have.gaps(part.clone()).collect();
        for gap in gaps {
            hasher = self.hash_only(at..gap.start, hasher).await?;
            let (feed, gauge, body) = Body::stream(Some(gap.end - gap.start));
            let (source, pieces, range) = (
                Arc::clone(self.source),
                self.transfer.pieces.clone(),
                gap.clone(),
            );
            let reading = blocking(move || {
                send_range(&source.file, range, &pieces, Some(&feed), Some(hasher))
            });
            let putting = self
                .transfer
                .v1
                .put_part(self.id, gap.clone(), self.len, body);
            let (read, put) = tokio::join!(reading, putting);
            hasher = read?
                .context("cannot read the file")?
                .context("a part was not hashed")?;
            self.transfer
                .tally
                .moved_bytes
                .fetch_add(gauge.sent(), Relaxed);
            at = gap.end;
            match put {
                Ok(()) => progress.advance(gap.end - gap.start),
                Err(error) => failed.push((gap, error, gauge.sent())),
            }
        }
        hasher = self.hash_only(at..part.end, hasher).await?;
        if let Ok(mut sum) = self.sum.lock() {
            sum.add(hasher.finish());
        }
        for (gap, error, sent) in failed {
            self.repair(std::iter::once(gap).collect(), Some((error, sent)))
                .await?;
        }
        Ok(())
    }

    /// Sends what is missing until it is all there. `failed` is what went wrong with it before, and the bytes that went
    /// out then without an answer.
    async fn repair(&self, mut missing: RangeSet, mut failed: Option<(Error, u64)>) -> Result<()> {
        let (http, progress) = (&self.transfer.v1.http, self.transfer.ui.progress());
        let mut attempts = http.attempts();
        loop {
            if let Some((error, in_doubt)) = failed.take() {
                let before = missing.total();
                match overlapping(&error) {
                    // A half-received range is no failure: the answer says what is there already.
                    Some(have) if have.iter().any(|have| missing.overlaps(have)) => {
                        have.iter().for_each(|have| missing.remove(have));
                    }
                    _ => {
                        http.pause(&mut attempts, error).await?;
                        let have = received(&self.transfer.v1.upload(self.id).await?)?;
                        have.iter().for_each(|have| missing.remove(have));
                    }
                }
                let arrived = before - missing.total();
                progress.advance(arrived);
                if arrived > 0 {
                    attempts.progressed();
                }
                self.transfer.count_resent(in_doubt.saturating_sub(arrived));
            }
            match self.fill(&mut missing).await? {
                None => return Ok(()),
                again => failed = again,
            }
        }
    }

    /// Sends again what a server forgot that answered for it and then died: received is not yet durable.
    async fn refill(&self) -> Result<()> {
        let have = received(&self.transfer.v1.upload(self.id).await?)?;
        let missing: RangeSet = have.missing_within(self.len).collect();
        self.transfer.ui.progress().take_back(missing.total());
        self.transfer.count_resent(missing.total());
        self.repair(missing, None).await
    }

    /// Sends the gaps one after another. Some: the first failure, and what had gone out of that gap.
    async fn fill(&self, missing: &mut RangeSet) -> Result<Option<(Error, u64)>> {
        let gaps = plan::parts(missing.iter(), plan::part_bytes_for(self.len));
        for gap in gaps {
            let (feed, gauge, body) = Body::stream(Some(gap.end - gap.start));
            let (source, pieces, range) = (
                Arc::clone(self.source),
                self.transfer.pieces.clone(),
                gap.clone(),
            );
            let reading =
                blocking(move || send_range(&source.file, range, &pieces, Some(&feed), None));
            let putting = self
                .transfer
                .v1
                .put_part(self.id, gap.clone(), self.len, body);
            let (read, put) = tokio::join!(reading, putting);
            read?.context("cannot read the file")?;
            self.transfer
                .tally
                .moved_bytes
                .fetch_add(gauge.sent(), Relaxed);
            if let Err(error) = put {
                return Ok(Some((error, gauge.sent())));
            }
            self.transfer.ui.progress().advance(gap.end - gap.start);
            missing.remove(gap);
        }
        Ok(None)
    }

    /// Hashes bytes that the server has.
    async fn hash_only(&self, range: Range<u64>, hasher: PartHasher) -> Result<PartHasher> {
        if range.is_empty() {
            return Ok(hasher);
        }
        let len = range.end - range.start;
        let (source, pieces) = (Arc::clone(self.source), self.transfer.pieces.clone());
        let hashing =
            blocking(move || send_range(&source.file, range, &pieces, None, Some(hasher)));
        let hasher = hashing.await?.context("cannot read the file")?;
        self.transfer.ui.progress().advance(len);
        hasher.context("a part was not hashed")
    }
}

/// Reads a range piece by piece, hashes it if there is a hasher, and sends it as long as somebody takes it.
fn send_range(
    file: &File,
    range: Range<u64>,
    pieces: &Pieces,
    feed: Option<&Feed>,
    mut hasher: Option<PartHasher>,
) -> std::io::Result<Option<PartHasher>> {
    let mut feed = feed;
    let mut at = range.start;
    while at < range.end && (feed.is_some() || hasher.is_some()) {
        // Pieces end at multiples of their size, so that groups of the hash are not cut.
        let step = PIECE_BYTES as u64;
        let end = ((at / step + 1) * step).min(range.end);
        let piece = match pieces.read(file, at, usize::try_from(end - at).unwrap_or(PIECE_BYTES)) {
            Ok(piece) => piece,
            Err(error) => {
                if let Some(feed) = feed {
                    let _ =
                        feed.blocking_send(Err(Broken(format!("cannot read the file: {error}"))));
                }
                return Err(error);
            }
        };
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        // The connection is gone: what is left is only hashed.
        if feed.is_some_and(|feed| feed.blocking_send(Ok(piece)).is_err()) {
            feed = None;
        }
        at = end;
    }
    Ok(hasher)
}

fn read_stdin(pieces: &Pieces, feed: &Feed) -> std::io::Result<Root> {
    use std::io::Read;
    let mut stdin = std::io::stdin().lock();
    let mut hasher = gfl_api::tree::TreeHasher::new();
    loop {
        let mut got = 0;
        let piece: Bytes = pieces.with(PIECE_BYTES, |buf| {
            got = stdin.read(buf)?;
            Ok(())
        })?;
        if got == 0 {
            return Ok(hasher.finish(|_, _| {}));
        }
        let piece = piece.slice(..got);
        hasher.update(&piece, |_, _| {});
        if feed.blocking_send(Ok(piece)).is_err() {
            return Err(std::io::Error::other("the connection is gone"));
        }
    }
}

/// The root of a file that is small enough to be read twice.
fn hash_file(source: &Source, pieces: &Pieces) -> std::io::Result<Root> {
    let hasher = send_range(
        &source.file,
        0..source.stamp.size,
        pieces,
        None,
        Some(PartHasher::new(0)),
    )?;
    let mut sum = FileSum::default();
    if let Some(hasher) = hasher {
        sum.add(hasher.finish());
    }
    sum.finish(source.stamp.size)
        .ok_or_else(|| std::io::Error::other("the file could not be hashed"))
}

/// The BLAKE3 root of a local file, for comparing.
pub(crate) async fn hash_local(local: &Path, pieces: &Pieces) -> Result<Root> {
    let (local, pieces) = (local.to_owned(), pieces.clone());
    let shown = local.display().to_string();
    let hashing =
        blocking(move || Source::open(&local).and_then(|source| hash_file(&source, &pieces)));
    hashing
        .await?
        .with_context(|| format!("cannot read {shown}"))
}

/// The BLAKE3 root of an open file.
pub(super) fn hash_open(file: File, pieces: &Pieces) -> std::io::Result<Root> {
    let stamp = Stamp::now(&file)?;
    hash_file(&Source { file, stamp }, pieces)
}

/// Tells one content of a file from another without reading all of it: size, time, and a hash of both ends.
fn fingerprint(source: &Source) -> std::io::Result<String> {
    let Stamp { size, mtime_ns, .. } = source.stamp;
    let mut hasher = blake3::Hasher::new();
    for range in [
        0..size.min(FINGERPRINT_END_BYTES),
        size.saturating_sub(FINGERPRINT_END_BYTES)..size,
    ] {
        let mut buf = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        crate::local::read_exact_at(&source.file, &mut buf, range.start)?;
        hasher.update(&buf);
    }
    Ok(format!(
        "gfl1-{size}-{mtime_ns}-{}",
        &hasher.finalize().to_hex()[..32]
    ))
}

fn meta_of(stamp: &Stamp) -> FileMeta {
    FileMeta {
        mtime_ns: Some(stamp.mtime_ns),
        mode: stamp.mode,
    }
}

/// What the server holds, as it told.
fn received(info: &UploadInfo) -> Result<RangeSet> {
    RangeSet::from_pairs(info.received.iter().map(|pair| (pair[0], pair[1]))).map_err(|error| {
        Error::protocol(format!("the server's list of received ranges: {error}")).into()
    })
}

/// What the server holds, as it told in a refusal.
fn overlapping(error: &Error) -> Option<RangeSet> {
    let problem = error
        .problem
        .as_ref()
        .filter(|problem| problem.code == Code::RangeOverlap)?;
    let pairs: Vec<[u64; 2]> =
        serde_json::from_value(problem.extensions.get("received")?.clone()).ok()?;
    RangeSet::from_pairs(pairs.into_iter().map(|pair| (pair[0], pair[1]))).ok()
}

/// Whether the session cannot be continued: it expired, or holds bytes of another content.
fn is_lost(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Error>().map(|error| error.code);
    matches!(code, Some(Code::UploadGone | Code::Conflict))
}

/// Compares the server's root with ours.
pub(crate) fn check(done: &UploadDone, ours: Root) -> Result<()> {
    if done.b3.parse() == Ok(ours) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Integrity,
        format!(
            "the server stored other bytes than were sent (sent {ours}, stored {})",
            done.b3
        ),
    )
    .with_hint("send it again; if this repeats, check memory and disks of both machines")
    .into())
}
