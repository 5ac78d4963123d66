//! Small files, many in one request: read and hashed in groups on a thread, sent as frames, each settled by its own
//! answer line. What a broken connection leaves without an answer goes out again.

use super::put_folder::Item;
use super::{Transfer, blocking, concerns_all};
use crate::local::Source;
use crate::remote::body::{Body, Feed};
use crate::remote::{Attempts, Error, Kind};
use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use gfl_api::frames::{self, FileHeader};
use gfl_api::limits::BULK_FILE_BYTES_MAX;
use gfl_api::problem::Code;
use gfl_api::v1::BulkAnswer;
use gfl_api::{FilePath, Root};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// Files in one request. Bounds what may have to be repeated, and what stands in memory without an answer.
const FILES_PER_STREAM: usize = 4096;
/// Files and bytes read by one trip to a thread.
const FILES_PER_READ: usize = 64;
const BYTES_PER_READ: u64 = 1024 * 1024;
/// A request is not held open for longer than this when there is nothing to send.
const LINGER: Duration = Duration::from_millis(100);
/// A file whose own answer asks to try again gets so many further tries.
const TRIES_PER_FILE: u32 = 5;

/// A file to be sent among others.
pub(super) struct SmallFile {
    local: PathBuf,
    remote: FilePath,
    size: u64,
    tries: u32,
}

impl SmallFile {
    /// Not tried yet; `size` is what the walk saw.
    pub(super) fn new(local: PathBuf, remote: FilePath, size: u64) -> Self {
        Self {
            local,
            remote,
            size,
            tries: 0,
        }
    }
}

/// Files of one request that have no answer yet, and those that need something else.
#[derive(Default)]
struct Flight {
    files: HashMap<u32, (SmallFile, Option<Sent>)>,
    next: u32,
    /// Asked to be sent again.
    again: Vec<SmallFile>,
    /// Could not be read as the walk saw them.
    odd: Vec<SmallFile>,
}

/// What went out of a file.
#[derive(Clone, Copy)]
struct Sent {
    size: u64,
    b3: Root,
}

/// What became of a file that was answered.
enum Fate {
    Settled,
    /// It is to be sent again.
    Again(SmallFile),
    /// So it is, and so are all others, but not at once.
    Wait(SmallFile, Box<Error>),
}

/// A file to be read, by its number in the request.
struct Order {
    index: u32,
    local: PathBuf,
    remote: FilePath,
    create_only: bool,
}

/// A read file as it goes on the wire.
struct Frame {
    index: u32,
    sent: Sent,
    header: Bytes,
    content: Vec<u8>,
}

impl Transfer<'_> {
    /// Sends small files from the queue until it is closed.
    pub(super) async fn send_small(&self, queue: &Mutex<mpsc::Receiver<SmallFile>>) -> Result<()> {
        let mut again: Vec<SmallFile> = Vec::new();
        let mut attempts = self.v1.http.attempts();
        loop {
            if again.is_empty() {
                let first = queue.lock().await.recv().await;
                let Some(first) = first else { return Ok(()) };
                again.push(first);
            }
            let flight = StdMutex::new(Flight::default());
            let ended = self
                .one_stream(queue, std::mem::take(&mut again), &flight, &mut attempts)
                .await;
            let flight = flight.into_inner().unwrap_or_default();
            for (file, sent) in flight.files.into_values() {
                self.count_resent(sent.map_or(0, |sent| sent.size));
                again.push(file);
            }
            again.extend(flight.again);
            // The long way finds out what is wrong with them.
            for SmallFile { local, remote, .. } in flight.odd {
                let there = None;
                self.send_item(&Item {
                    local,
                    remote,
                    there,
                })
                .await?;
            }
            if let Err(error) = ended {
                self.v1
                    .http
                    .pause(&mut attempts, error.downcast::<Error>()?)
                    .await?;
            }
        }
    }

    /// One request. Files without an answer stay in `flight`.
    async fn one_stream(
        &self,
        queue: &Mutex<mpsc::Receiver<SmallFile>>,
        first: Vec<SmallFile>,
        flight: &StdMutex<Flight>,
        attempts: &mut Attempts,
    ) -> Result<()> {
        // In flight before anything is tried: a connection may be refused before the feeding has even begun.
        let first = board(flight, first, self.options.no_clobber);
        let (feed, gauge, body) = Body::stream(None);
        let mut feeding = std::pin::pin!(self.feed(queue, first, flight, feed));
        let mut settling = std::pin::pin!(self.settle(body, flight, attempts));
        // Answers that end early end the sending; sending that ends does not end the answers.
        let settled = tokio::select! {
            biased;
            settled = &mut settling => settled,
            fed = &mut feeding => match fed {
                Ok(()) => settling.await,
                Err(error) => Err(error),
            },
        };
        self.tally.moved_bytes.fetch_add(gauge.sent(), Relaxed);
        settled
    }

    /// Reads files and sends frames, until there is nothing more for the moment.
    async fn feed(
        &self,
        queue: &Mutex<mpsc::Receiver<SmallFile>>,
        first: Vec<(u64, Order)>,
        flight: &StdMutex<Flight>,
        feed: Feed,
    ) -> Result<()> {
        let mut out = BytesMut::from(&frames::MAGIC[..]);
        let mut orders = first;
        let mut count = 0;
        while !orders.is_empty() {
            count += orders.len();
            for group in groups(orders) {
                let read =
                    blocking(move || group.into_iter().map(load).collect::<Vec<_>>()).await?;
                for frame in read {
                    match frame {
                        Ok(frame) => append(&mut out, flight, frame),
                        Err(index) => set_odd(flight, index),
                    }
                }
                // A closed connection is told by the answers.
                let _ = feed.send(Ok(out.split().freeze())).await;
            }
            if count >= FILES_PER_STREAM || feed.is_closed() {
                break;
            }
            // In flight as soon as taken from the queue: being cancelled loses none.
            orders = board(flight, more(queue).await, self.options.no_clobber);
        }
        out.put_slice(&frames::encode_end());
        let _ = feed.send(Ok(out.freeze())).await;
        Ok(())
    }

    /// Takes the answers.
    async fn settle(
        &self,
        body: Body,
        flight: &StdMutex<Flight>,
        attempts: &mut Attempts,
    ) -> Result<()> {
        let mut answers = self.v1.bulk_put(body).await?;
        while let Some(answer) = answers.next().await? {
            let landed = flight
                .lock()
                .ok()
                .and_then(|mut flight| flight.files.remove(&answer.index));
            let Some((file, Some(sent))) = landed else {
                return Err(
                    Error::protocol("the server answered for a file it was not sent").into(),
                );
            };
            let (again, wait) = match self.settle_one(file, sent, &answer)? {
                Fate::Settled => (None, None),
                Fate::Again(file) => (Some(file), None),
                Fate::Wait(file, error) => (Some(file), Some(error)),
            };
            if let Ok(mut flight) = flight.lock() {
                flight.again.extend(again);
            }
            match wait {
                Some(error) => return Err((*error).into()),
                None => attempts.progressed(),
            }
        }
        Ok(())
    }

    /// What became of one file.
    fn settle_one(&self, mut file: SmallFile, sent: Sent, answer: &BulkAnswer) -> Result<Fate> {
        if answer.status < 400 {
            self.ui.progress().advance(sent.size);
            if answer.b3.as_deref().and_then(|text| text.parse().ok()) == Some(sent.b3) {
                self.finished(sent.size);
                self.ui
                    .detail(format!("{} ({} bytes)", file.remote, sent.size));
            } else {
                let error = Error::new(
                    Kind::Integrity,
                    "the server stored other bytes than were sent",
                );
                self.set_aside_upload(&file.local, &file.remote, error.into())?;
            }
            return Ok(Fate::Settled);
        }
        let error = Error::from_problem(answer.status, answer.problem.as_ref()).passing();
        if self.options.no_clobber && error.code == Code::PreconditionFailed {
            self.ui.progress().advance(sent.size);
            self.tally.existing(1);
            self.tally.settle();
            return Ok(Fate::Settled);
        }
        file.tries += 1;
        if error.is_transient() {
            if error.code != Code::Unavailable && file.tries < TRIES_PER_FILE {
                self.count_resent(sent.size);
                return Ok(Fate::Again(file));
            }
            if concerns_all(&error) {
                self.count_resent(sent.size);
                return Ok(Fate::Wait(file, error.into()));
            }
        }
        self.set_aside_upload(&file.local, &file.remote, error.into())?;
        Ok(Fate::Settled)
    }
}

/// What the queue holds, waiting a moment for it.
async fn more(queue: &Mutex<mpsc::Receiver<SmallFile>>) -> Vec<SmallFile> {
    let mut files = Vec::new();
    let mut queue = queue.lock().await;
    let _ = tokio::time::timeout(LINGER, queue.recv_many(&mut files, FILES_PER_READ)).await;
    files
}

/// Numbers files and puts them in flight.
fn board(flight: &StdMutex<Flight>, files: Vec<SmallFile>, create_only: bool) -> Vec<(u64, Order)> {
    let Ok(mut flight) = flight.lock() else {
        return Vec::new();
    };
    let mut orders = Vec::with_capacity(files.len());
    for file in files {
        let index = flight.next;
        flight.next += 1;
        let (local, remote) = (file.local.clone(), file.remote.clone());
        orders.push((
            file.size,
            Order {
                index,
                local,
                remote,
                create_only,
            },
        ));
        flight.files.insert(index, (file, None));
    }
    orders
}

/// Cuts a list where the bytes to be read at once get too many.
fn groups(orders: Vec<(u64, Order)>) -> Vec<Vec<Order>> {
    let mut groups: Vec<Vec<Order>> = Vec::new();
    let mut bytes = u64::MAX;
    for (size, order) in orders {
        match groups.last_mut() {
            Some(group) if bytes + size <= BYTES_PER_READ && group.len() < FILES_PER_READ => {
                group.push(order);
                bytes += size;
            }
            _ => {
                groups.push(vec![order]);
                bytes = size;
            }
        }
    }
    groups
}

/// Puts a frame behind what waits to be sent.
fn append(out: &mut BytesMut, flight: &StdMutex<Flight>, frame: Frame) {
    if let Some(entry) = flight
        .lock()
        .ok()
        .as_mut()
        .and_then(|flight| flight.files.get_mut(&frame.index))
    {
        entry.1 = Some(frame.sent);
    }
    out.put_slice(&frame.header);
    out.put_slice(&frame.content);
}

fn set_odd(flight: &StdMutex<Flight>, index: u32) {
    if let Ok(mut flight) = flight.lock()
        && let Some((file, _)) = flight.files.remove(&index)
    {
        flight.odd.push(file);
    }
}

/// Reads one file and makes its frame. The error is the file's number: it is not what it was, or cannot be read.
fn load(order: Order) -> std::result::Result<Frame, u32> {
    read(&order.local, &order).map_err(|_| order.index)
}

fn read(local: &Path, order: &Order) -> std::io::Result<Frame> {
    let source = Source::open(local)?;
    let size = source.stamp.size;
    if size > BULK_FILE_BYTES_MAX {
        return Err(std::io::Error::other("grew"));
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    (&source.file).take(size + 1).read_to_end(&mut content)?;
    if content.len() as u64 != size || source.has_changed()? {
        return Err(std::io::Error::other("changed while it was read"));
    }
    let b3 = Root::of(&content);
    let header = FileHeader {
        index: order.index,
        path: order.remote.as_str().to_owned(),
        size,
        mtime_ns: Some(source.stamp.mtime_ns),
        mode: source.stamp.mode,
        b3: Some(b3),
        create_only: order.create_only,
    };
    let header = frames::encode_file(&header).map_err(std::io::Error::other)?;
    Ok(Frame {
        index: order.index,
        sent: Sent { size, b3 },
        header,
        content,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> SmallFile {
        SmallFile::new(PathBuf::from("x"), FilePath::parse("x").unwrap(), size)
    }

    #[test]
    fn groups_are_bounded_in_files_and_bytes() {
        let flight = StdMutex::new(Flight::default());
        let sizes = [BYTES_PER_READ, 1, BYTES_PER_READ - 1, 1];
        let orders = board(&flight, sizes.map(file).into(), false);
        let lens: Vec<usize> = groups(orders).iter().map(Vec::len).collect();
        assert_eq!(lens, [1, 2, 1]);
        assert_eq!(flight.lock().unwrap().files.len(), 4);
        let orders = board(
            &flight,
            (0..FILES_PER_READ + 1).map(|_| file(0)).collect(),
            false,
        );
        assert_eq!(orders[0].1.index, 4, "numbers go on");
        assert_eq!(groups(orders).len(), 2);
    }

    #[test]
    fn frames_hold_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("f");
        std::fs::write(&local, "hello").unwrap();
        let order = |index| Order {
            index,
            local: local.clone(),
            remote: FilePath::parse("r/f").unwrap(),
            create_only: true,
        };
        let frame = load(order(7)).ok().unwrap();
        let mut bytes = BytesMut::from(&frames::MAGIC[..]);
        bytes.put_slice(&frame.header);
        bytes.put_slice(&frame.content);
        let mut bytes = bytes.freeze();
        let Some(frames::Event::FileStart(header)) =
            frames::Decoder::new().next_event(&mut bytes).unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (
                header.index,
                header.path.as_str(),
                header.size,
                header.create_only
            ),
            (7, "r/f", 5, true)
        );
        assert_eq!(header.b3, Some(Root::of(b"hello")));
        std::fs::remove_file(&local).unwrap();
        assert_eq!(load(order(8)).err(), Some(8));
    }
}
