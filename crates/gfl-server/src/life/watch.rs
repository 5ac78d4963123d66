//! Files that are looked at for changes, by their stamps: works on every file system, and needs no crate.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files are looked at this often. A change counts when two looks agree about it: whoever writes a file in place
/// has finished then.
const LOOK_EVERY_MS: u64 = 1_000;

/// Identifies a content without reading it; `None` for a file that is not there.
type Stamp = Option<(u64, Option<SystemTime>, u64)>;

/// The files and how they looked.
#[derive(Clone, Debug)]
pub struct Watch {
    files: Vec<Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    path: PathBuf,
    known: Stamp,
    /// Another stamp, seen once.
    seen: Option<Stamp>,
}

impl Watch {
    /// Takes the files for unchanged as they are now: to be called before they are read, so that a change after that
    /// is noticed.
    pub fn new(files: Vec<PathBuf>) -> Watch {
        let watched = |path: PathBuf| Watched {
            known: stamp(&path),
            seen: None,
            path,
        };
        Watch {
            files: files.into_iter().map(watched).collect(),
        }
    }

    /// These files, too, as they were when `other` was made.
    pub fn add(&mut self, other: Watch) {
        self.files.extend(other.files);
    }

    /// The next file that has changed.
    pub async fn changed(&mut self) -> PathBuf {
        loop {
            tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
            let paths: Vec<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
            let look = move || paths.iter().map(|path| stamp(path)).collect::<Vec<_>>();
            // The disk may be slow, and must not make the runtime wait.
            let Ok(stamps) = tokio::task::spawn_blocking(look).await else {
                continue;
            };
            if let Some(changed) = self.compare(&stamps) {
                return changed;
            }
        }
    }

    fn compare(&mut self, stamps: &[Stamp]) -> Option<PathBuf> {
        let mut changed = None;
        for (file, stamp) in self.files.iter_mut().zip(stamps) {
            if file.known == *stamp {
                file.seen = None;
            } else if file.seen == Some(*stamp) {
                file.known = *stamp;
                file.seen = None;
                changed = Some(file.path.clone());
            } else {
                file.seen = Some(*stamp);
            }
        }
        changed
    }
}

fn stamp(path: &Path) -> Stamp {
    // Followed: certificates are often links to the newest ones.
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.modified().ok(), inode(&meta)))
}

#[cfg(unix)]
fn inode(meta: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(watch: &mut Watch) -> Option<PathBuf> {
        let stamps: Vec<Stamp> = watch.files.iter().map(|f| stamp(&f.path)).collect();
        watch.compare(&stamps)
    }

    #[test]
    fn a_change_counts_when_it_has_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "one").unwrap();
        let mut watch = Watch::new(vec![a.clone(), b.clone()]);
        assert_eq!(look(&mut watch), None);
        std::fs::write(&a, "onetwo").unwrap();
        assert_eq!(look(&mut watch), None);
        std::fs::write(&a, "onetwothree").unwrap();
        assert_eq!(look(&mut watch), None, "still being written");
        assert_eq!(look(&mut watch), Some(a.clone()));
        assert_eq!(look(&mut watch), None);
        // Made, replaced by a rename, removed: all changes.
        std::fs::write(&b, "new").unwrap();
        assert_eq!(
            [look(&mut watch), look(&mut watch)],
            [None, Some(b.clone())]
        );
        std::fs::rename(&a, &b).unwrap();
        look(&mut watch);
        assert!(look(&mut watch).is_some());
        assert_eq!(look(&mut watch), None);
    }
}
