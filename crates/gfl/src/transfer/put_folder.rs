//! A local folder to the server: walked and compared with the server's listing side by side, so that neither has to
//! stand in memory, and sorted by size into the way each file is sent best.

use super::bare::Bare;
use super::compare::{Glance, changes, glance};
use super::folder_meta::{Change, folder_change};
use super::small_put::SmallFile;
use super::upload::Sent;
use super::{Transfer, blocking, concerns_all};
use crate::exit::Exit;
use crate::local::Stamp;
use crate::local::walk::{Found, Walk, order};
use crate::remote::{Error, Listed, Listing, Naming, OnServer};
use anyhow::{Context, Result, bail};
use futures_util::future::{try_join, try_join_all, try_join3};
use gfl_api::FilePath;
use gfl_api::v1::{BatchOp, BatchVerb, Entry, EntryType};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{Mutex, mpsc};

/// Up to here files travel many in one request.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Up to here files travel several at a time, above one at a time over several connections.
const MEDIUM_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Requests with many small files at once.
const SMALL_STREAMS: usize = 2;
/// Entries that may wait between two stages.
const QUEUED: usize = 512;
const DIRS_PER_REQUEST: usize = 500;

/// A file on its way to being sent.
pub(super) struct Item {
    pub(super) local: PathBuf,
    pub(super) remote: FilePath,
    /// What the server has there, if that must be compared.
    pub(super) there: Option<Entry>,
}

/// Where the sorted entries go.
struct Queues {
    small: mpsc::Sender<SmallFile>,
    medium: mpsc::Sender<Item>,
    large: mpsc::Sender<Item>,
    dirs: mpsc::Sender<FilePath>,
    /// Files that need no bytes.
    changes: mpsc::Sender<Change>,
}

impl Transfer<'_> {
    /// Sends a folder. Files that fail by themselves are reported and counted; what makes all others fail too ends it.
    pub(crate) async fn put_folder(&self, local: &Path, remote: &FilePath) -> Result<()> {
        let walk = Walk::new(local, remote, self.options.follow).context("cannot read it")?;
        let before = self.tally.open.load(Relaxed);
        let (found, mut finds) = mpsc::channel(QUEUED);
        let walking =
            blocking(move || walk.into_iter().all(|one| found.blocking_send(one).is_ok()));
        let (small, smalls) = mpsc::channel(QUEUED);
        let (medium, mediums) = mpsc::channel(QUEUED);
        let (large, larges) = mpsc::channel(QUEUED);
        let (dirs, dirs_out) = mpsc::channel(QUEUED);
        let (changes, changes_out) = mpsc::channel(QUEUED);
        let queues = Queues {
            small,
            medium,
            large,
            dirs,
            changes,
        };
        let (smalls, mediums) = (Mutex::new(smalls), Mutex::new(mediums));
        let changes_out = Mutex::new(changes_out);
        let top = local.metadata().context("cannot read it")?;
        let sorting = self.sort_out(remote, Stamp::of(&top), &mut finds, queues);
        let sending_small = try_join_all((0..SMALL_STREAMS).map(|_| self.send_small(&smalls)));
        let sending_medium =
            try_join_all((0..self.options.parallel).map(|_| self.send_medium(&mediums)));
        let sending_large = self.send_large(larges);
        let sending = try_join3(sending_small, sending_medium, sending_large);
        let making = self.make_dirs(dirs_out);
        let changing =
            try_join_all((0..self.options.parallel).map(|_| self.change_each(&changes_out)));
        let ((folders, _), _) = try_join(
            try_join(sorting, walking),
            try_join3(sending, making, changing),
        )
        .await?;
        self.finish_remote(folders).await;
        self.check_all_settled(before)
    }

    /// Compares what the walk finds with what the server has. Returns the folders that want their time and mode once
    /// everything is in them.
    async fn sort_out(
        &self,
        remote: &FilePath,
        top: Stamp,
        finds: &mut mpsc::Receiver<Found>,
        queues: Queues,
    ) -> Result<Vec<Change>> {
        let (mut there, is_there) = self.beside(remote).await?;
        let mut folders = Vec::new();
        if !is_there {
            folders.extend(folder_change(&top, None).map(|change| (remote.clone(), change)));
        }
        let mut bare = Bare::new(remote.clone(), is_there);
        while let Some(found) = finds.recv().await {
            match found {
                Found::File { path, local, stamp } => {
                    queues.make(bare.pass(&path)).await;
                    bare.fill();
                    let entry = there.find(&path).await?.map(|listed| listed.entry);
                    let there = match glance(&self.options, &stamp, entry.as_ref()) {
                        Glance::Same => {
                            self.tally.unchanged(1);
                            continue;
                        }
                        Glance::Mode => {
                            let there = entry.unwrap_or_default();
                            let change = (path, changes(&stamp, &there));
                            let _ = queues.changes.send(change).await;
                            continue;
                        }
                        Glance::Existing => {
                            self.tally.existing(1);
                            continue;
                        }
                        Glance::Send => None,
                        // To send a small one costs less than to ask about it.
                        Glance::Unsure => {
                            entry.filter(|_| self.options.checksum || stamp.size > SMALL_BYTES_MAX)
                        }
                    };
                    self.tally.set_out();
                    self.ui.progress().expect(stamp.size);
                    let item = Item {
                        local,
                        remote: path,
                        there,
                    };
                    queues
                        .take(self.v1.capabilities.has("bulk"), item, stamp.size)
                        .await;
                }
                Found::Dir { path, stamp } => {
                    queues.make(bare.pass(&path)).await;
                    let there = there.find(&path).await?.filter(Listed::is_dir);
                    if there.is_none() || !self.options.no_clobber {
                        let change = folder_change(&stamp, there.as_ref());
                        folders.extend(change.map(|change| (path.clone(), change)));
                    }
                    bare.enter(path, there.is_some());
                }
                Found::Left { local, what } => {
                    let text = format_args!("{}: left out, {what}", local.display());
                    self.ui.warn_of_many(self.tally.leave_out(), text);
                }
                Found::Failed { local, why } => {
                    self.ui
                        .warn(format_args!("cannot read {}: {why}", local.display()));
                    self.tally.fail(Exit::Failure);
                }
            }
        }
        queues.make(bare.end()).await;
        Ok(folders)
    }

    /// The server's side, and whether the folder is there. Nobody asks when everything is sent anyway.
    async fn beside(&self, remote: &FilePath) -> Result<(Beside<'_>, bool)> {
        let entry = if !self.options.force || self.options.no_clobber {
            self.v1
                .entry_if_any(remote)
                .await
                .on_server("look at", remote)?
        } else {
            None
        };
        let is_dir = entry
            .as_ref()
            .is_some_and(|entry| entry.kind == EntryType::Dir);
        let listing = if entry.is_some() {
            Listing::new(self.v1, remote.clone(), true)
        } else {
            Listing::empty(self.v1, remote.clone())
        };
        let beside = Beside {
            listing,
            next: None,
        };
        Ok((beside, is_dir || remote.is_root()))
    }

    async fn send_medium(&self, queue: &Mutex<mpsc::Receiver<Item>>) -> Result<()> {
        loop {
            let item = queue.lock().await.recv().await;
            let Some(item) = item else { return Ok(()) };
            self.send_item(&item).await?;
        }
    }

    async fn send_large(&self, mut queue: mpsc::Receiver<Item>) -> Result<()> {
        while let Some(item) = queue.recv().await {
            self.send_item(&item).await?;
        }
        Ok(())
    }

    /// Sends one file. A failure that concerns only this file is reported, and the others go on.
    pub(super) async fn send_item(&self, item: &Item) -> Result<()> {
        self.ui.progress().say(item.remote.as_str());
        let Item {
            local,
            remote,
            there,
        } = item;
        match self.upload(local, remote, there.as_ref()).await {
            Ok(Sent::Done(done)) => self.ui.detail(format!("{remote} ({} bytes)", done.size)),
            Ok(Sent::Updated(_)) => self.ui.detail(format!("{remote} (time and mode)")),
            Ok(Sent::Unchanged(_)) => self.ui.detail(format!("{remote} (unchanged)")),
            Ok(Sent::Existing) => self.ui.detail(format!("{remote} (exists on the server)")),
            Err(error) => self.set_aside_upload(local, remote, error)?,
        }
        Ok(())
    }

    /// Reports a file that could not be sent, or ends everything if no other file can fare better.
    pub(crate) fn set_aside_upload(
        &self,
        local: &Path,
        remote: &FilePath,
        error: anyhow::Error,
    ) -> Result<()> {
        let what = format!("upload of {} failed", local.display());
        self.set_aside(error.placing(remote).context(what))
    }

    /// Reports what failed, or ends everything if nothing else can fare better.
    pub(crate) fn set_aside(&self, error: anyhow::Error) -> Result<()> {
        let is_for_all = error.downcast_ref::<Error>().is_some_and(concerns_all);
        if is_for_all || Exit::of(&error) == Exit::Limit {
            return Err(error);
        }
        self.tally.settle();
        self.tally.fail(Exit::of(&error));
        self.ui.set_aside(&error);
        Ok(())
    }

    async fn make_dirs(&self, mut queue: mpsc::Receiver<FilePath>) -> Result<()> {
        let mut dirs = Vec::new();
        let mut attempts = self.v1.http.attempts();
        while !dirs.is_empty() || queue.recv_many(&mut dirs, DIRS_PER_REQUEST).await > 0 {
            let ops = dirs.iter().map(|dir| BatchOp {
                op: BatchVerb::Mkdir,
                path: dir.as_str().to_owned(),
                recursive: true,
                ..BatchOp::default()
            });
            let answer = self
                .v1
                .batch(ops.collect())
                .await
                .context("cannot make folders")?;
            let (mut again, mut wait) = (Vec::new(), None);
            for (dir, result) in dirs.drain(..).zip(answer.results) {
                if result.status < 400 {
                    attempts.progressed();
                    continue;
                }
                let error = Error::from_problem(result.status, result.problem.as_ref());
                if error.is_transient() && concerns_all(&error) {
                    wait = Some(error);
                    again.push(dir);
                    continue;
                }
                // Settled below like a file that set out.
                self.tally.set_out();
                let error = anyhow::Error::from(error.naming(&dir));
                self.set_aside(error.context(format!("cannot make {dir} on the server")))?;
            }
            dirs = again;
            if let Some(error) = wait {
                self.v1
                    .http
                    .pause(&mut attempts, error)
                    .await
                    .context("cannot make folders")?;
            }
        }
        Ok(())
    }

    /// Every file that set out since `before` must have come to an end, well or badly. That one is forgotten is the one
    /// failure nobody would see.
    pub(super) fn check_all_settled(&self, before: i64) -> Result<()> {
        match self.tally.open.load(Relaxed) - before {
            0 => Ok(()),
            open => bail!(
                "{open} files were neither transferred nor refused; this is a defect of gfl, run it again"
            ),
        }
    }

    /// Counts bytes that went out again.
    pub(super) fn count_resent(&self, bytes: u64) {
        self.tally.resent_bytes.fetch_add(bytes, Relaxed);
    }
}

impl Queues {
    /// Asks for folders that nothing brings along.
    async fn make(&self, dirs: Vec<FilePath>) {
        for dir in dirs {
            let _ = self.dirs.send(dir).await;
        }
    }

    /// Puts a file where its size belongs. A closed queue means that its end failed, which ends everything.
    async fn take(&self, has_bulk: bool, item: Item, size: u64) {
        match size {
            0..=SMALL_BYTES_MAX if has_bulk && item.there.is_none() => {
                let Item { local, remote, .. } = item;
                let _ = self.small.send(SmallFile::new(local, remote, size)).await;
            }
            0..=MEDIUM_BYTES_MAX => {
                let _ = self.medium.send(item).await;
            }
            _ => {
                let _ = self.large.send(item).await;
            }
        }
    }
}

/// The server's entries, asked for in the order of the walk.
struct Beside<'a> {
    listing: Listing<'a>,
    next: Option<Listed>,
}

impl Beside<'_> {
    /// The entry of this path, if there is one. Paths must be asked for in order.
    async fn find(&mut self, path: &FilePath) -> Result<Option<Listed>> {
        loop {
            if self.next.is_none() {
                let next = self.listing.next().await;
                self.next = next.on_server("list", self.listing.dir())?;
            }
            let Some(next) = &self.next else {
                return Ok(None);
            };
            match order(&next.path, path) {
                std::cmp::Ordering::Less => self.next = None,
                std::cmp::Ordering::Equal => return Ok(self.next.take()),
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
    }
}
