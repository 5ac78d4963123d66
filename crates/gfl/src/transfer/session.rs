//! An upload session on its way: parts over several connections, each hashed here whether it is sent or already there,
//! and what is missing after a failure found out and sent again.

use super::read::send_range;
use super::sum::{FileSum, PartHasher};
use super::upload::{Again, check};
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::Source;
use crate::remote::Error;
use crate::remote::body::Body;
use anyhow::{Context, Result};
use gfl_api::problem::Code;
use gfl_api::v1::{UploadDone, UploadInfo, UploadState};
use gfl_api::{RangeSet, Root, plan};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

/// How often a server may have forgotten parts it had taken.
const REFILLS_MAX: u32 = 3;

/// One session on its way.
pub(super) struct Session<'a> {
    pub(super) transfer: &'a Transfer<'a>,
    pub(super) source: &'a Arc<Source>,
    pub(super) id: &'a str,
    pub(super) len: u64,
    pub(super) have: RangeSet,
    pub(super) queue: Mutex<std::vec::IntoIter<Range<u64>>>,
    pub(super) sum: Mutex<FileSum>,
    /// The server held bytes that this run did not send.
    pub(super) is_shared: AtomicBool,
}

/// The session ended while we were at it, and not by becoming the file.
#[derive(Debug)]
struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upload was ended on the server")
    }
}

impl std::error::Error for Ended {}

impl Session<'_> {
    /// Takes parts until none is left.
    pub(super) async fn work(&self) -> Result<()> {
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
                .put_part(self.id, gap.clone(), Some(self.len), body);
            let (read, put) = tokio::join!(reading, putting);
            hasher = read?
                .context("cannot read it")?
                .context("a part was not hashed")?;
            self.transfer
                .tally
                .moved_bytes
                .fetch_add(gauge.sent(), Relaxed);
            at = gap.end;
            match put {
                Ok(_) => progress.advance(gap.end - gap.start),
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
                        self.is_shared.store(true, Relaxed);
                        have.iter().for_each(|have| missing.remove(have));
                    }
                    _ => {
                        // Also when an older request of ours, which the server came to only now, took the part over.
                        http.pause(&mut attempts, error.passing()).await?;
                        let have = self.held().await?;
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

    /// Makes the file out of its parts.
    pub(super) async fn complete(
        &self,
        sum: Root,
    ) -> Result<std::result::Result<UploadDone, Again>> {
        let (v1, mut refills) = (self.transfer.v1, 0);
        let mut attempts = v1.http.attempts();
        loop {
            let error = match v1.complete_upload(self.id, self.len, sum).await {
                Ok(done) => {
                    check(&done, sum)?;
                    return Ok(Ok(done));
                }
                Err(error) => error,
            };
            match error.code {
                Code::UploadGone => return Ok(Err(Again::Ended)),
                Code::UploadIncomplete if refills < REFILLS_MAX => {
                    refills += 1;
                    self.refill().await?;
                }
                Code::UploadIncomplete => {
                    let message = "the server keeps losing what it received; look into its log";
                    return Err(Failed::new(Exit::Failure, message).into());
                }
                // The bytes that were there already were not this file's.
                Code::DigestMismatch if self.is_shared.load(Relaxed) => {
                    return Ok(Err(Again::Foreign));
                }
                Code::Conflict => v1.http.pause(&mut attempts, error.passing()).await?,
                _ => return Err(error.into()),
            }
        }
    }

    /// Sends again what a server forgot that answered for it and then died: received is not yet durable.
    async fn refill(&self) -> Result<()> {
        let have = self.held().await?;
        let missing: RangeSet = have.missing_within(self.len).collect();
        self.transfer.ui.progress().take_back(missing.total());
        self.transfer.count_resent(missing.total());
        self.repair(missing, None).await
    }

    /// What the server holds now.
    async fn held(&self) -> Result<RangeSet> {
        let info = self.transfer.v1.upload(self.id).await?;
        match info.state {
            UploadState::Failed | UploadState::Cancelled => Err(Ended.into()),
            _ => received(&info),
        }
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
                .put_part(self.id, gap.clone(), Some(self.len), body);
            let (read, put) = tokio::join!(reading, putting);
            read?.context("cannot read it")?;
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
        let hasher = hashing.await?.context("cannot read it")?;
        self.transfer.ui.progress().advance(len);
        hasher.context("a part was not hashed")
    }
}

/// What the server holds, as it told.
pub(super) fn received(info: &UploadInfo) -> Result<RangeSet> {
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

/// Whether the session is no more.
pub(super) fn has_ended(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Error>().map(|error| error.code);
    error.is::<Ended>() || code == Some(Code::UploadGone)
}
