//! Completing a session: everything is there, the digests hold, and it becomes a version.

use super::session::{Door, Session, gone};
use crate::auth::Caller;
use crate::catalog::uploads::{self, UploadRow};
use crate::catalog::versions;
use crate::error::{Error, Fact, Kind, Result};
use crate::files::commit::{Candidate, Completes};
use crate::files::look::file_stat;
use crate::files::put::{check_digests, file_mode};
use crate::files::shared::Shared;
use crate::files::{Committed, Expected, Preconditions, UploadState, precondition};
use crate::stream::root_of_draft;
use std::sync::Arc;

/// Missing ranges named in an error.
const MISSING_RANGES_MAX: usize = 100;

impl Shared {
    /// Completes a session whose content must have the digests announced now and at its beginning. Asked again after success, answers the same for as long as the row is kept.
    pub(crate) async fn upload_complete(
        &self,
        caller: &Caller,
        id: &str,
        expected: Expected,
    ) -> Result<Committed> {
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return self.outcome(&row).await;
        }
        let session = match self.session_of(&row).await {
            Ok(session) => session,
            // Completed by another request since the row was read.
            Err(error) if error.kind() == Kind::UploadGone => {
                let row = self.upload_row(caller.user(), id).await?;
                return self.outcome(&row).await;
            }
            Err(error) => return Err(error),
        };
        let _finishing = session.finishing.lock().await;
        // Or while this one waited.
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return self.outcome(&row).await;
        }
        // Closed before the last writers are ended: whoever came in between would write into the file.
        session.live.lock().door = Door::Completing;
        let done = self.complete_now(caller, &session, &row, expected).await;
        match &done {
            Ok(_) => self.end_session(&session),
            Err(error) if error.kind() == Kind::DigestMismatch => {
                if let Err(second) = self.fail_upload(&row, error.message()).await {
                    tracing::warn!(upload = id, error = ?second, "a failed upload is not ended yet");
                    session.live.lock().door = Door::Open;
                } else {
                    self.end_session(&session);
                }
            }
            // Anything else may be gone at the next try: the session stays usable.
            Err(_) => session.live.lock().door = Door::Open,
        }
        done
    }

    async fn complete_now(
        &self,
        caller: &Caller,
        session: &Arc<Session>,
        row: &UploadRow,
        expected: Expected,
    ) -> Result<Committed> {
        session.fence(0..u64::MAX).await?;
        let len = whole_length(session)?;
        let draft = &session.draft;
        let begun = Expected {
            b3: row.b3,
            sha256: row.sha256,
        };
        let want_sha256 = begun.sha256.is_some() || expected.sha256.is_some();
        let (root, sha256) = root_of_draft(&**draft, len, want_sha256).await?;
        check_digests(&begun, root, sha256, &session.path)?;
        check_digests(&expected, root, sha256, &session.path)?;
        let mode = file_mode(row.mode);
        let mtime_ns = row.mtime_ns.unwrap_or_else(|| self.clock.now_ns());
        let stamp = draft.finish(len, mtime_ns, Some(mode)).await?;
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
            upload: Some(Completes {
                id: row.id.clone(),
                len: row.length,
            }),
            keep_draft: true,
            event: None,
        };
        self.commit(caller, candidate).await
    }

    /// The bytes are wrong and cannot be repaired piecewise: the session ends.
    async fn fail_upload(&self, row: &UploadRow, why: &str) -> Result<()> {
        let args = (row.id.clone(), why.to_owned(), self.clock.now_ms());
        self.db
            .write("fail upload", args, |tx, (id, why, now_ms)| {
                Box::pin(async move {
                    if uploads::finish(tx, id, UploadState::Failed, why, *now_ms).await? {
                        uploads::clear_parts(tx, id).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await?;
        self.forget_draft(&row.version).await;
        Ok(())
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
