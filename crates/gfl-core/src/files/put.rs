//! One whole file in one request: stage, hash, commit, publish.

use super::commit::Candidate;
use super::shared::Shared;
use super::{BodyStream, Committed, Expected, FileMeta, Put, precondition};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::{self, Draft, Stamp};
use crate::stream::{Batch, Intake, Sink, root_of_draft};
use gfl_api::limits::GROUP_BYTES;
use gfl_api::path::FilePath;
use gfl_api::tree::{Root, TreeHasher};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A received body.
pub(crate) struct Staged {
    pub(crate) draft: Arc<dyn Draft>,
    pub(crate) stamp: Stamp,
    pub(crate) root: Root,
    pub(crate) sha256: Option<[u8; 32]>,
}

/// Permission bits that a file gets.
pub(crate) fn file_mode(mode: Option<u32>) -> u32 {
    store::file_mode(mode.unwrap_or(0o644))
}

impl Shared {
    /// Stores a whole file.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        put: Put,
        body: BodyStream,
    ) -> Result<Committed> {
        self.check_target(caller, &put.path, &put.pre).await?;
        if let Some(len) = put.len {
            self.check_size(len, &put.path)?;
        }
        let mut intake = Intake::new(body, self.budget.clone());
        let first = intake.next().await?;
        if let Some(broken) = intake.failure() {
            return Err(broken);
        }
        let key = Key::new(&*self.clock);
        let staged = match self.stage(&key, &put, first, intake).await {
            Ok(staged) => staged,
            Err(error) => {
                self.forget_draft(&key).await;
                return Err(error);
            }
        };
        let candidate = Candidate {
            path: put.path,
            draft: staged.draft,
            stamp: staged.stamp,
            mode: file_mode(put.meta.mode),
            root: Some(staged.root),
            sha256: staged.sha256,
            pre: put.pre,
            upload: None,
            keep_draft: false,
            event: None,
        };
        self.commit(caller, candidate).await
    }

    /// What can be refused before the first byte. The commit decides again, under the lock.
    pub(crate) async fn check_target(
        &self,
        caller: &Caller,
        path: &FilePath,
        pre: &super::Preconditions,
    ) -> Result<()> {
        if path.is_root() {
            return Err(Error::new(Kind::IsADirectory, "/: the root is a directory"));
        }
        caller.may_store(path)?;
        let _lock = self.locks.shared(path).await;
        let looked = self.look(path).await?;
        if matches!(looked, super::look::Looked::Dir { .. }) {
            return Err(Error::new(
                Kind::IsADirectory,
                format!("{path}: is a directory, a file cannot take its place"),
            ));
        }
        if matches!(looked, super::look::Looked::Other { .. }) {
            return Err(super::look::unserved(path));
        }
        precondition::check(pre, looked.etag(path).as_deref(), path)?;
        if matches!(looked, super::look::Looked::Nothing { .. }) {
            self.check_parents(path).await?;
        }
        Ok(())
    }

    pub(crate) fn check_size(&self, len: u64, path: &FilePath) -> Result<()> {
        if len <= self.settings.max_file_bytes {
            return Ok(());
        }
        Err(Error::new(
            Kind::TooLarge,
            format!(
                "{path}: {len} bytes, the largest file accepted here has {}",
                self.settings.max_file_bytes
            ),
        ))
    }

    /// A draft that leads nowhere; if it cannot be removed now, the next start collects it.
    pub(crate) async fn forget_draft(&self, key: &Key) {
        if let Err(error) = self.store.discard(key).await {
            tracing::warn!(%key, error = ?error, "a draft could not be removed");
        }
    }

    async fn stage(
        &self,
        key: &Key,
        put: &Put,
        mut first: Option<Batch>,
        mut intake: Intake,
    ) -> Result<Staged> {
        let got = first.as_ref().map_or(0, |b| b.len as u64);
        let whole = first.is_none() || intake.ended() || put.len == Some(got);
        if whole && got <= GROUP_BYTES * 4 {
            // The body may still hold more than announced: ask once more. Without the share of the budget:
            // if all of it waited here for more of it, nobody would ever get any.
            if let Some(batch) = &mut first {
                batch.give_back();
                if intake.next().await?.is_some() {
                    return Err(too_long(&put.path));
                }
            }
            return self.stage_small(key, put, first).await;
        }
        self.stage_large(key, put, first, intake).await
    }

    async fn stage_small(&self, key: &Key, put: &Put, batch: Option<Batch>) -> Result<Staged> {
        let (pieces, len) = batch.map_or((Vec::new(), 0), |b| (b.pieces, b.len as u64));
        check_len(put, len)?;
        self.check_size(len, &put.path)?;
        let mut tree = TreeHasher::new();
        let mut sha = put.expected.sha256.map(|_| Sha256::new());
        for piece in &pieces {
            tree.update(piece, |_, _| {});
            if let Some(sha) = &mut sha {
                sha.update(piece);
            }
        }
        let root = tree.finish(|_, _| {});
        let sha256 = sha.map(|s| s.finalize().into());
        check_digests(&put.expected, root, sha256, &put.path)?;
        let mtime_ns = mtime(&put.meta, &*self.clock);
        let mode = Some(file_mode(put.meta.mode));
        let (draft, stamp) = self.store.create_whole(key, pieces, mtime_ns, mode).await?;
        Ok(Staged {
            draft,
            stamp,
            root,
            sha256,
        })
    }

    /// Hands a whole body to the sink; returns its length.
    async fn take_all(
        &self,
        put: &Put,
        first: Option<Batch>,
        intake: &mut Intake,
        sink: &mut Sink,
        mut sha: Option<&mut Sha256>,
    ) -> Result<u64> {
        let mut len = 0;
        let mut next = first;
        while let Some(batch) = next {
            len += batch.len as u64;
            if put.len.is_some_and(|announced| len > announced) {
                return Err(too_long(&put.path));
            }
            self.check_size(len, &put.path)?;
            if let Some(sha) = sha.as_deref_mut() {
                batch.pieces.iter().for_each(|piece| sha.update(piece));
            }
            sink.push(batch).await?;
            next = intake.next().await?;
        }
        Ok(len)
    }

    async fn stage_large(
        &self,
        key: &Key,
        put: &Put,
        first: Option<Batch>,
        mut intake: Intake,
    ) -> Result<Staged> {
        let draft = self.store.create(key, put.len).await?;
        let mut sink = Sink::new(draft.clone(), 0);
        let mut sha = put.expected.sha256.map(|_| Sha256::new());
        let taken = self
            .take_all(put, first, &mut intake, &mut sink, sha.as_mut())
            .await;
        // Also after an error: nothing may write to a draft that is about to be discarded.
        let written = sink.finish(taken.as_ref().ok().copied()).await;
        let len = taken?;
        written?;
        check_len(put, len)?;
        let (root, _) = root_of_draft(&*draft, len, false).await?;
        let sha256 = sha.map(|s| s.finalize().into());
        check_digests(&put.expected, root, sha256, &put.path)?;
        let mtime_ns = mtime(&put.meta, &*self.clock);
        let stamp = draft
            .finish(len, mtime_ns, Some(file_mode(put.meta.mode)))
            .await?;
        Ok(Staged {
            draft,
            stamp,
            root,
            sha256,
        })
    }
}

/// The mtime a file gets.
pub(crate) fn mtime(meta: &FileMeta, clock: &dyn crate::clock::Clock) -> i64 {
    meta.mtime_ns.unwrap_or_else(|| clock.now_ns())
}

fn too_long(path: &FilePath) -> Error {
    Error::new(
        Kind::LengthMismatch,
        format!("{path}: the body is longer than announced"),
    )
}

fn check_len(put: &Put, len: u64) -> Result<()> {
    match put.len {
        Some(announced) if announced != len => Err(Error::new(
            Kind::LengthMismatch,
            format!("{}: {announced} bytes announced, {len} received", put.path),
        )),
        _ => Ok(()),
    }
}

/// Compares with what the client announced. Never tells the computed digest.
pub(crate) fn check_digests(
    expected: &Expected,
    root: Root,
    sha256: Option<[u8; 32]>,
    path: &FilePath,
) -> Result<()> {
    let wrong = |name: &str| {
        Err(Error::new(
            Kind::DigestMismatch,
            format!(
                "{path}: the content received does not have the announced {name}; send it again"
            ),
        ))
    };
    if expected.b3.is_some_and(|b3| b3 != root) {
        return wrong("BLAKE3");
    }
    if expected.sha256.is_some() && expected.sha256 != sha256 {
        return wrong("SHA-256");
    }
    Ok(())
}
