//! The server's TLS as foreign programs see it: curl, openssl, and what is told to the administrator.

use crate::common::assert_file;
use gfl_e2e::{Server, Setup, data, skip};
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A pair of files that a server can be given, for the name localhost and its address.
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pair {
    /// Makes one in `dir`.
    pub(crate) fn make(dir: &Path) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        Pair::with(
            dir,
            CertificateParams::new(names).expect("the set-up works"),
        )
    }

    /// The same with other dates or names.
    pub(crate) fn with(dir: &Path, params: CertificateParams) -> Pair {
        fs::create_dir_all(dir).expect("the set-up works");
        let key = KeyPair::generate().expect("the set-up works");
        let cert = params.self_signed(&key).expect("the set-up works");
        let pair = Pair {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        fs::write(&pair.key, key.serialize_pem()).expect("the set-up works");
        fs::write(&pair.cert, cert.pem()).expect("the set-up works");
        pair
    }

    /// A server that shows it.
    pub(crate) fn setup(&self) -> Setup {
        Setup::default()
            .with("tls_cert", self.cert.to_str().expect("the set-up works"))
            .with("tls_key", self.key.to_str().expect("the set-up works"))
    }
}

/// Runs a foreign program; none, and a skip, when it is not there.
fn foreign(what: &str, program: &str, args: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&text).into_owned(),
            ))
        }
        Err(e) => {
            skip::skip(what, &format!("{program}: {e}"));
            None
        }
    }
}

fn curl(args: &[&str]) -> Option<String> {
    let quiet = ["--silent", "--show-error", "--fail"];
    let (done, text) = foreign("curl over TLS", "curl", &[&quiet, args].concat())?;
    assert!(done, "curl {args:?}: {text}");
    Some(text)
}

#[test]
fn curl_puts_and_gets_over_both_protocols() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    let server = pair.setup().start();
    let content = data::bytes(1, 20_000_000);
    let (sent, got) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&sent, &content).unwrap();
    let bearer = format!("Authorization: Bearer {}", server.token());
    let url = format!("{}/v1/files/dir/f", server.https());
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let common = [
            option,
            "--cacert",
            pair.cert.to_str().unwrap(),
            "-H",
            &bearer,
            "--write-out",
            "%{http_version}",
            "-o",
        ];
        let put = [
            &common[..],
            &["/dev/null", "-T", sent.to_str().unwrap(), &url],
        ]
        .concat();
        let Some(spoken) = curl(&put) else { return };
        assert_eq!(spoken, version);
        assert!(fs::read(server.data().join("dir/f")).unwrap() == content);
        let spoken = curl(&[&common[..], &[got.to_str().unwrap(), &url]].concat());
        assert_eq!(spoken.as_deref(), Some(version));
        assert!(fs::read(&got).unwrap() == content);
        let from = [&common[..], &["/dev/null", "-X", "DELETE", &url]].concat();
        curl(&from);
    }
}

#[test]
fn refused_uploads_over_http2_get_their_answer() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    let server = pair.setup().start();
    let sent = dir.path().join("in");
    fs::write(&sent, data::bytes(1, 30_000_000)).unwrap();
    let url = format!("{}/v1/files/f", server.https());
    // The second request tells whether the connection lived through the first.
    let args = [
        "--silent",
        "--http2",
        "--cacert",
        pair.cert.to_str().unwrap(),
        "--write-out",
        "%{http_code} %{num_connects}\n",
        "-o",
        "/dev/null",
        "-T",
        sent.to_str().unwrap(),
        &url,
        "-o",
        "/dev/null",
        &format!("{}/livez", server.https()),
    ];
    let Some((_, text)) = foreign("a refused upload over HTTP/2", "curl", &args) else {
        return;
    };
    assert_eq!(text, "401 1\n200 0\n");
}

#[test]
fn old_versions_of_tls_are_refused_and_new_ones_taken() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    let server = pair.setup().start();
    let address = server.addr().to_string();
    let cert = pair.cert.to_str().unwrap();
    let connect = |more: &[&str]| {
        let mut args = vec!["s_client", "-connect", &address, "-CAfile", cert];
        args.extend_from_slice(more);
        foreign("TLS versions", "openssl", &args)
    };
    // Without its own security level openssl would not even ask.
    for version in ["-tls1", "-tls1_1"] {
        let Some((done, text)) = connect(&[version, "-cipher", "ALL:@SECLEVEL=0"]) else {
            return;
        };
        assert!(!done && text.contains("alert"), "{version}: {text}");
    }
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (done, text) = connect(&[version, "-alpn", "h2,http/1.1"]).unwrap();
        assert!(done && text.contains(name), "{version}: {text}");
        assert!(text.contains("ALPN protocol: h2"), "{text}");
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    }
}

#[test]
fn an_old_configuration_with_certificates_takes_effect() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    let server = pair.setup().start();
    let mut conn = gfl_e2e::Conn::open_tls(server.addr()).unwrap();
    conn.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(conn.answer("GET").unwrap().status, 200);
    let shown = conn.fingerprint().unwrap();
    // What clients see is what the administrator is told.
    let told = check(&server, &[]);
    assert!(told.1.contains(&shown), "{told:?}");
    let plain = told.1.lines().find(|line| line.starts_with("plain_http "));
    assert!(
        plain.is_some_and(|line| line.ends_with(" refused")),
        "{told:?}"
    );
}

/// `gfl-server -check` with the configuration of a server: whether it is content, and what it says.
fn check(server: &Server, more: &[&str]) -> (bool, String) {
    let output = Command::new(gfl_e2e::bins::path("gfl-server"))
        .arg("-config")
        .arg(server.root().join("goflux.json"))
        .arg("-check")
        .args(more)
        .current_dir(server.root())
        .output()
        .expect("the set-up works");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn half_a_pair_and_a_broken_one_are_errors_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (
        Pair::make(&dir.path().join("1")),
        Pair::make(&dir.path().join("2")),
    );
    let cert = one.cert.to_str().unwrap();
    let mut expired = CertificateParams::new(["localhost".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let old = Pair::with(&dir.path().join("old"), expired);
    for (setup, why) in [
        (Setup::default().with("tls_cert", cert), "server.tls_key"),
        (
            Setup::default()
                .with("tls_cert", cert)
                .with("tls_key", two.key.to_str().unwrap()),
            "does not belong to the first certificate",
        ),
        (old.setup(), "ended on 2020-01-02; get a new one"),
        (
            one.setup().with("tls_self_signed", true),
            "can come from one place only",
        ),
        (
            Setup::default()
                .with("tls_cert", "/nowhere/c.pem")
                .with("tls_key", cert),
            "cannot read /nowhere/c.pem",
        ),
    ] {
        let mut server = setup.prepare();
        let error = server.try_start().unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
        let (content, text) = check(&server, &[]);
        assert!(!content && text.contains(why), "-check: {why}: {text}");
    }
}

#[test]
fn a_new_certificate_is_shown_without_dropping_a_download() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    let server = pair.setup().start();
    let shown = || {
        gfl_e2e::Conn::open_tls(server.addr())
            .unwrap()
            .fingerprint()
    };
    let first = shown();
    let content = data::bytes(3, 48 << 20);
    fs::write(server.data().join("f"), &content).unwrap();
    let mut conn = gfl_e2e::Conn::open_tls(server.addr()).unwrap();
    let get = format!(
        "GET /v1/files/f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token()
    );
    conn.send(get.as_bytes()).unwrap();
    let head = conn.answer_head().unwrap();
    assert_eq!(head.status, 200);
    // Half-written pairs on the way to the new one must not be taken, nor end anything.
    fs::write(&pair.key, "in the middle of being written").unwrap();
    Pair::make(dir.path());
    gfl_e2e::wait::until("the new certificate is shown", 30, || {
        (shown() != first).then_some(())
    });
    let second = shown();
    let mut got = Vec::new();
    conn.answer_body(&head, "GET", &mut |piece| got.extend_from_slice(piece))
        .unwrap();
    assert!(got == content, "the download was cut or changed");
    // A broken pair leaves the last good one in place, and says so.
    fs::write(&pair.key, "rubbish").unwrap();
    gfl_e2e::wait::until("the broken pair is noticed", 30, || {
        server.log().contains("holds no private key").then_some(())
    });
    assert_eq!(shown(), second);
}

#[test]
fn our_own_certificate_survives_restarts() {
    let setup = Setup::default().with("tls_self_signed", true);
    let mut server = setup.start();
    let shown = |server: &Server| {
        gfl_e2e::Conn::open_tls(server.addr())
            .unwrap()
            .fingerprint()
    };
    let first = shown(&server).unwrap();
    assert!(server.stop());
    server.restart();
    assert_eq!(shown(&server).as_ref(), Some(&first));
    assert!(check(&server, &[]).1.contains(&first));
    // curl believes it as its own authority, under every name of this machine.
    let cert = server.meta().join("tls/cert.pem");
    let url = format!("https://localhost:{}/livez", server.addr().port());
    curl(&["--cacert", cert.to_str().unwrap(), &url]);
    assert_file_mode(&server.meta().join("tls/key.pem"), 0o600);
}

fn assert_file_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let found = fs::metadata(path)
        .expect("the set-up works")
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(found, mode, "{}", path.display());
}

#[test]
fn public_means_encrypted() {
    let public = Setup {
        args: vec!["-public".into()],
        ..Setup::default()
    };
    let server = public.start();
    let local = ([127, 0, 0, 1], server.addr().port()).into();
    assert!(
        gfl_e2e::Conn::open_tls(local)
            .unwrap()
            .fingerprint()
            .is_some()
    );
    assert!(!server.log().contains("WARNING"), "{}", server.log());
    let refused = gfl_e2e::Http::new(local, None).get("/livez");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("https://"), "{}", refused.text());
}

#[test]
fn plain_http_beside_tls_where_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path());
    for setup in [
        pair.setup().with("plain_http", "allow"),
        Setup {
            args: vec!["-plain-http".into()],
            ..pair.setup()
        },
    ] {
        let server = setup.start();
        server
            .http()
            .put("/v1/files/f", "by plain HTTP")
            .expect(201);
        assert_file(&server.http(), "f", b"by plain HTTP");
        let mut conn = gfl_e2e::Conn::open_tls(server.addr()).unwrap();
        conn.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert_eq!(conn.answer("GET").unwrap().status, 200);
    }
}
