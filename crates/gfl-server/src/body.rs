//! What an answer is made of: bytes in memory, ranges of a file, or a stream made while it is sent.
//! Knows how to read content piece by piece; knows nothing of requests, paths or users.
//!
//! An enum of our own and not a boxed `Body`, so that the connection can later recognise a file range and send it
//! without copying.

use crate::budget::{Budget, Lease, Member};
use crate::standing::{REVOKED, Standing};
use bytes::Bytes;
use futures_util::Stream;
use gfl_core::store::Content;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

/// A stream of bytes that is produced while it is sent.
pub type Produced = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Called once, when the answer has been sent or given up, with the bytes handed out and whether that was all.
pub type OnEnd = Box<dyn FnOnce(u64, bool) + Send>;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    sent_bytes: u64,
    counter: Option<Arc<AtomicU64>>,
    on_end: Option<OnEnd>,
    standing: Option<Standing>,
}

enum Kind {
    Empty,
    Full(Bytes),
    File(FileBody),
    Parts(VecDeque<Segment>),
    Stream(Produced),
}

/// A segment of a body made of several ranges.
pub enum Segment {
    /// What stands around the ranges.
    Text(Bytes),
    /// A range of a file.
    File(FileBody),
}

/// Why an answer was broken off. The connection is cut, so that nobody takes it for complete.
#[derive(Debug)]
pub struct BodyError(pub String);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BodyError {}

impl Body {
    fn of(kind: Kind) -> Body {
        Body {
            kind,
            sent_bytes: 0,
            counter: None,
            on_end: None,
            standing: None,
        }
    }

    /// No bytes.
    pub fn empty() -> Body {
        Body::of(Kind::Empty)
    }

    /// Bytes in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Body::empty()
        } else {
            Body::of(Kind::Full(bytes))
        }
    }

    /// A range of a file.
    pub fn file(file: FileBody) -> Body {
        Body::of(Kind::File(file))
    }

    /// Several segments, one after the other.
    pub fn segments(segments: Vec<Segment>) -> Body {
        Body::of(Kind::Parts(segments.into()))
    }

    /// A stream of unknown length.
    pub fn stream(stream: Produced) -> Body {
        Body::of(Kind::Stream(stream))
    }

    /// Calls `on_end` when the body has been sent or dropped, after those who asked for it before.
    #[must_use]
    pub fn on_end(mut self, on_end: OnEnd) -> Body {
        self.on_end = Some(match self.on_end.take() {
            None => on_end,
            Some(earlier) => Box::new(move |bytes, complete| {
                earlier(bytes, complete);
                on_end(bytes, complete);
            }),
        });
        self
    }

    /// Breaks off when whoever gets it may not go on.
    #[must_use]
    pub fn only_while(mut self, standing: Option<Standing>) -> Body {
        self.standing = standing;
        self
    }

    /// Counts the bytes there as well, while they are handed out.
    #[must_use]
    pub fn counted(mut self, counter: Arc<AtomicU64>) -> Body {
        self.counter = Some(counter);
        self
    }

    /// The same without its bytes, for HEAD; keeps who waits for its end.
    #[must_use]
    pub fn without_bytes(mut self) -> Body {
        self.kind = Kind::Empty;
        self
    }

    /// The bytes still to come, where that is known.
    pub fn exact_len(&self) -> Option<u64> {
        match &self.kind {
            Kind::Empty => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::File(file) => Some(file.left),
            Kind::Parts(segments) => Some(segments.iter().map(Segment::len).sum()),
            Kind::Stream(_) => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.standing.as_mut().is_some_and(Standing::is_lost) {
            self.finish(false);
            return Poll::Ready(Some(Err(BodyError(REVOKED.to_owned()))));
        }
        let next = ready!(self.kind.poll_next(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => {
                self.sent_bytes += bytes.len() as u64;
                if let Some(counter) = &self.counter {
                    counter.fetch_add(bytes.len() as u64, Relaxed);
                }
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => {
                self.finish(false);
                Some(Err(error))
            }
            None => {
                self.finish(true);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.exact_len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_len()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Body {
    fn finish(&mut self, complete: bool) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent_bytes, complete);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The connection drops a body of known length without asking it for its end.
        let complete = self.exact_len() == Some(0);
        self.finish(complete);
    }
}

impl Kind {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Kind::Empty;
                Poll::Ready(Some(Ok(bytes)))
            }
            Kind::File(file) => file.poll_piece(cx),
            Kind::Parts(segments) => loop {
                match segments.front_mut() {
                    None => return Poll::Ready(None),
                    Some(Segment::Text(text)) => {
                        let text = std::mem::take(text);
                        segments.pop_front();
                        return Poll::Ready(Some(Ok(text)));
                    }
                    Some(Segment::File(file)) => match ready!(file.poll_piece(cx)) {
                        Some(piece) => return Poll::Ready(Some(piece)),
                        None => segments.pop_front(),
                    },
                };
            },
            Kind::Stream(stream) => stream.as_mut().poll_next(cx),
        }
    }
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Segment::Text(text) => text.len() as u64,
            Segment::File(file) => file.left,
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, BodyError>> + Send>>;

/// A range of open content. Holds one piece that is being read, and another while that one is being sent.
pub struct FileBody {
    content: Arc<dyn Content>,
    /// Where the next read begins.
    next: u64,
    end: u64,
    /// Bytes not handed out yet.
    left: u64,
    member: Member,
    reading: Option<Reading>,
    /// A piece read ahead that was there at once.
    ready: Option<Result<Bytes, BodyError>>,
}

impl FileBody {
    /// The bytes from `start` up to `end` of `content`.
    pub fn new(content: Arc<dyn Content>, start: u64, end: u64, budget: &Arc<Budget>) -> FileBody {
        FileBody {
            content,
            next: start,
            end,
            left: end.saturating_sub(start),
            member: budget.join(),
            reading: None,
            ready: None,
        }
    }

    /// The next piece, `None` after the last.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match self.ready.take() {
            Some(piece) => piece,
            None => {
                if self.reading.is_none() {
                    ready!(self.member.poll_turn(cx));
                    let lease = self.member.piece(self.end - self.next);
                    self.start(lease);
                }
                match self.reading.as_mut() {
                    Some(reading) => ready!(reading.as_mut().poll(cx)),
                    None => return Poll::Ready(None),
                }
            }
        };
        self.reading = None;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                self.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.left -= piece.len() as u64;
        self.read_ahead(cx);
        Poll::Ready(Some(Ok(piece)))
    }

    /// Starts the next read, so that the disk works while the socket does. Polled once, because a future that
    /// nobody polls has not started.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        if self.next >= self.end {
            return;
        }
        let Some(lease) = self.member.ahead(self.end - self.next) else {
            return;
        };
        self.start(lease);
        if let Some(reading) = self.reading.as_mut()
            && let Poll::Ready(piece) = reading.as_mut().poll(cx)
        {
            self.ready = Some(piece);
            self.reading = None;
        }
    }

    fn start(&mut self, lease: Lease) {
        let at = self.next;
        self.next += lease.bytes() as u64;
        let last = self.next >= self.end;
        let content = Arc::clone(&self.content);
        self.reading = Some(Box::pin(read_piece(content, at, lease, last)));
    }
}

/// Reads one piece. The last one is given out only when the content is still the one that was opened: once it is
/// sent the answer counts as complete.
async fn read_piece(
    content: Arc<dyn Content>,
    at: u64,
    lease: Lease,
    last: bool,
) -> Result<Bytes, BodyError> {
    let want = lease.bytes();
    let data = content
        .read_at(at, want)
        .await
        .map_err(|e| BodyError(format!("reading at {at} failed: {e}")))?;
    if data.len() != want {
        return Err(BodyError(format!(
            "the file became shorter than {} bytes",
            at + want as u64
        )));
    }
    if last {
        match content.unchanged().await {
            Ok(true) => {}
            Ok(false) => return Err(BodyError("the file was changed while it was sent".into())),
            Err(e) => return Err(BodyError(format!("checking the file failed: {e}"))),
        }
    }
    Ok(lease.attach(data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_core::store::Stamp;
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Memory {
        data: Vec<u8>,
        unchanged: AtomicBool,
    }

    #[async_trait::async_trait]
    impl Content for Memory {
        async fn read_at(&self, offset: u64, len: usize) -> gfl_core::Result<Bytes> {
            tokio::task::yield_now().await;
            let from = usize::try_from(offset).unwrap().min(self.data.len());
            let to = (from + len).min(self.data.len());
            Ok(Bytes::copy_from_slice(&self.data[from..to]))
        }
        fn stamp(&self) -> Stamp {
            Stamp {
                size: self.data.len() as u64,
                mtime_ns: 0,
                ino: 1,
                ctime_ns: 0,
            }
        }
        fn mode(&self) -> u32 {
            0o644
        }
        async fn unchanged(&self) -> gfl_core::Result<bool> {
            Ok(self.unchanged.load(Ordering::SeqCst))
        }
    }

    fn memory(len: usize) -> Arc<Memory> {
        let data = (0..len).map(|i| (i % 251) as u8).collect();
        Arc::new(Memory {
            data,
            unchanged: AtomicBool::new(true),
        })
    }

    #[tokio::test]
    async fn a_range_is_sent_whole_and_gives_its_bytes_back() {
        let budget = Budget::new(8 * 1024 * 1024);
        let content = memory(1_000_000);
        let body = Body::file(FileBody::new(content.clone(), 7, 999_990, &budget));
        assert_eq!(body.exact_len(), Some(999_983));
        let got = body.collect().await.unwrap().to_bytes();
        assert!(got[..] == content.data[7..999_990]);
        drop(got);
        assert_eq!(budget.free(), 8 * 1024 * 1024);
    }

    #[tokio::test]
    async fn a_changed_or_shorter_file_breaks_the_answer() {
        let budget = Budget::new(8 * 1024 * 1024);
        let content = memory(300_000);
        content.unchanged.store(false, Ordering::SeqCst);
        let body = Body::file(FileBody::new(content.clone(), 0, 300_000, &budget));
        assert!(body.collect().await.is_err());
        content.unchanged.store(true, Ordering::SeqCst);
        let body = Body::file(FileBody::new(content, 0, 300_001, &budget));
        assert!(body.collect().await.is_err());
        assert_eq!(budget.free(), 8 * 1024 * 1024);
    }

    #[tokio::test]
    async fn segments_follow_each_other_and_the_end_is_told_once() {
        let budget = Budget::new(8 * 1024 * 1024);
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let body = Body::segments(vec![
            Segment::Text("a".into()),
            Segment::File(FileBody::new(memory(10), 1, 3, &budget)),
            Segment::Text("z".into()),
        ])
        .on_end(Box::new({
            let tx = tx.clone();
            move |sent, complete| {
                let _ = tx.send((sent, complete));
            }
        }))
        .on_end(Box::new(move |_, _| {
            let _ = tx.send((0, true));
        }));
        assert_eq!(body.exact_len(), Some(4));
        assert_eq!(body.collect().await.unwrap().to_bytes(), &b"a\x01\x02z"[..]);
        assert_eq!(rx.recv().await, Some((4, true)));
        assert_eq!(rx.recv().await, Some((0, true)));
        assert_eq!(rx.recv().await, None);
    }
}
