//! What systemd is told (sd_notify(3)): datagrams of `NAME=value` lines to the socket in `$NOTIFY_SOCKET`. Without
//! one nothing is told to anybody. Elsewhere than on Linux there is none.

use std::time::Duration;

/// Where to, if anywhere.
#[derive(Debug, Default)]
pub struct Notify {
    #[cfg(target_os = "linux")]
    socket: Option<std::os::unix::net::UnixDatagram>,
    /// The line for `systemctl status`.
    status: String,
}

impl Notify {
    /// As the environment says. `status` is shown while the server is ready.
    pub fn from_env(status: String) -> Notify {
        Notify {
            #[cfg(target_os = "linux")]
            socket: linux::connect(std::env::var_os("NOTIFY_SOCKET")),
            status,
        }
    }

    /// Requests are answered.
    pub fn ready(&self) {
        self.send(&format!("READY=1\nSTATUS={}", self.status));
    }

    /// The configuration is being read again; [`Notify::ready`] follows.
    pub fn reloading(&self) {
        #[cfg(target_os = "linux")]
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            linux::monotonic_us()
        ));
    }

    /// The end has begun, and takes at most so long: until then systemd is to be patient.
    pub fn stopping(&self, within: Duration) {
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=Finishing what runs",
            within.as_micros()
        ));
    }

    /// The server lives.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    #[cfg(target_os = "linux")]
    fn send(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            tracing::warn!("systemd cannot be told: {error}");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&self, _lines: &str) {}
}

/// How often systemd wants to hear that this process lives; `None` when it does not ask.
pub fn watchdog_interval() -> Option<Duration> {
    let var = |name| std::env::var(name).ok();
    interval(
        var("WATCHDOG_USEC"),
        var("WATCHDOG_PID"),
        std::process::id(),
    )
}

fn interval(usec: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    // Meant for another process when it says so.
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::time::{ClockId, clock_gettime};
    use std::ffi::OsString;
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    pub(super) fn connect(name: Option<OsString>) -> Option<UnixDatagram> {
        let name = name.filter(|name| !name.is_empty())?;
        match open(name.as_bytes()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("systemd cannot be told, NOTIFY_SOCKET is unusable: {error}");
                None
            }
        }
    }

    fn open(name: &[u8]) -> io::Result<UnixDatagram> {
        let address = match name {
            // A name that is no file.
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A supervisor that does not read must not stop the server.
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    pub(super) fn monotonic_us() -> i64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
    }

    #[cfg(test)]
    mod tests {
        use super::super::Notify;
        use super::*;
        use std::time::Duration;

        fn told(by: impl FnOnce(&Notify)) -> String {
            let name = format!("gfl-test-{}-{:?}", std::process::id(), monotonic_us());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let receiver = UnixDatagram::bind_addr(&address).unwrap();
            let notify = Notify {
                socket: connect(Some(format!("@{name}").into())),
                status: "here".into(),
            };
            by(&notify);
            let mut buf = [0; 256];
            let n = receiver.recv(&mut buf).unwrap();
            String::from_utf8(buf[..n].to_vec()).unwrap()
        }

        #[test]
        fn says_it_in_systemds_words() {
            assert_eq!(told(Notify::ready), "READY=1\nSTATUS=here");
            assert_eq!(told(Notify::alive), "WATCHDOG=1");
            let stopping = told(|n| n.stopping(Duration::from_secs(45)));
            assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n"));
            let before = monotonic_us();
            let reloading = told(Notify::reloading);
            let stamp = reloading
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .unwrap();
            assert!((before..=monotonic_us()).contains(&stamp.parse().unwrap()));
        }

        #[test]
        fn an_unusable_socket_is_no_error() {
            for name in ["", "vsock:2:1", "/nonexistent/socket", "@gfl-nobody-there"] {
                assert!(connect(Some(name.into())).is_none(), "{name}");
            }
            Notify::default().ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_asked_for_by_environment() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            interval(text("2000000"), None, 7),
            Some(Duration::from_secs(2))
        );
        assert_eq!(
            interval(text("5"), text("7"), 7),
            Some(Duration::from_micros(5))
        );
        for (usec, pid) in [
            (None, None),
            (text("5"), text("8")),
            (text("0"), None),
            (text("x"), None),
        ] {
            assert_eq!(interval(usec, pid, 7), None);
        }
    }
}
