//! `tokens.json` on disk: read and replaced as a whole, by one program at a time, readable by its owner only.
//!
//! What stands in it is [`TokenFile`]'s matter, which keeps what it does not know.

use anyhow::{Context, Result, bail};
use gfl_api::tokens::TokenFile;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Larger files are none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The tokens of a file; none if it is not there.
pub(crate) fn read(path: &Path) -> Result<TokenFile> {
    let shown = path.display();
    let text = match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => bail!("{shown}: too large for a token file"),
        Ok(_) => fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    TokenFile::parse(&text).with_context(|| shown.to_string())
}

/// Changes the tokens of a file. Two programs changing it at once do so one after the other. Durable when this returns;
/// an error of `change` leaves the file as it was.
pub(crate) fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut TokenFile) -> Result<T>,
) -> Result<T> {
    // A symlinked file stays one: what it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let _lock = lock(folder).with_context(|| format!("cannot lock {}", folder.display()))?;
    let mut tokens = read(path)?;
    let result = change(&mut tokens)?;
    replace(path, folder, &tokens.to_text())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(result)
}

fn replace(path: &Path, folder: &Path, text: &str) -> io::Result<()> {
    let new = beside(path);
    let written = write_new(&new, path, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    sync(folder)
}

fn write_new(new: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(new)?;
    keep_owner(&file, old)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// The file stays its owner's: a server running as somebody else must still be able to read what root changed.
#[cfg(unix)]
fn keep_owner(new: &File, old: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Ok(was) = fs::metadata(old) else {
        return Ok(());
    };
    let is = new.metadata()?;
    if (was.uid(), was.gid()) == (is.uid(), is.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(new, Some(was.uid()), Some(was.gid())).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "the file belongs to user {}; run this as that user ({error})",
                was.uid()
            ),
        )
    })
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Held while the file is changed. The folder is locked, since the file itself is replaced.
#[cfg(unix)]
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    match rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive) {
        Ok(()) => Ok(Some(folder)),
        // A file system without locks.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOLCK | rustix::io::Errno::INVAL) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn lock(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::tokens::TokenRecord;

    #[test]
    fn changes_are_whole_private_and_keep_what_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        assert!(read(&path).unwrap().tokens.is_empty(), "not there");
        fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap().tokens.is_empty(), "empty");
        fs::write(&path, r#"{"tokens":[{"id":"a","mine":1}],"note":"x"}"#).unwrap();
        change(&path, |file| {
            file.tokens.push(TokenRecord {
                id: "b".into(),
                ..TokenRecord::default()
            });
            Ok(())
        })
        .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"mine\": 1") && text.contains("\"note\": \"x\""),
            "{text}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let failed: Result<()> = change(&path, |file| {
            file.tokens.clear();
            bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        fs::write(&path, "{").unwrap();
        assert!(read(&path).is_err() && change(&path, |_| Ok(())).is_err());
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    change(path, |file| {
                        file.tokens.push(TokenRecord {
                            id: n.to_string(),
                            ..TokenRecord::default()
                        });
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(read(&path).unwrap().tokens.len(), 8);
    }
}
