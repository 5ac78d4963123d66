//! A folder from the server: listed page by page, compared with what is here, small files many in one request, large
//! ones by ranges. Names from the server are parsed before they get here and can only lead below the target.

use super::compare::is_same_time;
use super::download::tidy;
use super::folder_meta::{Made, wanted};
use super::small_get::SmallGet;
use super::{Transfer, blocking};
use crate::exit::Exit;
use crate::local::OWNER_FOLDER_BITS;
use crate::local::below::Below;
use crate::local::dest::{Place, There, Tree, change_meta};
use crate::local::pieces::Pieces;
use crate::remote::{FileMeta, Listed, Listing, Naming, OnServer};
use anyhow::{Context, Result};
use futures_util::future::{try_join, try_join_all, try_join3};
use gfl_api::FilePath;
use gfl_api::v1::{Entry, EntryType};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{Mutex, mpsc};

/// Up to here files travel many in one request.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Up to here several at a time, above one at a time over several connections.
const MEDIUM_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SMALL_STREAMS: usize = 2;
const QUEUED: usize = 512;
/// Entries compared with the disk in one trip to a thread.
const ENTRIES_PER_LOOK: usize = 256;

/// A file on its way to being fetched.
pub(super) struct Wanted {
    /// What the server has.
    pub(super) listed: Listed,
    /// Its path below the target.
    pub(super) below: Below,
}

struct Queues {
    small: mpsc::Sender<SmallGet>,
    medium: mpsc::Sender<Wanted>,
    large: mpsc::Sender<Wanted>,
}

/// What was found out about some entries.
#[derive(Default)]
struct Looked {
    wanted: Vec<Wanted>,
    made: Vec<Made>,
    unchanged: u64,
    updated: u64,
    existing: u64,
    failed: Vec<(FilePath, anyhow::Error)>,
}

/// What is to become of an entry.
enum Judged {
    /// A folder, and whether it was not there.
    Folder(bool),
    Wanted,
    Unchanged,
    Updated,
    Existing,
}

/// What decides whether a file is fetched.
#[derive(Clone)]
struct Rule {
    no_clobber: bool,
    force: bool,
    checksum: bool,
    pieces: Pieces,
}

impl Transfer<'_> {
    /// Fetches everything below `remote` into the folder `local`.
    pub(crate) async fn get_folder(&self, remote: &FilePath, local: &Path) -> Result<()> {
        let (tree, top) = self.top(remote, local).await?;
        let before = self.tally.open.load(Relaxed);
        let (small, smalls) = mpsc::channel(QUEUED);
        let (medium, mediums) = mpsc::channel(QUEUED);
        let (large, larges) = mpsc::channel(QUEUED);
        let queues = Queues {
            small,
            medium,
            large,
        };
        let (smalls, mediums, larges) =
            (Mutex::new(smalls), Mutex::new(mediums), Mutex::new(larges));
        let sorting = self.look_through(remote, local, queues);
        let fetching_small =
            try_join_all((0..SMALL_STREAMS).map(|_| self.fetch_small(local, &smalls)));
        let fetching_medium =
            try_join_all((0..self.options.parallel).map(|_| self.fetch_each(local, &mediums)));
        let fetching = try_join3(
            fetching_small,
            fetching_medium,
            self.fetch_each(local, &larges),
        );
        let (made, _) = try_join(sorting, fetching).await?;
        self.check_all_settled(before)?;
        self.finish_local(local, made).await?;
        if let Some(top) = top {
            // What this disk cannot hold is no reason to fail.
            let _ = tree.finish_top(top.mtime_ns, top.mode);
        }
        // One call for everything: files fetched so far count as there only when they are durable.
        blocking(move || tree.sync())
            .await?
            .with_context(|| format!("cannot sync {}", local.display()))
    }

    /// The folder that everything goes into, and what it is to look like in the end if it was not there.
    async fn top(&self, remote: &FilePath, local: &Path) -> Result<(Tree, Option<FileMeta>)> {
        let is_new = local.symlink_metadata().is_err() && !remote.is_root();
        let meta = match is_new {
            true => self.v1.entry(remote).await.on_server("look at", remote)?,
            false => Entry::default(),
        };
        let path = remote.clone();
        let meta = is_new.then(|| wanted(&Listed { path, entry: meta }));
        let root = local.to_owned();
        let tree = blocking(move || Tree::named(&root)).await?;
        let tree = tree.with_context(|| format!("cannot write to {}", local.display()))?;
        if let Some(mode) = meta.and_then(|meta| meta.mode) {
            // What is private is so from the beginning.
            let _ = tree.finish_top(None, Some(mode | OWNER_FOLDER_BITS));
        }
        Ok((tree, meta))
    }

    /// Compares what the server has with what is here. Returns the folders that were made.
    async fn look_through(
        &self,
        remote: &FilePath,
        local: &Path,
        queues: Queues,
    ) -> Result<Vec<Made>> {
        let mut made = Vec::new();
        let mut listing = Listing::new(self.v1, remote.clone(), true);
        let rule = Rule {
            no_clobber: self.options.no_clobber,
            force: self.options.force,
            checksum: self.options.checksum,
            pieces: self.pieces.clone(),
        };
        loop {
            let mut some = Vec::with_capacity(ENTRIES_PER_LOOK);
            while some.len() < ENTRIES_PER_LOOK
                && let Some(listed) = listing.next().await.on_server("list", remote)?
            {
                some.push(listed);
            }
            if some.is_empty() {
                break;
            }
            let (root, remote, rule) = (local.to_owned(), remote.clone(), rule.clone());
            let mut looked = blocking(move || look(root, &remote, some, &rule)).await?;
            made.append(&mut looked.made);
            self.sort_in(looked, &queues).await;
        }
        self.tell_missing(&listing);
        Ok(made)
    }

    /// A copy that lacks something says so. What the server could not read is a failure, as it is where this
    /// machine cannot; what is no file anyway is left out as it is on the way up.
    fn tell_missing(&self, listing: &Listing) {
        for _ in 0..listing.lacks() {
            self.tally.fail(Exit::Failure);
        }
        self.tally.leave_out_many(listing.skipped);
        for text in listing.missing() {
            self.ui.warn(text);
        }
    }

    async fn sort_in(&self, looked: Looked, queues: &Queues) {
        for (path, why) in looked.failed {
            self.ui
                .warn(format_args!("download of {path} failed: {why:#}"));
            self.tally.fail(Exit::Failure);
        }
        self.tally.unchanged(looked.unchanged);
        self.tally.updated(looked.updated);
        self.tally.existing(looked.existing);
        for wanted in looked.wanted {
            let size = wanted.listed.entry.size;
            self.tally.set_out();
            self.ui.progress().expect(size);
            // A closed queue means that its end failed, which ends everything.
            let _ = match size {
                0..=SMALL_BYTES_MAX if self.v1.capabilities.has("bulk") => {
                    queues.small.send(SmallGet::new(wanted)).await.is_ok()
                }
                0..=MEDIUM_BYTES_MAX => queues.medium.send(wanted).await.is_ok(),
                _ => queues.large.send(wanted).await.is_ok(),
            };
        }
    }

    async fn fetch_each(&self, local: &Path, queue: &Mutex<mpsc::Receiver<Wanted>>) -> Result<()> {
        loop {
            let wanted = queue.lock().await.recv().await;
            let Some(wanted) = wanted else { return Ok(()) };
            self.fetch_one(local, &wanted).await?;
        }
    }

    /// Fetches one file. A failure that concerns only this file is reported, and the others go on.
    pub(super) async fn fetch_one(&self, local: &Path, wanted: &Wanted) -> Result<()> {
        let path = &wanted.listed.path;
        self.ui.progress().say(path.as_str());
        let (root, below) = (local.to_owned(), wanted.below.clone());
        let place = blocking(move || Tree::named(&root)?.place(&below)).await?;
        let fetched = match place {
            Ok(place) => {
                self.download(path, &wanted.listed.entry, &place, false)
                    .await
            }
            Err(error) => Err(error.into()),
        };
        match fetched {
            Ok(done) => {
                if !done.is_verified {
                    self.tell_unverified(path);
                }
                self.ui.detail(format!("{path} ({} bytes)", done.size));
            }
            Err(error) => self.set_aside_download(path, error)?,
        }
        Ok(())
    }

    /// Reports a file that could not be fetched, or ends everything if no other file can fare better.
    pub(crate) fn set_aside_download(&self, path: &FilePath, error: anyhow::Error) -> Result<()> {
        self.set_aside(
            error
                .naming(path)
                .context(format!("download of {path} failed")),
        )
    }

    /// Says that a file could not be compared with anything.
    pub(crate) fn tell_unverified(&self, path: &FilePath) {
        let text =
            format_args!("{path}: the server has not hashed it yet, only its size was compared");
        self.ui.note_of_many(self.tally.leave_unverified(), text);
    }
}

/// Compares entries with the disk, and makes folders. Blocking.
fn look(root: PathBuf, remote: &FilePath, some: Vec<Listed>, rule: &Rule) -> Looked {
    let mut looked = Looked::default();
    let mut tree = match Tree::named(&root) {
        Ok(tree) => tree,
        Err(error) => {
            let why = format!("cannot write to {}: {error}", root.display());
            let each = |listed: Listed| (listed.path, anyhow::anyhow!(why.clone()));
            looked.failed = some.into_iter().map(each).collect();
            return looked;
        }
    };
    for listed in some {
        let Some(below) = Below::of(&listed.path, remote) else {
            continue;
        };
        let judged = match listed.entry.kind {
            EntryType::Dir => tree
                .make(&below, wanted(&listed).mode)
                .map(Judged::Folder)
                .map_err(Into::into),
            EntryType::File => judge(&mut tree, &below, &listed, rule),
            EntryType::Other => Err(anyhow::anyhow!(
                "it is neither file nor folder; a newer gfl may know it"
            )),
        };
        match judged {
            Ok(Judged::Folder(true)) => {
                let meta = wanted(&listed);
                looked.made.push(Made { below, meta });
            }
            Ok(Judged::Folder(false)) => {}
            Ok(Judged::Wanted) => looked.wanted.push(Wanted { listed, below }),
            Ok(Judged::Unchanged) => looked.unchanged += 1,
            Ok(Judged::Updated) => looked.updated += 1,
            Ok(Judged::Existing) => looked.existing += 1,
            Err(error) => looked.failed.push((listed.path, error)),
        }
    }
    looked
}

fn judge(tree: &mut Tree, below: &Below, listed: &Listed, rule: &Rule) -> Result<Judged> {
    let place = tree.place(below)?;
    let cannot = || format!("cannot write {}", place.shown().display());
    let (size, mtime_ns, mode) = match place.there().with_context(cannot)? {
        None => return Ok(Judged::Wanted),
        Some(_) if rule.no_clobber => return Ok(Judged::Existing),
        Some(There::File {
            size,
            mtime_ns,
            mode,
        }) => (size, mtime_ns, mode),
        Some(There::Dir) => return Err(anyhow::anyhow!("a folder is in the way").context(cannot())),
        // A symlink or the like is replaced, never written through.
        Some(There::Other) => return Ok(Judged::Wanted),
    };
    if rule.force || size != listed.entry.size {
        return Ok(Judged::Wanted);
    }
    let is_same = if rule.checksum {
        let theirs = listed
            .entry
            .b3
            .as_deref()
            .and_then(|text| text.parse().ok());
        let Some(file) = place.open().with_context(cannot)? else {
            return Ok(Judged::Wanted);
        };
        let ours = super::read::hash_open(file, &rule.pieces)
            .with_context(|| format!("cannot read {}", place.shown().display()))?;
        theirs == Some(ours)
    } else {
        listed
            .mtime_ns()
            .is_some_and(|theirs| is_same_time(theirs, mtime_ns))
    };
    if !is_same {
        return Ok(Judged::Wanted);
    }
    tidy(&place, size);
    let meta = wanted(listed);
    let has_mode = match (mode, meta.mode) {
        (Some(ours), Some(theirs)) => ours == theirs & 0o777,
        _ => true,
    };
    let has_time = meta
        .mtime_ns
        .is_none_or(|theirs| is_same_time(theirs, mtime_ns));
    if has_mode && has_time {
        return Ok(Judged::Unchanged);
    }
    update(&place, &meta).with_context(cannot)
}

/// Gives a file that has its content its time and mode.
fn update(place: &Place, meta: &FileMeta) -> std::io::Result<Judged> {
    let file = match place.open() {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Judged::Wanted),
        // What cannot be opened can still be replaced.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Ok(Judged::Wanted);
        }
        Err(error) => return Err(error),
    };
    // What this disk cannot hold is no reason to fail.
    Ok(match change_meta(&file, meta.mtime_ns, meta.mode) {
        Ok(true) => Judged::Updated,
        _ => Judged::Unchanged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::v1::Entry;

    fn listed(path: &str, size: u64, mtime: &str) -> Listed {
        let path = FilePath::parse(path).unwrap();
        let entry = Entry {
            size,
            mtime: Some(mtime.into()),
            path: Some(path.to_string()),
            ..Entry::default()
        };
        Listed { path, entry }
    }

    #[test]
    fn equal_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("same");
        std::fs::write(&file, "12345").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
        std::fs::create_dir(dir.path().join("in-the-way")).unwrap();
        let some = || {
            vec![
                listed("r/same", 5, "2023-11-14T22:13:20Z"),
                listed("r/in-the-way", 5, "2023-11-14T22:13:20Z"),
                listed("r/sub/new", 5, "2023-11-14T22:13:20Z"),
                listed("r/same", 6, "2023-11-14T22:13:20Z"),
                listed("r/same", 5, "2023-11-14T22:13:21Z"),
            ]
        };
        let mut rule = Rule {
            no_clobber: false,
            force: false,
            checksum: false,
            pieces: Pieces::default(),
        };
        let remote = FilePath::parse("r").unwrap();
        let count = |rule: &Rule| {
            let looked = look(dir.path().to_owned(), &remote, some(), rule);
            (
                looked.wanted.len(),
                looked.unchanged,
                looked.existing,
                looked.failed.len(),
            )
        };
        assert_eq!(count(&rule), (3, 1, 0, 1));
        rule.force = true;
        assert_eq!(count(&rule), (4, 0, 0, 1));
        rule = Rule {
            no_clobber: true,
            force: false,
            ..rule
        };
        assert_eq!(count(&rule), (1, 0, 4, 0));
    }
}
