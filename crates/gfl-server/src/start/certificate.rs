//! What is doubtful about the certificate and its key: that they cannot be used, that the end is near, and who else
//! can read the key.

use super::Plan;
use super::finding::Finding;
use super::folders::{is_served, shown};
use crate::tls::pair::PairFiles;
use crate::tls::{EXPIRY_DAYS_WARNED, Source, now_s};
use gfl_api::certificate::day;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Everybody on the machine.
const ALL: u32 = 0o007;
/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// Looks at the files, if there are any yet.
pub(super) fn look(plan: &Plan) -> Vec<Finding> {
    let (settings, files, closed_to) = match &plan.tls.source {
        None => return Vec::new(),
        // A group of its own for keys is a custom of Debian's.
        Some(Source::Files(files)) => (["server.tls_cert", "server.tls_key"], files.clone(), ALL),
        Some(Source::SelfSigned(own)) => match own.existing() {
            Some(files) => (["server.tls_self_signed"; 2], files, OTHERS),
            None => return Vec::new(),
        },
        // One for other names is asked for again, whatever it is like.
        Some(Source::Acme(acme)) if !acme.is_current() => return Vec::new(),
        Some(Source::Acme(acme)) => (["server.acme_domains"; 2], acme.files(), OTHERS),
    };
    let is_ours_to_get = matches!(plan.tls.source, Some(Source::Acme(_)));
    let [of_cert, of_key] = settings;
    let mut found = Vec::new();
    found.extend(validity(of_cert, &files).filter(|finding| !(finding.fatal && is_ours_to_get)));
    found.extend(openness(of_key, &files.key, closed_to));
    if is_served(&files.key, &plan.settings.storage_dir) {
        let why = "lies in the storage folder, where every token that may download reads it; move it out, and get a \
                   new pair if somebody may have";
        found.push(Finding::warning(of_key, &shown(&files.key), why));
    }
    found
}

fn validity(setting: &str, files: &PairFiles) -> Option<Finding> {
    let cert = shown(&files.cert);
    match files.read(now_s()) {
        Err(why) => Some(Finding::error(setting, &cert, format!("{why:#}"))),
        Ok(pair) => {
            let left = pair.validity.days_left(now_s());
            (left <= EXPIRY_DAYS_WARNED).then(|| {
                let until = day(pair.validity.not_after_s);
                let why = format!(
                    "ends on {until}, in {left} days, and clients refuse it then; get a new one"
                );
                Finding::warning(setting, &cert, why)
            })
        }
    }
}

fn openness(setting: &str, key: &Path, closed_to: u32) -> Option<Finding> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    (mode & closed_to != 0).then(|| {
        let why = "can be read by other users of this machine, and who has it can answer in this server's place; \
                   chmod 600 it";
        Finding::warning(setting, &shown(key), why)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{args, found};
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::fs::{self, Permissions};
    use std::time::{Duration, SystemTime};

    fn write(dir: &Path, days: u64) {
        let mut params = CertificateParams::new(["nas.example".to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + Duration::from_hours(24 * days + 1)).into();
        let key = KeyPair::generate().unwrap();
        fs::write(dir.join("c.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.join("k.pem"), key.serialize_pem()).unwrap();
        mode(dir, 0o600);
    }

    fn mode(dir: &Path, mode: u32) {
        fs::set_permissions(dir.join("k.pem"), Permissions::from_mode(mode)).unwrap();
    }

    fn told(dir: &Path, storage: &str) -> Vec<String> {
        let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let config = serde_json::json!({
            "tls_cert": path("c.pem"), "tls_key": path("k.pem"), "storage_dir": path(storage),
        });
        let plan = super::super::plan(&args("x"), found(&config.to_string()));
        look(&plan).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_near_end_and_an_open_key_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, 15);
        assert_eq!(told(dir, "data"), [""; 0]);
        write(dir, 14);
        let near = told(dir, "data");
        assert!(
            near.len() == 1
                && near[0].contains("server.tls_cert")
                && near[0].contains("in 14 days"),
            "{near:?}"
        );
        write(dir, 90);
        mode(dir, 0o640);
        assert_eq!(told(dir, "data"), [""; 0], "a group may be meant");
        mode(dir, 0o644);
        let open = told(dir, "data");
        assert!(
            open.len() == 1 && open[0].contains("server.tls_key") && open[0].contains("chmod 600"),
            "{open:?}"
        );
        mode(dir, 0o600);
        let served = told(dir, ".");
        assert!(
            served.len() == 1 && served[0].contains("in the storage folder"),
            "{served:?}"
        );
    }
}
