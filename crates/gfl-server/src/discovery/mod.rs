//! Makes the server known in its networks: a broadcast every 30 seconds, as v0.1 sent it, and an answer to whoever
//! asks. Says nothing that `GET /config` does not tell everybody, and never fails the server.
//!
//! IPv4 only, as in v0.1: IPv6 has no broadcast. What is announced may be an IPv6 address all the same.

mod allowance;
mod network;

use crate::ui;
use allowance::Allowance;
use anyhow::{Result, bail};
use gfl_api::config::ServerConfig;
use gfl_api::discovery::{self, Announcement, DATAGRAM_BYTES_MAX, NAME_BYTES_MAX, PORT};
use network::Networks;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// How often the server announces itself.
const BEAT_SECONDS: u64 = 30;
/// Pause after receiving failed; the errors of a UDP socket are those of earlier datagrams.
const RECEIVE_RETRY_MS: u64 = 100;
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-lite");

/// What is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// `server.discovery`; none: if others than this machine can connect at all.
    pub wanted: Option<bool>,
    /// `server.discovery_name`.
    pub name: String,
    /// The address to listen on, as it was written.
    pub address: String,
    /// Whether connections speak TLS.
    pub tls: bool,
}

/// The running service; ends when dropped.
#[derive(Debug)]
pub struct Discovery(AbortHandle);

impl Drop for Discovery {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wish {
    /// What the configuration says.
    pub fn new(server: &ServerConfig, address: &str, tls: bool) -> Result<Self> {
        let name = server.discovery_name.clone();
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            bail!(
                "server.discovery_name must be at most {NAME_BYTES_MAX} bytes without control characters"
            );
        }
        Ok(Self {
            wanted: server.discovery,
            name,
            address: address.to_owned(),
            tls,
        })
    }

    /// Starts the service if it is wanted. Failing is worth a warning and nothing more.
    pub fn start(
        &self,
        listening: SocketAddr,
        has_auth: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Option<Discovery> {
        let is_local = listening.ip().to_canonical().is_loopback();
        if !self.wanted.unwrap_or(!is_local) {
            return None;
        }
        match self.start_on(PORT, listening, Arc::new(has_auth)) {
            Ok((discovery, _)) => {
                ui::out(&format!("Discovery service started on UDP port {PORT}\n"));
                Some(discovery)
            }
            Err(error) => {
                tracing::warn!(
                    "`gfl discover` will not find this server: cannot use UDP port {PORT}: {error}"
                );
                None
            }
        }
    }

    fn start_on(
        &self,
        port: u16,
        listening: SocketAddr,
        has_auth: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> io::Result<(Discovery, SocketAddr)> {
        // Whom nobody else can connect to has nothing to say to others.
        let host = match listening.ip().to_canonical() {
            ip if ip.is_loopback() => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let socket = bind(SocketAddrV4::new(host, port))?;
        let bound = socket.local_addr()?;
        let service = Service {
            socket,
            announcement: self.announcement(listening)?,
            listening: listening.ip().to_canonical(),
            beat_port: bound.port(),
            has_auth,
        };
        let task = tokio::spawn(service.run());
        Ok((Discovery(task.abort_handle()), bound))
    }

    fn announcement(&self, listening: SocketAddr) -> io::Result<Announcement> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(Announcement {
            name: self.name.clone(),
            version: VERSION.into(),
            address: announced(&self.address, listening),
            port: listening.port().to_string(),
            tls: self.tls,
            id: hex::encode(id),
            ..Announcement::default()
        })
    }
}

/// The address to announce. A wildcard stands there as `0.0.0.0`: every client, also v0.1's, replaces that by where
/// the datagram came from.
fn announced(configured: &str, listening: SocketAddr) -> String {
    let (ip, port) = (listening.ip().to_canonical(), listening.port());
    let host = configured
        .rsplit_once(':')
        .map_or(configured, |(host, _)| host);
    let literal = host.trim_matches(['[', ']']).split('%').next();
    let is_name = !host.is_empty()
        && host != "localhost"
        && literal.is_none_or(|literal| literal.parse::<IpAddr>().is_err());
    if ip.is_unspecified() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string()
    } else if is_name {
        format!("{host}:{port}")
    } else {
        // Without the scope of an IPv6 address, which is a number of this machine.
        SocketAddr::new(ip, port).to_string()
    }
}

/// A socket that shares its port: with other servers of this machine, and with clients that listen for beats.
fn bind(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

struct Service {
    socket: UdpSocket,
    announcement: Announcement,
    /// What the server listens on.
    listening: IpAddr,
    /// Where beats go: the port of all servers, but for tests.
    beat_port: u16,
    has_auth: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Service {
    async fn run(self) {
        let mut networks = Networks::of_this_machine();
        let mut allowance = Allowance::default();
        let mut datagram = [0; DATAGRAM_BYTES_MAX + 1];
        let mut beat = tokio::time::interval(Duration::from_secs(BEAT_SECONDS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    // Cables are plugged, addresses change.
                    networks = Networks::of_this_machine();
                    self.beat(&networks).await;
                }
                received = self.socket.recv_from(&mut datagram) => match received {
                    Ok((len, from)) => {
                        let asked = discovery::is_probe(&datagram[..len]) && networks.contain(from.ip());
                        if asked && allowance.grants(from.ip(), Instant::now()) {
                            self.send(from).await;
                        }
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(RECEIVE_RETRY_MS)).await,
                },
            }
        }
    }

    async fn beat(&self, networks: &Networks) {
        for broadcast in networks.broadcasts(self.listening) {
            self.send(SocketAddr::from((broadcast, self.beat_port)))
                .await;
        }
    }

    /// Never longer than [`DATAGRAM_BYTES_MAX`], so never longer than the probe.
    async fn send(&self, to: SocketAddr) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let announcement = Announcement {
            auth_enabled: (self.has_auth)(),
            timestamp: now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or_default()),
            ..self.announcement.clone()
        };
        if let Some(datagram) = announcement.encode()
            && let Err(error) = self.socket.send_to(&datagram, to).await
        {
            // An interface that is down, a firewall: nobody is waiting for this datagram.
            tracing::debug!("announcing to {to} failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
