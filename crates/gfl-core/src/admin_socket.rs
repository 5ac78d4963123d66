//! Where the administrator's socket is. Whoever can open it is the administrator of this machine: it lies in
//! `meta_dir`, which nobody else may enter, and has mode 0600.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Its name in `meta_dir`.
pub const NAME: &str = "admin.sock";

/// The kernel takes no longer path for a socket (sun_path has 108 bytes, one of them a NUL).
const PATH_BYTES_MAX: usize = 107;

/// A path by which the socket of `meta_dir` can be bound or connected to.
#[derive(Debug)]
pub struct Address {
    /// For bind and connect.
    pub path: PathBuf,
    /// Keeps a path over a descriptor valid.
    _dir: Option<OwnedFd>,
}

impl Address {
    /// Of the socket in this folder. A path that is too long is shortened by way of the folder's descriptor.
    pub fn of(meta_dir: &Path) -> io::Result<Address> {
        let path = meta_dir.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Address { path, _dir: None });
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, meta_dir, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
        Ok(Address {
            path,
            _dir: Some(dir),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_in_a_deep_folder_can_be_used() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let address = Address::of(&deep).unwrap();
        let _listener = UnixListener::bind(&address.path).unwrap();
        assert!(deep.join(NAME).exists());
        UnixStream::connect(Address::of(&deep).unwrap().path).unwrap();

        let short = Address::of(temp.path()).unwrap();
        assert_eq!(short.path, temp.path().join(NAME));
        assert!(Address::of(&temp.path().join("no".repeat(60))).is_err());
    }
}
