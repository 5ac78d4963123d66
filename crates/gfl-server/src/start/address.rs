//! Where to listen: what was typed and configured made one address, and what this machine says to it.

use super::finding::Finding;
use crate::args::Args;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

/// All interfaces.
const PUBLIC_HOST: &str = "0.0.0.0";
const SETTING: &str = "server.address";
/// What overrules all settings.
const PASSED: &str = "ListenStream of the socket unit";

/// `-listen` replaces the configured address, `-port` its port and `-public` its host. (v0.1 threw the configured
/// host away with `-port`.) The address comes back even when it cannot be used, to be shown.
pub(super) fn decide(args: &Args, configured: &str) -> Address {
    if let Some(passed) = args.passed {
        return Address {
            text: passed.to_string(),
            host_from: PASSED,
            wrong: None,
        };
    }
    let address = args.listen.as_deref().unwrap_or(configured);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let host = if args.public { PUBLIC_HOST } else { host };
    let port = args.port.as_deref().unwrap_or(port);
    let host_from = match (args.public, &args.listen) {
        (true, _) => "-public",
        (false, Some(_)) => "-listen",
        (false, None) => SETTING,
    };
    let text = format!("{host}:{port}");
    let wrong = port.parse::<u16>().is_err().then(|| {
        let why = "is no address to listen on, write host:port with a port from 0 to 65535";
        match (&args.port, &args.listen) {
            (Some(typed), _) => {
                let why = "is no port, write a number from 0 to 65535";
                Finding::error("-port", typed, why)
            }
            (None, Some(typed)) => Finding::error("-listen", typed, why),
            (None, None) => Finding::error(SETTING, &text, why),
        }
    });
    Address {
        text,
        host_from,
        wrong,
    }
}

/// Where to listen, and who said so.
pub(super) struct Address {
    /// `host:port`.
    pub(super) text: String,
    /// The setting or option that named the host.
    pub(super) host_from: &'static str,
    /// It is no address.
    pub(super) wrong: Option<Finding>,
}

/// Whom an address lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Users of this machine.
    Machine,
    /// Everybody in the network.
    Network,
}

/// Looks the host up, which `setting` named. A name that stands for several addresses reaches as far as the farthest.
pub(super) fn reach(setting: &str, address: &str) -> Result<Reach, Finding> {
    let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
    if host.is_empty() {
        return Ok(Reach::Network);
    }
    let addresses = resolve(host).map_err(|why| {
        let why = format!("its host has no address ({why}); write an IP address, or 127.0.0.1");
        Finding::error(setting, address, why)
    })?;
    let bindable = |ip: &IpAddr| match TcpListener::bind((*ip, 0)) {
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
        Ok(_) => true,
    };
    let usable: Vec<IpAddr> = addresses.into_iter().filter(bindable).collect();
    if usable.is_empty() {
        let why = "is no address of this machine; write one that it has, 127.0.0.1 or 0.0.0.0";
        return Err(Finding::error(setting, address, why));
    }
    let local = usable.iter().all(|ip| ip.to_canonical().is_loopback());
    Ok(if local {
        Reach::Machine
    } else {
        Reach::Network
    })
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![ip]);
    }
    // With the brackets of an IPv6 zone, as the listener does it.
    let found = format!("{host}:0").to_socket_addrs();
    let found: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
    Ok(found.iter().map(SocketAddr::ip).collect())
}

/// How requests without TLS are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// There is nothing else.
    Only,
    /// Beside TLS.
    Too,
}

/// What is doubtful about an address that reaches so far and is answered without TLS.
pub(super) fn doubts(setting: &str, address: &str, reach: Reach, open: Open) -> Option<Finding> {
    let why = match open {
        Open::Only => {
            "everybody in the network can connect, and without TLS tokens and files can be read on the way; \
             set server.tls_self_signed, or listen on 127.0.0.1 behind a proxy that speaks TLS"
        }
        Open::Too => {
            "everybody in the network can connect, and plain HTTP is answered too: without TLS tokens and files \
             can be read on the way"
        }
    };
    (reach == Reach::Network).then(|| Finding::warning(setting, address, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let address = |configured: &str, listen: Option<&str>, port: Option<&str>, public| {
            let args = Args {
                listen: listen.map(str::to_owned),
                port: port.map(str::to_owned),
                public,
                ..Args::default()
            };
            let decided = decide(&args, configured);
            match decided.wrong {
                None => Ok(decided.text),
                Some(finding) => Err(finding.to_string()),
            }
        };
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(
            address("localhost:8080", None, None, false),
            is("localhost:8080")
        );
        assert_eq!(
            address("localhost:8080", None, Some("9"), false),
            is("localhost:9")
        );
        assert_eq!(address("[::1]:8080", None, Some("9"), false), is("[::1]:9"));
        assert_eq!(address("[::1]", None, Some("9"), false), is("[::1]:9"));
        assert_eq!(address(":8080", None, None, false), is(":8080"));
        assert_eq!(address("a:1", Some("b:2"), Some("3"), false), is("b:3"));
        assert_eq!(
            address("127.0.0.1:8080", None, None, true),
            is("0.0.0.0:8080")
        );
        let refused = |found: Result<String, String>, setting: &str| {
            let why = found.unwrap_err();
            assert!(why.starts_with(setting) && why.contains("65535"), "{why}");
        };
        refused(address("localhost", None, None, false), "server.address ");
        refused(address("a:65536", None, None, false), "server.address ");
        refused(address("a:1", Some("b:-1"), None, false), "-listen ");
        refused(address("a:1", None, Some("x"), false), "-port ");
    }

    #[test]
    fn how_far_addresses_reach() {
        for (address, want) in [
            ("127.0.0.1:8080", Reach::Machine),
            ("127.7.7.7:1", Reach::Machine),
            ("localhost:8080", Reach::Machine),
            ("0.0.0.0:8080", Reach::Network),
            (":8080", Reach::Network),
        ] {
            assert_eq!(reach(SETTING, address), Ok(want), "{address}");
            assert_eq!(
                doubts(SETTING, address, want, Open::Only).is_some(),
                want == Reach::Network,
                "{address}"
            );
        }
        // TEST-NET-1 (RFC 5737), and a name that is none, so that nobody is asked.
        for (address, word) in [
            ("192.0.2.1:8080", "no address of this machine"),
            (&format!("{}:80", "x".repeat(300)), "has no address"),
        ] {
            let finding = reach("-listen", address).unwrap_err();
            assert!(
                finding.fatal
                    && finding.to_string().starts_with("-listen ")
                    && finding.to_string().contains(word),
                "{finding}"
            );
        }
    }
}
