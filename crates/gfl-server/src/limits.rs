//! The limits that an administrator may set, checked and in their units, and what the system allows of them. They
//! can change while the server runs. Limits that nobody needs to set stand where they are enforced.

use crate::proxies::{Networks, prefix};
use anyhow::Result;
use gfl_api::config::ServerConfig;
use std::net::IpAddr;
use std::sync::Arc;

/// Descriptors of one connection: its socket, and the file it moves.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// Descriptors of everything else: catalog, folders, jobs, listeners, log.
const DESCRIPTORS_RESERVED: u64 = 128;
/// However few descriptors there are, so many connections are tried.
const CONNECTIONS_MIN: u64 = 16;
/// An IPv6 customer has a network of this size to himself, so it counts as one address.
const IPV6_PREFIX_BITS: u8 = 64;

/// How many connections there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At once. More wait in the kernel's queue.
    pub connections_max: usize,
    /// From one address. More are refused.
    pub per_address_max: usize,
    /// Proxies speak for many, so no limit per address holds for them.
    pub trusted: Arc<Networks>,
}

/// How the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// So long it says that it is not ready, and still accepts: a load balancer needs time to notice.
    pub notice_ms: u64,
    /// So long may what runs take to finish.
    pub limit_ms: u64,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many connections.
    pub connections: ConnectionLimits,
    /// How it ends.
    pub drain: Drain,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        let config = ServerConfig::default();
        ConnectionLimits {
            connections_max: config.connections_max as usize,
            per_address_max: config.connections_per_address_max as usize,
            trusted: Arc::default(),
        }
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain::of(&ServerConfig::default())
    }
}

impl Drain {
    fn of(config: &ServerConfig) -> Drain {
        Drain {
            notice_ms: u64::from(config.drain_notice_seconds) * 1000,
            limit_ms: u64::from(config.drain_seconds) * 1000,
        }
    }
}

impl ConnectionLimits {
    /// What `peer` is counted as, `None` when it is not counted at all: this machine and trusted proxies.
    pub fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if peer.is_loopback() || self.trusted.contains(peer) {
            return None;
        }
        Some(match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(_) => prefix(peer, IPV6_PREFIX_BITS),
        })
    }
}

impl Limits {
    /// From the configuration, within the descriptors that the system allows (`None`: any number). A zero is no
    /// limit. The text warns when fewer connections are possible than asked for.
    pub fn new(
        config: &ServerConfig,
        descriptors: Option<u64>,
    ) -> Result<(Limits, Option<String>)> {
        let or_all = |max: u32| if max == 0 { usize::MAX } else { max as usize };
        let asked = or_all(config.connections_max);
        let possible = descriptors.map_or(usize::MAX, |n| {
            let free = n.saturating_sub(DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CONNECTION;
            usize::try_from(free.max(CONNECTIONS_MIN)).unwrap_or(usize::MAX)
        });
        let warning = (possible < asked && config.connections_max > 0).then(|| {
            format!(
                "server.connections_max is {asked}, but {} open files (RLIMIT_NOFILE) are enough for {possible} \
                 connections; raise the limit (LimitNOFILE= in the unit, ulimit -n)",
                descriptors.unwrap_or_default()
            )
        });
        let limits = Limits {
            connections: ConnectionLimits {
                connections_max: asked.min(possible),
                per_address_max: or_all(config.connections_per_address_max),
                trusted: Arc::new(Networks::parse(&config.trusted_proxies)?),
            },
            drain: Drain::of(config),
        };
        Ok((limits, warning))
    }
}

/// Takes all file descriptors that the system gives, and says how many that are; `None` for no limit.
pub fn raise_descriptors() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // Refused means it stays as it was; the listener waits when descriptors run out.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(peer: &str) -> Option<String> {
        let limits = ConnectionLimits {
            trusted: Arc::new(Networks::parse(&["10.0.0.0/8"]).unwrap()),
            ..ConnectionLimits::default()
        };
        let peer = limits.counted(peer.parse().unwrap());
        peer.map(|ip| ip.to_string())
    }

    #[test]
    fn who_is_counted_as_what() {
        for exempt in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "10.2.3.4",
        ] {
            assert_eq!(counted(exempt), None, "{exempt}");
        }
        assert_eq!(counted("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(counted("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        let of_one_customer = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"].map(counted);
        assert_eq!(of_one_customer[0], of_one_customer[1]);
        assert_ne!(of_one_customer[0], counted("2001:db8:1:3::1"));
    }

    #[test]
    fn descriptors_bound_connections() {
        let limits = |connections_max, descriptors| {
            let config = ServerConfig {
                connections_max,
                ..ServerConfig::default()
            };
            let (limits, warning) = Limits::new(&config, descriptors).unwrap();
            (limits.connections.connections_max, warning)
        };
        assert_eq!(limits(4096, None), (4096, None));
        assert_eq!(limits(4096, Some(8320)), (4096, None));
        let (max, warning) = limits(4096, Some(1024));
        assert_eq!(max, 448);
        let warning = warning.unwrap();
        assert!(
            warning.contains("4096") && warning.contains("448 connections"),
            "{warning}"
        );
        assert_eq!(limits(0, Some(1024)), (448, None), "no limit of its own");
        assert_eq!(limits(0, None), (usize::MAX, None));
        assert_eq!(limits(4096, Some(10)).0, 16);
    }
}
