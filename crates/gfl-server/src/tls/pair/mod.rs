//! A certificate with its key, read from PEM files and checked: everything that would make clients fail is found
//! here, with the file's name and what to do. Knows nothing of connections.

use anyhow::{Context, Result, anyhow, bail};
use gfl_api::certificate::{Fingerprint, Validity, day};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of a file with certificates or a key; a chain has a few thousand.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// A certificate that can be shown.
#[derive(Clone, Debug)]
pub struct Pair {
    /// For the handshake.
    pub key: Arc<CertifiedKey>,
    /// Of the certificate itself, the first of the chain.
    pub fingerprint: Fingerprint,
    /// Of the same.
    pub validity: Validity,
}

/// Where a certificate and its key lie; perhaps in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, then what leads from it to a root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What a replaced or rewritten file shows without being read.
pub type Stamp = Option<(SystemTime, u64, u64)>;

impl PairFiles {
    /// Reads and checks both files.
    pub fn read(&self, now_s: i64) -> Result<Pair> {
        let chain = chain(&self.cert)?;
        let key = key(&self.key)?;
        let leaf = leaf(&chain);
        let fingerprint = Fingerprint::of(leaf);
        let shown = self.cert.display();
        let validity = Validity::of(leaf)
            .with_context(|| format!("{shown}: the first certificate cannot be read"))?;
        if validity.is_over(now_s) {
            bail!(
                "the certificate in {shown} ended on {}; get a new one, or correct the clock",
                day(validity.not_after_s)
            );
        }
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| self.unfit(error))?;
        Ok(Pair {
            key: Arc::new(key),
            fingerprint,
            validity,
        })
    }

    /// Of the certificate, without looking at the rest.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        Ok(Fingerprint::of(leaf(&chain(&self.cert)?)))
    }

    fn unfit(&self, error: Error) -> anyhow::Error {
        let (cert, key) = (self.cert.display(), self.key.display());
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow!(
                "the key in {key} does not belong to the first certificate in {cert}; \
                 name the pair that was made together, and put the server's own certificate first"
            ),
            Error::InvalidCertificate(why) => {
                anyhow!("{cert}: the first certificate cannot be used: {why:?}")
            }
            other => anyhow!(
                "{key}: the key cannot be used ({other}); ECDSA, Ed25519 and RSA keys from 2048 bits can"
            ),
        }
    }

    /// Changes whenever the files do.
    pub fn stamp(&self) -> [Stamp; 2] {
        [&self.cert, &self.key].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), inode(&meta)))
        })
    }
}

#[cfg(unix)]
fn inode(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// The server's own certificate. Every chain read by [`chain`] has one.
fn leaf<'a>(chain: &'a [CertificateDer<'static>]) -> &'a [u8] {
    chain.first().map_or(&[], |leaf| leaf)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read_pem(path)?;
    let shown = path.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{shown}: a certificate is damaged; copy the file again"))?;
    if chain.is_empty() {
        bail!("{shown} holds no certificate{}", der_hint(&pem, "x509"));
    }
    Ok(chain)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let pem = read_pem(path)?;
    let shown = path.display();
    if contains(&pem, b"ENCRYPTED") {
        bail!(
            "the key in {shown} is locked with a passphrase, which a server cannot type; \
             openssl pkey -in {shown} -out NEW writes it without"
        );
    }
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| anyhow!("{shown} holds no private key{}", der_hint(&pem, "pkey")))
}

fn read_pem(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    let meta = std::fs::metadata(path).with_context(|| {
        format!("cannot read {shown}, which server.tls_cert or server.tls_key names")
    })?;
    if !meta.is_file() || meta.len() > PEM_BYTES_MAX {
        bail!("{shown} is no file with a certificate or key");
    }
    std::fs::read(path).with_context(|| {
        format!("cannot read {shown}; let the user that runs the server read it (and no other)")
    })
}

/// PEM is text; DER, its binary form, begins with a sequence.
fn der_hint(bytes: &[u8], command: &str) -> String {
    match bytes.first() {
        Some(0x30) => {
            format!(
                " in PEM but in DER; openssl {command} -inform der -in FILE -out NEW converts it"
            )
        }
        _ => " in PEM (text with -----BEGIN … lines)".to_owned(),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[cfg(test)]
mod tests;
