//! From flags and configuration to how connections are protected. Values in, values out; reads no certificate
//! except to tell about it.

use super::acme::Acme;
use super::pair::PairFiles;
use super::self_signed::SelfSigned;
use super::{Tls, Upkeep, now_s};
use crate::start::{Finding, absolute};
use anyhow::Result;
use gfl_api::certificate::day;
use gfl_api::config::{CertificateSource, ConfigError, PlainHttp, TlsConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How connections are protected.
#[derive(Debug, Clone)]
pub struct TlsPlan {
    /// Where the certificate is from; none without TLS.
    pub source: Option<Source>,
    /// Requests without TLS are answered.
    pub plain: bool,
}

/// Where the certificate is from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The administrator's files.
    Files(PairFiles),
    /// Ourselves.
    SelfSigned(SelfSigned),
    /// An authority.
    Acme(Acme),
}

/// What was said about protection.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `-public`.
    pub public: bool,
    /// `-plain-http`.
    pub plain_http: bool,
    /// The configuration.
    pub tls: &'a TlsConfig,
    /// `server.address` as it will be bound.
    pub address: &'a str,
    /// `server.meta_dir`.
    pub meta_dir: &'a str,
}

impl Default for TlsPlan {
    fn default() -> TlsPlan {
        TlsPlan {
            source: None,
            plain: true,
        }
    }
}

impl TlsPlan {
    /// Decides.
    pub fn new(asked: Asked<'_>) -> Result<TlsPlan, Finding> {
        let own = || {
            let dir = Path::new(asked.meta_dir).join("tls");
            Source::SelfSigned(SelfSigned::new(dir, asked.address))
        };
        let half = |error: ConfigError| {
            let setting = match error {
                ConfigError::HalfTls { missing } => missing,
                _ => "server.tls_cert",
            };
            Finding::error(setting, "", error.to_string()).without_value()
        };
        let source = match asked.tls.source().map_err(half)? {
            Some(CertificateSource::Files { cert, key }) => Some(Source::Files(PairFiles {
                cert: PathBuf::from(cert),
                key: PathBuf::from(key),
            })),
            Some(CertificateSource::SelfSigned) => Some(own()),
            Some(CertificateSource::Acme(config)) => {
                let dir = Path::new(asked.meta_dir).join("acme");
                Some(Source::Acme(Acme::new(config, dir)?))
            }
            // Whoever opens the server to everybody wants tokens to stay secret on the way.
            None if asked.public => Some(own()),
            None => None,
        };
        let plain = match (&source, asked.tls.plain_http) {
            (None, Some(PlainHttp::Refuse)) if !asked.plain_http => {
                let why = "there is no certificate to serve anything else; set server.tls_cert and server.tls_key, \
                           or server.tls_self_signed";
                return Err(Finding::error("server.plain_http", "refuse", why));
            }
            (None, _) => true,
            (Some(_), choice) => asked.plain_http || choice == Some(PlainHttp::Allow),
        };
        Ok(TlsPlan { source, plain })
    }

    /// What a request without TLS gets, as it is written into a configuration.
    pub fn plain_http(&self) -> PlainHttp {
        if self.plain {
            PlainHttp::Allow
        } else {
            PlainHttp::Refuse
        }
    }

    /// Whether the certificate is one of our own making.
    pub fn self_signed(&self) -> Option<&SelfSigned> {
        match &self.source {
            Some(Source::SelfSigned(own)) => Some(own),
            _ => None,
        }
    }

    /// Reads the certificate and makes what it needs to be shown. None without TLS. Makes one of our own first if
    /// that is missing.
    pub async fn open(&self) -> Result<Option<(Arc<Tls>, Upkeep)>> {
        match &self.source {
            None => Ok(None),
            Some(source) => Tls::open(source).await.map(Some),
        }
    }

    /// Lines for `-check`: name and value. What cannot be read is told as a finding.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let files = match &self.source {
            None => {
                lines.push(("tls", "off".to_owned()));
                None
            }
            Some(Source::Files(files)) => {
                lines.push((
                    "tls",
                    format!("certificate {}", absolute(&files.cert).display()),
                ));
                Some(files.clone())
            }
            Some(Source::SelfSigned(own)) => {
                let files = own.existing();
                let note = if files.is_some() {
                    ""
                } else {
                    " (missing: will be made)"
                };
                lines.push(("tls", format!("self-signed{note}")));
                files
            }
            Some(Source::Acme(acme)) => {
                let files = acme.is_current().then(|| acme.files());
                let note = if files.is_some() {
                    ""
                } else {
                    " (will be asked for)"
                };
                lines.push(("tls", format!("{}{note}", acme.describe())));
                files
            }
        };
        if let Some(Ok(pair)) = files.map(|files| files.read(now_s())) {
            lines.push(("tls_valid_until", day(pair.validity.not_after_s)));
            lines.push(("tls_fingerprint", pair.fingerprint.to_string()));
        }
        let plain = if self.plain { "answered" } else { "refused" };
        lines.push(("plain_http", plain.to_owned()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(public: bool, plain_http: bool, tls: &TlsConfig) -> Result<TlsPlan, Finding> {
        TlsPlan::new(Asked {
            public,
            plain_http,
            tls,
            address: "127.0.0.1:8080",
            meta_dir: "meta",
        })
    }

    fn with(change: impl FnOnce(&mut TlsConfig)) -> TlsConfig {
        let mut tls = TlsConfig::default();
        change(&mut tls);
        tls
    }

    #[test]
    fn what_is_opened_to_everybody_is_encrypted() {
        let nothing = TlsConfig::default();
        let local = plan(false, false, &nothing).unwrap();
        assert!(local.source.is_none() && local.plain);
        let public = plan(true, false, &nothing).unwrap();
        assert!(public.self_signed().is_some() && !public.plain);
        let both = plan(true, true, &nothing).unwrap();
        assert!(both.self_signed().is_some() && both.plain);
    }

    #[test]
    fn certificates_are_used_and_plain_http_needs_consent() {
        let files = with(|tls| (tls.cert, tls.key) = ("c".into(), "k".into()));
        let want = PairFiles {
            cert: "c".into(),
            key: "k".into(),
        };
        for public in [false, true] {
            let plan = plan(public, false, &files).unwrap();
            assert!(matches!(plan.source, Some(Source::Files(found)) if found == want));
            assert!(!plan.plain);
        }
        assert!(plan(false, true, &files).unwrap().plain);
        let allowed = TlsConfig {
            plain_http: Some(PlainHttp::Allow),
            ..files.clone()
        };
        assert!(plan(false, false, &allowed).unwrap().plain);
        let half = with(|tls| tls.cert = "c".into());
        assert!(plan(false, true, &half).is_err());
    }

    #[test]
    fn an_authority_needs_consent() {
        let acme = with(|tls| tls.acme.domains = vec!["files.example.org".into()]);
        assert!(plan(true, false, &acme).is_err());
        let agreed = with(|tls| {
            tls.acme = acme.acme.clone();
            tls.acme.accept_terms = true;
        });
        let plan = plan(true, false, &agreed).unwrap();
        assert!(matches!(plan.source, Some(Source::Acme(_))) && !plan.plain);
    }

    #[test]
    fn refusing_plain_http_without_tls_would_serve_nothing() {
        let refuse = with(|tls| tls.plain_http = Some(PlainHttp::Refuse));
        let error = plan(false, false, &refuse).unwrap_err().to_string();
        assert!(error.contains("server.plain_http"), "{error}");
        assert!(plan(true, false, &refuse).is_ok());
    }
}
