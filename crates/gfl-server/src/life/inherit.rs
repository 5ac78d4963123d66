//! Listening sockets that systemd opened before this process was started (sd_listen_fds(3)): the port is there
//! before the server is, stays while it restarts, and may be one that only root can open.
//!
//! Unsafe, because a number in the environment becomes the ownership of a descriptor. Audited for that: it happens
//! once, only when the environment names this very process, and only with numbers that are open.

use anyhow::{Result, bail};
use std::net::TcpListener;

/// Fewer than any service has.
#[cfg(unix)]
const SOCKETS_MAX: i32 = 64;
/// The first descriptor that is passed.
#[cfg(unix)]
const FIRST: i32 = 3;

/// The sockets passed to this process: none when it was started otherwise. To be called by `main` before anything
/// else opens files; a second call gets nothing.
#[cfg(unix)]
pub fn take() -> Result<Vec<TcpListener>> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let var = |name| std::env::var(name).unwrap_or_default();
    let meant = var("LISTEN_PID").parse() == Ok(std::process::id());
    if !meant || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let count = match var("LISTEN_FDS").parse::<i32>() {
        Ok(count) if (0..=SOCKETS_MAX).contains(&count) => count,
        _ => bail!("LISTEN_FDS is no number from 0 to {SOCKETS_MAX}"),
    };
    let names = var("LISTEN_FDNAMES");
    let mut names = names.split(':');
    let mut listeners = Vec::new();
    for fd in FIRST..FIRST + count {
        let name = names.next().filter(|name| !name.is_empty());
        let name = name.unwrap_or("unknown").escape_debug().to_string();
        match adopt(fd) {
            Some(listener) => listeners.push(listener),
            None => bail!(
                "the socket {name} (descriptor {fd}) that was passed is no listening TCP socket; \
                 use ListenStream= with a port in the socket unit"
            ),
        }
    }
    Ok(listeners)
}

/// The listener with this number, if it is one.
#[cfg(unix)]
#[expect(unsafe_code, reason = "a number becomes a descriptor")]
fn adopt(fd: i32) -> Option<TcpListener> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: fcntl with F_GETFD takes any number and reads no memory; it fails for one that is not open.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the number is open, as just seen. LISTEN_PID said that it was opened for this process to own, `take`
    // asks for each number once, and nothing else in the process knows it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let socket = socket2::Socket::from(owned);
    // Not for processes that this one may start.
    socket.set_cloexec(true).ok()?;
    let internet = matches!(
        socket.domain(),
        Ok(socket2::Domain::IPV4 | socket2::Domain::IPV6)
    );
    let stream = matches!(socket.r#type(), Ok(socket2::Type::STREAM));
    let listens = matches!(socket.is_listener(), Ok(true));
    if !(internet && stream && listens) {
        return None;
    }
    socket.set_nonblocking(true).ok()?;
    Some(TcpListener::from(socket))
}

/// Elsewhere nobody passes sockets.
#[cfg(not(unix))]
pub fn take() -> Result<Vec<TcpListener>> {
    Ok(Vec::new())
}
