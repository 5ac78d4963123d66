//! One program takes another's place: written beside it, checked, tried, and renamed over it. At every moment there
//! is a whole program at the old path; when something fails, it is the old one.

use super::forged;
use crate::exit::{Exit, Failed};
use anyhow::{Context, Result};
use gfl_api::release::{Binary, Version};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What dpkg installed of this package.
const DPKG_LIST: &str = "/var/lib/dpkg/info/goflux-lite.list";
/// A new program says its version within this.
const TRIAL_MS_MAX: u64 = 10_000;
const TRIAL_POLL_MS: u64 = 20;

/// The program to be replaced.
#[derive(Debug)]
pub(crate) struct Installed {
    exe: PathBuf,
}

/// The new program while it arrives. Removed when dropped before it has taken its place.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    file: Option<File>,
    hash: Sha256,
    received: u64,
    expected: u64,
}

impl Installed {
    /// The program that is running; what a symlink leads to is what will be replaced.
    pub(crate) fn running() -> Result<Self> {
        let exe = std::env::current_exe().and_then(fs::canonicalize);
        let exe = exe.context("cannot find out where this program is")?;
        Ok(Self { exe })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.exe
    }

    /// Where the old program is kept.
    pub(crate) fn backup(&self) -> PathBuf {
        self.beside("", ".backup")
    }

    /// Whether the system's package manager put it there. It would put its own back.
    pub(crate) fn is_packaged(&self) -> bool {
        is_listed(&self.exe, Path::new(DPKG_LIST))
    }

    fn beside(&self, before: &str, behind: &str) -> PathBuf {
        let name = self.exe.file_name().unwrap_or_default();
        let mut whole = std::ffi::OsString::from(before);
        whole.push(name);
        whole.push(behind);
        self.exe.with_file_name(whole)
    }

    /// Begins a new program beside the old one.
    pub(crate) fn draft(&self, binary: &Binary) -> Result<Draft> {
        let path = self.beside(".", &format!(".update-{}", std::process::id()));
        // Left by a process with the same number, or put there by somebody who wants it written through.
        let _ = fs::remove_file(&path);
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o700);
        let file = options
            .open(&path)
            .map_err(|error| self.not_writable(&error))?;
        Ok(Draft {
            path,
            file: Some(file),
            hash: Sha256::new(),
            received: 0,
            expected: binary.size,
        })
    }

    fn not_writable(&self, error: &io::Error) -> Failed {
        let folder = self.exe.parent().unwrap_or(Path::new("/")).display();
        let message = format!(
            "cannot write to {folder}, where this program is ({error}); run the update as who installed it (sudo?), \
             or install gfl in a folder of your own"
        );
        Failed::new(Exit::Failure, message)
    }

    /// Lets the new program take the place of the old one, which is kept as [`Installed::backup`]. Returns where the
    /// old one really is.
    pub(crate) async fn replace(&self, mut draft: Draft, version: &Version) -> Result<PathBuf> {
        keep_owner_and_mode(&self.exe, &draft.path)?;
        try_out(&draft.path, version).await?;
        let spare = self.beside(".", &format!(".backup-{}", std::process::id()));
        let _ = fs::remove_file(&spare);
        // Two names for the old program: losing one of them never loses it.
        fs::hard_link(&self.exe, &spare)
            .or_else(|_| fs::copy(&self.exe, &spare).map(|_| ()))
            .with_context(|| format!("cannot keep the old program as {}", spare.display()))?;
        if let Err(error) = swap(&draft.path, &self.exe) {
            let _ = fs::remove_file(&spare);
            return Err(self.not_writable(&error).into());
        }
        draft.path = PathBuf::new();
        if let Err(error) = try_out(&self.exe, version).await {
            let back = swap(&spare, &self.exe);
            let old =
                back.map_or_else(|_| spare.display().to_string(), |()| "back in place".into());
            return Err(error.context(format!("the old program is {old}")));
        }
        let backup = self.backup();
        let kept = swap(&spare, &backup).map_or(spare, |()| backup);
        sync_folder(&self.exe);
        Ok(kept)
    }
}

impl Draft {
    /// Begins again, after a connection was lost.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.hash = Sha256::new();
        self.received = 0;
        if let Some(file) = &mut self.file {
            file.set_len(0)?;
            io::Seek::rewind(file)?;
        }
        Ok(())
    }

    /// Takes the next piece. A program is small: writing does not hold anything up.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.received += piece.len() as u64;
        if self.received > self.expected {
            return Err(forged(format!(
                "the program is longer than {} bytes",
                self.expected
            ))
            .into());
        }
        self.hash.update(piece);
        if let Some(file) = &mut self.file {
            file.write_all(piece)
                .context("cannot write the new program")?;
        }
        Ok(())
    }

    /// Holds what arrived against the manifest.
    pub(crate) fn finish(&mut self, binary: &Binary) -> Result<()> {
        if self.received != binary.size {
            let message = format!(
                "the program has {} bytes instead of {}",
                self.received, binary.size
            );
            return Err(forged(message).into());
        }
        if binary.digest() != Some(std::mem::take(&mut self.hash).finalize().into()) {
            return Err(forged("the program has another checksum than the release says").into());
        }
        // Closed here: a program that is open for writing cannot be started.
        if let Some(file) = self.file.take() {
            file.sync_all().context("cannot write the new program")?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_listed(exe: &Path, list: &Path) -> bool {
    let list = fs::read_to_string(list).unwrap_or_default();
    list.lines().any(|line| Path::new(line) == exe)
}

#[cfg(unix)]
fn keep_owner_and_mode(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let old = fs::metadata(from).with_context(|| from.display().to_string())?;
    let new = fs::metadata(to).with_context(|| to.display().to_string())?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        // Root may; anybody else who may write here gets a program of his own.
        let _ = chown(to, Some(old.uid()), Some(old.gid()));
    }
    fs::set_permissions(to, old.permissions()).with_context(|| to.display().to_string())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(_: &Path, _: &Path) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn swap(new: &Path, place: &Path) -> io::Result<()> {
    fs::rename(new, place)
}

/// A running program can be renamed here, but not be replaced.
#[cfg(not(unix))]
fn swap(new: &Path, place: &Path) -> io::Result<()> {
    let aside = place.with_extension("old");
    let _ = fs::remove_file(&aside);
    let _ = fs::rename(place, &aside);
    fs::rename(new, place).inspect_err(|_| {
        let _ = fs::rename(&aside, place);
    })
}

fn sync_folder(path: &Path) {
    // The rename has happened; it is only about when it reaches the disk.
    let folder = path.parent().and_then(|folder| File::open(folder).ok());
    let _ = folder.map(|folder| folder.sync_all());
}

/// Runs a program with `-version` and holds what it says against what was promised.
async fn try_out(program: &Path, version: &Version) -> Result<()> {
    let said = run(program).await;
    let said = said.context("the new program does not run on this machine")?;
    let found = said.lines().next().and_then(|line| line.rsplit_once(' '));
    match found.and_then(|(_, found)| Version::parse(found)) {
        Some(found) if found == *version => Ok(()),
        _ => Err(forged(format!("the new program does not say that it is {version}")).into()),
    }
}

async fn run(program: &Path) -> io::Result<String> {
    let mut child = start(program).await?;
    let mut waited_ms = 0;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if waited_ms >= TRIAL_MS_MAX => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("it does not end"));
            }
            None => pause(&mut waited_ms).await,
        }
    };
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        out.take(1024).read_to_string(&mut said)?;
    }
    Ok(said)
}

async fn start(program: &Path) -> io::Result<Child> {
    let mut waited_ms = 0;
    loop {
        let child = Command::new(program)
            .arg("-version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match child {
            // Another thread's child may hold our writing end for the moment between its fork and its exec.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && waited_ms < TRIAL_MS_MAX => {
                pause(&mut waited_ms).await;
            }
            done => return done,
        }
    }
}

async fn pause(waited_ms: &mut u64) {
    tokio::time::sleep(Duration::from_millis(TRIAL_POLL_MS)).await;
    *waited_ms += TRIAL_POLL_MS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dpkg_lists_is_packaged() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("goflux-lite.list");
        assert!(!is_listed(Path::new("/usr/bin/gfl"), &list));
        fs::write(&list, "/.\n/usr\n/usr/bin/gfl\n").unwrap();
        assert!(is_listed(Path::new("/usr/bin/gfl"), &list));
        assert!(!is_listed(Path::new("/usr/local/bin/gfl"), &list));
    }
}
