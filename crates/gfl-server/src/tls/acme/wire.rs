//! Requests to the authority: HTTPS, one connection each, which is enough for a dozen of them every two months.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One request with its answer.
const REQUEST_MS_MAX: u64 = 30_000;
/// Of an answer; a certificate chain has a few thousand bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A client for one authority.
pub(super) struct Wire {
    connector: TlsConnector,
}

impl Wire {
    /// Trusts the system's authorities, or those of `ca_file` alone.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Wire> {
        let mut roots = RootCertStore::empty();
        match ca_file {
            None => {
                let (added, _) =
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if added == 0 {
                    bail!(
                        "this machine has no list of trusted authorities; install one (ca-certificates) or set \
                         server.acme_ca_file"
                    );
                }
            }
            Some(path) => {
                let unusable = || format!("cannot use server.acme_ca_file {}", path.display());
                for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
                    roots
                        .add(certificate.with_context(unusable)?)
                        .with_context(unusable)?;
                }
                if roots.is_empty() {
                    bail!(
                        "server.acme_ca_file {} holds no certificate in PEM",
                        path.display()
                    );
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Wire {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let connector = self.connector.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            let limit = Duration::from_millis(REQUEST_MS_MAX);
            let answer = match tokio::time::timeout(limit, exchange(connector, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(anyhow::anyhow!("no answer within {} s", limit.as_secs())),
            };
            match answer {
                Ok(answer) => Ok(answer.into()),
                Err(error) => Err(Error::Other(format!("{uri}: {error:#}").into())),
            }
        })
    }
}

async fn exchange(
    connector: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>> {
    let uri = request.uri().clone();
    if uri.scheme_str() != Some("https") {
        bail!("the authority names an address without TLS");
    }
    let authority = uri.authority().context("the address has no host")?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let tls = connector.connect(name, tcp).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = HeaderValue::from_str(authority.as_str())?;
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().insert(HOST, host);
    let answer = sender.send_request(request).await;
    let (head, body) = answer?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    driver.abort();
    Ok(Response::from_parts(head, Full::from(body.to_bytes())))
}
