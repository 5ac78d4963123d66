//! Encryption to a server: whose certificate is good, and what was seen of it. Two ways to be good: its fingerprint is
//! the one that is remembered, whatever else stands in it, or an authority that this computer trusts vouches for it
//! under the name that was asked for.
//!
//! Knows nothing of HTTP and of settings files. Asks nobody; what to do about an unknown certificate is decided by
//! the command that shows it.

use super::{Error, Kind, url::Origin};
use gfl_api::certificate::{Fingerprint, Validity, day};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What makes a certificate good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The only certificate that is.
    pub(crate) pin: Option<Fingerprint>,
    /// Authorities besides those of the system, PEM.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A certificate that a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its SHA-256.
    pub(crate) fingerprint: Fingerprint,
    /// Its dates, if they can be read.
    pub(crate) validity: Option<Validity>,
    /// Why nobody vouches for it; none if somebody does. Not looked at where another rule decides.
    pub(crate) doubt: Option<String>,
}

/// How connections to one server are encrypted.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    seen: Arc<Mutex<Option<Certificate>>>,
}

impl Tls {
    /// Connections that are made only with a good certificate.
    pub(super) fn new(trust: &Trust) -> Result<Tls, Error> {
        match trust.pin {
            Some(pin) => Tls::with(Rule::Pin(pin)),
            None => Tls::with(Rule::Vouched(vouching(trust.ca_file.as_deref())?)),
        }
    }

    /// Connections on which nothing is said, to look at a certificate.
    pub(super) fn look(trust: &Trust) -> Result<Tls, Error> {
        Tls::with(Rule::Look(vouching(trust.ca_file.as_deref())?))
    }

    fn with(rule: Rule) -> Result<Tls, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = Arc::default();
        let verifier = Verifier {
            rule,
            provider: Arc::clone(&provider),
            seen: Arc::clone(&seen),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| Error::new(Kind::Refused, format!("no TLS here: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // Several connections are faster than several streams in one.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            seen,
        })
    }

    /// The handshake. What its errors mean, [`Tls::describe`] tells.
    pub(super) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
    }

    /// What the server showed last.
    pub(super) fn seen(&self) -> Option<Certificate> {
        self.seen.lock().ok()?.clone()
    }

    /// A failed handshake in words. None if it did not fail for the certificate.
    pub(super) fn describe(&self, error: &io::Error, origin: &Origin) -> Option<Error> {
        let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let rustls::Error::InvalidCertificate(why) = cause else {
            return None;
        };
        if let CertificateError::Other(OtherError(other)) = why
            && let Some(changed) = other.downcast_ref::<Changed>()
        {
            return Some(changed_certificate(origin, changed.expected, changed.found));
        }
        let shown = match self.seen() {
            Some(seen) => format!(" (SHA-256 {})", seen.fingerprint),
            None => String::new(),
        };
        let message = format!(
            "the certificate of {origin} cannot be trusted: {}{shown}",
            doubt(why)
        );
        Some(Error::new(Kind::Auth, message).with_hint(
            "`gfl config HOST:PORT` shows it and remembers it; client.ca_file names an authority of your own",
        ))
    }
}

/// The error for a certificate that is not the one that is remembered.
pub(crate) fn changed_certificate(
    origin: &Origin,
    expected: Fingerprint,
    found: Fingerprint,
) -> Error {
    Error::new(
        Kind::Auth,
        format!(
            "{origin} SHOWS ANOTHER CERTIFICATE THAN THE REMEMBERED ONE: either it has a new one, or somebody is in \
             between; nothing was sent. Remembered: {expected}, shown now: {found}"
        ),
    )
    .with_hint(
        "compare with what `gfl-server -check` prints on the server; if that is what is shown now, \
         `gfl config HOST:PORT --fingerprint FINGERPRINT` remembers it",
    )
}

/// What is asked of a certificate.
#[derive(Debug)]
enum Rule {
    Pin(Fingerprint),
    Vouched(Arc<WebPkiServerVerifier>),
    Look(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Option<Certificate>>>,
}

/// Carried through the TLS library to [`Tls::describe`].
#[derive(Debug)]
struct Changed {
    expected: Fingerprint,
    found: Fingerprint,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the remembered certificate")
    }
}

impl std::error::Error for Changed {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(leaf);
        let verdict = match &self.rule {
            Rule::Pin(expected) if found == *expected => Ok(ServerCertVerified::assertion()),
            Rule::Pin(expected) => {
                let changed = Changed {
                    expected: *expected,
                    found,
                };
                let why = CertificateError::Other(OtherError(Arc::new(changed)));
                Err(rustls::Error::InvalidCertificate(why))
            }
            Rule::Vouched(verifier) | Rule::Look(verifier) => {
                verifier.verify_server_cert(leaf, chain, name, ocsp, now)
            }
        };
        let doubt = match &verdict {
            Ok(_) => None,
            Err(rustls::Error::InvalidCertificate(why)) => Some(doubt(why)),
            Err(other) => Some(other.to_string()),
        };
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(Certificate {
                fingerprint: found,
                validity: Validity::of(leaf),
                doubt,
            });
        }
        match self.rule {
            Rule::Look(_) => Ok(ServerCertVerified::assertion()),
            _ => verdict,
        }
    }

    // Whatever makes a certificate good: the server must prove that the key is its own.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Verifies by the authorities of the system and those of `ca_file`.
fn vouching(ca_file: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    // What of the system's list cannot be read vouches for nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unusable = |why: String| {
            let message = format!("client.ca_file {}: {why}", path.display());
            Error::new(Kind::Refused, message)
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no certificate in PEM".into()));
        }
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|error| unusable(error.to_string()))?;
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| {
            let message = "this computer has no list of trusted authorities";
            Error::new(Kind::Auth, message).with_hint(
                "install one (ca-certificates), name one in client.ca_file, or remember the server's own \
                 certificate with `gfl config HOST:PORT --fingerprint FINGERPRINT`",
            )
        })
}

/// Why nobody vouches for a certificate, in words.
fn doubt(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "no authority that this computer trusts has signed it".into()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "it is for {}, not for {}",
            presented.join(", "),
            expected.to_str()
        ),
        CertificateError::Expired => "it has ended".into(),
        CertificateError::ExpiredContext { not_after, .. } => {
            let end = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
            format!("it ended on {}", day(end))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock right?".into()
        }
        other => other.to_string(),
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}
