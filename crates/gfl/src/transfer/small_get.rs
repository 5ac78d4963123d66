//! Small files from the server, many in one request: checked against their hash, then written in groups on a thread.

use super::get_folder::Wanted;
use super::{Transfer, blocking, concerns_all};
use crate::local::dest::{Place, Tree, apply_meta};
use crate::remote::{Attempts, Error, Kind};
use anyhow::{Context, Result};
use gfl_api::Root;
use gfl_api::frames::{Event, FileHeader};
use gfl_api::problem::{Code, Problem};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{Mutex, mpsc};

/// Files asked for in one request.
const FILES_PER_REQUEST: usize = 500;
/// Bytes asked for in one request, as far as the listing knows.
const BYTES_PER_REQUEST: u64 = 32 * 1024 * 1024;
/// Bytes gathered before they are written.
const BYTES_PER_WRITE: usize = 1024 * 1024;
const TRIES_PER_FILE: u32 = 5;
const LOST: &str = "somebody removed or replaced it while it was written";

/// A file to be fetched among others.
pub(super) struct SmallGet {
    wanted: Wanted,
    tries: u32,
}

impl SmallGet {
    /// Not tried yet.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, tries: 0 }
    }
}

/// A file that arrived whole.
struct Arrived {
    get: SmallGet,
    header: FileHeader,
    content: Vec<u8>,
}

/// Files of one request: those to come, in order, and those that need something else.
#[derive(Default)]
struct Batch {
    to_come: VecDeque<SmallGet>,
    next: u32,
    arrived: Vec<Arrived>,
    arrived_bytes: usize,
    again: Vec<SmallGet>,
    /// Larger than the listing said.
    odd: Vec<SmallGet>,
}

impl Transfer<'_> {
    /// Fetches small files from the queue until it is closed.
    pub(super) async fn fetch_small(
        &self,
        local: &Path,
        queue: &Mutex<mpsc::Receiver<SmallGet>>,
    ) -> Result<()> {
        let mut again = Vec::new();
        let mut attempts = self.v1.http.attempts();
        loop {
            let files = gather(queue, std::mem::take(&mut again)).await;
            if files.is_empty() {
                return Ok(());
            }
            let mut batch = Batch {
                to_come: files.into(),
                ..Batch::default()
            };
            let ended = self.one_batch(local, &mut batch, &mut attempts).await;
            again.extend(batch.to_come);
            again.extend(batch.again);
            for get in batch.odd {
                self.fetch_one(local, &get.wanted).await?;
            }
            if let Err(error) = ended {
                self.v1
                    .http
                    .pause(&mut attempts, error.downcast::<Error>()?)
                    .await?;
            }
        }
    }

    async fn one_batch(
        &self,
        local: &Path,
        batch: &mut Batch,
        attempts: &mut Attempts,
    ) -> Result<()> {
        let paths: Vec<_> = batch
            .to_come
            .iter()
            .map(|get| get.wanted.listed.path.clone())
            .collect();
        let mut files = self.v1.bulk_get(&paths).await?;
        let mut open: Option<(FileHeader, Vec<u8>)> = None;
        let mut outcome = Ok(());
        loop {
            let event = match files.next().await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    // What arrived whole is kept.
                    outcome = Err(error.into());
                    break;
                }
            };
            match event {
                Event::FileStart(header) => {
                    let room = usize::try_from(header.size).unwrap_or(0);
                    open = Some((header, Vec::with_capacity(room)));
                }
                Event::Data(bytes) => {
                    if let Some((_, content)) = &mut open {
                        content.extend_from_slice(&bytes);
                    }
                }
                Event::FileEnd => {
                    attempts.progressed();
                    if let Some((header, content)) = open.take() {
                        self.take_in(batch, header, content)?;
                    }
                    if batch.arrived_bytes >= BYTES_PER_WRITE {
                        self.write(local, batch).await?;
                    }
                }
                Event::Error(error) => {
                    let problem = Problem::new(Code::parse(&error.code)).with_detail(error.detail);
                    // What arrived whole is kept.
                    outcome = self.refused(batch, error.index, error.status, &problem);
                    if outcome.is_err() {
                        break;
                    }
                }
                Event::End => break,
            }
        }
        if let Some((_, content)) = open {
            self.count_resent(content.len() as u64);
        }
        self.write(local, batch).await?;
        outcome
    }

    /// A file that arrived. What does not have its hash is fetched again.
    fn take_in(&self, batch: &mut Batch, header: FileHeader, content: Vec<u8>) -> Result<()> {
        self.tally
            .moved_bytes
            .fetch_add(content.len() as u64, Relaxed);
        let mut get = batch.next(header.index)?;
        if get.wanted.listed.path.as_str() != header.path {
            return Err(Error::protocol("the server sent another file than was asked for").into());
        }
        if header.b3.is_some_and(|b3| b3 != Root::of(&content)) {
            self.count_resent(content.len() as u64);
            get.tries += 1;
            if get.tries < TRIES_PER_FILE {
                batch.again.push(get);
                return Ok(());
            }
            let error = Error::new(Kind::Integrity, "the bytes that arrived are not the file's");
            return self.set_aside_download(&get.wanted.listed.path, error.into());
        }
        batch.arrived_bytes += content.len() + 1024;
        batch.arrived.push(Arrived {
            get,
            header,
            content,
        });
        Ok(())
    }

    fn refused(&self, batch: &mut Batch, index: u32, status: u16, problem: &Problem) -> Result<()> {
        let mut get = batch.next(index)?;
        if problem.code == Code::TooLarge {
            batch.odd.push(get);
            return Ok(());
        }
        // A file that changed while it was read may hold still the next time.
        let error = Error::from_problem(status, Some(problem)).passing();
        get.tries += 1;
        if error.is_transient() {
            if error.code != Code::Unavailable && get.tries < TRIES_PER_FILE {
                batch.again.push(get);
                return Ok(());
            }
            // All others wait too, and none is forgotten.
            if concerns_all(&error) {
                batch.again.push(get);
                return Err(error.into());
            }
        }
        self.set_aside_download(&get.wanted.listed.path, error.into())
    }

    /// Writes what arrived.
    async fn write(&self, local: &Path, batch: &mut Batch) -> Result<()> {
        let arrived = std::mem::take(&mut batch.arrived);
        batch.arrived_bytes = 0;
        if arrived.is_empty() {
            return Ok(());
        }
        let root = local.to_owned();
        let written = blocking(move || -> Result<Vec<_>> {
            let mut tree = Tree::named(&root)
                .with_context(|| format!("cannot write to {}", root.display()))?;
            Ok(arrived
                .into_iter()
                .map(|one| {
                    let result = match tree.place(&one.get.wanted.below) {
                        Ok(place) => publish(&place, &one)
                            .with_context(|| format!("cannot write {}", place.shown().display())),
                        Err(error) => Err(error.into()),
                    };
                    (
                        one.get.wanted.listed.path,
                        one.content.len() as u64,
                        one.header.b3.is_some(),
                        result,
                    )
                })
                .collect())
        });
        for (path, size, is_verified, result) in written.await?? {
            self.ui.progress().advance(size);
            match result {
                Ok(()) => {
                    self.finished(size);
                    self.ui.detail(format!("{path} ({size} bytes)"));
                    if !is_verified {
                        self.tell_unverified(&path);
                    }
                }
                Err(error) => self.set_aside_download(&path, error)?,
            }
        }
        Ok(())
    }
}

impl Batch {
    /// The file an answer is for. Answers come in the order of the request.
    fn next(&mut self, index: u32) -> Result<SmallGet> {
        let is_expected = index == self.next;
        self.next += 1;
        match self.to_come.pop_front() {
            Some(get) if is_expected => Ok(get),
            other => {
                self.to_come.extend(other);
                Err(Error::protocol("the server's bulk answer is out of order").into())
            }
        }
    }
}

/// Waits for a file, then takes what else is there.
async fn gather(
    queue: &Mutex<mpsc::Receiver<SmallGet>>,
    mut files: Vec<SmallGet>,
) -> Vec<SmallGet> {
    let mut queue = queue.lock().await;
    if files.is_empty() {
        files.extend(queue.recv().await);
    }
    let mut bytes: u64 = files.iter().map(|get| get.wanted.listed.entry.size).sum();
    while files.len() < FILES_PER_REQUEST && bytes < BYTES_PER_REQUEST {
        let Ok(get) = queue.try_recv() else { break };
        bytes += get.wanted.listed.entry.size;
        files.push(get);
    }
    files
}

/// Through a temporary name: the file is whole before it gets its own, so nothing of it is ever resumed.
fn publish(place: &Place, one: &Arrived) -> std::io::Result<()> {
    let temp = place.temp()?;
    let written = temp.file().as_ref().write_all(&one.content);
    // Time and permissions that this disk cannot hold are no reason to throw the bytes away.
    let _ = apply_meta(temp.file(), one.header.mtime_ns, one.header.mode);
    written?;
    match temp.publish(place)? {
        true => Ok(()),
        false => Err(std::io::Error::other(LOST)),
    }
}
