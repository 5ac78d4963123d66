//! A local folder, depth first, names sorted by bytes, a folder before what is in it: the order in which a server
//! lists, so that the two can be compared side by side without holding either.
//!
//! Holds the names of the folders it stands in and nothing more. Never leaves the folder through a symlink unless
//! told to follow them.

use super::Stamp;
use gfl_api::FilePath;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the walk comes across.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File {
        /// Where it goes.
        path: FilePath,
        /// Where it is.
        local: PathBuf,
        /// Its stamp.
        stamp: Stamp,
    },
    /// A folder.
    Dir {
        /// Where it goes.
        path: FilePath,
        /// Its stamp.
        stamp: Stamp,
    },
    /// Left out on purpose: a symlink, a socket, a device.
    Left {
        /// Where it is.
        local: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Cannot be sent.
    Failed {
        /// Where it is.
        local: PathBuf,
        /// Why.
        why: String,
    },
}

/// A walk on its way.
pub(crate) struct Walk {
    stack: Vec<Level>,
    follow: bool,
}

struct Level {
    dir: PathBuf,
    path: FilePath,
    /// In reverse, so that the next one is at the end.
    names: Vec<std::ffi::OsString>,
}

impl Walk {
    /// Begins in `dir`, which must be a folder that can be read and goes to `target`.
    pub(crate) fn new(dir: &Path, target: &FilePath, follow: bool) -> io::Result<Self> {
        let first = Level {
            dir: dir.to_owned(),
            path: target.clone(),
            names: sorted_names(dir)?,
        };
        Ok(Self {
            stack: vec![first],
            follow,
        })
    }

    fn step(&mut self) -> Option<Found> {
        loop {
            let level = self.stack.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.stack.pop();
                continue;
            };
            let local = level.dir.join(&name);
            let Some(text) = name.to_str() else {
                return Some(Found::Failed {
                    local,
                    why: "its name is not utf-8; rename it".into(),
                });
            };
            let path = match level.path.join(text) {
                Ok(path) => path,
                Err(error) => {
                    return Some(Found::Failed {
                        local,
                        why: error.to_string(),
                    });
                }
            };
            return Some(self.look(local, path));
        }
    }

    fn look(&mut self, local: PathBuf, path: FilePath) -> Found {
        let meta = match fs::symlink_metadata(&local) {
            Ok(meta) if meta.is_symlink() && self.follow => fs::metadata(&local),
            other => other,
        };
        let meta = match meta {
            Ok(meta) => meta,
            Err(error) => {
                return Found::Failed {
                    local,
                    why: error.to_string(),
                };
            }
        };
        if meta.is_file() {
            return Found::File {
                path,
                local,
                stamp: Stamp::of(&meta),
            };
        }
        if !meta.is_dir() {
            let what = if meta.is_symlink() {
                "symlink"
            } else {
                "not a regular file"
            };
            return Found::Left { local, what };
        }
        if self.follow && self.leads_up(&local) {
            return Found::Left {
                local,
                what: "symlink to a folder it stands in",
            };
        }
        match sorted_names(&local) {
            Ok(names) => {
                self.stack.push(Level {
                    dir: local,
                    path: path.clone(),
                    names,
                });
                let stamp = Stamp::of(&meta);
                Found::Dir { path, stamp }
            }
            Err(error) => Found::Failed {
                local,
                why: error.to_string(),
            },
        }
    }
}

impl Walk {
    /// Whether entering `dir` would walk in a circle: it is one of the folders it stands in.
    fn leads_up(&self, dir: &Path) -> bool {
        let here = self.stack.last().map(|level| fs::canonicalize(&level.dir));
        match (fs::canonicalize(dir), here) {
            (Ok(target), Some(Ok(here))) => here.starts_with(target),
            _ => false,
        }
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        self.step()
    }
}

fn sorted_names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| entry.map(|e| e.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| b.as_encoded_bytes().cmp(a.as_encoded_bytes()));
    Ok(names)
}

/// The order of a walk and of a recursive listing.
pub(crate) fn order(a: &FilePath, b: &FilePath) -> std::cmp::Ordering {
    a.components().cmp(b.components())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(dir: &Path, follow: bool) -> Vec<String> {
        Walk::new(dir, &FilePath::root(), follow)
            .unwrap()
            .map(|found| match found {
                Found::File { path, stamp, .. } => format!("{path} {}", stamp.size),
                Found::Dir { path, .. } => format!("{path}/"),
                Found::Left { local, what } => {
                    format!("{} {what}", local.file_name().unwrap().display())
                }
                Found::Failed { local, .. } => {
                    format!("{} failed", local.file_name().unwrap().to_string_lossy())
                }
            })
            .collect()
    }

    #[test]
    fn depth_first_by_bytes() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["a", "a.d", "b/c", "empty"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        for (name, text) in [("a/x", "1"), ("a.txt", "22"), ("b/c/y", ""), ("A", "")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let want = [
            "A 0", "a/", "a/x 1", "a.d/", "a.txt 2", "b/", "b/c/", "b/c/y 0", "empty/",
        ];
        assert_eq!(seen(dir.path(), false), want);
        let mut paths: Vec<FilePath> = ["A", "a", "a/x", "a.d", "a.txt", "b"]
            .iter()
            .map(|p| FilePath::parse(p).unwrap())
            .collect();
        let sorted = paths.clone();
        paths.reverse();
        paths.sort_by(order);
        assert_eq!(paths, sorted, "order() is the order of the walk");
    }

    #[test]
    fn the_target_decides_what_is_reserved() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".gfl"), "").unwrap();
        assert_eq!(seen(dir.path(), false), [".gfl failed"]);
        let below = FilePath::parse("odd").unwrap();
        let found = Walk::new(dir.path(), &below, false).unwrap().next();
        assert!(matches!(found, Some(Found::File { path, .. }) if path.as_str() == "odd/.gfl"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_sent() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        fs::write(
            dir.path().join(std::ffi::OsStr::from_bytes(b"bad\xff")),
            "x",
        )
        .unwrap();
        symlink("f", dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("broken")).unwrap();
        symlink(".", dir.path().join("round")).unwrap();
        assert_eq!(
            seen(dir.path(), false),
            [
                "bad\u{fffd} failed",
                "broken symlink",
                "f 1",
                "link symlink",
                "round symlink"
            ]
        );
        let followed = seen(dir.path(), true);
        assert!(
            followed.contains(&"link 1".to_owned())
                && followed.contains(&"broken failed".to_owned())
        );
        assert!(followed.contains(&"round symlink to a folder it stands in".to_owned()));
    }
}
