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

#[tokio::test(start_paused = true)]
async fn changed_files_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_pair(dir.path());
    let (tls, upkeep) = Tls::open(&Source::Files(files)).await.unwrap();
    let first = tls.shown().unwrap().fingerprint;
    let watch = tokio::spawn(upkeep.run());
    tokio::task::yield_now().await;
    write_pair(dir.path());
    // Time is not real here: it passes when everything waits.
    let changed = async {
        while tls.shown().unwrap().fingerprint == first {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), changed).await;
    watch.abort();
    assert!(waited.is_ok(), "a new pair was not noticed");
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
