//! The address of a server, read from the configuration or the command line once.
//!
//! Knows nothing of resources below it; those are built by the protocol's own file.

use super::{Error, Kind};
use std::fmt;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Scheme, host, port and a path in front of everything, for servers behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Whether connections are encrypted: https.
    pub(crate) is_tls: bool,
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// What stands in the `Host` field.
    pub(crate) authority: String,
    /// Empty, or `/prefix` without a slash at the end.
    pub(crate) prefix: String,
}

impl Origin {
    /// Reads a server URL. Without a scheme it is `http://`, as in v0.1.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::new(Kind::Usage, format!("server address {text:?}: {why}"));
        let text = text.trim();
        let (is_tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return Err(bad("the scheme must be https:// or http://")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains(['@', '?', '#', ' ']) || path.contains(['?', '#', ' ']) {
            return Err(bad(
                "give only HOST:PORT; a token goes into GOFLUX_TOKEN_LITE or `gfl config`",
            ));
        }
        let (host, port) =
            split_port(authority).ok_or_else(|| bad("write HOST:PORT, as in 192.168.1.5:8080"))?;
        if host.is_empty() {
            return Err(bad(
                "the host is missing; write HOST:PORT, as in 192.168.1.5:8080",
            ));
        }
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: port.unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT }),
            authority: authority.to_owned(),
            prefix: path.trim_end_matches('/').to_owned(),
        })
    }

    /// The address as it is written into a configuration.
    pub(crate) fn to_url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.prefix)
    }

    /// Whether this is the same server, perhaps by another scheme.
    pub(crate) fn is_same_host(&self, other: &Self) -> bool {
        self.authority.eq_ignore_ascii_case(&other.authority) && self.prefix == other.prefix
    }

    /// Whether what is sent there stays on this computer.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// Splits `host:port`, `[v6]:port`, `host` and `[v6]`.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            None => (authority, None),
            // A bare IPv6 address would be ambiguous.
            Some((_, port)) if port.contains(':') => return None,
            Some((host, port)) => (host, Some(port)),
        },
    };
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port > 0)?))),
    }
}

/// Percent-encodes one value of a query.
pub(crate) fn query_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, host: &str, port: u16, prefix: &str| {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(
                (origin.host.as_str(), origin.port, origin.prefix.as_str()),
                (host, port, prefix),
                "{text}"
            );
            assert_eq!(Origin::parse(&origin.to_url()).unwrap(), origin);
        };
        check("http://localhost:8080", "localhost", 8080, "");
        check("localhost:8080", "localhost", 8080, "");
        check("HTTP://nas/", "nas", 80, "");
        check("http://nas:1/files/", "nas", 1, "/files");
        check("[::1]:8080", "::1", 8080, "");
        check("http://[fe80::1]", "fe80::1", 80, "");
        check("https://nas", "nas", 443, "");
        check("HTTPS://nas:8080/files", "nas", 8080, "/files");
        for bad in [
            "",
            "http://",
            "http://:8080",
            "nas:",
            "nas:0",
            "nas:99999",
            "::1",
            "ftp://nas",
            "http://user:pw@nas",
            "nas:80?x",
            "a b:80",
        ] {
            assert_eq!(Origin::parse(bad).unwrap_err().kind, Kind::Usage, "{bad}");
        }
        let tls = |text: &str| Origin::parse(text).unwrap().is_tls;
        assert!(tls("https://nas") && !tls("http://nas") && !tls("nas"));
    }

    #[test]
    fn the_same_server_by_another_scheme() {
        let origin = |text: &str| Origin::parse(text).unwrap();
        assert!(origin("https://NAS:1/x").is_same_host(&origin("nas:1/x/")));
        for other in ["nas:1", "nas/x", "other:1/x"] {
            assert!(
                !origin("https://nas:1/x").is_same_host(&origin(other)),
                "{other}"
            );
        }
        for here in ["localhost:1", "127.0.0.9", "[::1]:1"] {
            assert!(origin(here).is_loopback(), "{here}");
        }
        assert!(!origin("192.0.2.1").is_loopback() && !origin("nas").is_loopback());
    }

    #[test]
    fn queries() {
        assert_eq!(query_value("a b&c#d+é/%"), "a%20b%26c%23d%2B%C3%A9/%25");
    }
}
