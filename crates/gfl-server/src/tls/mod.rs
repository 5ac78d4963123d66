//! Encryption of connections: the certificate that is shown, how it changes while the server runs, and the
//! handshake. Knows files and certificates; knows nothing of HTTP, and not where connections come from.

mod acme;
pub mod files;
mod names;
pub mod pair;
pub mod plan;
pub mod self_signed;

pub use plan::{Source, TlsPlan};

use crate::life::reload::Hook;
use crate::life::watch::Watch;
use crate::start::absolute;
use anyhow::{Context, Result};
use gfl_api::certificate::day;
use pair::{Pair, PairFiles};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the handshake offers: HTTP/2, and HTTP/1.1 for everybody else.
const ALPN: [&[u8]; 2] = [H2, b"http/1.1"];
/// HTTP/2 in the handshake.
const H2: &[u8] = b"h2";
/// Bytes encrypted and not yet taken by the kernel, for each connection: two records. A peer that reads nothing
/// holds no more than this beside what its socket holds.
const WRITE_BUF_BYTES: usize = 32 * 1024;
/// Days before its end from which on a certificate is warned about …
pub(crate) const EXPIRY_DAYS_WARNED: i64 = 14;
/// … so often.
const EXPIRY_WARNED_EVERY: Duration = Duration::from_hours(24);

/// The TLS side of a listener: its settings, and the certificate of the moment.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    files: PairFiles,
}

/// The certificate that new connections are shown. None yet: handshakes fail.
#[derive(Debug, Default)]
struct Shown(RwLock<Option<Pair>>);

impl Shown {
    fn get(&self) -> Option<Pair> {
        let pair = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pair.clone()
    }

    fn set(&self, pair: Pair) {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(pair);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get().map(|pair| pair.key)
    }
}

impl Tls {
    /// Reads the certificate of `source`; makes it first if it is our own and not there yet. One that an authority is
    /// to give may come later. What is returned beside keeps the certificate up to date.
    pub async fn open(source: &Source) -> Result<(Arc<Tls>, Upkeep)> {
        let shown = Shown::default();
        let (files, acme) = match source {
            Source::Files(files) => (files.clone(), None),
            Source::SelfSigned(own) => (own.ensure()?, None),
            Source::Acme(acme) => (acme.files(), Some(acme)),
        };
        let looked = Watch::new(vec![files.cert.clone(), files.key.clone()]);
        let acme = match acme {
            None => {
                shown.set(files.read(now_s())?);
                None
            }
            Some(acme) => {
                let upkeep = acme.prepare().await?;
                match files.read(now_s()) {
                    // For other names it is better than none, until the wanted one is there.
                    Ok(pair) => shown.set(pair),
                    Err(error) if files.cert.exists() => tracing::warn!("{error:#}"),
                    Err(_) => {}
                }
                Some(upkeep)
            }
        };
        let shown = Arc::new(shown);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
        let config = config(resolver).context("cannot set up TLS")?;
        let tls = Arc::new(Tls {
            config: Arc::new(config),
            shown,
            files,
        });
        let upkeep = Upkeep {
            tls: Arc::clone(&tls),
            acme,
            looked,
        };
        Ok((tls, upkeep))
    }

    /// The certificate of the moment.
    pub fn shown(&self) -> Option<Pair> {
        self.shown.get()
    }

    /// For the administrator, and for whoever compares what a client shows.
    pub fn told(&self) -> String {
        let Some(pair) = self.shown() else {
            return "TLS certificate: none yet, the authority is being asked\n".to_owned();
        };
        format!(
            "TLS certificate: {}, valid until {}\nTLS fingerprint (SHA-256): {}\n",
            absolute(&self.files.cert).display(),
            day(pair.validity.not_after_s),
            pair.fingerprint
        )
    }

    /// Takes the certificate that lies in the files now. A broken one changes nothing. Returns whether it is
    /// another one than before. Blocks on the disk.
    pub fn reload(&self) -> Result<bool> {
        let new = self.files.read(now_s())?;
        if self
            .shown
            .get()
            .is_some_and(|old| old.fingerprint == new.fingerprint)
        {
            return Ok(false);
        }
        tracing::info!(
            fingerprint = %new.fingerprint,
            "new certificate, valid until {}; connections that are open keep the old one",
            day(new.validity.not_after_s)
        );
        self.shown.set(new);
        Ok(true)
    }

    fn warn_of_expiry(&self) {
        let Some(pair) = self.shown.get() else { return };
        let (until, left) = (
            day(pair.validity.not_after_s),
            pair.validity.days_left(now_s()),
        );
        if left < 0 {
            tracing::error!("the certificate ended on {until}: clients refuse it, replace it");
        } else if left <= EXPIRY_DAYS_WARNED {
            tracing::warn!("the certificate ends on {until}, in {left} days: replace it before");
        }
    }

    /// The handshake with a client. Whoever calls limits its time.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.config))
            .accept_with(stream, |connection| {
                connection.set_buffer_limit(Some(WRITE_BUF_BYTES));
            })
            .await
    }
}

/// What keeps a certificate up to date while the server runs.
#[derive(Debug)]
pub struct Upkeep {
    tls: Arc<Tls>,
    /// An authority is asked; without it, somebody else replaces the files.
    acme: Option<acme::Upkeep>,
    /// The files as they were before they were read.
    looked: Watch,
}

impl Upkeep {
    /// Reads the files again whenever they change, and when the server is asked to. None where the server writes
    /// them itself. Beside, the files as they were when they were read first.
    pub fn hook(&self) -> Option<(Hook, Watch)> {
        if self.acme.is_some() {
            return None;
        }
        let tls = Arc::clone(&self.tls);
        let hook = Hook {
            name: "the certificate",
            files: vec![tls.files.cert.clone(), tls.files.key.clone()],
            reload: Box::new(move |_| tls.reload().map(drop)),
        };
        Some((hook, self.looked.clone()))
    }

    /// Gets new ones where that is ours to do, and warns before one ends. Never returns.
    pub async fn run(self) {
        let Upkeep { tls, acme, .. } = self;
        let warnings = async {
            loop {
                // At the start it is among the doubts about the settings.
                tokio::time::sleep(EXPIRY_WARNED_EVERY).await;
                tls.warn_of_expiry();
            }
        };
        match acme {
            None => warnings.await,
            Some(acme) => {
                tokio::join!(acme.run(Arc::clone(&tls)), warnings);
            }
        }
    }
}

/// Whether the client chose HTTP/2.
pub fn is_h2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

/// TLS 1.2 and 1.3 with the library's choice of ciphers, which has nothing weak in it.
fn config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    // Clients carry their own sessions, encrypted: resuming costs the server no memory.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// Seconds since 1970. Certificates are dated; nothing else here asks for the time.
pub(crate) fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
