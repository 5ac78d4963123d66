//! Who else on this machine may look into what should be the server's alone.

use super::report::Check;
use crate::place::shown;
use gfl_server::start::Plan;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "secrets";
/// What others than the owner may not have.
const OTHERS: u32 = 0o077;

/// Looks at modes and owners. The tokens file is among what `gfl-server -check` looks at.
pub(super) fn look(plan: &Plan) -> Vec<Check> {
    let meta_dir = &plan.settings.meta_dir;
    let mut found = Vec::new();
    found.extend(open(meta_dir, "700"));
    let inside = [
        "catalog.db",
        "catalog.db-wal",
        "catalog.db-shm",
        "admin.sock",
    ];
    for path in inside.map(|name| meta_dir.join(name)) {
        found.extend(open(&path, "600"));
    }
    found.extend(config_with_token(&plan.config_path));
    found.extend(owners(meta_dir, &plan.settings.storage_dir));
    if found.is_empty() {
        found.push(Check::ok(
            NAME,
            "folders and files of the server are closed to others",
        ));
    }
    found
}

fn open(path: &Path, mode: &str) -> Option<Check> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let has = meta.permissions().mode() & 0o7777;
    (has & OTHERS != 0 && !meta.is_symlink()).then(|| {
        let path = shown(path);
        Check::warn(
            NAME,
            format!("{path} has mode {has:04o}, others can reach it"),
        )
        .remedy(format!("chmod {mode} {path}"))
    })
}

/// The section `client` of the same file may hold a token in clear.
fn config_with_token(path: &Path) -> Option<Check> {
    let text = std::fs::read_to_string(path).ok()?;
    let (config, _) = gfl_api::config::Config::parse(&text).ok()?;
    if config.client.token.is_empty() {
        return None;
    }
    open(path, "600")
}

/// What the server made as one user it cannot change as another.
fn owners(meta_dir: &Path, storage_dir: &Path) -> Option<Check> {
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.uid());
    let us = owner(meta_dir)?;
    let others: Vec<PathBuf> = [
        meta_dir.join("catalog.db"),
        meta_dir.join("lock"),
        storage_dir.join(".gfl"),
    ]
    .into_iter()
    .filter(|path| owner(path).is_some_and(|uid| uid != us))
    .collect();
    let first = others.first()?;
    let text = format!(
        "{} belongs to another user than {}, which belongs to user {us}",
        shown(first),
        shown(meta_dir)
    );
    let remedy = format!(
        "run the server as one user, and: chown -R {us} {}",
        shown(first)
    );
    Some(Check::fail(NAME, text).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn what_others_can_open_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.db");
        fs::write(&file, "").unwrap();
        for (mode, told) in [(0o600, false), (0o640, true), (0o604, true), (0o700, false)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(open(&file, "600").is_some(), told, "{mode:o}");
        }
        assert!(open(&dir.path().join("none"), "600").is_none());

        let config = dir.path().join("goflux.json");
        fs::write(&config, r#"{"client":{"token":"x"}}"#).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
        let told = config_with_token(&config).unwrap().brief();
        assert!(told.contains("mode 0644"), "{told}");
        fs::write(&config, "{}").unwrap();
        assert!(config_with_token(&config).is_none());
    }
}
