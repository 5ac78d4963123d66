//! One file from the server: ranges over several connections, resumable, verified before it gets its name.
//!
//! A download belongs to one content, named by its entity tag. Every request demands that tag, so bytes of two
//! contents never meet in one file: when it changes on the server, the download begins again.

use super::pair::{NOTED_BYTES_MIN, Pair};
use super::partial::{Content, Partial};
use super::ranges::Run;
use super::read::hash_open;
use super::{Transfer, blocking};
use crate::exit::{Exit, Failed};
use crate::local::dest::{Place, There, change_meta, keep_private};
use crate::remote::{Error, Kind};
use crate::ui::words;
use anyhow::{Context, Result};
use gfl_api::http::{Etag, parse_mode, parse_mtime};
use gfl_api::problem::Code;
use gfl_api::v1::Entry;
use gfl_api::{FilePath, Root};
use std::sync::atomic::Ordering::Relaxed;

/// How often a file may change on the server, or prove damaged on our disk, before we give up.
const RESTARTS_MAX: u32 = 3;

/// A file that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downloaded {
    /// Bytes.
    pub(crate) size: u64,
    /// Its root, as computed here.
    pub(crate) b3: Root,
    /// Whether the server could say what it should be.
    pub(crate) is_verified: bool,
    /// It was here already and nothing was fetched.
    pub(crate) is_unchanged: bool,
    /// As `is_unchanged`, but for its time and mode, which it has now.
    pub(crate) is_updated: bool,
}

/// Why an attempt at a whole file ended without one.
enum Again {
    /// The content changed on the server.
    Changed,
    /// Bytes on our disk were not what the notes said.
    Damaged,
    /// Somebody removed or replaced what had arrived.
    Lost,
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
        if let Some(same) = self.has_here(entry, place).await? {
            self.kept(same.is_updated, same.size);
            return Ok(same);
        }
        let looking = {
            let place = place.clone();
            blocking(move || place.there()).await?
        };
        if matches!(looking, Ok(Some(There::Dir))) {
            let shown = place.shown();
            let message = format!("cannot write {}: a folder is in the way", shown.display());
            return Err(Failed::new(Exit::Conflict, message).into());
        }
        let mut entry = entry.clone();
        for _ in 0..=RESTARTS_MAX {
            match self.attempt(remote, &entry, place, durable).await? {
                Ok(done) => {
                    self.finished(done.size);
                    return Ok(done);
                }
                Err(Again::Changed) => self
                    .ui
                    .note(format!("{remote}: it changed on the server, starting over")),
                Err(Again::Damaged) => self.ui.note(format!(
                    "{remote}: the bytes kept here were damaged, starting over"
                )),
                Err(Again::Lost) => self.ui.note(format!(
                    "{remote}: its unfinished download was removed or replaced, starting over"
                )),
            }
            entry = self.v1.entry(remote).await?;
        }
        let message = "it keeps changing on the server or on this disk; try again later";
        Err(Failed::new(Exit::Conflict, message).into())
    }

    /// The file that is at the place, if it has this very content. It has its time and mode too then.
    async fn has_here(&self, entry: &Entry, place: &Place) -> Result<Option<Downloaded>> {
        let (false, Some(expected)) = (self.options.force, expected_root(entry)) else {
            return Ok(None);
        };
        let (len, pieces) = (entry.size, self.pieces.clone());
        let (place, entry) = (place.clone(), entry.clone());
        let looking = blocking(move || -> std::io::Result<Option<bool>> {
            if !matches!(place.there()?, Some(There::File { size, .. }) if size == len) {
                return Ok(None);
            }
            let Some(file) = place.open()? else {
                return Ok(None);
            };
            if hash_open(file.try_clone()?, &pieces)? != expected {
                return Ok(None);
            }
            tidy(&place, len);
            // Time and permissions that this disk cannot hold are no reason to fetch it again.
            let changed = change_meta(&file, mtime_of(&entry), mode_of(&entry));
            Ok(Some(changed.unwrap_or(false)))
        });
        // What cannot be read can still be replaced.
        let same = looking.await?.unwrap_or(None);
        Ok(same.map(|is_updated| Downloaded {
            size: len,
            b3: expected,
            is_verified: true,
            is_unchanged: !is_updated,
            is_updated,
        }))
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
        if let Some(mode) = mode_of(entry) {
            // What is private is so while it is on its way, too.
            let _ = keep_private(&partial.file(), mode);
        }
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
            return Err(damaged(b3, expected));
        }
        let (mtime, mode) = (mtime_of(entry), mode_of(entry));
        let is_published = blocking(move || partial.publish(mtime, mode, durable))
            .await?
            .with_context(|| format!("cannot write {}", place.shown().display()))?;
        if !is_published {
            return Ok(Err(Again::Lost));
        }
        Ok(Ok(Downloaded {
            size: content.len,
            b3,
            is_verified: expected.is_some(),
            is_unchanged: false,
            is_updated: false,
        }))
    }
}

/// Removes what an earlier run left beside a file that is whole. A help for the user's eyes: failing is no failure.
pub(super) fn tidy(place: &Place, len: u64) {
    if len >= NOTED_BYTES_MIN {
        let _ = Pair::tidy(place);
    }
}

fn mtime_of(entry: &Entry) -> Option<i64> {
    entry.mtime.as_deref().and_then(parse_mtime)
}

fn mode_of(entry: &Entry) -> Option<u32> {
    entry.mode.as_deref().and_then(parse_mode)
}

/// The tag that names the content exactly, if there is one.
pub(super) fn strong_etag(entry: &Entry) -> Option<String> {
    let etag = entry.etag.clone()?;
    Etag::parse(&etag).filter(|etag| !etag.weak)?;
    Some(etag)
}

/// What the content's root should be, as far as the entry tells.
pub(super) fn expected_root(entry: &Entry) -> Option<Root> {
    let told = entry.b3.as_deref().and_then(|text| text.parse().ok());
    told.or_else(|| entry.etag.as_deref().and_then(Root::parse_etag))
}

pub(super) fn changed() -> anyhow::Error {
    Error::from_answer(412, b"it changed on the server", None).into()
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

pub(super) fn damaged(got: Root, wanted: Option<Root>) -> anyhow::Error {
    let wanted = wanted.map_or_else(|| "unknown".to_owned(), |root| root.to_string());
    Error::new(
        Kind::Integrity,
        format!("the bytes that arrived are not the file's (got {got}, expected {wanted})"),
    )
    .with_hint("get it again; if this repeats, check memory and disks of both machines")
    .into()
}
