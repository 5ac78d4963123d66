//! A store in memory, for tests: the same contract as the tree (it runs the same `redo` steps), plus a power
//! cut at will. Must not be used to keep anything.

mod disk;
mod files;
mod links;
mod shelf;

use self::disk::{Body, Disk, Node};
use self::files::{MemoryContent, MemoryDraft};
use super::redo::{self, Shelf};
use super::{
    Content, Draft, Found, Link, Named, Names, Place, Publish, Published, Space, Stamp, Store,
    dir_mode, file_mode,
};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use async_trait::async_trait;
use bytes::Bytes;
use gfl_api::path::FilePath;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The store in memory.
#[derive(Debug)]
pub struct Memory {
    disk: Arc<Mutex<Disk>>,
    free_bytes: AtomicU64,
    folds_case: AtomicBool,
    refuses_exchange: AtomicBool,
    alone: Mutex<()>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            disk: Arc::default(),
            free_bytes: AtomicU64::new(1 << 50),
            folds_case: AtomicBool::new(false),
            refuses_exchange: AtomicBool::new(false),
            alone: Mutex::default(),
        }
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Arc<Memory> {
        Arc::default()
    }

    /// Changes of names that a power cut could take back now.
    pub fn pending(&self) -> usize {
        self.disk.lock().pending()
    }

    /// A power cut: unsynced bytes are gone, and of the pending changes of names the first `survivors`
    /// remain. Drafts and contents from before reach nothing any more.
    pub fn crash_keeping(&self, survivors: usize) {
        self.disk.lock().crash(survivors);
    }

    /// A power cut with as many survivors as `seed` decides.
    pub fn crash(&self, seed: u64) {
        let choices = self.pending() as u64 + 1;
        // The golden ratio spreads neighbouring seeds.
        let pick = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.crash_keeping((pick % choices) as usize);
    }

    /// What [`Store::space`] tells and [`Store::create`] heeds, in bytes.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes [`Store::collides`] speak for a file system that folds letter case.
    pub fn set_folds_case(&self, folds: bool) {
        self.folds_case.store(folds, Ordering::Relaxed);
    }

    /// Makes it a file system without an atomic exchange of two names.
    pub fn set_refuses_exchange(&self, refuses: bool) {
        self.refuses_exchange.store(refuses, Ordering::Relaxed);
    }

    /// A person writes a file at a path, as with an editor that renames.
    pub fn person_writes(&self, path: &FilePath, data: &[u8]) {
        let mut disk = self.disk.lock();
        for dir in path.ancestors() {
            if disk.node(&visible(&dir)).is_none() {
                disk.add_dir(&visible(&dir));
            }
        }
        disk.add_durable_file(&visible(path), data);
    }

    /// A person removes a file or a folder.
    pub fn person_removes(&self, path: &FilePath) {
        self.disk.lock().remove(&visible(path));
    }

    fn found(&self, name: &str) -> Found {
        let disk = self.disk.lock();
        if name == ROOT {
            return Found::Dir {
                mtime_ns: 0,
                mode: 0o755,
                ino: 0,
            };
        }
        let Some(stamp) = disk.stamp(name) else {
            return Found::Nothing;
        };
        match disk.node(name) {
            Some((ino, Node::Dir { mtime_ns, mode })) => Found::Dir {
                mtime_ns: *mtime_ns,
                mode: *mode,
                ino,
            },
            Some((_, Node::File(body))) => Found::File {
                stamp,
                mode: body.lock().mode,
            },
            Some((_, Node::Link(_))) => Found::Other,
            None => Found::Nothing,
        }
    }

    fn draft(&self, key: &Key, ino: u64, body: Arc<Mutex<Body>>) -> Arc<dyn Draft> {
        Arc::new(MemoryDraft {
            disk: Arc::clone(&self.disk),
            key: key.clone(),
            ino,
            body,
        })
    }

    /// The body of what is at a place, links followed.
    fn body_at(&self, place: &Place) -> Result<(Stamp, Arc<Mutex<Body>>)> {
        let name = place_name(place);
        let real = match place {
            Place::Visible(_) => links::followed(&self.disk.lock(), &name),
            Place::Kept(_) => None,
        };
        self.body(&real.unwrap_or(name))
    }

    fn body(&self, name: &str) -> Result<(Stamp, Arc<Mutex<Body>>)> {
        let disk = self.disk.lock();
        match disk.node(name) {
            Some((_, Node::File(body))) => {
                let stamp = disk.stamp(name).ok_or_else(|| nothing(name))?;
                Ok((stamp, Arc::clone(body)))
            }
            Some((_, Node::Link(_))) => Err(nothing(name)),
            Some(_) => Err(Error::new(
                Kind::IsADirectory,
                format!("{} is a folder", shown(name)),
            )),
            None if name == ROOT => Err(Error::new(Kind::IsADirectory, "/ is a folder")),
            None => Err(nothing(name)),
        }
    }
}

/// The visible root's name on the disk.
const ROOT: &str = "v";

fn visible(path: &FilePath) -> String {
    if path.is_root() {
        ROOT.to_owned()
    } else {
        format!("{ROOT}/{path}")
    }
}

fn draft_name(key: &Key) -> String {
    format!("d/{key}")
}

fn kept_name(key: &Key) -> String {
    format!("k/{key}")
}

fn place_name(place: &Place) -> String {
    match place {
        Place::Visible(path) => visible(path),
        Place::Kept(key) => kept_name(key),
    }
}

fn shown(name: &str) -> &str {
    name.strip_prefix("v/").unwrap_or("the kept version")
}

fn nothing(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("{} does not exist", shown(name)))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Memory {
    async fn create(&self, key: &Key, size_hint: Option<u64>) -> Result<Arc<dyn Draft>> {
        if size_hint.unwrap_or(0) > self.free_bytes.load(Ordering::Relaxed) {
            return Err(Error::new(
                Kind::StorageFull,
                "the storage has too few bytes free",
            ));
        }
        let mut disk = self.disk.lock();
        if disk.names.contains_key(&draft_name(key)) {
            return Err(Error::new(Kind::AlreadyExists, "the draft exists already"));
        }
        let (ino, body) = disk.add_draft(&draft_name(key));
        drop(disk);
        Ok(self.draft(key, ino, body))
    }

    async fn create_whole(
        &self,
        key: &Key,
        data: Vec<Bytes>,
        mtime_ns: i64,
        mode: Option<u32>,
    ) -> Result<(Arc<dyn Draft>, Stamp)> {
        let size = data.iter().map(|piece| piece.len() as u64).sum();
        let draft = self.create(key, Some(size)).await?;
        draft.write_at(0, data).await?;
        let stamp = draft.finish(size, mtime_ns, mode).await?;
        Ok((draft, stamp))
    }

    async fn create_copy(
        &self,
        key: &Key,
        from: &Place,
        from_key: Option<&Key>,
    ) -> Result<Arc<dyn Draft>> {
        let (_, source) = self.body_at(from)?;
        let copy = source.lock().clone();
        let mut disk = self.disk.lock();
        let (ino, body) = disk.add_draft(&draft_name(key));
        *body.lock() = copy;
        if let Some(groups) = from_key.and_then(|k| disk.groups.get(k.as_str()).cloned()) {
            disk.groups.insert(key.as_str().to_owned(), groups);
        }
        drop(disk);
        Ok(self.draft(key, ino, body))
    }

    async fn reopen(&self, key: &Key) -> Result<Option<Arc<dyn Draft>>> {
        Ok(match self.body(&draft_name(key)) {
            Ok((stamp, body)) => Some(self.draft(key, stamp.ino, body)),
            Err(_) => None,
        })
    }

    async fn settle(&self, drafts: &[Arc<dyn Draft>]) -> Result<()> {
        for draft in drafts {
            draft.sync().await?;
        }
        Ok(())
    }

    async fn discard(&self, key: &Key) -> Result<()> {
        let mut disk = self.disk.lock();
        if disk.names.contains_key(&draft_name(key)) {
            disk.remove_groups(key.as_str());
            disk.remove(&draft_name(key));
        }
        Ok(())
    }

    async fn publish(&self, publish: &Publish) -> Result<Published> {
        redo::publish(self, publish)
    }

    async fn retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<bool> {
        redo::retire(self, path, ino, key)
    }

    async fn unretire(&self, key: &Key, ino: u64, path: &FilePath) -> Result<bool> {
        redo::unretire(self, key, ino, path)
    }

    async fn rename(
        &self,
        from: &FilePath,
        ino: u64,
        to: &FilePath,
        over: Option<&Key>,
    ) -> Result<bool> {
        if self.is_inside(to, from) {
            return Err(redo::into_itself(from, to));
        }
        redo::rename(self, from, ino, to, over)
    }

    async fn make_dir(&self, path: &FilePath) -> Result<bool> {
        if path.is_root() {
            return Ok(false);
        }
        let name = self
            .spot(path, true)?
            .ok_or_else(|| nothing(path.as_str()))?;
        let mut disk = self.disk.lock();
        match disk.node(&name) {
            Some((_, Node::Dir { .. })) => return Ok(false),
            Some(_) => {
                let text = format!("{path} is a file where a folder is needed");
                return Err(Error::new(Kind::NotADirectory, text));
            }
            None => {}
        }
        disk.add_dir(&name);
        Ok(true)
    }

    async fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        let name = visible(path);
        let name = links::followed(&self.disk.lock(), &name).unwrap_or(name);
        let ino = {
            let disk = self.disk.lock();
            disk.node(&name)
                .map(|(ino, _)| ino)
                .ok_or_else(|| nothing(&name))?
        };
        let mut disk = self.disk.lock();
        disk.touch(ino, |node| match node {
            Node::Dir {
                mtime_ns: t,
                mode: m,
            } => {
                *t = mtime_ns.unwrap_or(*t);
                *m = mode.map_or(*m, dir_mode);
            }
            Node::Link(_) => {}
            Node::File(body) => {
                let mut body = body.lock();
                body.mtime_ns = mtime_ns.unwrap_or(body.mtime_ns);
                body.mode = mode.map_or(body.mode, file_mode);
            }
        });
        disk.sync_attributes(ino);
        drop(disk);
        Ok(self.found(&name))
    }

    async fn sync_dirs(&self, dirs: &[FilePath]) -> Result<()> {
        let mut all = BTreeSet::from([ROOT.to_owned()]);
        for dir in dirs {
            all.extend(dir.ancestors().chain([dir.clone()]).map(|d| visible(&d)));
        }
        self.disk.lock().sync_names(|dir| all.contains(dir));
        Ok(())
    }

    async fn remove_kept(&self, key: &Key) -> Result<()> {
        let mut disk = self.disk.lock();
        disk.remove_groups(key.as_str());
        disk.remove(&kept_name(key));
        Ok(())
    }

    async fn stat(&self, path: &FilePath) -> Result<Found> {
        Ok(self.found_followed(&visible(path)))
    }

    async fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>> {
        Ok(self.link_at(place, at))
    }

    async fn stat_kept(&self, key: &Key) -> Result<Found> {
        Ok(self.found(&kept_name(key)))
    }

    async fn open(&self, place: &Place) -> Result<Arc<dyn Content>> {
        let (stamp, body) = self.body_at(place)?;
        let mode = body.lock().mode;
        Ok(Arc::new(MemoryContent { stamp, mode, body }))
    }

    async fn list(&self, dir: &FilePath, after: Option<&str>, limit: usize) -> Result<Names> {
        match self.found_followed(&visible(dir)) {
            Found::Dir { .. } => {}
            Found::File { .. } => {
                return Err(Error::new(Kind::NotADirectory, format!("{dir} is a file")));
            }
            _ => return Err(nothing(&visible(dir))),
        }
        let mut wanted: Vec<Named> = Vec::new();
        let mut skipped = 0;
        for (name, found) in self.named_in(&visible(dir)) {
            match found {
                Found::Other => skipped += 1,
                _ if after.is_some_and(|after| name.as_str() <= after) => {}
                _ if wanted.len() > limit => {}
                found => wanted.push(Named { name, found }),
            }
        }
        let more = wanted.len() > limit;
        wanted.truncate(limit);
        Ok(Names {
            names: wanted,
            more,
            skipped,
        })
    }

    async fn collides(&self, path: &FilePath) -> Result<Option<String>> {
        let (Some(dir), Some(name)) = (path.parent(), path.name()) else {
            return Ok(None);
        };
        if !self.folds_case.load(Ordering::Relaxed) || self.found(&visible(&dir)) == Found::Nothing
        {
            return Ok(None);
        }
        let all = self.list(&dir, None, usize::MAX).await?.names;
        if all.iter().any(|other| other.name == name) {
            return Ok(None);
        }
        let folded = name.to_lowercase();
        Ok(all
            .into_iter()
            .map(|other| other.name)
            .find(|n| n.to_lowercase() == folded))
    }

    async fn drafts(&self) -> Result<Vec<Key>> {
        let disk = self.disk.lock();
        let names = disk.names.keys().filter_map(|name| name.strip_prefix("d/"));
        Ok(names.filter_map(Key::parse).collect())
    }

    async fn space(&self) -> Result<Space> {
        Ok(Space {
            total_bytes: 1 << 50,
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
        })
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}
