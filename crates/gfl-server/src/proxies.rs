//! Whose word about a client's address counts. Behind a proxy every request comes from the proxy; the address that
//! logs, and v0's way to tell uploads apart, need is the one the proxy names. Pure.
//!
//! Anybody can send such a header, so the list is read from the right, and only as long as the hop that added an
//! entry is trusted. A request with both kinds of header is ambiguous (most proxies write one and pass the other on
//! as the client sent it), so neither counts then.

use anyhow::{Result, bail};
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// What most proxies write.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// More hops than any request really makes.
const HOPS_MAX: usize = 32;

/// Addresses and networks, as `server.trusted_proxies` lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// Reads `10.0.0.0/8`, `fd00::/8`, `192.0.2.1`.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Networks> {
        let read = |text: &S| {
            let text = text.as_ref().trim();
            match network(text) {
                Some(network) => Ok(network),
                None => bail!(
                    "server.trusted_proxies: {text:?} is no address and no network, write 192.0.2.1 or 10.0.0.0/8"
                ),
            }
        };
        texts.iter().map(read).collect::<Result<_>>().map(Networks)
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let within = |(network, bits): &(IpAddr, u8)| prefix(address, *bits) == *network;
        self.0
            .iter()
            .filter(|(network, _)| network.is_ipv4() == address.is_ipv4())
            .any(within)
    }

    /// Who sent a request that came from `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let (forwarded, x_forwarded) = (
            headers.contains_key(FORWARDED),
            headers.contains_key(X_FORWARDED_FOR),
        );
        if forwarded == x_forwarded || !self.contains(client) {
            return client;
        }
        let hops = if forwarded {
            hops(headers, &FORWARDED, forwarded_for)
        } else {
            hops(headers, &X_FORWARDED_FOR, address)
        };
        for hop in hops {
            // A hop that hides itself is the end of what is known.
            let Some(hop) = hop else { break };
            client = hop;
            if !self.contains(hop) {
                break;
            }
        }
        client
    }
}

/// The entries of a header, the last one first. One line may hold several, and there may be several lines.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
) -> Vec<Option<IpAddr>> {
    let mut entries = Vec::new();
    for line in headers.get_all(name) {
        match line.to_str() {
            Ok(line) => entries.extend(split(line, ',')),
            // What cannot be read hides who stands left of it.
            Err(_) => entries.push(""),
        }
    }
    let last = entries.iter().rev().take(HOPS_MAX);
    last.map(|entry| read(entry)).collect()
}

/// Splits at `at`, but not inside quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |c: char| {
        let here = c == at && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        here
    });
    parts.map(str::trim).collect()
}

/// The `for` of one element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';');
    let mut values = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    address(value.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address = address.parse::<IpAddr>().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then(|| (prefix(address, bits), bits))
}

/// The address with everything behind its first `bits` bits cleared.
pub fn prefix(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn networks(texts: &[&str]) -> Networks {
        Networks::parse(texts).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        trusted.client(ip(peer), &headers).to_string()
    }

    #[test]
    fn networks_and_addresses() {
        let some = networks(&["10.1.2.3/8", "192.0.2.1", "2001:db8::/32", "::1"]);
        for inside in [
            "10.255.0.1",
            "192.0.2.1",
            "2001:db8:ffff::1",
            "::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(some.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.2", "2001:db9::1", "::2", "0.0.0.1"] {
            assert!(!some.contains(ip(outside)), "{outside}");
        }
        assert!(networks(&["0.0.0.0/0"]).contains(ip("203.0.113.9")));
        assert!(!networks(&["0.0.0.0/0"]).contains(ip("::1")));
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "proxy.example",
            "1.2.3.4/",
        ] {
            let error = Networks::parse(&[bad]).unwrap_err().to_string();
            assert!(error.contains("trusted_proxies"), "{error}");
        }
    }

    #[test]
    fn only_a_trusted_hop_is_believed() {
        let x = |value| [("x-forwarded-for", value)];
        assert_eq!(client("203.0.113.5", &x("192.0.2.9")), "203.0.113.5");
        assert_eq!(client("10.0.0.1", &x("192.0.2.9")), "192.0.2.9");
        // What the client itself put there is left of what the proxy added.
        assert_eq!(client("10.0.0.1", &x("1.1.1.1, 192.0.2.9")), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &x("192.0.2.9, 10.0.0.7")), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &x("10.0.0.8, 10.0.0.7")), "10.0.0.8");
        let lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "192.0.2.9"),
        ];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.9");
        assert_eq!(client("::ffff:10.0.0.1", &x("192.0.2.9")), "192.0.2.9");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        let x = |value| [("x-forwarded-for", value)];
        assert_eq!(client("10.0.0.1", &x("192.0.2.9, unknown")), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &x("1.1.1.1, x, 10.0.0.7")), "10.0.0.7");
        assert_eq!(client("10.0.0.1", &x("")), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        let long = "10.0.0.2, ".repeat(200) + "10.0.0.3";
        assert_eq!(client("10.0.0.1", &x(&long)), "10.0.0.2");
    }

    #[test]
    fn ports_and_brackets() {
        let x = |value| [("x-forwarded-for", value)];
        assert_eq!(client("10.0.0.1", &x("192.0.2.9:4711")), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &x("[2001:db8::1]:47")), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &x("[2001:db8::1]")), "2001:db8::1");
        assert_eq!(client("fd00::1", &x("2001:db8::1")), "2001:db8::1");
    }

    #[test]
    fn the_standard_header() {
        let f = |value| [("forwarded", value)];
        let line = r#"for="[2001:db8:cafe::17]:4711";proto=https;by=10.0.0.1"#;
        assert_eq!(client("10.0.0.1", &f(line)), "2001:db8:cafe::17");
        assert_eq!(
            client("10.0.0.1", &f("For=1.1.1.1, FOR=192.0.2.9")),
            "192.0.2.9"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                &f(r#"for=192.0.2.9;host="a,b;for=1.1.1.1", for=10.0.0.4"#)
            ),
            "192.0.2.9"
        );
        assert_eq!(client("10.0.0.1", &f("for=_hidden")), "10.0.0.1");
        assert_eq!(
            client("10.0.0.1", &f("for=1.1.1.1;for=2.2.2.2")),
            "10.0.0.1"
        );
        assert_eq!(client("10.0.0.1", &f("proto=https")), "10.0.0.1");
        let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("10.0.0.1", &both), "10.0.0.1");
    }
}
