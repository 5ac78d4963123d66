//! The IPv4 networks this machine is attached to: where beats go, and who may ask.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// One address of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    ip: Ipv4Addr,
    mask: Ipv4Addr,
    has_broadcast: bool,
}

/// All of them, as they were when it was looked.
#[derive(Debug, Default)]
pub(super) struct Networks(Vec<Network>);

impl Networks {
    /// Asks the system. No answer is no network.
    pub(super) fn of_this_machine() -> Self {
        let networks = if_addrs::get_if_addrs().unwrap_or_default();
        let networks = networks
            .into_iter()
            .filter_map(|interface| match &interface.addr {
                if_addrs::IfAddr::V4(v4) => Some(Network {
                    ip: v4.ip,
                    mask: v4.netmask,
                    // Two addresses and a broadcast are the least.
                    has_broadcast: !interface.is_p2p() && v4.prefixlen < 31,
                }),
                if_addrs::IfAddr::V6(_) => None,
            });
        Self(networks.collect())
    }

    /// Whether an address is in one of them. Only those are answered: a probe from elsewhere is not from somebody
    /// who looks for a server near by, or not from whom it says.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else {
            return false;
        };
        self.0
            .iter()
            .any(|network| network.ip & network.mask == address & network.mask)
    }

    /// Where to announce a server that listens on `listening`: all networks, or the one it can be reached in. The
    /// loopback hears nothing: it is answered.
    pub(super) fn broadcasts(&self, listening: IpAddr) -> BTreeSet<Ipv4Addr> {
        let reaches = |network: &&Network| match listening {
            IpAddr::V4(ip) => ip.is_unspecified() || ip == network.ip,
            IpAddr::V6(ip) => !ip.is_loopback(),
        };
        let shouts = |network: &&Network| network.has_broadcast && !network.ip.is_loopback();
        let chosen = self.0.iter().filter(shouts).filter(reaches);
        chosen.map(|network| network.ip | !network.mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str, mask: &str) -> Network {
        Network {
            ip: ip.parse().unwrap(),
            mask: mask.parse().unwrap(),
            has_broadcast: mask != "255.255.255.255",
        }
    }

    fn networks() -> Networks {
        Networks(vec![
            network("127.0.0.1", "255.0.0.0"),
            network("192.168.1.5", "255.255.255.0"),
            network("192.168.1.6", "255.255.255.0"),
            network("10.1.2.3", "255.255.240.0"),
            network("10.9.9.9", "255.255.255.255"),
        ])
    }

    #[test]
    fn beats_go_where_the_server_can_be_reached() {
        let broadcasts = |listening: &str| {
            let found = networks().broadcasts(listening.parse().unwrap());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(broadcasts("0.0.0.0"), ["10.1.15.255", "192.168.1.255"]);
        assert_eq!(broadcasts("::"), ["10.1.15.255", "192.168.1.255"]);
        assert_eq!(broadcasts("fd00::1"), ["10.1.15.255", "192.168.1.255"]);
        assert_eq!(broadcasts("192.168.1.6"), ["192.168.1.255"]);
        assert!(broadcasts("10.9.9.9").is_empty());
        assert!(broadcasts("127.0.0.1").is_empty() && broadcasts("::1").is_empty());
    }

    #[test]
    fn only_neighbours_are_answered() {
        for (address, want) in [
            ("192.168.1.77", true),
            ("127.0.0.9", true),
            ("10.1.14.1", true),
            ("10.1.16.1", false),
            ("8.8.8.8", false),
            ("::ffff:192.168.1.77", true),
            ("fe80::1", false),
        ] {
            assert_eq!(
                networks().contain(address.parse().unwrap()),
                want,
                "{address}"
            );
        }
        assert!(!Networks::default().contain(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn the_loopback_is_found() {
        let networks = Networks::of_this_machine();
        assert!(
            networks.contain(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "{networks:?}"
        );
    }
}
