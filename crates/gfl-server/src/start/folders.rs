//! Whether the folders can be used, and whether they are apart from each other. Looks and changes nothing.

use super::finding::Finding;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The server's own folder in the storage folder: never listed and not addressable.
const OWN: &str = ".gfl";
/// What has its place in there.
const OWN_FOLDERS: [&str; 3] = ["drafts", "kept", "groups"];

/// A folder, after the setting or option that named it.
type Named<'a> = (&'static str, &'a Path);

/// What is doubtful about the two folders.
pub(super) fn look(storage: Named<'_>, meta: Named<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(storage_usable(storage));
    found.extend(usable(meta.1).err().map(|why| {
        let why = format!("{why}; the catalog and its lock are written there");
        Finding::error(meta.0, &shown(meta.1), why)
    }));
    found.extend(apart(storage, meta));
    found
}

/// The catalog among the files would be served, and could be overwritten, like any of them.
fn apart((from, storage): Named<'_>, (meta_from, meta): Named<'_>) -> Option<Finding> {
    let (root, own) = (real(storage), real(meta));
    let meta_is = |what: &str| {
        let why = format!(
            "{what} the storage folder {}: clients could read, replace and delete the catalog; \
             choose a folder outside of it",
            shown(storage)
        );
        Some(Finding::error(meta_from, &shown(meta), why))
    };
    if root == own || is_same(storage, meta) {
        return meta_is("is");
    }
    if let Ok(below) = own.strip_prefix(&root) {
        return if is_beside_own(below) {
            None
        } else {
            meta_is("lies inside")
        };
    }
    root.starts_with(&own).then(|| {
        let why = format!(
            "lies inside the metadata folder {}, which is the server's own and closed to other users; \
             keep the two apart",
            shown(meta)
        );
        Finding::warning(from, &shown(storage), why)
    })
}

/// Whether a path in the storage folder is one that no client can reach and that is not in use.
fn is_beside_own(below: &Path) -> bool {
    let mut names = below.components().map(Component::as_os_str);
    let first = names.next();
    let second = names.next();
    first.is_some_and(|name| name == OWN)
        && second.is_some_and(|name| OWN_FOLDERS.iter().all(|own| name != *own))
}

/// Whether a file lies where clients can reach it.
pub(super) fn is_served(file: &Path, storage: &Path) -> bool {
    match real(file).strip_prefix(real(storage)) {
        Ok(below) => !below.starts_with(OWN),
        Err(_) => false,
    }
}

fn storage_usable((from, storage): Named<'_>) -> Option<Finding> {
    let error = |why: String| Some(Finding::error(from, &shown(storage), why));
    let own = storage.join(OWN);
    if !own.is_dir() {
        return usable(storage).err().and_then(error);
    }
    // What is there already decides: everything is received in .gfl first.
    match (writable(&own), writable(storage)) {
        (Ok(()), Ok(())) => None,
        (Err(Errno::ROFS), _) => Some(Finding::warning(
            from,
            &shown(storage),
            "is mounted read-only: files can be read, and nothing be stored",
        )),
        (Err(errno), _) => error(format!("its folder {OWN} {}", refusal(errno))),
        (Ok(()), Err(errno)) => Some(Finding::warning(
            from,
            &shown(storage),
            format!(
                "{}: nothing can be made directly in it, only in its folders",
                refusal(errno)
            ),
        )),
    }
}

/// Whether the server can write into this folder, or make it. The error says why not.
pub(super) fn usable(folder: &Path) -> Result<(), String> {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => writable(folder).map_err(refusal),
        Ok(_) => Err("is not a folder, name one".into()),
        Err(error) if is_nothing(&error) => makeable(folder),
        Err(error) => Err(format!("cannot be looked at: {error}")),
    }
}

/// Whether a missing folder could be made where the first folder above it is.
fn makeable(folder: &Path) -> Result<(), String> {
    let absolute = absolute(folder);
    for above in absolute.ancestors().skip(1) {
        match std::fs::metadata(above) {
            Ok(found) if found.is_dir() => {
                return writable(above).map_err(|errno| {
                    format!(
                        "does not exist and cannot be made: {} {}",
                        above.display(),
                        refusal(errno)
                    )
                });
            }
            Ok(_) => {
                return Err(format!(
                    "cannot be made: {} is not a folder",
                    above.display()
                ));
            }
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(format!("cannot be looked at: {error}")),
        }
    }
    Ok(())
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Asked of the kernel, which knows about read-only mounts and access lists.
fn writable(folder: &Path) -> Result<(), Errno> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, folder, wanted, AtFlags::EACCESS)
}

fn refusal(errno: Errno) -> String {
    match errno {
        Errno::ROFS => "is mounted read-only, mount it writable".into(),
        Errno::ACCESS | Errno::PERM => format!(
            "may not be written by user {}, check its owner and mode",
            rustix::process::geteuid().as_raw()
        ),
        other => format!("cannot be written: {}", std::io::Error::from(other)),
    }
}

/// The same folder under two names that no link explains (mounted twice).
fn is_same(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Where a path leads: links followed as far as it exists, the rest as it is written.
fn real(path: &Path) -> PathBuf {
    let absolute = absolute(path);
    for above in absolute.ancestors() {
        if let (Ok(mut real), Ok(rest)) = (above.canonicalize(), absolute.strip_prefix(above)) {
            for component in rest.components() {
                match component {
                    Component::ParentDir => drop(real.pop()),
                    Component::CurDir => {}
                    name => real.push(name),
                }
            }
            return real;
        }
    }
    absolute
}

/// The path from the root of the machine, links left as they are.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

pub(super) fn shown(path: &Path) -> String {
    absolute(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// `ok`, or `error`/`warning` and the setting.
    fn verdict(found: Option<Finding>) -> String {
        match found {
            None => "ok".into(),
            Some(finding) => {
                let text = finding.to_string();
                let kind = if finding.fatal { "error" } else { "warning" };
                format!("{kind} {}", text.split(' ').next().unwrap())
            }
        }
    }

    #[test]
    fn the_folders_must_be_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("data/.gfl")).unwrap();
        fs::create_dir_all(at("there")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        for (storage, meta, want) in [
            ("data", "meta", "ok"),
            ("data", "data2", "ok"),
            ("data", "data", "error server.meta_dir"),
            ("data", "data/../data/./", "error server.meta_dir"),
            ("data", "link", "error server.meta_dir"),
            ("data", "data/meta", "error server.meta_dir"),
            ("data", "link/new/meta", "error server.meta_dir"),
            ("link", "data/meta", "error server.meta_dir"),
            ("data", "data/new/../meta", "error server.meta_dir"),
            ("data", "data/../meta", "ok"),
            ("data", "data/.gflx", "error server.meta_dir"),
            ("data", "data/.gfl", "error server.meta_dir"),
            ("data", "data/.gfl/drafts", "error server.meta_dir"),
            ("data", "data/.gfl/meta", "ok"),
            ("new", "new/meta", "error server.meta_dir"),
            ("there/data", "there", "warning server.storage_dir"),
        ] {
            let found = apart(
                ("server.storage_dir", &at(storage)),
                ("server.meta_dir", &at(meta)),
            );
            assert_eq!(verdict(found), want, "{storage} {meta}");
        }
        assert!(is_served(&at("link/x/tokens.json"), &at("data")));
        assert!(!is_served(&at("data/.gfl/tokens.json"), &at("data")));
        assert!(!is_served(&at("tokens.json"), &at("data")));
    }

    #[test]
    fn a_folder_must_be_one_that_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::write(at("file"), "").unwrap();
        assert_eq!(usable(dir.path()), Ok(()));
        assert_eq!(usable(&at("to/be/made")), Ok(()));
        assert_eq!(usable(&at("file")), Err("is not a folder, name one".into()));
        let below = usable(&at("file/below/x")).unwrap_err();
        assert!(below.ends_with("file is not a folder"), "{below}");
        // Root may write anywhere; a read-only mount is what the end-to-end tests have for it.
        if !rustix::process::geteuid().is_root() {
            let closed = Permissions::from_mode(0o500);
            fs::create_dir(at("closed")).unwrap();
            fs::set_permissions(at("closed"), closed).unwrap();
            for folder in ["closed", "closed/to/be/made"] {
                let why = usable(&at(folder)).unwrap_err();
                assert!(why.contains("may not be written by user"), "{why}");
            }
        }
        let found = look(("-storage-dir", &at("file")), ("-meta-dir", &at("file")));
        let settings: Vec<_> = found.into_iter().map(|f| verdict(Some(f))).collect();
        assert_eq!(
            settings,
            ["error -storage-dir", "error -meta-dir", "error -meta-dir"]
        );
    }
}
