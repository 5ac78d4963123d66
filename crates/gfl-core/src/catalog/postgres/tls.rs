//! TLS to PostgreSQL: whom a connection trusts. The words are libpq's `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{self, CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore};

use super::super::door::{DbError, Trouble};
use super::MakeTls;

/// Who is taken for the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Whoever answers.
    Anybody,
    /// Whom these authorities vouch for under any name (none: those of the system).
    Authority(Option<PathBuf>),
    /// … under the name that was asked for.
    Name(Option<PathBuf>),
}

impl Trust {
    /// What connections are encrypted with.
    pub(super) fn connector(&self) -> Result<MakeTls, DbError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (authorities, name) = match self {
            Trust::Anybody => (None, false),
            Trust::Authority(file) => (Some(read(file.as_deref())?), false),
            Trust::Name(file) => (Some(read(file.as_deref())?), true),
        };
        let chain = authorities
            .as_ref()
            .map(|known| strict(known, &provider))
            .transpose()?;
        let verifier = Arc::new(Verifier {
            provider: provider.clone(),
            chain,
            known: authorities.unwrap_or_default(),
            name,
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(MakeTls::new(config))
    }
}

fn unusable(why: &str) -> DbError {
    DbError::away(Trouble::Certificate, format!("TLS to PostgreSQL: {why}"))
}

/// The authorities in this file, or those of the system.
fn read(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, DbError> {
    let Some(file) = file else {
        // One that cannot be read is no reason to do without the others.
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).and_then(|certificates| certificates.collect());
    found.map_err(|error| unusable(&format!("the file of authorities cannot be used: {error}")))
}

fn strict(
    known: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, DbError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(known.iter().cloned());
    if roots.is_empty() {
        return Err(unusable("there is no authority to verify the server by"));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unusable(&error.to_string()))
}

/// Verifies as much as was asked for: nothing, the chain, or the chain and the name. The handshake itself is always
/// verified.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// A server that shows one of these itself needs nobody to vouch for it: a certificate that signed itself is
    /// its own authority, and to the chain's verifier no server.
    known: Vec<CertificateDer<'static>>,
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.known.iter().any(|known| known == end_entity) {
            if self.name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // The name is looked at last, when the chain was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
