//! One server on a folder: an advisory lock on a file that names who holds it.

use crate::error::{Error, Kind, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Held until dropped, or until the process ends however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock, making the folder (0700) when it is missing.
    ///
    /// # Errors
    /// `Busy` when another process holds it.
    pub fn take(path: &Path) -> Result<DirLock> {
        let failed = |e: std::io::Error| {
            Error::new(
                Kind::ReadOnlyStorage,
                "the lock file cannot be used: check the folder, its owner and its permissions",
            )
            .caused_by(e)
        };
        if let Some(dir) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(failed)?;
        }
        let open = |write: bool| {
            OpenOptions::new()
                .read(true)
                .write(write)
                .create(write)
                .truncate(false)
                .mode(0o600)
                .open(path)
        };
        drop(open(true).map_err(failed)?);
        // Held for reading only: nothing open for writing keeps the disk from being remounted read-only.
        let mut file = open(false).map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Who it is only helps the message.
            let _ = file.read_to_string(&mut pid);
            return Err(Error::new(
                Kind::Busy,
                format!(
                    "another server (process {}) uses the same folders; stop it, or choose others",
                    pid.trim()
                ),
            ));
        }
        // In place, and cut to its length afterwards: that needs no room on a full disk.
        let pid = format!("{}\n", std::process::id());
        let mut note = open(true).map_err(failed)?;
        note.write_all(pid.as_bytes()).map_err(failed)?;
        note.set_len(pid.len() as u64).map_err(failed)?;
        Ok(DirLock { _file: file })
    }
}
