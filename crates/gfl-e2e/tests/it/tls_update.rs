//! `gfl update` over TLS: a release is fetched from whom an authority vouches for, or from the configured server by
//! the certificate that is remembered of it; and from nobody else.

use crate::tls::Pair;
use gfl_api::release::Manifest;
use gfl_api::release::minisign::{PublicKey, Signature};
use gfl_e2e::gfl::Output;
use gfl_e2e::{Gfl, Server};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use std::fs;
use std::path::Path;

/// The exit code for whom is not trusted.
const AUTH: i32 = 3;
const NEWER: &str = "9.10.0";

/// A signed release in `dir`, and the key to check it with.
fn release(dir: &Path) -> String {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("the set-up works");
    let sign = |bytes: &[u8]| {
        key.sign(bytes)
            .expect("the set-up works")
            .try_into()
            .expect("the set-up works")
    };
    let manifest = Manifest {
        version: NEWER.into(),
        release_date: "2026-12-01".into(),
        ..Manifest::default()
    };
    let text = manifest.to_json();
    let mut signature = Signature {
        key_id: [1; 8],
        signature: sign(text.as_bytes()),
        comment: "file:version.json".into(),
        comment_signature: [0; 64],
    };
    signature.comment_signature = sign(&signature.comment_message());
    fs::write(dir.join("version.json"), text).expect("the set-up works");
    fs::write(dir.join("version.json.minisig"), signature.to_text()).expect("the set-up works");
    let public = PublicKey {
        id: [1; 8],
        key: key.der_bytes().try_into().expect("the set-up works"),
    };
    public.to_text()
}

struct Bed {
    server: Server,
    pair: Pair,
    key: String,
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = tempfile::tempdir().expect("the set-up works");
        let key = release(dir.path());
        let pair = Pair::make(dir.path());
        let file = dir.path().join("version.json");
        let setup = pair
            .setup()
            .with("updates_file", file.to_str().expect("the set-up works"));
        let server = setup.start();
        Bed {
            server,
            pair,
            key,
            dir,
        }
    }

    /// `gfl update --check` of a machine that trusts the authorities in a file, and asks the project at `url`.
    fn check(&self, gfl: &Gfl, authorities: &Path, url: &str, more: &[&str]) -> Output {
        let output = gfl
            .command()
            .args(["--retries", "0", "update", "--check"])
            .args(more)
            .env("GFL_UPDATE_KEYS", &self.key)
            .env("GFL_UPDATE_URL", url)
            .env("SSL_CERT_FILE", authorities)
            .output()
            .expect("the set-up works");
        Output {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

#[test]
fn a_release_is_fetched_from_a_server_that_is_vouched_for() {
    let bed = Bed::new();
    let gfl = Gfl::at("http://127.0.0.1:1", "token");
    let port = bed.server.addr().port();
    let url = format!("https://localhost:{port}/version.json");
    let found = bed.check(&gfl, &bed.pair.cert, &url, &[]).expect(0);
    assert!(found.out.contains(NEWER), "{found:?}");
    // Others than those that this machine trusts do not count, whatever is signed.
    let others = tempfile::tempdir().unwrap();
    let other = Pair::make(others.path());
    let refused = bed.check(&gfl, &other.cert, &url, &[]).expect(AUTH);
    assert!(refused.err.contains("cannot be trusted"), "{refused:?}");
    assert!(!refused.out.contains(NEWER), "{refused:?}");
}

#[test]
fn the_configured_server_is_known_by_its_certificate() {
    let bed = Bed::new();
    let gfl = Gfl::at("", "");
    fs::remove_file(gfl.config()).unwrap();
    let address = bed.server.addr().to_string();
    let none = bed.dir.path().join("version.json");
    gfl.run(&["config", &address, bed.server.token(), "--trust"])
        .expect(0);
    let nowhere = "https://127.0.0.1:1/version.json";
    let found = bed.check(&gfl, &none, nowhere, &["--local"]).expect(0);
    assert!(found.out.contains(NEWER), "{found:?}");
    // What is remembered of it says nothing about an address of the project's that happens to show the same.
    let port = bed.server.addr().port();
    let url = format!("https://localhost:{port}/version.json");
    let refused = bed.check(&gfl, &none, &url, &[]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
}
