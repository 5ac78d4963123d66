use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::Path;

fn write_pair(dir: &Path) -> PairFiles {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["nas.example".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let files = PairFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

async fn open(source: &Source) -> Arc<Tls> {
    Tls::open(source).await.unwrap().0
}

#[tokio::test]
async fn a_new_pair_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_pair(dir.path());
    let tls = open(&Source::Files(files.clone())).await;
    let shown = || tls.shown().unwrap().fingerprint;
    let first = shown();
    assert!(!tls.reload().unwrap(), "nothing changed");
    let key = fs::read(&files.key).unwrap();
    write_pair(dir.path());
    assert!(tls.reload().unwrap());
    let second = shown();
    assert_ne!(first, second);
    fs::write(&files.key, key).unwrap();
    assert!(tls.reload().is_err());
    fs::remove_file(&files.cert).unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(shown(), second, "the last good one stays");
}

#[tokio::test]
async fn a_reload_of_the_server_takes_new_files() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_pair(dir.path());
    let (tls, upkeep) = Tls::open(&Source::Files(files.clone())).await.unwrap();
    let first = tls.shown().unwrap().fingerprint;
    let (hook, _) = upkeep.hook().unwrap();
    assert_eq!(hook.files, [files.cert.clone(), files.key.clone()]);
    write_pair(dir.path());
    let reload = || (hook.reload)(&gfl_api::config::ServerConfig::default());
    reload().unwrap();
    let second = tls.shown().unwrap().fingerprint;
    assert_ne!(first, second);
    fs::write(&files.cert, "no certificate").unwrap();
    assert!(reload().is_err());
    assert_eq!(tls.shown().unwrap().fingerprint, second);
}

#[cfg(unix)]
#[tokio::test]
async fn our_own_certificate_is_made_once_and_the_key_is_ours_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("meta/tls");
    let source = || Source::SelfSigned(self_signed::SelfSigned::new(own.clone(), "0.0.0.0:1"));
    let first = open(&source()).await.shown().unwrap();
    let again = open(&source()).await.shown().unwrap();
    assert_eq!(first.fingerprint, again.fingerprint);
    let years = first.validity.days_left(now_s()) / 365;
    assert_eq!(years, 10);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&own), mode(&own.join("key.pem"))), (0o700, 0o600));
    // Half of it is none of it.
    fs::remove_file(own.join("key.pem")).unwrap();
    let other = open(&source()).await.shown().unwrap();
    assert_ne!(first.fingerprint, other.fingerprint);
}
