//! Looks for servers on this machine and in its networks: asks by UDP, and listens for what v0.1 servers say
//! unasked. Knows no HTTP and prints nothing. What comes back is a stranger's word.

use gfl_api::discovery::{Announcement, DATAGRAM_BYTES_MAX, PORT, probe};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// When probes are sent. The later ones are for datagrams that got lost.
const PROBES_AT_MS: [u64; 3] = [0, 200, 500];
/// How long answers are waited for: within a second, all is said.
const ANSWERS_MS_MAX: u64 = 900;
/// How long is listened for v0.1 servers, which announce themselves every 30 seconds.
pub(crate) const BEATS_SECONDS_MAX: u64 = 32;
/// Servers kept. A network with more has somebody in it who makes them up.
const SERVERS_MAX: usize = 256;

/// A server that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What it says of itself.
    pub(crate) told: Announcement,
    /// What to connect to, `HOST:PORT`.
    pub(crate) address: String,
    /// Whether that leads to this machine only.
    is_loopback: bool,
    /// When it was last heard.
    pub(crate) seen: Instant,
}

impl Found {
    /// What `gfl config` takes.
    pub(crate) fn url(&self) -> String {
        if self.told.tls {
            format!("https://{}", self.address)
        } else {
            self.address.clone()
        }
    }
}

/// What to look for, and where.
#[derive(Debug)]
pub(crate) struct Search {
    targets: Vec<SocketAddr>,
    beat_port: Option<u16>,
    time: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The servers, by address.
    pub(crate) servers: Vec<Found>,
    /// Why beats could not be listened for.
    pub(crate) deaf: Option<io::Error>,
}

impl Search {
    /// This machine and all its networks; with `wait`, v0.1 servers too.
    pub(crate) fn nearby(wait: bool) -> Self {
        // Of several servers on this machine only one gets what is sent to it alone, and all what is sent to all.
        let own = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 255, 255, 255)];
        let hosts = own.into_iter().chain(broadcasts());
        Self {
            targets: hosts.map(|host| SocketAddr::from((host, PORT))).collect(),
            beat_port: wait.then_some(PORT),
            time: if wait {
                Duration::from_secs(BEATS_SECONDS_MAX)
            } else {
                Duration::from_millis(ANSWERS_MS_MAX)
            },
        }
    }

    /// Asks and listens.
    pub(crate) async fn run(&self) -> io::Result<Outcome> {
        let asker = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        asker.set_broadcast(true)?;
        let mut outcome = Outcome::default();
        let beats = match self.beat_port.map(listen).transpose() {
            Ok(beats) => beats,
            Err(error) => {
                outcome.deaf = Some(error);
                None
            }
        };
        let start = Instant::now();
        let mut probes = PROBES_AT_MS
            .map(Duration::from_millis)
            .into_iter()
            .peekable();
        let (mut answer, mut beat) = ([0; DATAGRAM_BYTES_MAX], [0; DATAGRAM_BYTES_MAX]);
        loop {
            let next_probe = probes.peek().map(|after| start + *after);
            tokio::select! {
                () = at(next_probe) => {
                    probes.next();
                    self.ask(&asker).await;
                }
                Ok((len, from)) = asker.recv_from(&mut answer) => outcome.hear(&answer[..len], from.ip()),
                Ok((len, from)) = receive(beats.as_ref(), &mut beat) => outcome.hear(&beat[..len], from.ip()),
                () = sleep_until(start + self.time) => break,
            }
        }
        outcome.servers.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(outcome)
    }

    async fn ask(&self, asker: &UdpSocket) {
        for target in &self.targets {
            // A network that takes no datagram has no server to be found in it.
            let _ = asker.send_to(&probe(), target).await;
        }
    }
}

impl Outcome {
    /// Takes note of a datagram.
    fn hear(&mut self, datagram: &[u8], from: IpAddr) {
        let Some(told) = Announcement::parse(datagram) else {
            return;
        };
        let heard = Found {
            address: told.reachable_address(from),
            is_loopback: from.is_loopback(),
            told,
            seen: Instant::now(),
        };
        let has_room = self.servers.len() < SERVERS_MAX;
        let same = |known: &&mut Found| match heard.told.id.as_str() {
            "" => known.address == heard.address,
            id => known.told.id == id,
        };
        match self.servers.iter_mut().find(same) {
            // Met on several ways, it is shown with the address that others can use too.
            Some(known) if known.is_loopback && !heard.is_loopback => *known = heard,
            Some(known) => known.seen = heard.seen,
            None if has_room => self.servers.push(heard),
            None => {}
        }
    }
}

/// The broadcast addresses of this machine's networks.
fn broadcasts() -> BTreeSet<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces
        .into_iter()
        .filter_map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) if !v4.is_loopback() && !interface.is_p2p() => {
                (v4.prefixlen < 31).then_some(v4.ip | !v4.netmask)
            }
            _ => None,
        });
    addresses.collect()
}

/// A socket for beats; it shares the port with servers of this machine, unless one of v0.1 is there.
fn listen(port: u16) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    UdpSocket::from_std(socket.into())
}

async fn receive(
    socket: Option<&UdpSocket>,
    datagram: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(datagram).await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::discovery::is_probe;

    fn announcement(address: &str, id: &str) -> Announcement {
        Announcement {
            name: "nas".into(),
            address: address.into(),
            port: "8080".into(),
            id: id.into(),
            ..Announcement::default()
        }
    }

    /// A server that says `answers` when it has heard `after` probes; its address.
    async fn server(after: usize, answers: Vec<Vec<u8>>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 2048];
            for heard in 1.. {
                let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
                assert!(is_probe(&datagram[..len]));
                for answer in answers.iter().filter(|_| heard >= after) {
                    socket.send_to(answer, from).await.unwrap();
                }
            }
        });
        address
    }

    async fn found(targets: Vec<SocketAddr>) -> Vec<String> {
        let search = Search {
            targets,
            beat_port: None,
            time: Duration::from_millis(ANSWERS_MS_MAX),
        };
        let outcome = search.run().await.unwrap();
        outcome.servers.iter().map(Found::url).collect()
    }

    #[tokio::test]
    async fn whoever_answers_is_found_once() {
        let tls = Announcement {
            tls: true,
            ..announcement("0.0.0.0:9000", "1f")
        };
        let answers = vec![
            b"noise".to_vec(),
            tls.encode().unwrap(),
            announcement("10.0.0.7:80", "").encode().unwrap(),
        ];
        let target = server(1, answers).await;
        assert_eq!(
            found(vec![target]).await,
            ["10.0.0.7:80", "https://127.0.0.1:9000"],
            "each of three probes was answered"
        );
    }

    #[tokio::test]
    async fn a_lost_probe_is_sent_again() {
        let target = server(2, vec![announcement("10.0.0.7:80", "").encode().unwrap()]).await;
        assert_eq!(found(vec![target]).await, ["10.0.0.7:80"]);
    }

    #[tokio::test]
    async fn beats_are_heard_by_those_who_wait() {
        let free = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let search = Search {
            targets: Vec::new(),
            beat_port: Some(port),
            time: Duration::from_millis(ANSWERS_MS_MAX),
        };
        let old = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let beat = announcement("127.0.0.1:8080", "").encode().unwrap();
        let (outcome, ()) = tokio::join!(search.run(), async {
            // Until the listener is there, nobody hears it.
            for _ in 0..10 {
                let _ = old.send_to(&beat, ("127.0.0.1", port)).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let outcome = outcome.unwrap();
        assert!(outcome.deaf.is_none());
        assert_eq!(outcome.servers[0].address, "127.0.0.1:8080");
        let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let search = Search {
            beat_port: Some(taken.local_addr().unwrap().port()),
            ..Search::nearby(false)
        };
        assert!(
            search.run().await.unwrap().deaf.is_some(),
            "a v0.1 server holds it alone"
        );
    }

    #[test]
    fn one_server_met_twice_shows_the_address_others_can_use() {
        let mut outcome = Outcome::default();
        let beat = announcement("0.0.0.0:8080", "1f").encode().unwrap();
        for (from, want) in [
            ("127.0.0.1", "127.0.0.1:8080"),
            ("192.168.1.5", "192.168.1.5:8080"),
            ("127.0.0.1", "192.168.1.5:8080"),
        ] {
            outcome.hear(&beat, from.parse().unwrap());
            let addresses: Vec<_> = outcome.servers.iter().map(Found::url).collect();
            assert_eq!(addresses, [want], "{from}");
        }
        for n in 0..1000 {
            let other = announcement(&format!("h{n}:1"), "").encode().unwrap();
            outcome.hear(&other, Ipv4Addr::LOCALHOST.into());
        }
        assert_eq!(outcome.servers.len(), SERVERS_MAX);
    }
}
