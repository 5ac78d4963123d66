//! One file to the server: small ones in one request, large ones as a session of parallel parts, and none at all if
//! the server has the content already.
//!
//! A session needs no state here: the server finds it again by path, length and fingerprint, and says which bytes it
//! holds. Those are still hashed on this side, so that the root of the whole is always compared.

use super::read::{hash_file, send_range};
use super::session::{Session, has_ended, received};
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::{Source, Stamp};
use crate::remote::body::Body;
use crate::remote::{Error, FileMeta, Kind};
use crate::ui::words;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use gfl_api::problem::Code;
use gfl_api::v1::{Entry, UploadDone};
use gfl_api::{FilePath, Root, plan};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// From here on a file goes in parts.
const SESSION_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// How often a file may change under our hands, or its session be lost, before we give up.
const RESTARTS_MAX: u32 = 1;
/// How much of both ends of a file is in its fingerprint.
const FINGERPRINT_END_BYTES: u64 = 64 * 1024;

/// What became of a file.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// It was sent.
    Done(UploadDone),
    /// The server had this very content, of so many bytes.
    Unchanged(u64),
    /// The server had this very content, of so many bytes, and got its time and mode.
    Updated(u64),
    /// The server had some file there that was not to be touched.
    Existing,
}

/// Why an attempt ended without a file, and why the next one may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Somebody wrote into the file while it was sent.
    Changed,
    /// The session expired, or somebody ended it.
    Ended,
    /// What the session held from before was of another content.
    Foreign,
}

impl Again {
    /// In the words of an error.
    fn why(self) -> &'static str {
        match self {
            Self::Changed => {
                "it keeps changing while it is sent; try again when nobody writes to it"
            }
            Self::Ended => "the upload keeps being ended on the server; does another gfl send it?",
            Self::Foreign => "what the server holds of it is of another content; send it again",
        }
    }
}

impl Transfer<'_> {
    /// Sends a local file to `remote`, where the server has `there`. Verified end to end.
    pub(crate) async fn upload(
        &self,
        local: &Path,
        remote: &FilePath,
        there: Option<&Entry>,
    ) -> Result<Sent> {
        let mut restarts = 0;
        loop {
            let source = Arc::new(Source::open(local).context("cannot read it")?);
            if let Some(there) = there
                && let Some(same) = self.has_same(&source, remote, there).await?
            {
                self.kept(matches!(same, Sent::Updated(_)), source.stamp.size);
                return Ok(same);
            }
            let sent = match source.stamp.size {
                0..=SESSION_BYTES_MIN => self.whole(&source, remote).await,
                _ => self.in_parts(&source, remote).await,
            };
            match sent {
                Ok(Ok(done)) => {
                    self.finished(done.size);
                    return Ok(Sent::Done(done));
                }
                Ok(Err(_)) if restarts < RESTARTS_MAX => restarts += 1,
                Ok(Err(again)) => return Err(Failed::new(Exit::Conflict, again.why()).into()),
                Err(error) if self.options.no_clobber && is_precondition(&error) => {
                    self.tally.existing(1);
                    self.tally.settle();
                    return Ok(Sent::Existing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One request. Hashed before it is sent, so that the server can refuse a damaged body.
    async fn whole(
        &self,
        source: &Arc<Source>,
        remote: &FilePath,
    ) -> Result<std::result::Result<UploadDone, Again>> {
        let b3 = self.hash(source).await?;
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
                return Ok(Err(Again::Changed));
            }
            match done {
                Ok(done) => {
                    self.ui.progress().advance(len);
                    self.tally.resent_bytes.fetch_add(resent, Relaxed);
                    check(&done, b3)?;
                    return Ok(Ok(done));
                }
                Err(error) => {
                    read?.context("cannot read it")?;
                    resent += gauge.sent();
                    self.v1.http.pause(&mut attempts, error.passing()).await?;
                }
            }
        }
    }

    /// A session.
    async fn in_parts(
        &self,
        source: &Arc<Source>,
        remote: &FilePath,
    ) -> Result<std::result::Result<UploadDone, Again>> {
        let len = source.stamp.size;
        let mark = fingerprint(source).context("cannot read it")?;
        let meta = meta_of(&source.stamp);
        let info = self
            .v1
            .begin_upload(remote, Some(len), Some(&mark), meta, self.conditions())
            .await?;
        let have = received(&info)?;
        let resumed = have.total();
        self.tally.resumed_bytes.fetch_add(resumed, Relaxed);
        if !have.is_empty() {
            let (have, all) = (words::bytes(resumed), words::bytes(len));
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
            is_shared: AtomicBool::new(!have.is_empty()),
            have,
            queue: Mutex::new(parts.into_iter()),
            sum: Mutex::default(),
        };
        let done = self.send_session(&session).await;
        match &done {
            Ok(Ok(_)) => {}
            Ok(Err(again)) => {
                if *again == Again::Foreign {
                    self.ui.note(format!(
                        "{remote}: what the server held was of another content, starting over"
                    ));
                }
                self.tally.resumed_bytes.fetch_sub(resumed, Relaxed);
                self.ui.progress().take_back(len);
                // It may be gone already.
                let _ = self.v1.abandon_upload(&info.id).await;
            }
            // Nothing that could be continued: the target is taken.
            Err(error) if is_precondition(error) => {
                let _ = self.v1.abandon_upload(&info.id).await;
            }
            Err(_) => {}
        }
        done
    }

    /// All parts, and the file out of them.
    async fn send_session(
        &self,
        session: &Session<'_>,
    ) -> Result<std::result::Result<UploadDone, Again>> {
        let workers = (0..self.options.parallel).map(|_| session.work());
        match try_join_all(workers).await {
            Ok(_) => {}
            Err(error) if has_ended(&error) => return Ok(Err(Again::Ended)),
            Err(error) => return Err(error),
        }
        if session.source.has_changed()? {
            return Ok(Err(Again::Changed));
        }
        let sum = session
            .sum
            .lock()
            .ok()
            .map(|mut sum| std::mem::take(&mut *sum));
        let sum = sum.and_then(|sum| sum.finish(session.len));
        let sum = sum.context("not every part was hashed; this is a defect of gfl")?;
        match session.complete(sum).await {
            Err(error) if has_ended(&error) => Ok(Err(Again::Ended)),
            other => other,
        }
    }

    /// The root of an open file.
    pub(super) async fn hash(&self, source: &Arc<Source>) -> Result<Root> {
        let (source, pieces) = (Arc::clone(source), self.pieces.clone());
        blocking(move || hash_file(&source, &pieces))
            .await?
            .context("cannot read it")
    }
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

fn is_precondition(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<Error>().map(|error| error.code);
    code == Some(Code::PreconditionFailed)
}

fn meta_of(stamp: &Stamp) -> FileMeta {
    FileMeta {
        mtime_ns: Some(stamp.mtime_ns),
        mode: stamp.mode,
    }
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
