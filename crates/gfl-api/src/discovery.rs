//! The datagrams by which clients find servers in their network: the announcement v0.1 broadcasts, and the probe
//! that asks for one.
//!
//! Knows no socket: where datagrams come from and go to is the programs' business.

use serde::{Deserialize, Serialize};

/// The UDP port of announcements and probes.
pub const PORT: u16 = 8081;

/// Bytes v0.1 clients read of an announcement; a longer one is lost on them.
pub const DATAGRAM_BYTES_MAX: usize = 1024;

/// Bytes of a probe. No answer is longer than its probe, so that nobody can use servers to amplify a flood.
pub const PROBE_BYTES: usize = DATAGRAM_BYTES_MAX;

/// Bytes of a server's name, so that every announcement fits.
pub const NAME_BYTES_MAX: usize = 128;

/// The name of a server that was given none; v0.1's.
pub const NAME_DEFAULT: &str = "GoFlux Lite Server";

/// The mark of an announcement.
const MAGIC: &str = "GOFLUX-LITE-DISCOVERY";

/// The mark of a probe, followed by zeros up to [`PROBE_BYTES`].
const PROBE: &[u8] = b"GOFLUX-LITE-PROBE\n";

/// What a server tells about itself. The order of the fields is that of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Announcement {
    /// A name for people.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// The configured address, `host:port`; the host may be a wildcard.
    pub address: String,
    /// The port, as text.
    pub port: String,
    /// Whether requests need a token.
    pub auth_enabled: bool,
    /// When it was sent, Unix seconds.
    pub timestamp: i64,
    /// Whether that port speaks TLS. v0.1 does not know this key, and skips it.
    #[serde(skip_serializing_if = "is_false")]
    pub tls: bool,
    /// Random, of one process: the same server met on two networks is one server. Unknown to v0.1 too.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// For serde, which passes references.
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    data: T,
    magic: String,
}

impl Announcement {
    /// The datagram; none if it would be longer than [`DATAGRAM_BYTES_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(&Envelope {
            data: self,
            magic: MAGIC.to_owned(),
        })
        .ok()?;
        (bytes.len() <= DATAGRAM_BYTES_MAX).then_some(bytes)
    }

    /// Reads a datagram; none if it is no announcement.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let envelope: Envelope<Self> = serde_json::from_slice(datagram).ok()?;
        (envelope.magic == MAGIC).then_some(envelope.data)
    }

    /// The address a client should use, given the address the datagram came from: a host that means nothing
    /// elsewhere (`localhost`, loopback, wildcard, none) gives way to the sender's.
    pub fn reachable_address(&self, sender_ip: std::net::IpAddr) -> String {
        let local = ["localhost", "127.0.0.1", "0.0.0.0", "[::]", "[::1]", ":"];
        if !local.iter().any(|host| self.address.starts_with(host)) {
            return self.address.clone();
        }
        let port = self.address.rsplit_once(':').map_or("", |(_, port)| port);
        let port = if port.is_empty() {
            self.port.as_str()
        } else {
            port
        };
        match sender_ip {
            std::net::IpAddr::V4(ip) => format!("{ip}:{port}"),
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        }
    }
}

/// The probe to send.
pub fn probe() -> [u8; PROBE_BYTES] {
    let mut bytes = [0; PROBE_BYTES];
    bytes[..PROBE.len()].copy_from_slice(PROBE);
    bytes
}

/// Whether a datagram is a probe that may be answered: it is marked, and no answer can be longer.
pub fn is_probe(datagram: &[u8]) -> bool {
    datagram.len() >= PROBE_BYTES && datagram.starts_with(PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announcement(address: &str) -> Announcement {
        Announcement {
            name: "GoFlux Lite Server".into(),
            version: "0.1.0-lite".into(),
            address: address.into(),
            port: "8080".into(),
            auth_enabled: false,
            timestamp: 1_700_000_000,
            ..Announcement::default()
        }
    }

    #[test]
    fn the_datagram_of_v0_1() {
        let text = r#"{"data":{"name":"GoFlux Lite Server","version":"0.1.0-lite","address":"192.168.1.5:8080","port":"8080","auth_enabled":false,"timestamp":1700000000},"magic":"GOFLUX-LITE-DISCOVERY"}"#;
        let announcement = announcement("192.168.1.5:8080");
        assert_eq!(announcement.encode().as_deref(), Some(text.as_bytes()));
        assert_eq!(Announcement::parse(text.as_bytes()), Some(announcement));
        assert_eq!(
            Announcement::parse(text.replace("GOFLUX-LITE", "OTHER").as_bytes()),
            None
        );
        let long = Announcement {
            name: "n".repeat(1000),
            ..Announcement::default()
        };
        assert_eq!(long.encode(), None);
    }

    #[test]
    fn what_v0_1_does_not_know_stands_behind_what_it_knows() {
        let new = Announcement {
            tls: true,
            id: "1f".into(),
            ..announcement("a:1")
        };
        let bytes = new.encode().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            text.contains(r#""timestamp":1700000000,"tls":true,"id":"1f"},"magic""#),
            "{text}"
        );
        assert_eq!(Announcement::parse(&bytes), Some(new));
    }

    #[test]
    fn the_longest_name_and_address_fit() {
        let longest = Announcement {
            // A quote takes two bytes on the wire.
            name: "\"".repeat(NAME_BYTES_MAX),
            address: format!("{}:65535", "h".repeat(253)),
            port: "65535".into(),
            version: "255.255.255-lite".into(),
            auth_enabled: true,
            timestamp: i64::MAX,
            tls: true,
            id: "f".repeat(32),
        };
        assert!(longest.encode().is_some());
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere() {
        let v4 = "10.0.0.7".parse().unwrap();
        for (address, want) in [
            ("192.168.1.5:8080", "192.168.1.5:8080"),
            ("localhost:9000", "10.0.0.7:9000"),
            ("0.0.0.0:9000", "10.0.0.7:9000"),
            (":9000", "10.0.0.7:9000"),
            ("[::]:9000", "10.0.0.7:9000"),
            ("localhost", "10.0.0.7:8080"),
        ] {
            assert_eq!(announcement(address).reachable_address(v4), want);
        }
        let v6 = "fe80::1".parse().unwrap();
        assert_eq!(
            announcement("0.0.0.0:9").reachable_address(v6),
            "[fe80::1]:9"
        );
    }

    #[test]
    fn probes() {
        assert!(is_probe(&probe()));
        assert!(!is_probe(&probe()[..PROBE_BYTES - 1]) && !is_probe(&[0; 2000]));
    }

    proptest! {
        #[test]
        fn arbitrary_datagrams_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Announcement::parse(&bytes), is_probe(&bytes));
        }
    }
}
