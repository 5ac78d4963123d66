//! The single steps of [`crate::store::redo`] on the recorded disk. The lock is taken for each step alone, so
//! that concurrent operations mix as they do on a real disk.

use super::disk::Node;
use super::links::followed;
use super::{Memory, ROOT, draft_name, kept_name, visible};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::store::redo::{Seen, Shelf, Step, What};
use gfl_api::path::FilePath;
use parking_lot::MutexGuard;
use std::sync::atomic::Ordering;

impl Shelf for Memory {
    type Spot = String;

    fn spot(&self, path: &FilePath, make: bool) -> Result<Option<String>> {
        if path.is_root() {
            return Err(Error::new(
                Kind::Invalid,
                "the storage folder itself cannot be replaced",
            ));
        }
        let mut disk = self.disk.lock();
        let mut at = ROOT.to_owned();
        for dir in path.ancestors() {
            let Some(real) = followed(&disk, &visible(&dir)) else {
                let text = format!("{dir} is a link that leaves the storage");
                return Err(Error::new(Kind::InvalidPath, text));
            };
            match disk.node(&real) {
                Some((_, Node::Dir { .. })) => {}
                None if make => disk.add_dir(&real),
                Some(_) if make => {
                    let text = format!("{dir} is a file where a folder is needed");
                    return Err(Error::new(Kind::NotADirectory, text));
                }
                _ => return Ok(None),
            }
            at = real;
        }
        Ok(path.name().map(|name| format!("{at}/{name}")))
    }

    fn draft_spot(&self, key: &Key) -> String {
        draft_name(key)
    }

    fn kept_spot(&self, key: &Key) -> String {
        kept_name(key)
    }

    fn passing_spot(&self, ino: u64) -> String {
        format!("p/{ino}")
    }

    fn look(&self, spot: &String) -> Result<Option<Seen>> {
        let disk = self.disk.lock();
        let Some((_, node)) = disk.node(spot) else {
            return Ok(None);
        };
        let what = match node {
            Node::Dir { .. } => What::Dir,
            Node::File(_) => What::File,
            Node::Link(_) => What::Link,
        };
        Ok(disk.stamp(spot).map(|stamp| Seen { what, stamp }))
    }

    fn followed(&self, path: &FilePath) -> Result<Option<u64>> {
        let disk = self.disk.lock();
        let real = followed(&disk, &visible(path));
        Ok(real.and_then(|real| disk.node(&real).map(|(ino, _)| ino)))
    }

    fn is_listed(&self, _spot: &String) -> Result<bool> {
        Ok(true)
    }

    fn move_new(&self, from: &String, to: &String) -> Result<Step> {
        let mut disk = self.disk.lock();
        if disk.names.contains_key(to) {
            return Ok(Step::Exists);
        }
        if !disk.names.contains_key(from) {
            return Ok(Step::Missing);
        }
        disk.rename(from, to);
        Ok(Step::Done)
    }

    fn move_over(&self, from: &String, to: &String) -> Result<Step> {
        let mut disk = self.disk.lock();
        if !disk.names.contains_key(from) {
            return Ok(Step::Missing);
        }
        disk.rename(from, to);
        Ok(Step::Done)
    }

    fn exchange(&self, a: &String, b: &String) -> Result<Step> {
        if self.refuses_exchange.load(Ordering::Relaxed) {
            return Ok(Step::Unsupported);
        }
        let mut disk = self.disk.lock();
        if !disk.names.contains_key(a) || !disk.names.contains_key(b) {
            return Ok(Step::Missing);
        }
        disk.exchange(a, b);
        Ok(Step::Done)
    }

    fn link(&self, from: &String, to: &String) -> Result<Step> {
        let mut disk = self.disk.lock();
        if disk.names.contains_key(to) {
            return Ok(Step::Exists);
        }
        match disk.node(from) {
            None => return Ok(Step::Missing),
            Some((_, Node::Dir { .. })) => return Ok(Step::Unsupported),
            Some(_) => {}
        }
        disk.link(from, to);
        Ok(Step::Done)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock()
    }

    fn unlink(&self, spot: &String) -> Result<()> {
        self.disk.lock().remove(spot);
        Ok(())
    }
}
