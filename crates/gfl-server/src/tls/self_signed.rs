//! A certificate of our own making, for servers without an authority. Clients remember its fingerprint, so it is
//! made once and kept: in `meta_dir/tls/`, where the key is readable by its owner only.

use super::files;
use super::names;
use super::pair::PairFiles;
use anyhow::{Context, Result};
use jiff::civil::Date;
use jiff::{Span, Zoned};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::path::PathBuf;

/// How long it is valid. Nobody renews it, and clients trust the one they know whatever its age; ten years outlive
/// most machines.
const VALID_YEARS: i64 = 10;

/// Where our own certificate is kept, and what for.
#[derive(Debug, Clone)]
pub struct SelfSigned {
    dir: PathBuf,
    /// The host of `server.address`: somebody will type it.
    host: String,
}

impl SelfSigned {
    /// Kept in `dir`, for a server that listens on `address`.
    pub fn new(dir: PathBuf, address: &str) -> SelfSigned {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        SelfSigned { dir, host }
    }

    fn files(&self) -> PairFiles {
        PairFiles {
            cert: self.dir.join("cert.pem"),
            key: self.dir.join("key.pem"),
        }
    }

    /// The files if both are there.
    pub fn existing(&self) -> Option<PairFiles> {
        let files = self.files();
        (files.cert.exists() && files.key.exists()).then_some(files)
    }

    /// The files; made if one of them is not there.
    pub fn ensure(&self) -> Result<PairFiles> {
        if let Some(files) = self.existing() {
            return Ok(files);
        }
        let files = self.files();
        files::private_dir(&self.dir)?;
        let (cert, key) = make(&names::of_this_machine(&self.host))
            .with_context(|| format!("cannot make a certificate for {}", self.dir.display()))?;
        // An old half must not stand beside a new one when this is cut off in between.
        let _ = std::fs::remove_file(&files.cert);
        files::replace(&files.key, key.as_bytes(), 0o600)?;
        files::replace(&files.cert, cert.as_bytes(), 0o644)?;
        Ok(files)
    }
}

/// Certificate and key for these names and addresses, PEM.
fn make(names: &[String]) -> Result<(String, String)> {
    let mut params = CertificateParams::new(names)?;
    let host = names.first().map_or("localhost", String::as_str);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("gfl-server on {host}"));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = Zoned::now().date();
    // From yesterday: other clocks are behind ours, and other time zones too.
    let first = today.checked_sub(Span::new().days(1))?;
    let last = today.checked_add(Span::new().years(VALID_YEARS))?;
    let midnight = |date: Date| -> Result<_> {
        let (month, day) = (date.month().try_into()?, date.day().try_into()?);
        Ok(date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = midnight(first)?;
    params.not_after = midnight(last)?;
    // P-256: every client has it, and a handshake costs little.
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}
