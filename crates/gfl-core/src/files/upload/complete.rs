//! Completing a session: everything is there, the digests hold, and it becomes a version.

use super::session::{Session, gone};
use crate::auth::Caller;
use crate::catalog::uploads::{self, UploadRow};
use crate::catalog::versions;
use crate::error::{Error, Fact, Kind, Result};
use crate::files::commit::Candidate;
use crate::files::look::file_stat;
use crate::files::put::{check_digests, file_mode};
use crate::files::shared::Shared;
use crate::files::{Committed, Expected, Preconditions, UploadState, precondition};
use crate::stream::root_of_draft;
use std::sync::Arc;

/// Missing ranges named in an error.
const MISSING_RANGES_MAX: usize = 100;

impl Shared {
    /// Completes a session. Asked again after success, answers the same for as long as the row is kept.
    pub(crate) async fn upload_complete(&self, caller: &Caller, id: &str) -> Result<Committed> {
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return self.outcome(&row).await;
        }
        let session = self.session_of(&row).await?;
        let _finishing = session.finishing.lock().await;
        // Another request may have completed it while this one waited.
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return self.outcome(&row).await;
        }
        session.fence(0..u64::MAX).await?;
        let len = whole_length(&session)?;
        session.live.lock().closed = true;
        let done = self.complete_now(caller, &session, &row, len).await;
        match &done {
            Ok(_) => self.sessions.remove(id),
            Err(error) if error.kind() == Kind::DigestMismatch => {
                self.fail_upload(&row, error.message()).await?;
            }
            // Anything else may be gone at the next try: the session stays usable.
            Err(_) => session.live.lock().closed = false,
        }
        done
    }

    async fn complete_now(
        &self,
        caller: &Caller,
        session: &Arc<Session>,
        row: &UploadRow,
        len: u64,
    ) -> Result<Committed> {
        let draft = &session.draft;
        let expected = Expected {
            b3: row.b3,
            sha256: row.sha256,
        };
        let (root, sha256) = root_of_draft(&**draft, len, row.sha256.is_some()).await?;
        check_digests(&expected, root, sha256, &session.path)?;
        let mode = file_mode(row.mode);
        let mtime_ns = row.mtime_ns.unwrap_or_else(|| self.clock.now_ns());
        let stamp = draft.finish(len, mtime_ns, Some(mode)).await?;
        self.db
            .write(
                "length of upload",
                (row.id.clone(), len),
                |tx, (id, len)| Box::pin(uploads::set_length(tx, id, *len)),
            )
            .await?;
        let candidate = Candidate {
            path: session.path.clone(),
            draft: draft.clone(),
            stamp,
            mode,
            root: Some(root),
            sha256,
            pre: Preconditions {
                if_match: precondition::from_text(row.if_match.as_deref()),
                if_none_match: precondition::from_text(row.if_none_match.as_deref()),
            },
            upload: Some(row.id.clone()),
            event: None,
        };
        self.commit(caller, candidate).await
    }

    /// The bytes are wrong and cannot be repaired piecewise: the session ends.
    async fn fail_upload(&self, row: &UploadRow, why: &str) -> Result<()> {
        let args = (row.id.clone(), why.to_owned(), self.clock.now_ms());
        self.db
            .write("fail upload", args, |tx, (id, why, now_ms)| {
                Box::pin(uploads::finish(tx, id, UploadState::Failed, why, *now_ms))
            })
            .await?;
        self.sessions.remove(&row.id);
        self.store.discard(&row.version).await
    }

    /// The answer of a session that has ended.
    async fn outcome(&self, row: &UploadRow) -> Result<Committed> {
        match row.state {
            UploadState::Done => {}
            UploadState::Failed => {
                let why = row.outcome.clone().unwrap_or_default();
                return Err(Error::new(Kind::DigestMismatch, why));
            }
            UploadState::Receiving | UploadState::Committing => return Err(gone()),
        }
        let version = self
            .db
            .read("outcome", row.version.clone(), |tx, key| {
                Box::pin(versions::get(tx, key))
            })
            .await?
            .ok_or_else(gone)?;
        Ok(Committed {
            stat: file_stat(&row.path, &version.stamp(), version.mode, Some(&version)),
            created: row.outcome.as_deref() == Some("created"),
        })
    }
}

/// The file's length, if all of it is there.
fn whole_length(session: &Session) -> Result<u64> {
    let live = session.live.lock();
    let len = live.len.unwrap_or_else(|| live.received.end());
    if live.received.is_exactly(len) {
        return Ok(len);
    }
    let missing: Vec<(u64, u64)> = live
        .received
        .missing_within(len)
        .take(MISSING_RANGES_MAX)
        .map(|r| (r.start, r.end))
        .collect();
    Err(Error::new(
        Kind::UploadIncomplete,
        format!(
            "{}: bytes are missing; send them, then complete",
            session.path
        ),
    )
    .with("missing", Fact::Ranges(missing)))
}
