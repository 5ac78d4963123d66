//! One file to stdout. What is out cannot be taken back, so a broken connection is taken up where it broke, and damage
//! shows as an error at the end.

use super::Transfer;
use super::download::{Downloaded, damaged, expected_root, strong_etag};
use super::sum::{FileSum, PartHasher};
use crate::remote::{Error, Part};
use anyhow::{Context, Result};
use bytes::Bytes;
use gfl_api::v1::Entry;
use gfl_api::{FilePath, Root};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

impl Transfer<'_> {
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
