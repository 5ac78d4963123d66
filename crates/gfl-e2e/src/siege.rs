//! Attackers: connections that do what no honest client does, as long as they are wanted and in a bounded number.
//! They only ever connect to the address they are given, which is a server of the test on this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two rounds over all connections.
const ROUND_MS: u64 = 50;
/// Sent or read in one round by one connection.
const ROUND_BYTES: usize = 16 * 1024;

/// What the attackers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Connect, and say nothing.
    Silence,
    /// A head, byte by byte.
    SlowHead,
    /// A head just below the limit, and not its end.
    HeldHead,
    /// One header field without end.
    HugeHead,
    /// Header fields without end.
    ManyFields,
    /// A body, byte by byte.
    SlowBody,
    /// A chunk extension without end.
    ChunkExtension,
    /// Trailers without end.
    Trailers,
    /// A request, then what is none, again and again.
    Garbage,
    /// Requests without end, whose answers nobody reads.
    NoReading,
}

/// All of them.
pub const ATTACKS: [Attack; 10] = [
    Attack::Silence,
    Attack::SlowHead,
    Attack::HeldHead,
    Attack::HugeHead,
    Attack::ManyFields,
    Attack::SlowBody,
    Attack::ChunkExtension,
    Attack::Trailers,
    Attack::Garbage,
    Attack::NoReading,
];

impl Attack {
    /// What is sent first. `auth` is the header line of a token that may write: some attacks need one.
    fn opening(self, auth: &str) -> Vec<u8> {
        let put = |framing: &str| {
            format!("PUT /v1/files/attack HTTP/1.1\r\nHost: x\r\n{auth}{framing}\r\n\r\n")
        };
        match self {
            Attack::Silence => String::new(),
            Attack::SlowHead | Attack::HugeHead => "GET /livez HTTP/1.1\r\nX-Long: ".into(),
            Attack::HeldHead => {
                format!("GET /livez HTTP/1.1\r\nX-Long: {}", "a".repeat(20_000))
            }
            Attack::ManyFields => "GET /livez HTTP/1.1\r\n".into(),
            Attack::SlowBody => put("Content-Length: 1000000"),
            Attack::ChunkExtension => put("Transfer-Encoding: chunked") + "1;x=",
            Attack::Trailers => put("Transfer-Encoding: chunked") + "1\r\nx\r\n0\r\n",
            Attack::Garbage => "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\0\u{1}GET\r\r\n".into(),
            Attack::NoReading => String::new(),
        }
        .into_bytes()
    }

    /// What is sent in each round.
    fn more(self) -> Vec<u8> {
        let many = |text: &str| text.repeat(ROUND_BYTES / text.len()).into_bytes();
        match self {
            Attack::Silence | Attack::HeldHead => Vec::new(),
            Attack::SlowHead | Attack::SlowBody => b"a".to_vec(),
            Attack::HugeHead | Attack::ChunkExtension => many("a"),
            Attack::ManyFields | Attack::Trailers => many("X-A: b\r\n"),
            Attack::Garbage => many("\u{7f}\r\n"),
            Attack::NoReading => many("GET /v1/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        }
    }

    fn reads(self) -> bool {
        self != Attack::NoReading
    }
}

/// What the attackers saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Connections made.
    pub opened: u64,
    /// Connections that the server ended.
    pub cut: u64,
}

/// Attackers at work.
#[derive(Debug)]
pub struct Siege {
    stop: Arc<AtomicBool>,
    attacker: Option<JoinHandle<Seen>>,
}

impl Siege {
    /// `connections` attackers; who is thrown out comes again. Returns when all have connected once.
    pub fn start(addr: SocketAddr, attack: Attack, connections: usize, token: &str) -> Siege {
        let stop = Arc::new(AtomicBool::new(false));
        let auth = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let opening = attack.opening(&auth);
        let mut lines: Vec<Option<TcpStream>> =
            (0..connections).map(|_| connect(addr, &opening)).collect();
        let told = Arc::clone(&stop);
        let attacker = thread::spawn(move || {
            let mut seen = Seen {
                opened: lines.iter().flatten().count() as u64,
                cut: 0,
            };
            let more = attack.more();
            while !told.load(Ordering::Relaxed) {
                for line in &mut lines {
                    if !line
                        .as_mut()
                        .is_some_and(|l| push(l, &more, attack.reads()))
                    {
                        seen.cut += u64::from(line.is_some());
                        *line = connect(addr, &opening);
                        seen.opened += u64::from(line.is_some());
                    }
                }
                thread::sleep(Duration::from_millis(ROUND_MS));
            }
            seen
        });
        Siege {
            stop,
            attacker: Some(attacker),
        }
    }

    /// Ends it.
    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let attacker = self.attacker.take().expect("ended once");
        attacker.join().expect("the attackers do not panic")
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(attacker) = self.attacker.take() {
            let _ended = attacker.join();
        }
    }
}

fn connect(addr: SocketAddr, opening: &[u8]) -> Option<TcpStream> {
    let mut line = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    line.set_nonblocking(true).ok()?;
    // What does not fit into the kernel's buffer at once is not worth waiting for.
    let _sent = line.write(opening);
    Some(line)
}

/// One round of one connection; false when the server has ended it.
fn push(line: &mut TcpStream, more: &[u8], reads: bool) -> bool {
    let mut buf = [0; ROUND_BYTES];
    if reads {
        match line.read(&mut buf) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    more.is_empty()
        || match line.write(more) {
            Ok(_) => true,
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        }
}
