//! Certificates from an authority, against Let's Encrypt's own test server (pebble): the first one, the renewal, and
//! what is told when the authority cannot reach us.

use gfl_e2e::wait;
use gfl_e2e::{Conn, Gfl, Server, Setup, skip};
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A name that an authority can certify. Its own resolver leads everything to this machine.
const DOMAIN: &str = "files.example.org";
const SECONDS_MAX: u64 = 60;

/// A running authority, and its resolver.
struct Pebble {
    children: Vec<Child>,
    directory: String,
    /// What its own certificate is verified with.
    ca: PathBuf,
    /// The port that it asks at.
    asks_at: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

impl Pebble {
    /// None, and a skip, when it is not there.
    fn start(what: &str) -> Option<Pebble> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pair = crate::tls::Pair::with(
            dir.path(),
            CertificateParams::new(names).expect("the names are valid"),
        );
        let (api, management, asks_at) = (free_port(), free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": pair.cert,
            "privateKey": pair.key,
            "httpPort": asks_at,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        let config_file = dir.path().join("pebble.json");
        fs::write(&config_file, config.to_string()).expect("written");
        let dns = format!("127.0.0.1:{}", free_port());
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args([
            "-dns01",
            &dns,
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
        ]);
        for unused in ["-http01", "-https01", "-tlsalpn01"] {
            resolver.args([unused, ""]);
        }
        resolver.args(["-management", &format!("127.0.0.1:{}", free_port())]);
        let mut authority = Command::new("pebble");
        authority
            .args(["-dnsserver", &dns, "-config"])
            .arg(&config_file)
            // Looks at once, and takes every nonce: what they simulate is not what is tested here.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0");
        let mut pebble = Pebble {
            children: Vec::new(),
            directory: format!("https://localhost:{api}/dir"),
            ca: pair.cert,
            asks_at,
            _dir: dir,
        };
        for mut command in [resolver, authority] {
            let quiet = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            match quiet.spawn() {
                Ok(child) => pebble.children.push(child),
                Err(e) => {
                    skip::skip(what, &format!("pebble: {e}"));
                    return None;
                }
            }
        }
        let address: SocketAddr = ([127, 0, 0, 1], api).into();
        wait::until("pebble accepts connections", SECONDS_MAX, || {
            TcpStream::connect(address).ok()
        });
        Some(pebble)
    }

    /// A server that gets its certificate here.
    fn setup(&self, challenges_at: u16) -> Setup {
        Setup::default()
            .with("acme_domains", vec![DOMAIN])
            .with("acme_email", "admin@example.org")
            .with("acme_directory", self.directory.as_str())
            .with("acme_ca_file", self.ca.to_str().expect("UTF-8"))
            .with("acme_address", format!("127.0.0.1:{challenges_at}"))
            .with("acme_accept_terms", true)
    }
}

fn shown(server: &Server) -> Option<String> {
    Conn::open_tls(server.addr()).ok()?.fingerprint()
}

fn kept(server: &Server) -> PathBuf {
    server.meta().join("acme/certificate.pem")
}

fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o077
        == 0
}

#[test]
fn a_certificate_is_got_kept_and_renewed() {
    let Some(pebble) = Pebble::start("a certificate by ACME") else {
        return;
    };
    let mut server = pebble.setup(pebble.asks_at).start();
    let first = wait::until("the first certificate is shown", SECONDS_MAX, || {
        shown(&server)
    });
    assert!(is_private(&kept(&server)) && is_private(&server.meta().join("acme/account")));
    // The authority's root is not the system's, but its chain is whole and for the name.
    let gfl = Gfl::at(&server.https(), server.token());
    let args = ["--fingerprint", first.as_str(), "ls"];
    gfl.run(&args).expect(0);

    // A restart asks for nothing.
    assert!(server.stop());
    server.restart();
    assert_eq!(shown(&server).as_ref(), Some(&first));

    // The same with most of its life behind it: a new one is got while the old one is shown.
    assert!(server.stop());
    let mut params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    params.not_after = tomorrow.into();
    let key = KeyPair::generate().unwrap();
    let old = params.self_signed(&key).unwrap();
    let text = fs::read_to_string(kept(&server)).unwrap();
    let title = text.lines().next().unwrap();
    let aged = format!("{title}\n{}{}", key.serialize_pem(), old.pem());
    fs::write(kept(&server), aged).unwrap();
    server.restart();
    let aged = gfl_e2e::data::sha256(old.der());
    let renewed = wait::until("the renewed certificate is shown", SECONDS_MAX, || {
        shown(&server).filter(|shown| *shown != aged)
    });
    assert_ne!(renewed, first);
    assert!(
        server
            .log()
            .contains("got a certificate for files.example.org")
    );
}

#[test]
fn an_authority_that_cannot_reach_us_is_no_end() {
    let Some(pebble) = Pebble::start("a failed ACME order") else {
        return;
    };
    // Answers somewhere else than the authority asks.
    let server = pebble.setup(free_port()).start();
    let log = wait::until("the failure is told", SECONDS_MAX, || {
        let log = server.log();
        log.contains("next try in").then_some(log)
    });
    for what in [DOMAIN, ".well-known/acme-challenge/", "server.acme_address"] {
        assert!(log.contains(what), "{what}: {log}");
    }
    // Nobody is let in without a certificate, and nobody is told a wrong one.
    assert_eq!(shown(&server), None);
    assert!(!kept(&server).exists());
}

#[test]
fn two_servers_cannot_answer_at_one_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut server = Setup::default()
        .with("acme_domains", vec![DOMAIN])
        .with("acme_accept_terms", true)
        .with("acme_address", address.as_str())
        .prepare();
    let error = server.try_start().unwrap_err();
    assert!(
        error.contains("server.acme_address") && error.contains(&address),
        "{error}"
    );
    let mut server = Setup::default()
        .with("acme_domains", vec![DOMAIN])
        .prepare();
    let error = server.try_start().unwrap_err();
    assert!(error.contains("server.acme_accept_terms"), "{error}");
}
