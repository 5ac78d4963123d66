//! Room that is held in the catalog's folder, and let go when its disk is full.
//!
//! A full disk is emptied by deleting, and deleting has to be recorded before it is done, which takes room.
//! While the ballast is out, everything that fills a disk is refused, so that the room it gave is there for what
//! empties one. Knows no SQL and no paths of users.

use crate::limits::{BALLAST_BYTES, BALLAST_FREE_BYTES_MIN};
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

/// In the catalog's folder.
const NAME: &str = "ballast";
/// A disk with less than this is full, whatever an error says of it.
const FULL_BYTES: u64 = 1024 * 1024;
/// Written at once where blocks cannot be reserved.
const FILL_BYTES: usize = 64 * 1024;

/// There was never room for it: nothing can be let go, and nothing is refused for it.
const NEVER: u8 = 0;
/// In its place.
const THERE: u8 = 1;
/// Let go; an empty file says so to the next start.
const OUT: u8 = 2;

/// See the module.
#[derive(Debug)]
pub struct Ballast {
    dir: PathBuf,
    state: AtomicU8,
    /// Held while it is moved.
    moving: Mutex<()>,
}

impl Ballast {
    /// Finds the ballast of a folder, or takes it aboard when there is room for it and more.
    pub fn aboard(dir: &Path) -> Ballast {
        let ballast = Ballast {
            dir: dir.to_path_buf(),
            state: AtomicU8::new(NEVER),
            moving: Mutex::new(()),
        };
        let path = ballast.path();
        match std::fs::metadata(&path) {
            Ok(found) if found.blocks().saturating_mul(512) >= BALLAST_BYTES => {
                ballast.state.store(THERE, Ordering::SeqCst);
            }
            Ok(_) => ballast.state.store(OUT, Ordering::SeqCst),
            Err(_) => {}
        }
        if let Err(error) = ballast.refill() {
            tracing::warn!(%error, "no ballast in the catalog's folder: a disk that runs full may be hard to empty");
        }
        ballast
    }

    /// It is in its place.
    pub fn is_there(&self) -> bool {
        self.state.load(Ordering::SeqCst) == THERE
    }

    /// It was let go and is not back: what fills the disk is to be refused.
    pub fn is_out(&self) -> bool {
        self.state.load(Ordering::SeqCst) == OUT
    }

    /// Lets it go; false when there is nothing to let go.
    pub fn release(&self) -> bool {
        let _moving = self.moving.lock();
        if !self.is_there() {
            return false;
        }
        // Emptied, not removed: what is left of it says that it was there. And synced: a file system with a
        // journal gives freed blocks to nobody before it is certain that they are free.
        let emptied = OpenOptions::new()
            .write(true)
            .open(self.path())
            .and_then(|file| file.set_len(0).and_then(|()| file.sync_all()));
        if let Err(error) = &emptied {
            tracing::error!(%error, "the ballast cannot be let go");
        } else {
            tracing::warn!(
                "the catalog's disk is full: the ballast is let go and uploads are refused until there is room again"
            );
        }
        self.state.store(OUT, Ordering::SeqCst);
        emptied.is_ok()
    }

    /// Takes it aboard again when there is room for it and more; true when it is there.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn refill(&self) -> io::Result<bool> {
        let _moving = self.moving.lock();
        if self.is_there() {
            return Ok(true);
        }
        if self.free_bytes()? < BALLAST_FREE_BYTES_MIN {
            return Ok(false);
        }
        let made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path())
            .and_then(|file| occupy(&file).inspect_err(|_| drop(file.set_len(0))));
        match made {
            Ok(()) => {
                if self.state.swap(THERE, Ordering::SeqCst) == OUT {
                    tracing::warn!("there is room on the catalog's disk again");
                }
                Ok(true)
            }
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether its disk is full, for steps that failed and did not say why.
    pub fn disk_is_full(&self) -> bool {
        self.free_bytes().is_ok_and(|bytes| bytes < FULL_BYTES)
    }

    /// Whether a folder lies on the same disk.
    pub fn is_on_disk_of(&self, folder: &Path) -> bool {
        let disk = |dir: &Path| std::fs::metadata(dir).map(|found| found.dev()).ok();
        let ours = disk(&self.dir);
        ours.is_some() && ours == disk(folder)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Makes a file take up its room on the disk.
fn occupy(file: &File) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, BALLAST_BYTES)) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    write_out(file)
}

/// The same with bytes that no file system can make smaller or leave out.
fn write_out(mut file: &File) -> io::Result<()> {
    let mut piece = vec![0; FILL_BYTES];
    let mut left = BALLAST_BYTES;
    while left > 0 {
        getrandom::fill(&mut piece).map_err(io::Error::other)?;
        file.write_all(&piece)?;
        left = left.saturating_sub(FILL_BYTES as u64);
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_disk(dir: &Path) -> u64 {
        std::fs::metadata(dir.join(NAME)).map_or(0, |found| found.blocks() * 512)
    }

    #[test]
    fn it_takes_its_room_gives_it_and_takes_it_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let ballast = Ballast::aboard(dir.path());
        assert!(ballast.is_there() && !ballast.is_out());
        assert!(on_disk(dir.path()) >= BALLAST_BYTES);
        assert!(ballast.release());
        assert!(ballast.is_out() && !ballast.is_there());
        assert_eq!(on_disk(dir.path()), 0);
        assert!(!ballast.release(), "there is nothing left to let go");
        assert!(ballast.refill().unwrap());
        assert!(on_disk(dir.path()) >= BALLAST_BYTES);
    }

    #[test]
    fn a_start_finds_it_as_it_was_left() {
        let dir = tempfile::TempDir::new().unwrap();
        drop(Ballast::aboard(dir.path()));
        let made = std::fs::metadata(dir.path().join(NAME)).unwrap();
        let found = Ballast::aboard(dir.path());
        let still = std::fs::metadata(dir.path().join(NAME)).unwrap();
        assert!(found.is_there());
        assert_eq!((made.ino(), made.mtime()), (still.ino(), still.mtime()));
        // A reservation that a crash cut short is made again.
        let file = OpenOptions::new().write(true).open(dir.path().join(NAME));
        file.unwrap().set_len(4096).unwrap();
        assert!(Ballast::aboard(dir.path()).is_there());
        assert!(on_disk(dir.path()) >= BALLAST_BYTES);
    }

    #[test]
    fn where_blocks_cannot_be_reserved_it_is_written() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = File::create(dir.path().join(NAME)).unwrap();
        write_out(&file).unwrap();
        assert!(on_disk(dir.path()) >= BALLAST_BYTES);
    }

    #[test]
    fn it_knows_its_disk() {
        let dir = tempfile::TempDir::new().unwrap();
        let ballast = Ballast::aboard(dir.path());
        assert!(ballast.is_on_disk_of(dir.path()) && !ballast.disk_is_full());
        assert!(!ballast.is_on_disk_of(Path::new("/proc")));
        assert!(!ballast.is_on_disk_of(&dir.path().join("missing")));
    }
}
