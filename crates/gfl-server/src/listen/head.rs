//! A connection between two requests. Nothing of hyper exists then: its buffers cost more than all the rest of a
//! connection, and most connections wait most of the time. The next head is collected here, in a buffer of its own
//! size, and handed to hyper when it is whole. Knows where a head ends, and nothing of what it says.

use super::IDLE_MS_MAX;
use super::slots::{Cutoff, Slot, Told};
use super::socket::Socket;
use bytes::{Buf, Bytes};
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// Bytes of one request's head: a longest path with every byte escaped, a token, and room for more. Every connection
/// may send so much before anybody knows who it is.
pub(super) const HEAD_BYTES_MAX: usize = 20 * 1024;
/// So much of a head every connection may keep waiting; for more there is [`super::room`].
pub(super) const HEAD_FREE_BYTES: usize = 4 * 1024;
/// Read at once.
const READ_BYTES: usize = 4 * 1024;
/// The buffer grows by at least so much: a head may come byte by byte.
const GROW_BYTES: usize = 512;
/// A head must be complete this long after its first byte …
const HEAD_MS_MAX: u64 = 10_000;
/// … and when others wait for the room that it takes, this long after it got that.
const LARGE_HEAD_MS_MAX: u64 = 1_000;

/// Bytes read before they were asked for.
#[derive(Default)]
pub(super) struct Given {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Given {
    /// Moves what fits; false when nothing is left.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.bytes.is_empty() {
            self._room = None;
            return false;
        }
        let some = self.bytes.split_to(self.bytes.len().min(buf.remaining()));
        buf.put_slice(&some);
        true
    }
}

/// What came of a head so far.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    /// Up to here no end was found.
    looked: usize,
    room: Option<OwnedSemaphorePermit>,
}

/// Waits for a head. `None` when the connection is over: closed, silent for too long, too slow, or told to go.
/// `left` is what came behind the last request.
pub(super) async fn next<S>(socket: &mut Socket<S>, left: Bytes, slot: &Slot) -> Option<Given>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Head::default();
    head.push(&left);
    drop(left);
    let idle = Instant::now() + Duration::from_millis(IDLE_MS_MAX);
    while head.bytes.is_empty() {
        tokio::select! {
            biased;
            read = timeout_at(idle, head.read(socket)) => read.ok()?.ok()?,
            // Whoever has said nothing loses nothing.
            _ = slot.told_more_than(Told::Stay) => return None,
        }
    }
    let late = Instant::now() + Duration::from_millis(HEAD_MS_MAX);
    tokio::select! {
        biased;
        whole = timeout_at(late, head.complete(socket, slot)) => {
            let whole = whole.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if whole.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                slot.cut_by(Cutoff::HeadTime);
            }
            whole.ok()?;
        }
        // Who is told to finish may send the rest of it.
        _ = slot.told_more_than(Told::Finish) => return None,
    }
    Some(Given {
        bytes: head.bytes.into(),
        _room: head.room,
    })
}

impl Head {
    async fn complete<S>(&mut self, socket: &mut Socket<S>, slot: &Slot) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while !self.is_whole() {
            if self.bytes.len() < HEAD_FREE_BYTES {
                self.read(socket).await?;
                continue;
            }
            let room = slot.room();
            if self.room.is_none() {
                self.room = room.large_head().await;
            }
            let turn = Instant::now() + Duration::from_millis(LARGE_HEAD_MS_MAX);
            while !self.is_whole() {
                match timeout_at(turn, self.read(socket)).await {
                    Ok(read) => read?,
                    Err(_) if room.is_short_of_heads() => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }

    /// Reads some more of it, at the most what may be kept.
    async fn read<S>(&mut self, socket: &mut Socket<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let kept = match self.room {
            None => HEAD_FREE_BYTES,
            Some(_) => HEAD_BYTES_MAX,
        };
        let most = kept.saturating_sub(self.bytes.len()).min(READ_BYTES);
        let read = poll_fn(|cx| socket.poll_some(cx, most, |bytes| self.push(bytes))).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn push(&mut self, mut bytes: &[u8]) {
        if self.bytes.is_empty() {
            // RFC 9112 section 2.2: empty lines before a request are nothing.
            let nothing = |b: &&u8| matches!(b, b'\r' | b'\n');
            bytes.advance(bytes.iter().take_while(nothing).count());
        }
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            self.bytes.reserve_exact(bytes.len().max(GROW_BYTES));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether hyper can decide about it: it has an end, is too large, or is no head at all.
    fn is_whole(&mut self) -> bool {
        let news = &self.bytes[self.looked.saturating_sub(2)..];
        let first = self.bytes.first();
        let whole = self.bytes.len() >= HEAD_BYTES_MAX
            || first.is_some_and(|first| !first.is_ascii_graphic())
            || news.windows(2).any(|end| end == b"\n\n")
            || news.windows(3).any(|end| end == b"\n\r\n");
        if !whole {
            self.looked = self.bytes.len();
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::LARGE_HEADS_MAX;
    use super::super::slots::Slots;
    use super::super::socket::Phase;
    use super::*;
    use futures_util::FutureExt;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use tokio::io::{AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;

    /// A connection that waits for a head: the client's end, and what comes of it.
    async fn waiting(slots: &Arc<Slots>) -> (DuplexStream, JoinHandle<Option<Vec<u8>>>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let slot = Arc::new(slots.admit(Ipv4Addr::LOCALHOST.into()).await.unwrap());
        let mut socket = Socket::new(ours, Arc::new(Phase::new(Arc::clone(&slot))));
        let head = tokio::spawn(async move {
            let given = next(&mut socket, Bytes::new(), &slot).await?;
            Some(given.bytes.to_vec())
        });
        (theirs, head)
    }

    /// What comes of a client that sends these bytes and keeps the connection open.
    async fn sent(bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut theirs, head) = waiting(&Arc::default()).await;
        theirs.write_all(bytes).await.unwrap();
        head.await.unwrap()
    }

    fn long(bytes: usize) -> Vec<u8> {
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(bytes, b'a');
        head
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_handed_over_when_it_is_whole() {
        for whole in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\nHost: x\n\r\n",
        ] {
            let (mut theirs, head) = waiting(&Arc::default()).await;
            let (last, rest) = whole.as_bytes().split_last().unwrap();
            for byte in rest {
                theirs.write_u8(*byte).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(!head.is_finished(), "{whole:?}");
            theirs.write_u8(*last).await.unwrap();
            assert_eq!(head.await.unwrap().unwrap(), whole.as_bytes());
        }
        let with_body = b"\r\n\nPUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(sent(with_body).await.unwrap(), &with_body[3..]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_become_a_head_is_handed_over_at_once() {
        let begun = Instant::now();
        assert_eq!(sent(b"\0").await.unwrap(), b"\0");
        let huge = sent(&long(HEAD_BYTES_MAX + 9)).await.unwrap();
        assert_eq!(huge.len(), HEAD_BYTES_MAX);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_heads_are_counted_and_silence_is_not() {
        let slots: Arc<Slots> = Arc::default();
        for begin in ["", "GET"] {
            let (mut theirs, head) = waiting(&slots).await;
            theirs.write_all(begin.as_bytes()).await.unwrap();
            assert_eq!(head.await.unwrap(), None);
        }
        let counted: Vec<_> = slots.cutoffs().into_iter().filter(|c| c.1 > 0).collect();
        assert_eq!(counted, [(Cutoff::HeadTime, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_trickling_end() {
        let begun = Instant::now();
        assert_eq!(sent(b"").await, None);
        assert_eq!(begun.elapsed().as_millis(), u128::from(IDLE_MS_MAX));
        for begin in ["\r\n", "GET", &"a".repeat(HEAD_FREE_BYTES + 1)] {
            let begun = Instant::now();
            assert_eq!(sent(begin.as_bytes()).await, None);
            let limit = match begin {
                "\r\n" => IDLE_MS_MAX,
                _ => HEAD_MS_MAX,
            };
            assert_eq!(begun.elapsed().as_millis(), u128::from(limit));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_go_goes_and_who_is_told_to_finish_may_send_the_rest() {
        let slots: Arc<Slots> = Arc::default();
        let (_silent, idle) = waiting(&slots).await;
        let (mut theirs, begun) = waiting(&slots).await;
        theirs.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        slots.tell_all(Told::Finish);
        assert_eq!(idle.await.unwrap(), None);
        theirs.write_all(b"\r\n").await.unwrap();
        assert!(begun.await.unwrap().is_some());

        let slots: Arc<Slots> = Arc::default();
        let (mut theirs, begun) = waiting(&slots).await;
        theirs.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        slots.tell_all(Told::Vacate);
        assert_eq!(begun.await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn large_heads_that_do_not_end_make_room_for_those_that_do() {
        let slots: Arc<Slots> = Arc::default();
        let mut holders = Vec::new();
        for _ in 0..LARGE_HEADS_MAX {
            let (mut theirs, head) = waiting(&slots).await;
            theirs.write_all(&long(HEAD_BYTES_MAX - 1)).await.unwrap();
            holders.push((theirs, head));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        // What most requests need is always there.
        let (mut theirs, small) = waiting(&slots).await;
        theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(small.await.unwrap().is_some());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let (mut theirs, large) = waiting(&slots).await;
        let mut whole = long(16 * 1024);
        whole.extend(b"\r\n\r\n");
        theirs.write_all(&whole).await.unwrap();
        assert_eq!(large.await.unwrap().unwrap(), whole);
        assert!(begun.elapsed().as_millis() <= u128::from(LARGE_HEAD_MS_MAX));
        let ended = holders
            .iter_mut()
            .filter_map(|(_, head)| head.now_or_never());
        assert!(ended.count() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_nobody_waits_for_may_be_kept() {
        let (mut theirs, head) = waiting(&Arc::default()).await;
        theirs.write_all(&long(10_000)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5 * LARGE_HEAD_MS_MAX)).await;
        theirs.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(head.await.unwrap().unwrap().len(), 10_004);
    }

    #[test]
    fn the_buffer_is_hardly_larger_than_what_came() {
        let mut head = Head::default();
        for _ in 0..HEAD_BYTES_MAX {
            head.push(b"a");
            assert!(head.bytes.capacity() <= head.bytes.len() + GROW_BYTES);
        }
    }
}
