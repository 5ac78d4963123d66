//! What is kept of ACME in `meta_dir/acme/`: the account, and the certificate with its key in one file, so that the
//! two are never of different age. Readable by the owner only.

use crate::tls::files;
use crate::tls::pair::PairFiles;
use anyhow::{Context, Result};
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where it is kept, and what certificate is wanted.
pub(super) struct Store {
    dir: PathBuf,
    directory: String,
    /// The first line of a certificate's file: what it was wanted for. PEM allows text between its blocks.
    title: String,
}

#[derive(Deserialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

#[derive(Serialize)]
struct NewlyKept<'a> {
    directory: &'a str,
    credentials: &'a AccountCredentials,
}

impl Store {
    pub(super) fn new(dir: &Path, directory: &str, domains: &[String]) -> Store {
        let wanted = json!({ "directory": directory, "domains": domains });
        Store {
            dir: dir.to_owned(),
            directory: directory.to_owned(),
            title: format!("# {wanted}"),
        }
    }

    pub(super) fn files(&self) -> PairFiles {
        let file = self.dir.join("certificate.pem");
        PairFiles {
            cert: file.clone(),
            key: file,
        }
    }

    /// Whether the certificate that is kept is the wanted one.
    pub(super) fn is_current(&self) -> bool {
        let text = fs::read_to_string(self.files().cert).unwrap_or_default();
        text.lines().next() == Some(&self.title)
    }

    /// Keeps a certificate with its key.
    pub(super) fn keep(&self, pem: &str) -> Result<()> {
        files::private_dir(&self.dir)?;
        let text = format!("{}\n{pem}", self.title);
        files::replace(&self.files().cert, text.as_bytes(), 0o600)
    }

    fn account_file(&self) -> PathBuf {
        self.dir.join("account")
    }

    /// The account at this authority.
    pub(super) fn account(&self) -> Result<Option<AccountCredentials>> {
        let path = self.account_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let kept: KeptAccount = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is damaged; remove it to get a new account",
                path.display()
            )
        })?;
        Ok((kept.directory == self.directory).then_some(kept.credentials))
    }

    pub(super) fn keep_account(&self, credentials: &AccountCredentials) -> Result<()> {
        files::private_dir(&self.dir)?;
        let kept = NewlyKept {
            directory: &self.directory,
            credentials,
        };
        let text = serde_json::to_vec(&kept)?;
        files::replace(&self.account_file(), &text, 0o600)
    }

    /// The authority does not know it any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.account_file());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_for_other_names_is_not_the_wanted_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("meta/acme");
        let store = |directory: &str, domains: &[&str]| {
            let domains: Vec<String> = domains.iter().map(|name| (*name).to_owned()).collect();
            Store::new(&at, directory, &domains)
        };
        let kept = store("https://ca/dir", &["a.example", "b.example"]);
        assert!(!kept.is_current());
        kept.keep("PEM").unwrap();
        assert!(kept.is_current());
        assert!(!store("https://ca/dir", &["a.example"]).is_current());
        assert!(!store("https://other/dir", &["a.example", "b.example"]).is_current());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&at), mode(&kept.files().key)), (0o700, 0o600));
        }
    }

    #[test]
    fn accounts_belong_to_their_authority() {
        let dir = tempfile::tempdir().unwrap();
        let store = |directory: &str| Store::new(dir.path(), directory, &[]);
        assert!(store("https://ca").account().unwrap().is_none());
        let credentials = r#"{"id":"1","key_pkcs8":"AAAA","directory":"https://ca"}"#;
        let credentials: AccountCredentials = serde_json::from_str(credentials).unwrap();
        store("https://ca").keep_account(&credentials).unwrap();
        assert!(store("https://ca").account().unwrap().is_some());
        assert!(store("https://other").account().unwrap().is_none());
        fs::write(store("").account_file(), "{").unwrap();
        let error = store("https://ca").account().err().unwrap().to_string();
        assert!(error.contains("remove it"), "{error}");
        store("").forget_account();
        assert!(store("https://ca").account().unwrap().is_none());
    }
}
