//! Where downloads go: folders entered name by name, never through a symlink, so that nothing a server calls its
//! files can land outside the folder the user named.
//!
//! Knows nothing of servers. On Unix every step is taken relative to an open folder (`openat` without following), so
//! that there is no moment between looking and creating.

use super::below::Below;
use super::{OWNER_FOLDER_BITS, Stamp};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(not(unix))]
mod portable;
mod temp;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use portable::{Handle, id_of};
pub(crate) use temp::{Temp, Use};
#[cfg(unix)]
use unix::{Handle, id_of};

/// What stands at a name, symlinks not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Time of the last change, ns.
        mtime_ns: i64,
        /// Permission bits, where the system has them.
        mode: Option<u32>,
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

    /// Opens what is there, for reading and for its time and mode. A symlink there is an error.
    pub(crate) fn open(&self) -> io::Result<Option<File>> {
        match self.folder.handle.open_to_read(&self.name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes names in the folder durable.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        self.folder.handle.sync()
    }
}

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

    /// A folder in this one, and whether it was made, which it is with `mode` if that is known.
    fn child(&self, name: &str, mode: Option<u32>) -> io::Result<(Self, bool)> {
        let shown = self.shown.join(name);
        let mode = mode.map_or(0o777, |mode| mode & 0o777 | OWNER_FOLDER_BITS);
        let (handle, is_new) = self.handle.child(name, mode).map_err(|error| {
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
        Ok((Self { handle, shown }, is_new))
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
    pub(crate) fn place(&mut self, path: &Below) -> io::Result<Place> {
        let mut names: Vec<&str> = path.names().collect();
        let name = names.pop().unwrap_or_default().to_owned();
        let (folder, _) = self.enter(&names, None)?;
        Ok(Place { folder, name })
    }

    /// Makes a folder below; it may be there. Whether it was made: never open to more people than `mode` says, so that
    /// what is private is so from the beginning, but open to us as long as things are put into it.
    pub(crate) fn make(&mut self, path: &Below, mode: Option<u32>) -> io::Result<bool> {
        let names: Vec<&str> = path.names().collect();
        Ok(self.enter(&names, mode)?.1)
    }

    /// Gives a folder below its time and permission bits. To be done when everything is in it.
    pub(crate) fn finish(
        &mut self,
        path: &Below,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> io::Result<()> {
        let names: Vec<&str> = path.names().collect();
        let (folder, _) = self.enter(&names, None)?;
        apply_meta(&folder.handle.as_file()?, mtime_ns, mode)
    }

    /// As [`Tree::finish`], of the folder itself.
    pub(crate) fn finish_top(&self, mtime_ns: Option<i64>, mode: Option<u32>) -> io::Result<()> {
        apply_meta(&self.root.handle.as_file()?, mtime_ns, mode)
    }

    /// Makes everything written below durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.root.handle.sync_all_below()
    }

    /// Enters a folder, made if need be, the innermost with `mode`. Whether that was made.
    fn enter(&mut self, names: &[&str], mode: Option<u32>) -> io::Result<(Arc<Folder>, bool)> {
        let mut is_new = false;
        let shared = self
            .entered
            .iter()
            .zip(names)
            .take_while(|((a, _), b)| a == *b)
            .count();
        self.entered.truncate(shared);
        for (at, name) in names.iter().enumerate().skip(shared) {
            let parent = self.entered.last().map_or(&self.root, |(_, folder)| folder);
            let mode = mode.filter(|_| at + 1 == names.len());
            let (folder, was_made) = parent.child(name, mode)?;
            is_new = was_made;
            self.entered.push(((*name).to_owned(), Arc::new(folder)));
        }
        let folder = self.entered.last().map_or(&self.root, |(_, folder)| folder);
        Ok((Arc::clone(folder), is_new))
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

/// As [`apply_meta`], and whether anything is different now.
pub(crate) fn change_meta(
    file: &File,
    mtime_ns: Option<i64>,
    mode: Option<u32>,
) -> io::Result<bool> {
    let before = Stamp::now(file)?;
    apply_meta(file, mtime_ns, mode)?;
    Ok(Stamp::now(file)? != before)
}

/// Lets nobody read a file who could not read it with this mode; its owner can go on writing. For files that have a
/// name before they are whole.
#[cfg(unix)]
pub(crate) fn keep_private(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let now = file.metadata()?.permissions().mode() & 0o777;
    let kept = now & (mode | 0o600);
    if kept == now {
        return Ok(());
    }
    file.set_permissions(std::fs::Permissions::from_mode(kept))
}

/// Nothing to be kept here.
#[cfg(not(unix))]
pub(crate) fn keep_private(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // Never setuid, setgid or sticky from a server; what a folder here got from the one it is in stays.
    let meta = file.metadata()?;
    let own = meta.permissions().mode() & if meta.is_dir() { 0o7000 } else { 0 };
    file.set_permissions(std::fs::Permissions::from_mode(own | (mode & 0o777)))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn below(text: &str) -> Below {
        let path = gfl_api::FilePath::parse(text).unwrap();
        Below::of(&path, &gfl_api::FilePath::root()).unwrap()
    }

    #[test]
    fn files_land_below_and_are_published_by_rename() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::named(&dir.path().join("new/root")).unwrap();
        let place = tree.place(&below("a/b/c.txt")).unwrap();
        assert_eq!(place.there().unwrap(), None);
        let temp = place.temp().unwrap();
        io::Write::write_all(&mut temp.file().as_ref(), b"hi").unwrap();
        assert_eq!(place.there().unwrap(), None);
        assert!(place.open().unwrap().is_none());
        assert!(temp.publish(&place).unwrap());
        assert!(matches!(
            place.there().unwrap(),
            Some(There::File { size: 2, .. })
        ));
        assert_eq!(
            fs::read(dir.path().join("new/root/a/b/c.txt")).unwrap(),
            b"hi"
        );
        assert!(tree.make(&below("a/d"), None).unwrap());
        assert!(!tree.make(&below("a/d"), None).unwrap());
        assert!(dir.path().join("new/root/a/d").is_dir());
        assert_eq!(
            tree.place(&below("a/d")).unwrap().there().unwrap(),
            Some(There::Dir)
        );
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
        let mut tree = Tree::named(&root).unwrap();
        assert!(tree.place(&below("out/new")).is_err());
        assert!(tree.make(&below("out/new"), None).is_err());
        let place = tree.place(&below("f")).unwrap();
        assert_eq!(place.there().unwrap(), Some(There::Other));
        assert!(place.open().is_err());
        assert!(place.temp().unwrap().publish(&place).unwrap());
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_private_is_so_before_it_is_whole() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::tempfile().unwrap();
        for (now, mode, kept) in [
            (0o644, 0o600, 0o600),
            (0o644, 0o755, 0o644),
            (0o664, 0o444, 0o644),
            (0o640, 0o004, 0o600),
        ] {
            file.set_permissions(fs::Permissions::from_mode(now))
                .unwrap();
            keep_private(&file, mode).unwrap();
            let got = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(got, kept, "{now:o} {mode:o}");
        }
    }
}
