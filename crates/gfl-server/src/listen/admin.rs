//! The administrator's socket: `admin.sock` in `meta_dir`, mode 0600. Whoever can open it is the administrator of
//! this machine; what he may ask is the router's business.

use crate::incoming::RequestBody;
use crate::server::Server;
use gfl_core::admin_socket::{Address, NAME};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{FileType, Mode, chmod, fchmod, lstat};
use socket2::{Domain, SockAddr, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Connections at once; there is one administrator.
const CONNECTIONS_MAX: usize = 16;
/// A connection used for nothing is closed after this.
const IDLE_MS_MAX: u64 = 10_000;
/// Pause after accepting failed.
const ACCEPT_RETRY_MS: u64 = 100;

/// The open socket; closed and removed when dropped.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AdminSocket {
    /// Opens it. Without it the server works all the same, so that a failure is told and no more.
    pub fn open(server: &Arc<Server>) -> Option<AdminSocket> {
        let meta_dir = &server.app.settings().meta_dir;
        let listener = bind(meta_dir).and_then(UnixListener::from_std);
        match listener {
            Ok(listener) => Some(AdminSocket {
                path: meta_dir.join(NAME),
                task: tokio::spawn(accept(listener, Arc::clone(server))),
            }),
            Err(error) => {
                tracing::warn!(
                    "no administrator's socket, gfl-admin cannot ask this server: {NAME} in meta_dir: {error}"
                );
                None
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.task.abort();
        // The folder's lock is still ours: it is no other server's.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds it in a folder whose lock the caller holds: a socket that is there belongs to nobody any more.
fn bind(meta_dir: &Path) -> io::Result<StdListener> {
    let path = meta_dir.join(NAME);
    if let Ok(found) = lstat(&path) {
        if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
            let why = "something else has its name, remove that";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        std::fs::remove_file(&path)?;
    }
    let address = Address::of(meta_dir)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let owner_only = Mode::RUSR | Mode::WUSR;
    // Linux gives the file the mode of the socket: it is never open to others, not even for a moment. Other systems
    // refuse this; there the folder keeps others out until the mode is set below.
    let _ = fchmod(&socket, owner_only);
    socket.bind(&SockAddr::unix(&address.path)?)?;
    chmod(&address.path, owner_only)?;
    socket.listen(i32::try_from(CONNECTIONS_MAX).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(listener: UnixListener, server: Arc<Server>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    connection(stream, server).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("accepting on the administrator's socket failed: {error}");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, server: Arc<Server>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let server = Arc::clone(&server);
        async move {
            let request = request.map(RequestBody::from_socket);
            Ok::<_, Infallible>(server.handle_admin(request).await)
        }
    });
    let outcome = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(IDLE_MS_MAX))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = outcome {
        tracing::debug!("connection of the administrator ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_open_it_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let first = bind(dir.path()).unwrap();
        let made = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
        drop(first);
        // As after a crash: it is there, and nobody listens.
        let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _second = bind(dir.path()).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn nothing_but_a_socket_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), "mine").unwrap();
        assert!(bind(dir.path()).is_err());
        assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), b"mine");
    }
}
