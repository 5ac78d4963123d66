//! The names and addresses under which this machine may be called: for the certificate it makes itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Addresses in one certificate; machines with many virtual interfaces have hundreds.
const ADDRESSES_MAX: usize = 64;

/// The host's name first, then what else it is called. `listens_on` is the configured host, if it names one.
pub(super) fn of_this_machine(listens_on: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !name.is_empty() && name.is_ascii() && !names.contains(&name) {
            names.push(name);
        }
    };
    add(hostname());
    add("localhost".to_owned());
    let given = listens_on.parse::<IpAddr>().ok();
    if given.is_none() {
        add(listens_on.to_owned());
    }
    let mut addresses: BTreeSet<IpAddr> = given.into_iter().collect();
    addresses.extend([
        Ipv4Addr::LOCALHOST.into(),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ]);
    addresses.extend(local_addresses());
    let useful = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    let addresses = addresses.into_iter().filter(useful);
    addresses
        .take(ADDRESSES_MAX)
        .for_each(|address| add(address.to_string()));
    names
}

#[cfg(unix)]
fn hostname() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The addresses of this machine's interfaces, where the system lists them in files; elsewhere those that packets
/// to the world would leave from.
fn local_addresses() -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut found = in_fib_trie(&read("/proc/net/fib_trie"));
    found.extend(in_if_inet6(&read("/proc/net/if_inet6")));
    if found.is_empty() {
        found.extend(["0.0.0.0:0", "[::]:0"].into_iter().filter_map(outgoing));
    }
    found
}

/// The address from which packets to the world leave. Connecting a UDP socket sends nothing; the addresses asked
/// for are reserved for documentation.
fn outgoing(from: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    let to = if from.starts_with('[') {
        "[2001:db8::1]:9"
    } else {
        "192.0.2.1:9"
    };
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Linux's IPv4 routing table: an address is a line `|-- A.B.C.D` before one with `/32 host LOCAL`.
fn in_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in text.lines() {
        if let Some((_, address)) = line.split_once("-- ") {
            last = address.trim().parse().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.map(IpAddr::V4));
        }
    }
    found
}

/// Linux's IPv6 addresses: 32 hex digits, then index, prefix length, scope. Those of scope link (20) need a zone
/// and stand in no certificate.
fn in_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut fields = line.split_whitespace();
        let digits = fields.next()?;
        let scope = fields.nth(2)?;
        let bits = u128::from_str_radix(digits, 16).ok()?;
        (scope != "20").then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_lists_its_addresses() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n           |-- 10.1.0.0\n              /16 link UNICAST\n\
                    \x20          |-- 10.1.2.3\n              /32 host LOCAL\n\
                    \x20          |-- 10.1.255.255\n              /32 link BROADCAST\n";
        assert_eq!(in_fib_trie(trie), [IpAddr::from([10, 1, 2, 3])]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000c5e00fffe000001 02 40 20 80     eth0\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\n";
        let want: [IpAddr; 2] = ["::1".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(in_if_inet6(inet6), want);
    }

    #[test]
    fn what_somebody_may_type_is_there() {
        let names = of_this_machine("nas.example");
        for name in ["localhost", "127.0.0.1", "::1", "nas.example"] {
            assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
        }
        let names = of_this_machine("0.0.0.0");
        assert!(!names.iter().any(|n| n == "0.0.0.0"), "{names:?}");
        assert!(of_this_machine("192.0.2.7").contains(&"192.0.2.7".to_owned()));
    }
}
