//! Receiving bytes into a session, at any place, over any number of connections.

use super::session::{Session, WriterGuard};
use crate::auth::Caller;
use crate::catalog::uploads::{self, UploadRow};
use crate::error::{Error, Fact, Kind, Result};
use crate::files::put::check_digests;
use crate::files::shared::Shared;
use crate::files::{BodyStream, Expected, Part, UploadState, UploadStatus};
use crate::limits::CHECKPOINT_BYTES;
use crate::stream::{Batch, Intake, Sink};
use gfl_api::tree::TreeHasher;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;

/// A stretch of a part: to be written, or received before and to be compared.
struct Stretch {
    range: Range<u64>,
    known: bool,
}

/// Digests of a part, computed only when the client announced them.
struct PartDigest {
    expected: Expected,
    tree: TreeHasher,
    sha: Option<Sha256>,
}

impl PartDigest {
    fn new(expected: Expected) -> Option<PartDigest> {
        (expected.b3.is_some() || expected.sha256.is_some()).then(|| PartDigest {
            expected,
            tree: TreeHasher::new(),
            sha: expected.sha256.map(|_| Sha256::new()),
        })
    }

    fn update(&mut self, batch: &Batch) {
        for piece in &batch.pieces {
            self.tree.update(piece, |_, _| {});
            if let Some(sha) = &mut self.sha {
                sha.update(piece);
            }
        }
    }

    fn check(self, session: &Session) -> Result<()> {
        let root = self.tree.finish(|_, _| {});
        check_digests(
            &self.expected,
            root,
            self.sha.map(|s| s.finalize().into()),
            &session.path,
        )
    }
}

impl Shared {
    async fn receiving(&self, caller: &Caller, id: &str) -> Result<(UploadRow, Arc<Session>)> {
        let row = self.upload_row(caller.user(), id).await?;
        if row.state != UploadState::Receiving {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "{}: the upload is finished, it takes no more bytes",
                    row.path
                ),
            ));
        }
        caller.may_store(&row.path)?;
        let session = self.session_of(&row).await?;
        Ok((row, session))
    }

    /// Receives one part of known place and length.
    pub(crate) async fn upload_part(
        &self,
        caller: &Caller,
        id: &str,
        part: Part,
        body: BodyStream,
    ) -> Result<UploadStatus> {
        let (row, session) = self.receiving(caller, id).await?;
        self.check_part(&session, &part).await?;
        let range = part.start..part.end;
        let mut writer = session.enter(range.clone()).await?;
        let intake = Intake::new(body, self.budget.clone());
        let got = self
            .receive(&session, &mut writer, range, intake, part.expected)
            .await
            .map_err(|error| error.about(&session.path))?;
        drop(writer);
        if got != part.end {
            return Err(Error::new(
                Kind::LengthMismatch,
                format!(
                    "{}: the part was to have {} bytes, {} came",
                    session.path,
                    part.end - part.start,
                    got - part.start
                ),
            ));
        }
        Ok(self.live_status(&session, &row))
    }

    /// Receives bytes at the contiguous end, and checkpoints so that they can be announced.
    pub(crate) async fn upload_append(
        &self,
        caller: &Caller,
        id: &str,
        offset: u64,
        body: BodyStream,
    ) -> Result<UploadStatus> {
        let (row, session) = self.receiving(caller, id).await?;
        session.fence(0..u64::MAX).await?;
        let (have, len) = {
            let live = session.live.lock();
            (live.received.contiguous_from_zero(), live.len)
        };
        if have != offset {
            return Err(Error::new(
                Kind::OffsetMismatch,
                format!(
                    "{}: the upload continues at {have}, not at {offset}",
                    session.path
                ),
            )
            .with("expected-offset", Fact::Number(have))
            .with("provided-offset", Fact::Number(offset)));
        }
        let end = len.unwrap_or(self.settings.max_file_bytes).max(offset);
        let mut writer = session.enter(offset..end).await?;
        let intake = Intake::new(body, self.budget.clone());
        let received = self
            .receive(
                &session,
                &mut writer,
                offset..end,
                intake,
                Expected::default(),
            )
            .await
            .map_err(|error| error.about(&session.path));
        drop(writer);
        // Whatever came counts, also when the connection broke.
        self.checkpoint(&session).await?;
        received.map_err(|error| match (error.kind(), len) {
            // Nothing was announced that it could be longer than.
            (Kind::LengthMismatch, None) => Error::new(
                Kind::TooLarge,
                format!(
                    "{}: the largest file accepted here has {end} bytes",
                    session.path
                ),
            ),
            _ => error,
        })?;
        Ok(self.live_status(&session, &row))
    }

    async fn check_part(&self, session: &Session, part: &Part) -> Result<()> {
        let path = &session.path;
        if part.start >= part.end {
            return Err(Error::new(Kind::Invalid, format!("{path}: an empty part")));
        }
        self.check_size(part.end, path)?;
        let len = session.live.lock().len;
        let known = match (len, part.total) {
            (Some(len), Some(total)) if len != total => {
                return Err(Error::new(
                    Kind::LengthMismatch,
                    format!("{path}: the upload has {len} bytes, the part says {total}"),
                ));
            }
            (Some(len), _) => Some(len),
            (None, Some(total)) => {
                self.check_size(total, path)?;
                self.learn_length(session, total).await?;
                Some(total)
            }
            (None, None) => None,
        };
        if let Some(len) = known
            && part.end > len
        {
            return Err(Error::new(
                Kind::RangeNotSatisfiable,
                format!("{path}: the part ends at {}, the file at {len}", part.end),
            )
            .with("length", Fact::Number(len)));
        }
        Ok(())
    }

    async fn learn_length(&self, session: &Session, total: u64) -> Result<()> {
        if session.live.lock().received.end() > total {
            return Err(Error::new(
                Kind::LengthMismatch,
                format!(
                    "{}: more than {total} bytes were received already",
                    session.path
                ),
            ));
        }
        self.db
            .write(
                "learn length",
                (session.id.clone(), total),
                |tx, (id, total)| Box::pin(uploads::set_length(tx, id, Some(*total))),
            )
            .await?;
        session.live.lock().len = Some(total);
        Ok(())
    }

    /// Takes a body into `range`; returns the end of what came.
    async fn receive(
        &self,
        session: &Arc<Session>,
        writer: &mut WriterGuard,
        range: Range<u64>,
        mut intake: Intake,
        expected: Expected,
    ) -> Result<u64> {
        let mut digest = PartDigest::new(expected);
        // With a digest nothing counts before all of it is right.
        let mut held: Vec<Range<u64>> = Vec::new();
        let mut pos = range.start;
        for stretch in stretches(session, &range) {
            if stretch.known {
                pos = self
                    .compare(
                        session,
                        writer,
                        &stretch.range,
                        &mut intake,
                        digest.as_mut(),
                    )
                    .await?;
            } else {
                let mut sink = Sink::new(session.draft.clone(), pos);
                let taken = self
                    .fill(
                        session,
                        writer,
                        &stretch.range,
                        &mut intake,
                        &mut sink,
                        digest.as_mut(),
                    )
                    .await;
                let file_len = session.live.lock().len;
                let written = sink.finish(file_len).await?;
                let got = pos..written;
                if digest.is_some() {
                    held.push(got);
                } else {
                    session.receive(got, self.clock.now_ms())?;
                }
                taken?;
                pos = written;
            }
            if pos < stretch.range.end {
                return Ok(pos);
            }
        }
        // Also this may wait for ever, so also here another request can take over.
        if take(writer, &mut intake, 1).await?.is_some() {
            return Err(Error::new(
                Kind::LengthMismatch,
                format!("{}: the body is longer than announced", session.path),
            ));
        }
        if let Some(digest) = digest {
            digest.check(session)?;
        }
        for got in held {
            session.receive(got, self.clock.now_ms())?;
        }
        Ok(pos)
    }

    /// Writes a stretch. Returns at its end, at the body's end, or with the reason for stopping.
    async fn fill(
        &self,
        session: &Arc<Session>,
        writer: &mut WriterGuard,
        range: &Range<u64>,
        intake: &mut Intake,
        sink: &mut Sink,
        mut digest: Option<&mut PartDigest>,
    ) -> Result<()> {
        let mut pos = range.start;
        let mut counted = range.start;
        while pos < range.end {
            match next(writer, intake, Some(sink), range.end - pos).await? {
                Next::End => return Ok(()),
                Next::Written => {}
                Next::Bytes(batch) => {
                    pos += batch.len as u64;
                    if let Some(digest) = digest.as_deref_mut() {
                        digest.update(&batch);
                    }
                    sink.push(batch).await?;
                }
            }
            if digest.is_none() && sink.written() > counted {
                session.receive(counted..sink.written(), self.clock.now_ms())?;
                counted = sink.written();
                if session.live.lock().dirty_bytes >= CHECKPOINT_BYTES {
                    self.checkpoint(session).await?;
                }
            }
        }
        Ok(())
    }

    /// Compares a stretch that was received before with what comes now.
    async fn compare(
        &self,
        session: &Arc<Session>,
        writer: &mut WriterGuard,
        range: &Range<u64>,
        intake: &mut Intake,
        mut digest: Option<&mut PartDigest>,
    ) -> Result<u64> {
        let mut pos = range.start;
        while pos < range.end {
            let Some(batch) = take(writer, intake, range.end - pos).await? else {
                break;
            };
            if let Some(digest) = digest.as_deref_mut() {
                digest.update(&batch);
            }
            let have = session.draft.read_at(pos, batch.len).await?;
            let mut at = 0;
            for piece in &batch.pieces {
                if have.get(at..at + piece.len()) != Some(&piece[..]) {
                    return Err(Error::new(
                        Kind::RangeOverlap,
                        format!(
                            "{}: other bytes were received for this range before; cancel the upload and begin again",
                            session.path
                        ),
                    )
                    .with("received", Fact::Ranges(vec![(range.start, range.end)])));
                }
                at += piece.len();
            }
            pos += batch.len as u64;
        }
        Ok(pos)
    }
}

/// What a writer waits for.
enum Next {
    /// More bytes.
    Bytes(Batch),
    /// What was handed to the sink is written, and nothing more came yet.
    Written,
    /// The body has ended.
    End,
}

/// The next bytes of a body, at most `max`; an error when another request takes over. Bytes that are there
/// go first: a fence ends a writer only after what has arrived is received.
async fn next(
    writer: &mut WriterGuard,
    intake: &mut Intake,
    sink: Option<&mut Sink>,
    max: u64,
) -> Result<Next> {
    let taken_over = || {
        Error::new(
            Kind::Conflict,
            "another request took over this part of the upload",
        )
    };
    if writer.must_end() {
        return Err(taken_over());
    }
    let written = async {
        match sink {
            Some(sink) if sink.busy() => sink.wait().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = intake.wait() => {}
        done = written => return done.map(|()| Next::Written),
        () = writer.over() => return Err(taken_over()),
    }
    let Some(mut batch) = intake.next().await? else {
        return Ok(Next::End);
    };
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if batch.len <= max {
        return Ok(Next::Bytes(batch));
    }
    let wanted = batch.split_to(max);
    intake.put_back(batch);
    Ok(Next::Bytes(wanted))
}

/// [`next`] where nothing is being written.
async fn take(writer: &mut WriterGuard, intake: &mut Intake, max: u64) -> Result<Option<Batch>> {
    loop {
        match next(writer, intake, None, max).await? {
            Next::Bytes(batch) => return Ok(Some(batch)),
            Next::End => return Ok(None),
            Next::Written => {}
        }
    }
}

/// Cuts a range into stretches that were received before and stretches that were not.
fn stretches(session: &Session, range: &Range<u64>) -> Vec<Stretch> {
    let live = session.live.lock();
    let mut out = Vec::new();
    let mut at = range.start;
    for gap in live.received.gaps(range.clone()) {
        if at < gap.start {
            out.push(Stretch {
                range: at..gap.start,
                known: true,
            });
        }
        at = gap.end;
        out.push(Stretch {
            range: gap,
            known: false,
        });
    }
    if at < range.end {
        out.push(Stretch {
            range: at..range.end,
            known: true,
        });
    }
    out
}
