//! Answers that wait until the request has ended. Whoever speaks HTTP/1.1 to us directly reads answers while it still
//! sends; reverse proxies do not: nginx stalls, and Caddy loses pieces of the body, once an answer has begun.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of held answers, over all requests. A request that finds no room is answered while it is read.
static HELD_BYTES: Semaphore = Semaphore::const_new(4 * 1024 * 1024);

/// What proxies add to a request.
const MARKS: [&str; 5] = [
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Whether a proxy is on the way.
pub(super) fn is_needed(headers: &HeaderMap) -> bool {
    MARKS.iter().any(|mark| headers.contains_key(*mark))
}

/// Answers and the right to keep them in memory.
#[derive(Default)]
pub(super) struct Held {
    /// The lines.
    pub(super) lines: Bytes,
    /// To be dropped when they are out.
    pub(super) rights: Option<SemaphorePermit<'static>>,
}

/// The answers up to the last one, or as many as there is room for.
pub(super) async fn until_the_end(answers: &mut Receiver<Bytes>) -> Held {
    let mut held = BytesMut::new();
    let mut rights: Option<SemaphorePermit<'static>> = None;
    while let Some(answer) = answers.recv().await {
        let len = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        held.extend_from_slice(&answer);
        match (HELD_BYTES.try_acquire_many(len), &mut rights) {
            (Ok(more), Some(rights)) => rights.merge(more),
            (Ok(more), None) => rights = Some(more),
            (Err(_), _) => break,
        }
    }
    Held {
        lines: held.freeze(),
        rights,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn all_answers_are_held_and_none_is_lost_when_there_is_no_more_room() {
        let (send, mut answers) = mpsc::channel(16);
        for n in 0..10 {
            send.send(Bytes::from(format!("{n}\n"))).await.unwrap();
        }
        drop(send);
        let held = until_the_end(&mut answers).await;
        assert_eq!(held.lines, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        drop(held);

        let (send, mut answers) = mpsc::channel(16);
        let large = Bytes::from(vec![b'x'; 3 * 1024 * 1024]);
        for _ in 0..3 {
            send.send(large.clone()).await.unwrap();
        }
        // Two are more than there is room for: they come at once, though more is to be waited for.
        let held = until_the_end(&mut answers).await;
        assert_eq!(held.lines.len(), 2 * large.len());
        assert_eq!(
            answers.recv().await.map(|more| more.len()),
            Some(large.len())
        );
        assert_eq!(HELD_BYTES.available_permits(), 1024 * 1024);
        drop(held);
        assert_eq!(HELD_BYTES.available_permits(), 4 * 1024 * 1024);
    }
}
