//! Where downloads go: folders entered name by name, never through a symlink, so that nothing a server calls its
//! files can land outside the folder the user named.
//!
//! Knows nothing of servers. On Unix every step is taken relative to an open folder (`openat` without following), so
//! that there is no moment between looking and creating.

use gfl_api::FilePath;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use portable::Handle;
#[cfg(unix)]
use unix::Handle;

/// What stands at a name, symlinks not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Time of the last change, ns.
        mtime_ns: i64,
    },
    /// A folder.
    Dir,
    /// Anything else.
    Other,
}

/// An open folder.
pub(crate) struct Folder {
    handle: Handle,
    /// As the user would write it.
    shown: PathBuf,
}

/// A name in an open folder: where one file goes.
#[derive(Clone)]
pub(crate) struct Place {
    folder: Arc<Folder>,
    name: String,
}

/// A folder that a tree of files goes into. Remembers the folders it stands in, for files come folder by folder.
pub(crate) struct Tree {
    root: Arc<Folder>,
    entered: Vec<(String, Arc<Folder>)>,
}

impl Place {
    /// The file `path` as the user named it. Its folder is taken as it is, symlinks and all, and made if need be.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "not a file name; name a file")
            })?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Ok(Self {
            folder: Arc::new(Folder::named(parent)?),
            name: name.to_owned(),
        })
    }

    /// The path as the user would write it.
    pub(crate) fn shown(&self) -> PathBuf {
        self.folder.shown.join(&self.name)
    }

    /// What is there.
    pub(crate) fn there(&self) -> io::Result<Option<There>> {
        self.folder.handle.there(&self.name)
    }

    /// Opens the name with `suffix` for reading and writing, made if need be. A symlink there is an error.
    pub(crate) fn open(&self, suffix: &str) -> io::Result<File> {
        self.folder.handle.open(&self.beside(suffix), true)
    }

    /// Opens the name with `suffix` if it is there.
    pub(crate) fn open_existing(&self, suffix: &str) -> io::Result<Option<File>> {
        match self.folder.handle.open(&self.beside(suffix), false) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the name with `suffix` its own name, replacing a file that is there.
    pub(crate) fn publish(&self, suffix: &str) -> io::Result<()> {
        self.folder.handle.rename(&self.beside(suffix), &self.name)
    }

    /// Renames between two suffixes.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder
            .handle
            .rename(&self.beside(from), &self.beside(to))
    }

    /// Removes the name with `suffix`; it may be gone.
    pub(crate) fn remove(&self, suffix: &str) -> io::Result<()> {
        match self.folder.handle.remove(&self.beside(suffix)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes names in the folder durable.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        self.folder.handle.sync()
    }

    fn beside(&self, suffix: &str) -> String {
        // A name at the limit leaves no room for a suffix: shorten it, keeping it apart from others by its hash.
        let limit = gfl_api::limits::NAME_BYTES_MAX;
        if suffix.is_empty() || self.name.len() + suffix.len() + TEMP_BYTES <= limit {
            return format!("{}{suffix}", self.name);
        }
        let hash = blake3::hash(self.name.as_bytes()).to_hex();
        let end = self
            .name
            .floor_char_boundary(limit - suffix.len() - TEMP_BYTES - 17);
        format!("{}~{}{suffix}", &self.name[..end], &hash[..16])
    }
}

/// Room for the longest suffix put behind another one.
const TEMP_BYTES: usize = 8;

impl Folder {
    /// The folder `path` as the user named it, made with its parents if need be.
    fn named(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => io::Error::new(error.kind(), "a file is in the way"),
            _ => error,
        })?;
        Ok(Self {
            handle: Handle::named(path)?,
            shown: path.to_owned(),
        })
    }

    fn child(&self, name: &str) -> io::Result<Self> {
        let shown = self.shown.join(name);
        let handle = self.handle.child(name).map_err(|error| {
            let why = match error.kind() {
                // What opening a symlink as a folder is answered with.
                io::ErrorKind::NotADirectory => {
                    "it is not a folder (symlinks are not followed)".to_owned()
                }
                _ => error.to_string(),
            };
            let text = format!("cannot enter {}: {why}", shown.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { handle, shown })
    }
}

impl Tree {
    /// The folder `path` as the user named it, made with its parents if need be.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        Ok(Self {
            root: Arc::new(Folder::named(path)?),
            entered: Vec::new(),
        })
    }

    /// The place of a file below; its folders are made.
    pub(crate) fn place(&mut self, path: &FilePath) -> io::Result<Place> {
        let (Some(name), Some(parent)) = (path.name(), path.parent()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a file needs a name",
            ));
        };
        let folder = self.enter(&parent)?;
        Ok(Place {
            folder,
            name: name.to_owned(),
        })
    }

    /// Makes a folder below.
    pub(crate) fn make(&mut self, path: &FilePath) -> io::Result<()> {
        self.enter(path).map(drop)
    }

    /// Makes everything written below durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.root.handle.sync_all_below()
    }

    fn enter(&mut self, path: &FilePath) -> io::Result<Arc<Folder>> {
        let names: Vec<&str> = path.components().collect();
        let shared = self
            .entered
            .iter()
            .zip(&names)
            .take_while(|((a, _), b)| a == *b)
            .count();
        self.entered.truncate(shared);
        for name in &names[shared..] {
            let at = self.entered.last().map_or(&self.root, |(_, folder)| folder);
            let folder = Arc::new(at.child(name)?);
            self.entered.push(((*name).to_owned(), folder));
        }
        Ok(Arc::clone(
            self.entered.last().map_or(&self.root, |(_, folder)| folder),
        ))
    }
}

/// Gives a file its time and permission bits; what the system refuses is no reason to fail.
pub(crate) fn apply_meta(file: &File, mtime_ns: Option<i64>, mode: Option<u32>) -> io::Result<()> {
    if let Some(mode) = mode {
        set_mode(file, mode)?;
    }
    let time = mtime_ns.and_then(|ns| match u64::try_from(ns) {
        Ok(ns) => std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_nanos(ns)),
        Err(_) => {
            std::time::UNIX_EPOCH.checked_sub(std::time::Duration::from_nanos(ns.unsigned_abs()))
        }
    });
    match time {
        Some(time) => file.set_times(std::fs::FileTimes::new().set_modified(time)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // Never setuid, setgid or sticky from a server.
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).unwrap()
    }

    #[test]
    fn files_land_below_and_are_published_by_rename() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::named(&dir.path().join("new/root")).unwrap();
        let place = tree.place(&path("a/b/c.txt")).unwrap();
        assert_eq!(place.there().unwrap(), None);
        io::Write::write_all(&mut place.open(".part").unwrap(), b"hi").unwrap();
        assert_eq!(place.there().unwrap(), None);
        place.publish(".part").unwrap();
        assert!(matches!(
            place.there().unwrap(),
            Some(There::File { size: 2, .. })
        ));
        assert_eq!(
            fs::read(dir.path().join("new/root/a/b/c.txt")).unwrap(),
            b"hi"
        );
        tree.make(&path("a/d")).unwrap();
        assert!(dir.path().join("new/root/a/d").is_dir());
        assert_eq!(
            tree.place(&path("a/d")).unwrap().there().unwrap(),
            Some(There::Dir)
        );
        assert!(place.open_existing(".part").unwrap().is_none());
        place.remove(".part").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn symlinks_are_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "theirs").unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("f"), root.join("f")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("f"), root.join("g.part")).unwrap();
        let mut tree = Tree::named(&root).unwrap();
        assert!(tree.place(&path("out/new")).is_err());
        assert!(tree.make(&path("out/new")).is_err());
        assert!(tree.place(&path("g")).unwrap().open(".part").is_err());
        let place = tree.place(&path("f")).unwrap();
        assert_eq!(place.there().unwrap(), Some(There::Other));
        place.open(".part").unwrap();
        place.publish(".part").unwrap();
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_longest_names_have_room_for_suffixes() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::named(dir.path()).unwrap();
        let long = "ä".repeat(127);
        let place = tree.place(&path(&long)).unwrap();
        place.open(".part").unwrap();
        place.publish(".part").unwrap();
        assert!(place.there().unwrap().is_some());
    }
}
