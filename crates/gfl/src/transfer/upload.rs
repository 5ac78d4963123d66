//! One file to the server: small ones in one request, large ones as a session of parallel parts.
//!
//! A session needs no state here: the server finds it again by path, length and fingerprint, and says which bytes it
//! holds. Those are still hashed on this side, so that the root of the whole is always compared.

use super::read::{hash_file, read_stdin, send_range};
use super::session::{Session, is_lost, received};
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::{Source, Stamp};
use crate::remote::body::Body;
use crate::remote::{Error, FileMeta, Kind};
use crate::ui::words;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use gfl_api::problem::Code;
use gfl_api::v1::UploadDone;
use gfl_api::{FilePath, Root, plan};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

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
