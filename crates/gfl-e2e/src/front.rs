//! A foreign proxy (nghttpx) in front of a server, which takes plain HTTP/1.1 and speaks TLS to it, with HTTP/2
//! or HTTP/1.1 inside. With `GFL_E2E_OVER` set every server of a test run gets one: the same tests, another wire.

use crate::wait;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Names what is spoken to the server.
pub const OVER: &str = "GFL_E2E_OVER";

/// What is spoken to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// HTTP/1.1 in TLS.
    Http1,
    /// HTTP/2 in TLS.
    Http2,
}

/// What the environment asks for.
pub fn over() -> Option<Over> {
    match std::env::var(OVER).ok()?.as_str() {
        "" => None,
        "http1" => Some(Over::Http1),
        "h2" => Some(Over::Http2),
        other => panic!("{OVER} is {other:?}; it knows http1 and h2"),
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Front {
    addr: SocketAddr,
    child: Child,
}

impl Front {
    /// Starts one in front of `server` and waits until it accepts connections.
    pub fn start(server: SocketAddr, over: Over) -> Front {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = free.expect("a free port");
        let proto = match over {
            Over::Http1 => "http/1.1",
            Over::Http2 => "h2",
        };
        let child = Command::new(program())
            .arg(format!("--frontend=127.0.0.1,{};no-tls", addr.port()))
            .arg(format!(
                "--backend={},{};;proto={proto};tls",
                server.ip(),
                server.port()
            ))
            .args(["--insecure", "--workers=1", "--conf=/dev/null", "--no-ocsp"])
            .args(["--no-via", "--no-server-rewrite", "--no-location-rewrite"])
            .args(["--accesslog-file=/dev/null", "--errorlog-file=/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nghttpx can be started");
        wait::until("nghttpx accepts connections", 30, || {
            TcpStream::connect(addr).ok()
        });
        Front { addr, child }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Debian keeps it where only administrators look.
pub fn program() -> PathBuf {
    let admins = PathBuf::from("/usr/sbin/nghttpx");
    if admins.is_file() {
        admins
    } else {
        PathBuf::from("nghttpx")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
