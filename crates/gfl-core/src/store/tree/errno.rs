//! The one place where an errno of the kernel becomes an error of the core. A message names the virtual
//! path and what to do about it, never a path of this machine; the errno itself is the source.

use crate::error::{Error, Kind};
use gfl_api::path::FilePath;
use rustix::io::Errno;
use std::fmt;

/// What a step was about, as the caller may see it.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    /// A visible path.
    Path(&'a FilePath),
    /// Bytes being received.
    Draft,
    /// Replaced or deleted content.
    Kept,
    /// A file that is open.
    Content,
    /// The storage folder as a whole.
    Storage,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::Path(path) => write!(f, "{path}"),
            About::Draft => f.write_str("the received data"),
            About::Kept => f.write_str("the kept version"),
            About::Content => f.write_str("the file"),
            About::Storage => f.write_str("the storage folder"),
        }
    }
}

/// The error for a failed step: `doing` is an infinitive ("open", "write").
pub(super) fn error(errno: Errno, doing: &str, about: About<'_>) -> Error {
    let (kind, reason) = match (errno, about) {
        // A person's file: nothing is wrong with the storage as a whole.
        (Errno::ACCESS | Errno::PERM, About::Path(_) | About::Kept | About::Content) => {
            (Kind::StoragePermission, Some(NO_PERMISSION))
        }
        _ => meaning(errno),
    };
    let message = match reason {
        Some(reason) => format!("cannot {doing} {about}: {reason}"),
        None => {
            format!("cannot {doing} {about}: the server's storage failed; its log has the cause")
        }
    };
    Error::new(kind, message).caused_by(std::io::Error::from(errno))
}

/// Like [`error`] for a step that gives `path` its name, where some codes speak of the name itself.
pub(super) fn naming(errno: Errno, doing: &str, path: &FilePath) -> Error {
    match errno {
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Error::new(
            Kind::NameNotStorable,
            format!("cannot {doing} {path}: the file system of the storage cannot hold this name; use a shorter or plainer one"),
        )
        .caused_by(std::io::Error::from(errno)),
        // Not a link that leads out (that is found when resolving), but a disk mounted below the root.
        Errno::XDEV => Error::new(
            Kind::ReadOnlyStorage,
            format!("cannot {doing} {path}: it lies on another file system mounted inside the storage folder, where files can be read but not published"),
        )
        .caused_by(std::io::Error::from(errno)),
        _ => error(errno, doing, About::Path(path)),
    }
}

/// A symlink that leads out of the root, to a server-owned folder or to nothing.
pub(super) fn leaves(path: &FilePath) -> Error {
    Error::new(
        Kind::InvalidPath,
        format!(
            "{path} leads through a link that leaves the storage folder; links are followed only inside it"
        ),
    )
}

/// The path names the program's own folder.
pub(super) fn reserved(path: &FilePath) -> Error {
    Error::new(
        Kind::ReservedPath,
        format!("{path} is kept for the server's own files; use another name"),
    )
}

/// For what belongs to the caller: a token with more permissions would not help, so it says who can.
const NO_PERMISSION: &str = "the server itself has no permission for it on its disk; its administrator can give it one \
     (check owner and mode of this and of the folders above)";

/// Which kind an errno is, and what to tell the caller.
fn meaning(errno: Errno) -> (Kind, Option<&'static str>) {
    match errno {
        Errno::NOSPC => (
            Kind::StorageFull,
            Some("no space left on the storage; free some or add a disk"),
        ),
        Errno::DQUOT => (
            Kind::StorageFull,
            Some("the server's disk quota is used up; free some space"),
        ),
        Errno::ROFS => (
            Kind::ReadOnlyStorage,
            Some("the storage is mounted read-only; check the mount and the kernel log"),
        ),
        Errno::ACCESS | Errno::PERM => (
            Kind::ReadOnlyStorage,
            Some("the server may not write there; check owner and mode of the folder"),
        ),
        Errno::NAMETOOLONG | Errno::ILSEQ => (
            Kind::NameNotStorable,
            Some(
                "the file system of the storage cannot hold this name; use a shorter or plainer one",
            ),
        ),
        Errno::NOTDIR => (
            Kind::NotADirectory,
            Some("a file is where a folder is needed"),
        ),
        Errno::ISDIR => (Kind::IsADirectory, Some("it is a folder")),
        Errno::NOENT => (Kind::NotFound, Some("there is nothing")),
        Errno::EXIST => (Kind::AlreadyExists, Some("something is there already")),
        Errno::NOTEMPTY => (Kind::NotEmpty, Some("the folder is not empty")),
        Errno::XDEV => (
            Kind::InvalidPath,
            Some("it leaves the storage folder; links are followed only inside it"),
        ),
        Errno::LOOP => (
            Kind::InvalidPath,
            Some("its links lead in a circle or are too many"),
        ),
        Errno::FBIG => (
            Kind::TooLarge,
            Some("the file system of the storage cannot hold a file of this size"),
        ),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => (
            Kind::Busy,
            Some("the server has too many files open or too little memory; try again"),
        ),
        Errno::BUSY | Errno::TXTBSY => (
            Kind::Busy,
            Some("it is in use on the server; try again later"),
        ),
        _ => (Kind::Internal, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_errno() {
        let path = FilePath::parse("a/b").unwrap();
        for (errno, kind) in [
            (Errno::NOSPC, Kind::StorageFull),
            (Errno::DQUOT, Kind::StorageFull),
            (Errno::ROFS, Kind::ReadOnlyStorage),
            (Errno::ACCESS, Kind::StoragePermission),
            (Errno::PERM, Kind::StoragePermission),
            (Errno::NOTDIR, Kind::NotADirectory),
            (Errno::ISDIR, Kind::IsADirectory),
            (Errno::NOENT, Kind::NotFound),
            (Errno::MFILE, Kind::Busy),
            (Errno::IO, Kind::Internal),
            (Errno::INVAL, Kind::Internal),
        ] {
            let e = error(errno, "open", About::Path(&path));
            assert_eq!(e.kind(), kind, "{errno}");
            assert!(e.message().contains("a/b"), "{e}");
            assert!(std::error::Error::source(&e).is_some());
        }
        // The server's own folders: then nothing can be stored at all.
        for about in [About::Storage, About::Draft] {
            let e = error(Errno::ACCESS, "write to", about);
            assert_eq!(e.kind(), Kind::ReadOnlyStorage);
        }
        assert_eq!(
            naming(Errno::ACCESS, "publish", &path).kind(),
            Kind::StoragePermission
        );
        assert_eq!(
            naming(Errno::INVAL, "publish", &path).kind(),
            Kind::NameNotStorable
        );
        assert_eq!(
            naming(Errno::XDEV, "publish", &path).kind(),
            Kind::ReadOnlyStorage
        );
        assert_eq!(
            naming(Errno::NOSPC, "publish", &path).kind(),
            Kind::StorageFull
        );
    }
}
