//! Servers are found: on the same machine, over a cable, by old clients.

use gfl_e2e::lan::Lan;
use gfl_e2e::{bins, skip};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A server on machine 0 of a network; ends when dropped.
struct Served {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Served {
    fn start(lan: &Lan, section: Value) -> Served {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = serde_json::json!({ "server": section });
        std::fs::write(dir.path().join("goflux.json"), config.to_string()).expect("config written");
        let mut child = lan
            .command(0, &bins::path("gfl-server"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let ready = out
            .lines()
            .map_while(Result::ok)
            .find(|l| l.contains("listening on"));
        let ready = ready.expect("the server gets ready");
        let port = ready
            .rsplit_once(':')
            .and_then(|(_, port)| port.trim().parse().ok());
        Served {
            child,
            port: port.expect("the line names a port"),
            _dir: dir,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What `gfl` says on a machine.
fn gfl(lan: &Lan, machine: usize, args: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = lan
        .command(machine, &bins::path("gfl"))
        .args(args)
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(home.path())
        .output()
        .expect("gfl starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn discovered(lan: &Lan, machine: usize) -> Vec<Value> {
    let lines = gfl(lan, machine, &["discover", "--json"]);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

fn lan(what: &str) -> Option<Lan> {
    Lan::new().map_err(|why| skip::skip(what, &why)).ok()
}

#[test]
fn a_server_is_found_on_its_own_machine_and_over_the_cable() {
    let Some(lan) = lan("discovery over a network") else {
        return;
    };
    // Built before anything is measured or waits.
    assert!(Path::new(&bins::path("gfl")).is_file());
    assert_eq!(discovered(&lan, 1), Vec::<Value>::new(), "nobody is there");
    let server = Served::start(
        &lan,
        serde_json::json!({"address": "0.0.0.0:0", "discovery_name": "nas"}),
    );
    let address = format!("{}:{}", Lan::ADDRESSES[0], server.port);
    for machine in [0, 1] {
        let found = discovered(&lan, machine);
        assert_eq!(found.len(), 1, "machine {machine}: {found:?}");
        assert_eq!(found[0]["address"], address, "machine {machine}");
        assert_eq!(found[0]["name"], "nas");
        assert_eq!(
            (&found[0]["auth_enabled"], &found[0]["tls"]),
            (&false.into(), &false.into())
        );
    }
    let text = gfl(&lan, 1, &["discover"]);
    let lines: Vec<&str> = text.lines().collect();
    let address_line = format!("   Address: {address}");
    assert_eq!(
        lines[0], "Discovering GoFlux servers on local network...",
        "{text}"
    );
    assert_eq!(lines[2], "Found 1 GoFlux server(s):", "{text}");
    assert!(
        lines[4].starts_with("1. nas (v") && lines[5] == address_line,
        "{text}"
    );
    assert_eq!(
        lines[6..8],
        ["   Status:  No Auth", "   Seen:    just now"],
        "{text}"
    );
    let version = gfl(&lan, 1, &["version", "--server", &address]);
    assert!(
        version.contains(&format!("server {address}: ")),
        "{version}"
    );
}

#[test]
fn several_servers_of_one_machine_are_all_found() {
    let Some(lan) = lan("discovery of several servers") else {
        return;
    };
    let section = |name: &str| serde_json::json!({"address": "0.0.0.0:0", "discovery_name": name});
    let _servers = ["one", "two", "three"].map(|name| Served::start(&lan, section(name)));
    for machine in [0, 1] {
        let found = discovered(&lan, machine);
        let mut names: Vec<&str> = found.iter().filter_map(|f| f["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["one", "three", "two"], "machine {machine}");
    }
}

#[test]
fn who_cannot_be_reached_or_does_not_want_to_is_not_found() {
    let Some(lan) = lan("discovery that is off") else {
        return;
    };
    let _local = Served::start(&lan, serde_json::json!({"address": "127.0.0.1:0"}));
    let _silent = Served::start(
        &lan,
        serde_json::json!({"address": "0.0.0.0:0", "discovery": false}),
    );
    for machine in [0, 1] {
        assert_eq!(
            discovered(&lan, machine),
            Vec::<Value>::new(),
            "machine {machine}"
        );
    }
    let asked = serde_json::json!({"address": "127.0.0.1:0", "discovery": true});
    let server = Served::start(&lan, asked);
    assert_eq!(
        discovered(&lan, 0)[0]["address"],
        format!("127.0.0.1:{}", server.port)
    );
    assert_eq!(
        discovered(&lan, 1),
        Vec::<Value>::new(),
        "nobody else can connect"
    );
}

#[test]
fn old_clients_hear_what_they_expect() {
    let Some(lan) = lan("the beacon of v0.1") else {
        return;
    };
    // As v0.1's client: port 8081, 1024 bytes.
    let client = lan.udp(1, "0.0.0.0:8081").expect("a socket over there");
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    let server = Served::start(&lan, serde_json::json!({"address": "0.0.0.0:0"}));
    let mut datagram = [0; 1024];
    let (len, from) = client
        .recv_from(&mut datagram)
        .expect("a beat at the start");
    assert_eq!(from.to_string(), format!("{}:8081", Lan::ADDRESSES[0]));
    let told: Value = serde_json::from_slice(&datagram[..len]).expect("json");
    assert_eq!(told["magic"], "GOFLUX-LITE-DISCOVERY");
    let data = &told["data"];
    assert_eq!(
        data["address"],
        format!("0.0.0.0:{}", server.port),
        "replaced by the sender's"
    );
    assert_eq!(data["port"], server.port.to_string());
    assert_eq!(data["auth_enabled"], false);
    assert!(data["timestamp"].is_i64() && data["name"].is_string() && data["version"].is_string());
}
