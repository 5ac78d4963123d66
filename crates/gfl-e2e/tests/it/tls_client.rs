//! Whom the client trusts: authorities, the certificate it remembers, and nobody who only claims to be the server.

use crate::tls::Pair;
use gfl_e2e::{Conn, Gfl, Server, Setup};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use std::fs;
use std::io::Write;
use std::net::TcpListener;

/// The exit code for whom is not trusted, and who does not trust us.
const AUTH: i32 = 3;

/// A client that knows no server yet.
fn stranger() -> Gfl {
    let gfl = Gfl::at("", "");
    fs::remove_file(gfl.config()).expect("the set-up works");
    gfl
}

fn own() -> Server {
    Setup::default().with("tls_self_signed", true).start()
}

fn address(server: &Server) -> String {
    server.addr().to_string()
}

fn fingerprint(server: &Server) -> String {
    Conn::open_tls(server.addr())
        .expect("the set-up works")
        .fingerprint()
        .expect("the set-up works")
}

fn remembered(gfl: &Gfl) -> serde_json::Value {
    let text = fs::read_to_string(gfl.config()).expect("the set-up works");
    let config: serde_json::Value = serde_json::from_str(&text).expect("the set-up works");
    config["client"].clone()
}

/// The server has another certificate from now on.
fn change_certificate(server: &mut Server) {
    assert!(server.stop());
    fs::remove_dir_all(server.meta().join("tls")).expect("the set-up works");
    server.restart();
}

#[test]
fn an_unknown_certificate_is_shown_and_needs_a_word() {
    let server = own();
    let gfl = stranger();
    let found = fingerprint(&server);
    let refused = gfl
        .run(&["config", &address(&server), server.token()])
        .expect(AUTH);
    assert!(refused.err.contains(&found), "{}", refused.err);
    assert!(!gfl.config().exists(), "nothing is remembered");
    let wrong = "ab".repeat(32);
    let refused = gfl
        .run(&["config", &address(&server), "--fingerprint", &wrong])
        .expect(AUTH);
    assert!(
        refused.err.contains(&found) && refused.err.contains(&wrong),
        "{}",
        refused.err
    );
    assert!(!gfl.config().exists());

    // As openssl writes it, too.
    let colons: Vec<String> = found
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    let args = [
        "config",
        &address(&server),
        server.token(),
        "--fingerprint",
        &colons.join(":"),
    ];
    gfl.run(&args).expect(0);
    let client = remembered(&gfl);
    assert_eq!(client["server_url"], server.https());
    assert_eq!(client["tls_fingerprint"], found);
    fs::write(gfl.local("a"), "content").unwrap();
    gfl.run(&["put", "a", "f"]).expect(0);
    gfl.run(&["get", "f", "b"]).expect(0);
    assert_eq!(fs::read_to_string(gfl.local("b")).unwrap(), "content");
    assert!(gfl.run(&["config"]).expect(0).out.contains(&found));
}

#[test]
fn a_changed_certificate_is_refused_until_it_is_named() {
    let mut server = own();
    let gfl = stranger();
    let old = fingerprint(&server);
    gfl.run(&["config", &address(&server), server.token(), "--trust"])
        .expect(0);
    change_certificate(&mut server);
    let new = fingerprint(&server);
    assert_ne!(old, new);
    let address = address(&server);
    // Neither a command nor a new `gfl config` takes it, not even unseen.
    for args in [
        &["ls"][..],
        &["config", &address],
        &["config", &address, "--trust"],
    ] {
        let refused = gfl.run(args).expect(AUTH);
        for what in [&old, &new, "--fingerprint"] {
            assert!(refused.err.contains(what), "{args:?}: {}", refused.err);
        }
        assert_eq!(remembered(&gfl)["tls_fingerprint"], old, "{args:?}");
    }
    gfl.run(&["config", &address, "--fingerprint", &new])
        .expect(0);
    assert_eq!(remembered(&gfl)["tls_fingerprint"], new);
    gfl.run(&["ls"]).expect(0);
}

#[test]
fn a_token_is_not_shown_to_another_certificate() {
    let mut server = own();
    let gfl = stranger();
    gfl.run(&["config", &address(&server), server.token(), "--trust"])
        .expect(0);
    let lines = |server: &Server| server.log().matches(" request ").count();
    let before = lines(&server);
    change_certificate(&mut server);
    gfl.run(&["--retries", "3", "ls"]).expect(AUTH);
    assert!(server.stop());
    assert_eq!(
        lines(&server),
        before,
        "something was asked: {}",
        server.log()
    );
}

#[test]
fn an_authority_vouches_under_the_right_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let pair = Pair {
        cert: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    fs::write(&pair.cert, leaf.pem()).unwrap();
    fs::write(&pair.key, key.serialize_pem()).unwrap();
    let server = pair.setup().start();

    let gfl = stranger();
    let config = |url: &str, ca: &str| {
        let client = serde_json::json!({ "client": {
            "server_url": url, "token": server.token(), "ca_file": ca } });
        fs::write(gfl.config(), client.to_string()).unwrap();
    };
    let port = server.addr().port();
    let (right, wrong) = (
        format!("https://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
    );
    fs::copy(dir.path().join("ca.pem"), gfl.local("ca.pem")).unwrap();
    config(&right, "ca.pem");
    gfl.run(&["ls"]).expect(0);
    // Nothing needs to be remembered about a server that somebody vouches for.
    gfl.run(&["config", &right]).expect(0);
    assert_eq!(remembered(&gfl)["tls_fingerprint"], serde_json::Value::Null);
    config(&wrong, "ca.pem");
    let refused = gfl.run(&["ls"]).expect(AUTH);
    assert!(
        refused.err.contains("it is for") && refused.err.contains("localhost"),
        "{}",
        refused.err
    );
    config(&right, "");
    let refused = gfl.run(&["ls"]).expect(AUTH);
    assert!(refused.err.contains("no authority"), "{}", refused.err);
    config(&right, "missing.pem");
    let refused = gfl.run(&["ls"]).expect(1);
    assert!(refused.err.contains("missing.pem"), "{}", refused.err);
    // One command may be told whom to trust.
    config("https://elsewhere", "");
    let print = fingerprint(&server);
    let args = ["--server", &wrong, "--fingerprint", &print, "version"];
    assert!(gfl.run(&args).expect(0).out.contains("GoFlux Lite"));
}

#[test]
fn without_a_scheme_tls_is_tried_first_and_plain_http_taken_only_if_it_is_there() {
    let plain = Server::start();
    let gfl = stranger();
    gfl.run(&["config", &address(&plain), plain.token()])
        .expect(0);
    assert_eq!(remembered(&gfl)["server_url"], plain.url());
    gfl.run(&["ls"]).expect(0);

    // Something that speaks neither is not remembered.
    let neither = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = neither.local_addr().unwrap().to_string();
    let speaker = std::thread::spawn(move || {
        for client in neither.incoming().take(2) {
            let _gone = client.unwrap().write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    let gfl = stranger();
    let refused = gfl.run(&["config", &there]);
    assert_ne!(refused.code, Some(0), "{}", refused.out);
    assert!(!gfl.config().exists());
    speaker.join().unwrap();

    // A server with TLS and without: the former is chosen.
    let both = Setup::default()
        .with("tls_self_signed", true)
        .with("plain_http", "allow")
        .start();
    let gfl = stranger();
    gfl.run(&["config", &address(&both), both.token(), "--trust"])
        .expect(0);
    assert_eq!(remembered(&gfl)["server_url"], both.https());
    // Who writes it out gets plain HTTP.
    gfl.run(&["config", &both.url()]).expect(0);
    assert_eq!(remembered(&gfl)["server_url"], both.url());
    assert_eq!(remembered(&gfl)["tls_fingerprint"], "");
}

#[test]
fn what_was_encrypted_does_not_become_plain_by_itself() {
    let mut server = own();
    let gfl = stranger();
    let address = address(&server);
    gfl.run(&["config", &address, server.token(), "--trust"])
        .expect(0);
    // The same address without TLS: a downgrade, by whomever.
    let path = server.root().join("goflux.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(server.stop());
    server.set("tls_self_signed", false);
    server.restart();
    assert_ne!(fs::read_to_string(&path).unwrap(), text);
    let refused = gfl.run(&["ls"]);
    assert_ne!(refused.code, Some(0));
    let refused = gfl.run(&["config", &address]).expect(AUTH);
    assert!(
        refused.err.contains("remembered as encrypted"),
        "{}",
        refused.err
    );
    assert_eq!(remembered(&gfl)["server_url"], server.https());
    gfl.run(&["config", &server.url()]).expect(0);
    gfl.run(&["ls"]).expect(0);
}

#[test]
fn leaving_the_scheme_out_does_not_leave_encryption_out() {
    let server = own();
    let gfl = stranger();
    gfl.run(&["config", &address(&server), server.token(), "--trust"])
        .expect(0);
    gfl.run(&["--server", &address(&server), "ls"]).expect(0);
}

#[test]
fn the_first_public_start_gives_a_client_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(gfl_e2e::bins::path("gfl-server"))
        .args(["-public", "-port", "0", "-print-token"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut told = String::new();
    for line in std::io::BufRead::lines(out) {
        told.push_str(&line.unwrap());
        told.push('\n');
        if told.contains("goflux server listening on ") {
            break;
        }
    }
    let word = |before: &str| {
        let rest = told
            .split(before)
            .nth(1)
            .unwrap_or_else(|| panic!("{before}: {told}"));
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let port = word("goflux server listening on ")
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let token = word("GOFLUX_TOKEN_LITE=");
    let print = word("TLS fingerprint (SHA-256): ");
    // The line that was printed.
    let ls = std::process::Command::new(gfl_e2e::bins::path("gfl"))
        .args(["-config", "goflux.json", "ls", "/"])
        .env("GOFLUX_TOKEN_LITE", token)
        .current_dir(dir.path())
        .output()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        ls.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&ls.stderr)
    );
    let text = fs::read_to_string(dir.path().join("goflux.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["server"]["tls_self_signed"], true, "{config}");
    assert_eq!(config["client"]["tls_fingerprint"], print, "{config}");
    assert_eq!(
        config["client"]["server_url"],
        format!("https://localhost:{port}"),
        "{config}"
    );
}
