//! The keys of the section `server` about encryption on the way: which certificate is shown, where it is from, and
//! whether plain HTTP is answered too.

use super::{ConfigError, Value};

/// Where ACME certificates come from unless configured otherwise.
const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where `http-01` challenges are answered: the port is fixed by RFC 8555 section 8.3.
const ACME_ADDRESS: &str = ":80";

/// How connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, PEM; empty for none.
    pub cert: String,
    /// Its key, PEM; empty for none.
    pub key: String,
    /// Whether the server makes a certificate of its own.
    pub self_signed: bool,
    /// Whether plain HTTP is answered beside TLS. Unset: refused with TLS, the only thing there is without.
    pub plain_http: Option<PlainHttp>,
    /// How a certificate is got from an authority.
    pub acme: AcmeConfig,
}

/// What a request without TLS gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// An error that says to use TLS (`refuse`).
    Refuse,
    /// An answer (`allow`).
    Allow,
}

/// How a certificate is got by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names to be certified; empty switches ACME off.
    pub domains: Vec<String>,
    /// Whom the authority may write to; empty for nobody.
    pub email: String,
    /// The authority's directory. Default Let's Encrypt.
    pub directory: String,
    /// Where challenges are answered, `host:port`. Default `:80`.
    pub address: String,
    /// Whether the owner of this server agrees to the authority's terms.
    pub accept_terms: bool,
    /// Authorities trusted for the directory itself, PEM; empty for those of the system.
    pub ca_file: String,
}

impl Default for AcmeConfig {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            email: String::new(),
            directory: ACME_DIRECTORY.into(),
            address: ACME_ADDRESS.into(),
            accept_terms: false,
            ca_file: String::new(),
        }
    }
}

/// Where the certificate is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateSource<'a> {
    /// Files.
    Files {
        /// `server.tls_cert`.
        cert: &'a str,
        /// `server.tls_key`.
        key: &'a str,
    },
    /// The server itself.
    SelfSigned,
    /// An authority.
    Acme(&'a AcmeConfig),
}

impl TlsConfig {
    /// Takes one key; false if it is none of these.
    pub(super) fn read(&mut self, name: &str, value: &Value<'_>) -> Result<bool, ConfigError> {
        let acme = &mut self.acme;
        match name {
            "tls_cert" => self.cert = value.text_or("")?,
            "tls_key" => self.key = value.text_or("")?,
            "tls_self_signed" => self.self_signed = value.boolean()?,
            "plain_http" => {
                let choices = [("refuse", PlainHttp::Refuse), ("allow", PlainHttp::Allow)];
                self.plain_http = Some(value.choice(&choices)?);
            }
            "acme_domains" => acme.domains = value.texts()?,
            "acme_email" => acme.email = value.text_or("")?,
            "acme_directory" => acme.directory = value.text_or(ACME_DIRECTORY)?,
            "acme_address" => acme.address = value.text_or(ACME_ADDRESS)?,
            "acme_accept_terms" => acme.accept_terms = value.boolean()?,
            "acme_ca_file" => acme.ca_file = value.text_or("")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where the certificate is from; none if TLS is off. An error if only half of it is set, or several.
    pub fn source(&self) -> Result<Option<CertificateSource<'_>>, ConfigError> {
        let half = |missing| Err(ConfigError::HalfTls { missing });
        let files = match (self.cert.as_str(), self.key.as_str()) {
            ("", "") => None,
            ("", _) => return half("server.tls_cert"),
            (_, "") => return half("server.tls_key"),
            (cert, key) => Some(CertificateSource::Files { cert, key }),
        };
        let own = self.self_signed.then_some(CertificateSource::SelfSigned);
        let acme = (!self.acme.domains.is_empty()).then_some(CertificateSource::Acme(&self.acme));
        match (files, own, acme) {
            (source, None, None) | (None, source, None) | (None, None, source) => Ok(source),
            _ => Err(ConfigError::SeveralCertificates),
        }
    }
}
