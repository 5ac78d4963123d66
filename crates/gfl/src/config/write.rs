//! Writing the settings file: whole or not at all, readable by nobody who could not read it before, with everything
//! else in it kept.

use anyhow::{Context, Result};
use std::fs::{self, File, Metadata};
use std::io::Write;
use std::path::Path;

/// Replaces the file's text. Durable when this returns.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    // A symlinked settings file stays one: what it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name = path
        .file_name()
        .with_context(|| format!("{shown} is not a file name"))?;
    let new = dir.join(format!(
        ".{}.{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    let old = fs::metadata(path).ok();
    let written = write_new(&new, text, old.as_ref()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("cannot write {shown}"))
}

fn write_new(path: &Path, text: &str, old: Option<&Metadata>) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if let Some(old) = old {
        take_over(&file, old)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file that a server reads too keeps its owner and group and what they may do. Others have no business with tokens.
#[cfg(unix)]
fn take_over(file: &File, old: &Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    // Only root may give files away. Who cannot give it back keeps it private.
    if fchown(file, Some(old.uid()), Some(old.gid())).is_err() {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o770))
}

#[cfg(not(unix))]
fn take_over(_: &File, _: &Metadata) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            replace(&path, "three").unwrap();
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o640,
                "its group may go on reading"
            );
        }
    }
}
