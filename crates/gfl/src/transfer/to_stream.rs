//! One file to stdout, a pipe or a device. What is out cannot be taken back, so a broken connection is taken up where it
//! broke, and damage shows as an error at the end.

use super::download::{Downloaded, damaged, expected_root, strong_etag};
use super::sum::{FileSum, PartHasher, PartSum};
use super::{Transfer, blocking};
use crate::remote::{Error, Part};
use crate::ui;
use anyhow::{Context, Result};
use bytes::Bytes;
use gfl_api::v1::Entry;
use gfl_api::{FilePath, Root};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

/// Pieces between the network and whoever reads.
const QUEUED_PIECES: usize = 4;

/// Where bytes go that cannot be taken back.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    /// stdout.
    Stdout,
    /// A pipe or a device with a name.
    Named(PathBuf),
}

impl Stream {
    /// Whether the name is one that bytes flow into: a device, a pipe. To be written to, never to be replaced.
    pub(crate) fn is_at(path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Named(path) => path.display().fmt(f),
        }
    }
}

impl Transfer<'_> {
    /// Writes a file into a stream as it arrives.
    pub(crate) async fn download_to_stream(
        &self,
        remote: &FilePath,
        entry: &Entry,
        to: &Stream,
    ) -> Result<Downloaded> {
        let (pieces, inbox) = mpsc::channel(QUEUED_PIECES);
        // A thread of its own: whoever reads may take their time, and Ctrl-C must still be heard.
        let out = to.clone();
        let writing = blocking(move || write(inbox, &out));
        let (fetched, written) = tokio::join!(self.fetch_all(remote, entry, pieces), writing);
        // The writer's failure is the cause of the other's.
        let sum = written?.with_context(|| format!("cannot write to {to}"))?;
        let told = fetched?;
        let mut whole = FileSum::default();
        whole.add(sum);
        let b3 = whole
            .finish(entry.size)
            .context("not every byte was hashed; this is a defect of gfl")?;
        if told.is_some_and(|told| told != b3) {
            return Err(damaged(b3, told));
        }
        self.finished(entry.size);
        Ok(Downloaded {
            size: entry.size,
            b3,
            is_verified: told.is_some(),
            is_unchanged: false,
            is_updated: false,
        })
    }

    /// Fetches everything in order. Returns what its root should be, if the server says so.
    async fn fetch_all(
        &self,
        remote: &FilePath,
        entry: &Entry,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<Option<Root>> {
        let etag = strong_etag(entry);
        let mut told = expected_root(entry);
        let (mut at, len) = (0, entry.size);
        let mut attempts = self.v1.http.attempts();
        while at < len && !pieces.is_closed() {
            let before = at;
            let got = self
                .stream(remote, etag.as_deref(), &mut at, len, &mut told, &pieces)
                .await;
            self.tally.moved_bytes.fetch_add(at - before, Relaxed);
            match got {
                Ok(()) => {}
                // Without a strong tag nobody can say that the rest belongs to what is out already.
                Err(error) if etag.is_none() && at > 0 => return Err(error.into()),
                Err(error) => {
                    if at > before {
                        attempts.progressed();
                    }
                    self.v1.http.pause(&mut attempts, error).await?;
                }
            }
        }
        Ok(told)
    }

    /// One request for what is missing. `at` comes forward by what was passed on.
    async fn stream(
        &self,
        remote: &FilePath,
        etag: Option<&str>,
        at: &mut u64,
        len: u64,
        told: &mut Option<Root>,
        pieces: &mpsc::Sender<Bytes>,
    ) -> Result<(), Error> {
        let asked: Option<Range<u64>> = (*at > 0).then_some(*at..len);
        let Part {
            b3,
            mut answer,
            total,
            ..
        } = self.v1.get(remote, asked, etag).await?;
        if total != len {
            return Err(Error::protocol(
                "it has another length than the server told",
            ));
        }
        *told = told.or(b3);
        while let Some(piece) = answer.piece().await? {
            let size = piece.len() as u64;
            if size > len - *at {
                return Err(Error::protocol("the server sent more bytes than asked for"));
            }
            if pieces.send(piece).await.is_err() {
                // The writer failed and says why.
                return Ok(());
            }
            *at += size;
            self.ui.progress().advance(size);
        }
        if *at < len {
            return Err(Error::network("the answer was cut short"));
        }
        Ok(())
    }
}

/// Writes and hashes until everything came. Blocking, also for a pipe nobody has opened at the other end.
fn write(mut inbox: mpsc::Receiver<Bytes>, to: &Stream) -> io::Result<PartSum> {
    let mut file = match to {
        Stream::Stdout => None,
        Stream::Named(path) => Some(File::options().write(true).open(path)?),
    };
    let mut hasher = PartHasher::new(0);
    while let Some(piece) = inbox.blocking_recv() {
        hasher.update(&piece);
        match &mut file {
            Some(file) => file.write_all(&piece)?,
            None => ui::raw(&piece)?,
        }
    }
    match file {
        Some(_) => {}
        None => ui::flush()?,
    }
    Ok(hasher.finish())
}
