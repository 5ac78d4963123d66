use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;

struct Bed {
    dir: tempfile::TempDir,
}

/// 2026-01-01.
const NOW_S: i64 = 1_767_225_600;

impl Bed {
    fn new() -> Bed {
        Bed {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Why these two cannot be used.
    #[track_caller]
    fn refused(&self, cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> String {
        let files = PairFiles {
            cert: self.write("cert.pem", cert),
            key: self.write("key.pem", key),
        };
        format!("{:#}", files.read(NOW_S).unwrap_err())
    }
}

/// A certificate that is valid in one year only, with its key; PEM.
fn made(year: i32) -> (String, String) {
    let mut params = CertificateParams::new(["nas.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(year, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem())
}

#[test]
fn a_pair_is_read_from_two_files_or_from_one() {
    let bed = Bed::new();
    let (cert, key) = made(2026);
    let two = PairFiles {
        cert: bed.write("c", &cert),
        key: bed.write("k", &key),
    };
    let both = bed.write("both", format!("{key}{cert}"));
    let one = PairFiles {
        cert: both.clone(),
        key: both,
    };
    let (two, one) = (two.read(NOW_S).unwrap(), one.read(NOW_S).unwrap());
    assert_eq!(two.fingerprint, one.fingerprint);
    assert_eq!(day(two.validity.not_after_s), "2026-12-31");
    assert_eq!(two.key.cert.len(), 1);
}

#[test]
fn the_servers_own_certificate_comes_first() {
    let bed = Bed::new();
    let ((leaf, key), (other, _)) = (made(2026), made(2026));
    let chain = PairFiles {
        cert: bed.write("c", format!("{leaf}{other}")),
        key: bed.write("k", &key),
    };
    assert_eq!(chain.read(NOW_S).unwrap().key.cert.len(), 2);
    let error = bed.refused(format!("{other}{leaf}"), &key);
    assert!(
        error.contains("does not belong") && error.contains("first"),
        "{error}"
    );
}

#[test]
fn every_mistake_is_named_with_its_file_and_a_remedy() {
    let bed = Bed::new();
    let (cert, key) = made(2026);
    let (_, other_key) = made(2026);
    let (old_cert, old_key) = made(2025);
    let der = rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (cert, key, file, remedy) in [
        (
            cert.as_bytes(),
            other_key.as_bytes(),
            "key.pem",
            "made together",
        ),
        (
            old_cert.as_bytes(),
            old_key.as_bytes(),
            "cert.pem",
            "2025-12-31; get a new one",
        ),
        (
            b"",
            key.as_bytes(),
            "cert.pem",
            "holds no certificate in PEM (text",
        ),
        (&der, key.as_bytes(), "cert.pem", "openssl x509 -inform der"),
        (
            cert.as_bytes(),
            cert.as_bytes(),
            "key.pem",
            "holds no private key",
        ),
        (
            cert.as_bytes(),
            locked.as_bytes(),
            "key.pem",
            "openssl pkey",
        ),
        (
            key.as_bytes(),
            key.as_bytes(),
            "cert.pem",
            "holds no certificate",
        ),
    ] {
        let error = bed.refused(cert, key);
        assert!(
            error.contains(file) && error.contains(remedy),
            "{remedy}: {error}"
        );
    }
    let nowhere = PairFiles {
        cert: bed.dir.path().join("nowhere.pem"),
        key: bed.write("k", &key),
    };
    let error = format!("{:#}", nowhere.read(NOW_S).unwrap_err());
    assert!(
        error.contains("nowhere.pem") && error.contains("server.tls_cert"),
        "{error}"
    );
}

#[test]
fn a_certificate_of_tomorrow_is_taken() {
    // A machine without a battery starts in the past and learns the time later.
    let bed = Bed::new();
    let (cert, key) = made(2027);
    let files = PairFiles {
        cert: bed.write("c", cert),
        key: bed.write("k", key),
    };
    assert!(files.read(NOW_S).unwrap().validity.is_early(NOW_S));
}

#[test]
fn a_stamp_changes_with_either_file() {
    let bed = Bed::new();
    let files = PairFiles {
        cert: bed.write("c", "1"),
        key: bed.write("k", "1"),
    };
    let mut seen = vec![files.stamp()];
    for name in ["c", "k"] {
        let new = bed.write("new", "1");
        fs::rename(new, bed.dir.path().join(name)).unwrap();
        seen.push(files.stamp());
    }
    fs::remove_file(&files.key).unwrap();
    seen.push(files.stamp());
    for (n, one) in seen.iter().enumerate() {
        assert!(!seen[n + 1..].contains(one), "{seen:?}");
    }
}
