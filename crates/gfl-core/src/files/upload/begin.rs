//! Beginning, finding, listing and cancelling sessions.

use super::session::{Door, Session, gone, ranges_of, row_status};
use crate::auth::Caller;
use crate::catalog::Tx;
use crate::catalog::uploads::{self, Origin, UploadRow};
use crate::error::{Error, Kind, Result};
use crate::files::doubt::Then;
use crate::files::finish::maybe_written;
use crate::files::shared::Shared;
use crate::files::{Begin, UploadState, UploadStatus, precondition};
use crate::id::{Key, upload_id};
use crate::limits::{FINGERPRINT_CHARS_MAX, UPLOADS_PAGE_MAX, UPLOADS_PER_OWNER_MAX};
use gfl_api::ranges::RangeSet;

/// How often a session is looked for and made, while others begin and end the same one.
const BEGIN_TRIES: usize = 4;

impl Shared {
    /// Begins a session (true), or finds the caller's open one with the same path, length and
    /// fingerprint (false).
    pub(crate) async fn upload_begin(
        &self,
        caller: &Caller,
        begin: Begin,
    ) -> Result<(UploadStatus, bool)> {
        self.check_target(caller, &begin.path, &begin.pre).await?;
        if let Some(len) = begin.len {
            self.check_size(len, &begin.path)?;
        }
        check_fingerprint(begin.fingerprint.as_deref())?;
        for _ in 0..BEGIN_TRIES {
            let row = self.new_row(caller, &begin);
            if let Some(same) = self.same_session(&row).await? {
                match self.session_of(&same).await {
                    Ok(session) => return Ok((self.live_status(&session, &same), false)),
                    // It has ended since: a new one, then.
                    Err(error) if error.kind() == Kind::UploadGone => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(status) = self.begin_new(row).await? {
                return Ok((status, true));
            }
        }
        Err(Error::new(
            Kind::Busy,
            format!(
                "{}: the same upload begins and ends all the time, try again",
                begin.path
            ),
        ))
    }

    fn new_row(&self, caller: &Caller, begin: &Begin) -> UploadRow {
        let now_ms = self.clock.now_ms();
        UploadRow {
            id: upload_id(&*self.clock),
            owner: caller.user().to_owned(),
            origin: Origin::Native,
            peer: caller.peer().to_owned(),
            path: begin.path.clone(),
            version: Key::new(&*self.clock),
            length: begin.len,
            slots: None,
            slot_bytes: None,
            state: UploadState::Receiving,
            fingerprint: begin.fingerprint.clone(),
            mtime_ns: begin.meta.mtime_ns,
            mode: begin.meta.mode,
            b3: begin.expected.b3,
            sha256: begin.expected.sha256,
            if_match: precondition::to_text(begin.pre.if_match.as_ref()),
            if_none_match: precondition::to_text(begin.pre.if_none_match.as_ref()),
            created_ms: now_ms,
            active_ms: now_ms,
            outcome: None,
            slots_have: 0,
        }
    }

    /// `None` when another request has just begun the same.
    async fn begin_new(&self, row: UploadRow) -> Result<Option<UploadStatus>> {
        // The draft first: it is where a full disk says so, and a draft without a row is collected.
        let draft = self.store.create(&row.version, row.length).await?;
        // Open before the row can be found: whoever finds it shares this session, and one that is completed at
        // once is not opened again here.
        let session = self.open_session(&row, draft, RangeSet::new());
        let begun = self
            .db
            .write("begin upload", row.clone(), |tx, row| {
                Box::pin(insert_unless_same(tx, row))
            })
            .await;
        if let Ok(true) = begun {
            return Ok(Some(self.live_status(&session, &row)));
        }
        self.end_session(&session);
        if begun
            .as_ref()
            .err()
            .is_none_or(|error| !maybe_written(error))
        {
            self.forget_draft(&row.version).await;
        }
        begun
            .map(|_| None)
            .map_err(|error| self.doubted(error, &[], Then::begun(&row.version)))
    }

    /// Asked before anything is made; the transaction that inserts the row asks again and decides.
    async fn same_session(&self, row: &UploadRow) -> Result<Option<UploadRow>> {
        self.db
            .read("find upload", row.clone(), |tx, row| {
                Box::pin(uploads::same_as(tx, row))
            })
            .await
    }

    /// The caller's sessions after an id.
    pub(crate) async fn upload_list(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UploadStatus>> {
        let limit = i64::try_from(limit.clamp(1, UPLOADS_PAGE_MAX)).unwrap_or(i64::MAX);
        let args = (
            caller.user().to_owned(),
            after.unwrap_or("").to_owned(),
            limit,
        );
        let rows = self
            .db
            .read("list uploads", args, |tx, (owner, after, limit)| {
                Box::pin(uploads::of_owner(tx, owner, after, *limit))
            })
            .await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            out.push(self.status_of(&row).await?);
        }
        Ok(out)
    }

    /// What is durable now. Disturbs nobody.
    pub(crate) async fn upload_status(&self, caller: &Caller, id: &str) -> Result<UploadStatus> {
        let row = self.upload_row(caller.user(), id).await?;
        self.status_of(&row).await
    }

    pub(crate) async fn status_of(&self, row: &UploadRow) -> Result<UploadStatus> {
        if let Some(session) = self.sessions.get(&row.id) {
            return Ok(self.live_status(&session, row));
        }
        let pairs = self
            .db
            .read("ranges", row.id.clone(), |tx, id| {
                Box::pin(uploads::ranges(tx, id))
            })
            .await?;
        let durable = ranges_of(pairs)?;
        Ok(row_status(row, &durable, self.settings.upload_expiry_ms))
    }

    pub(crate) fn live_status(&self, session: &Session, row: &UploadRow) -> UploadStatus {
        let live = session.live.lock();
        let mut status = row_status(row, &live.durable, self.settings.upload_expiry_ms);
        status.len = live.len.or(row.length);
        status.expires_ms = live.active_ms + self.settings.upload_expiry_ms;
        if live.door == Door::Completing && status.state == UploadState::Receiving {
            status.state = UploadState::Committing;
        }
        status
    }

    /// Ends running writers, checkpoints, and tells what is durable then.
    pub(crate) async fn upload_fence(&self, caller: &Caller, id: &str) -> Result<UploadStatus> {
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return self.status_of(&row).await;
        }
        let session = match self.session_of(&row).await {
            Ok(session) => session,
            // Ended since the row was read: the row says how.
            Err(error) if error.kind() == Kind::UploadGone => {
                return self.upload_status(caller, id).await;
            }
            Err(error) => return Err(error),
        };
        session.fence(0..u64::MAX).await?;
        self.checkpoint(&session).await?;
        Ok(self.live_status(&session, &row))
    }

    /// Cancels a receiving session; forgets a finished one.
    pub(crate) async fn upload_cancel(&self, caller: &Caller, id: &str) -> Result<()> {
        let row = self.upload_row(caller.user(), id).await?;
        self.end_upload(&row).await
    }

    /// Removes a session with its bytes.
    pub(crate) async fn end_upload(&self, row: &UploadRow) -> Result<()> {
        // Nobody may open it from its row while that is removed.
        let opening = self.sessions.opening().await;
        let Some(session) = self.sessions.get(&row.id) else {
            return self.remove_upload(&row.id).await;
        };
        drop(opening);
        let _finishing = session.finishing.lock().await;
        if session.live.lock().door == Door::Closed {
            return self.remove_upload(&row.id).await;
        }
        session.live.lock().door = Door::Completing;
        let removed = match session.fence(0..u64::MAX).await {
            Ok(()) => self.remove_upload(&row.id).await,
            Err(error) => Err(error),
        };
        if removed.is_ok() {
            self.end_session(&session);
        } else {
            session.live.lock().door = Door::Open;
        }
        removed
    }

    async fn remove_upload(&self, id: &str) -> Result<()> {
        let draft = self
            .db
            .write("end upload", id.to_owned(), |tx, id| {
                Box::pin(async move {
                    let Some(row) = uploads::get(tx, id).await? else {
                        return Err(gone());
                    };
                    uploads::remove(tx, id).await?;
                    Ok((row.state == UploadState::Receiving).then_some(row.version))
                })
            })
            .await?;
        if let Some(draft) = draft {
            self.forget_draft(&draft).await;
        }
        Ok(())
    }
}

/// Inserts a session's row (true), unless an open one is the same: two requests at once with one fingerprint get
/// one session. Transactions that write come one after the other, on every engine.
async fn insert_unless_same(tx: &mut Tx<'_>, row: &UploadRow) -> Result<bool> {
    if uploads::same_as(tx, row).await?.is_some() {
        return Ok(false);
    }
    if uploads::count_of_owner(tx, &row.owner).await? >= UPLOADS_PER_OWNER_MAX {
        return Err(Error::new(
            Kind::Busy,
            format!("{UPLOADS_PER_OWNER_MAX} uploads are open already: finish or cancel some"),
        ));
    }
    uploads::insert(tx, row).await?;
    Ok(true)
}

fn check_fingerprint(fingerprint: Option<&str>) -> Result<()> {
    let fits = fingerprint.is_none_or(|f| {
        f.len() <= FINGERPRINT_CHARS_MAX && f.bytes().all(|b| (0x21..=0x7e).contains(&b))
    });
    if fits {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("a fingerprint has at most {FINGERPRINT_CHARS_MAX} visible ASCII characters"),
    ))
}
