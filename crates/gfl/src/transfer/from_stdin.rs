//! Everything from stdin, of a length nobody knows before its end.
//!
//! What was read cannot be read again, so it is held until the server has it on disk: a broken connection or a server
//! that dies and comes back costs nothing. What is held is bounded; when it is full, the server is asked to write.

use super::Transfer;
use super::upload::check;
use crate::exit::{Exit, Failed};
use crate::local::pieces::{PIECE_BYTES, Pieces};
use crate::remote::body::{Body, Feed};
use crate::remote::{Error, FileMeta, Leftovers};
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use gfl_api::problem::Code;
use gfl_api::v1::UploadDone;
use gfl_api::{FilePath, Root};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes of one part; what ends before goes in one request.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Bytes held because the server may not have them on disk yet.
const HELD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A part that is not full goes out when nothing was added to it for so long: an upload without activity expires.
const FLUSH_AFTER: Duration = Duration::from_secs(60);
/// Pieces between stdin and the part they go into.
const QUEUED_PIECES: usize = 4;
/// How often a server may have lost bytes it had taken.
const REFILLS_MAX: u32 = 3;

/// Stdin, read and hashed on a thread of its own.
struct Input {
    inbox: mpsc::Receiver<Bytes>,
    rest: Bytes,
    reading: JoinHandle<std::io::Result<Root>>,
}

/// A part, and whether it is the last one.
struct Part {
    bytes: Bytes,
    is_last: bool,
}

/// The end of what was read: everything the server may not have on disk.
#[derive(Default)]
struct Held {
    start: u64,
    parts: VecDeque<Bytes>,
}

impl Transfer<'_> {
    /// Sends stdin to `remote`. What an interruption leaves on the server is noted in `leftovers`.
    pub(crate) async fn upload_stdin(
        &self,
        remote: &FilePath,
        leftovers: &Leftovers,
    ) -> Result<UploadDone> {
        let mut input = Input::start(&self.pieces);
        let first = input.part().await?;
        let done = if first.is_last {
            let root = input.root().await?;
            self.whole_input(remote, first.bytes, root).await?
        } else {
            let (meta, conditions) = (FileMeta::default(), self.conditions());
            let info = self
                .v1
                .begin_upload(remote, None, None, meta, conditions)
                .await?;
            leftovers.note(self.v1, &info.id);
            let sent = self.input_in_parts(&info.id, input, first).await;
            match &sent {
                Ok(_) => leftovers.forget(),
                // Nobody can continue it.
                Err(_) => leftovers.remove().await,
            }
            sent?
        };
        self.finished(done.size);
        Ok(done)
    }

    /// One request, which can be repeated.
    async fn whole_input(&self, remote: &FilePath, bytes: Bytes, b3: Root) -> Result<UploadDone> {
        let mut attempts = self.v1.http.attempts();
        loop {
            let (feed, gauge, body) = Body::stream(Some(bytes.len() as u64));
            let (meta, conditions) = (FileMeta::default(), self.conditions());
            let putting = self.v1.put(remote, body, meta, Some(b3), conditions);
            let ((), done) = tokio::join!(hand_out(bytes.clone(), feed), putting);
            self.tally.moved_bytes.fetch_add(gauge.sent(), Relaxed);
            match done {
                Ok(done) => {
                    check(&done, b3)?;
                    return Ok(done);
                }
                Err(error) => self.v1.http.pause(&mut attempts, error.passing()).await?,
            }
        }
    }

    /// A session of unknown length, part after part; the next one is read while one is sent.
    async fn input_in_parts(&self, id: &str, mut input: Input, first: Part) -> Result<UploadDone> {
        let mut held = Held::default();
        let mut part = first;
        while !part.is_last {
            let at = held.end();
            held.push(part.bytes);
            let sending = self.send_held(id, &mut held, at);
            ((), part) = tokio::try_join!(sending, input.part())?;
        }
        let mut at = held.end();
        held.push(part.bytes);
        let root = input.root().await?;
        for _ in 0..=REFILLS_MAX {
            self.send_held(id, &mut held, at).await?;
            match self.v1.complete_upload(id, held.end(), root).await {
                Ok(done) => {
                    check(&done, root)?;
                    return Ok(done);
                }
                Err(error) if error.code == Code::OffsetMismatch => {
                    at = self.on_disk(id, &mut held).await?;
                }
                Err(error) if error.is_transient() => {
                    let what = "its end was not answered for: `gfl stat` tells whether it is there";
                    return Err(anyhow::Error::from(error).context(what));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let message = "the server keeps losing what it received; look into its log";
        Err(Failed::new(Exit::Failure, message).into())
    }

    /// Sends what is held from `at` on, again as long as that may help.
    async fn send_held(&self, id: &str, held: &mut Held, mut at: u64) -> Result<()> {
        let mut attempts = self.v1.http.attempts();
        while let Some(bytes) = held.part_at(at) {
            let len = bytes.len() as u64;
            let (feed, gauge, body) = Body::stream(Some(len));
            let putting = self.v1.put_part(id, at..at + len, None, body);
            let ((), put) = tokio::join!(hand_out(bytes, feed), putting);
            self.tally.moved_bytes.fetch_add(gauge.sent(), Relaxed);
            match put {
                Ok(on_disk) => {
                    at += len;
                    attempts.progressed();
                    self.ui.progress().advance(len);
                    held.forget(on_disk.unwrap_or(0));
                }
                Err(error) => {
                    let error = error.passing();
                    self.v1.http.pause(&mut attempts, error).await?;
                    let now = self.on_disk(id, held).await?;
                    if now > at {
                        attempts.progressed();
                        self.ui.progress().advance(now - at);
                    } else {
                        self.ui.progress().take_back(at - now);
                    }
                    self.count_resent((at + gauge.sent()).saturating_sub(now));
                    at = now;
                }
            }
            if held.bytes() > HELD_BYTES_MAX {
                self.on_disk(id, held).await?;
            }
        }
        Ok(())
    }

    /// Has the server write what it received and tell how much that is; that need not be held any longer.
    async fn on_disk(&self, id: &str, held: &mut Held) -> Result<u64> {
        let lost = "what was read from stdin cannot be read again; run the whole pipe again";
        let now = self.v1.checkpoint_upload(id).await;
        let now = now.map_err(|error| match error.status {
            404 => Failed::new(
                Exit::Conflict,
                format!("the upload was ended on the server; {lost}"),
            )
            .into(),
            _ => anyhow::Error::from(error),
        })?;
        if now < held.start || now > held.end() {
            let message = format!(
                "the server says it has {now} bytes, and {} to {} are still here; {lost}",
                held.start,
                held.end()
            );
            return Err(Error::protocol(message).into());
        }
        held.forget(now);
        Ok(now)
    }
}

/// Hands bytes to a request in pieces, as long as it takes them.
async fn hand_out(mut bytes: Bytes, feed: Feed) {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        // A request that ended early says why itself.
        if feed.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

impl Input {
    fn start(pieces: &Pieces) -> Self {
        let (feed, inbox) = mpsc::channel(QUEUED_PIECES);
        let pieces = pieces.clone();
        Self {
            inbox,
            rest: Bytes::new(),
            reading: tokio::task::spawn_blocking(move || {
                read(std::io::stdin().lock(), &pieces, &feed)
            }),
        }
    }

    /// The next part.
    async fn part(&mut self) -> Result<Part> {
        let mut part = BytesMut::new();
        loop {
            let room = PART_BYTES - part.len();
            let piece = self.rest.split_to(self.rest.len().min(room));
            part.extend_from_slice(&piece);
            if part.len() == PART_BYTES {
                return Ok(Part {
                    bytes: part.freeze(),
                    is_last: false,
                });
            }
            let next = match part.is_empty() {
                true => Ok(self.inbox.recv().await),
                false => tokio::time::timeout(FLUSH_AFTER, self.inbox.recv()).await,
            };
            match next {
                Ok(Some(piece)) => self.rest = piece,
                ended => {
                    return Ok(Part {
                        bytes: part.freeze(),
                        is_last: ended.is_ok(),
                    });
                }
            }
        }
    }

    /// The root of all of it, after the last part.
    async fn root(self) -> Result<Root> {
        let root = self.reading.await.context("the reading thread failed")?;
        root.context("cannot read stdin")
    }
}

fn read(mut from: impl Read, pieces: &Pieces, to: &mpsc::Sender<Bytes>) -> std::io::Result<Root> {
    let mut hasher = gfl_api::tree::TreeHasher::new();
    loop {
        let mut got = 0;
        let piece = pieces.with(PIECE_BYTES, |buf| {
            loop {
                match from.read(buf) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => {
                        got = other?;
                        return Ok(());
                    }
                }
            }
        })?;
        if got == 0 {
            return Ok(hasher.finish(|_, _| {}));
        }
        let piece = piece.slice(..got);
        hasher.update(&piece, |_, _| {});
        if to.blocking_send(piece).is_err() {
            return Err(std::io::Error::other("nobody takes it any more"));
        }
    }
}

impl Held {
    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push_back(part);
        }
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    fn end(&self) -> u64 {
        self.start + self.bytes()
    }

    /// What is held from `at` on, up to the end of the part it is in.
    fn part_at(&self, at: u64) -> Option<Bytes> {
        let mut skip = usize::try_from(at.checked_sub(self.start)?).ok()?;
        for part in &self.parts {
            if skip < part.len() {
                return Some(part.slice(skip..));
            }
            skip -= part.len();
        }
        None
    }

    /// Lets go of everything before `at`.
    fn forget(&mut self, at: u64) {
        while let Some(part) = self.parts.front_mut() {
            let gone = at.saturating_sub(self.start).min(part.len() as u64);
            if gone == 0 {
                return;
            }
            self.start += gone;
            if gone == part.len() as u64 {
                self.parts.pop_front();
            } else {
                // A slice: the memory goes with the whole part.
                *part = part.slice(usize::try_from(gone).unwrap_or(part.len())..);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_found_and_let_go() {
        let mut held = Held::default();
        for part in [&b"abcd"[..], b"", b"efg"] {
            held.push(Bytes::from_static(part));
        }
        assert_eq!((held.bytes(), held.end()), (7, 7));
        assert_eq!(held.part_at(0).as_deref(), Some(&b"abcd"[..]));
        assert_eq!(held.part_at(2).as_deref(), Some(&b"cd"[..]));
        assert_eq!(held.part_at(4).as_deref(), Some(&b"efg"[..]));
        assert_eq!(held.part_at(7), None);
        held.forget(3);
        assert_eq!((held.start, held.end()), (3, 7));
        assert_eq!(held.part_at(3).as_deref(), Some(&b"d"[..]));
        assert_eq!(held.part_at(2), None, "that is gone");
        held.forget(1);
        held.forget(4);
        assert_eq!((held.start, held.parts.len()), (4, 1));
        held.forget(100);
        assert_eq!((held.start, held.end(), held.part_at(7)), (7, 7, None));
    }

    /// Gives what a slow pipe gives: a few bytes at a time.
    struct Drops(usize);

    impl Read for Drops {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.min(buf.len()).min(100_003);
            buf[..len].fill(7);
            self.0 -= len;
            Ok(len)
        }
    }

    #[tokio::test]
    async fn drops_become_full_parts() {
        let (feed, inbox) = mpsc::channel(QUEUED_PIECES);
        let len = 2 * PART_BYTES + 5;
        let mut input = Input {
            inbox,
            rest: Bytes::new(),
            reading: tokio::task::spawn_blocking(move || {
                read(Drops(len), &Pieces::default(), &feed)
            }),
        };
        for (want, is_last) in [(PART_BYTES, false), (PART_BYTES, false), (5, true)] {
            let part = input.part().await.unwrap();
            assert_eq!((part.bytes.len(), part.is_last), (want, is_last));
        }
        assert_eq!(input.root().await.unwrap(), Root::of(&vec![7; len]));
    }
}
