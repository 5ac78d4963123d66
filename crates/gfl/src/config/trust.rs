//! What the settings say about the server's certificate: which one is remembered, and who else may vouch for it.

use crate::exit::{Exit, Failed};
use crate::remote::url::Origin;
use crate::remote::{Error, Trust};
use anyhow::Result;
use gfl_api::certificate::Fingerprint;
use gfl_api::config::ClientConfig;
use std::path::Path;

/// The server to talk to. One that is named without a scheme is the configured one if it has its name: nobody falls
/// back to plain HTTP by leaving `https://` out.
pub(super) fn origin(configured: &str, server: Option<&str>) -> Result<Origin, Error> {
    let Some(server) = server else {
        return Origin::parse(configured);
    };
    let named = Origin::parse(server)?;
    match Origin::parse(configured) {
        Ok(configured) if !server.contains("://") && configured.is_same_host(&named) => {
            Ok(configured)
        }
        _ => Ok(named),
    }
}

/// What the settings in `file` make a good certificate. A remembered one belongs to the server in that file and to no
/// other. Files are named as seen from the settings file, because a client runs anywhere.
pub(crate) fn trust_of(client: &ClientConfig, file: &Path, is_its_server: bool) -> Result<Trust> {
    let pin = match client.tls_fingerprint.as_str() {
        text if text.is_empty() || !is_its_server => None,
        text => Some(Fingerprint::parse(text).ok_or_else(|| {
            let message = format!(
                "{}: client.tls_fingerprint is no SHA-256 fingerprint; 64 hex digits are one",
                file.display()
            );
            Failed::new(Exit::Failure, message)
        })?),
    };
    let beside = file.parent().unwrap_or(Path::new(""));
    let ca_file = Some(client.ca_file.as_str()).filter(|name| !name.is_empty());
    Ok(Trust {
        pin,
        ca_file: ca_file.map(|name| beside.join(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_left_out_is_the_configured_one() {
        let origin = |configured: &str, server| origin(configured, server).unwrap().to_url();
        assert_eq!(origin("https://nas:1", None), "https://nas:1");
        assert_eq!(origin("https://nas:1", Some("NAS:1")), "https://nas:1");
        assert_eq!(origin("https://nas:1", Some("nas:2")), "http://nas:2");
        assert_eq!(
            origin("https://nas:1", Some("http://nas:1")),
            "http://nas:1"
        );
        assert_eq!(origin("rubbish:x", Some("nas")), "http://nas");
    }

    #[test]
    fn a_remembered_certificate_belongs_to_its_server() {
        let client = ClientConfig {
            tls_fingerprint: "AB:".repeat(31) + "AB",
            ca_file: "ca.pem".into(),
            ..ClientConfig::default()
        };
        let trust = |client, its| trust_of(client, Path::new("/etc/gfl/config.json"), its);
        let own = trust(&client, true).unwrap();
        assert_eq!(own.pin, Fingerprint::parse(&"ab".repeat(32)));
        assert_eq!(own.ca_file.as_deref(), Some(Path::new("/etc/gfl/ca.pem")));
        assert_eq!(trust(&client, false).unwrap().pin, None);
        let broken = ClientConfig {
            tls_fingerprint: "abc".into(),
            ..ClientConfig::default()
        };
        let error = trust(&broken, true).unwrap_err().to_string();
        assert!(error.contains("client.tls_fingerprint"), "{error}");
        assert!(trust(&broken, false).is_ok());
    }
}
