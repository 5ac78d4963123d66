//! Getting a release: the manifest with its signature, and the program it names. Follows redirects, never from https
//! to http. No token goes anywhere.

use super::forged;
use super::keys::verify;
use crate::remote::url::Origin;
use crate::remote::{Answer, Call, Error, Http, Kind};
use anyhow::{Context, Result};
use gfl_api::release::minisign::PublicKey;
use gfl_api::release::{MANIFEST_BYTES_MAX, Manifest, SIGNATURE_SUFFIX};

const REDIRECTS_MAX: usize = 5;

/// An absolute address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    is_secure: bool,
    authority: String,
    /// Path and query.
    target: String,
}

impl Url {
    /// Reads an `http://` or `https://` address.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = || Error::new(Kind::Refused, format!("{text:?} is no http(s) address"));
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(bad().into()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return Err(bad().into());
        }
        Ok(Self {
            is_secure,
            authority: authority.to_owned(),
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        })
    }

    /// Where a redirect from here leads.
    fn follow(&self, location: &str) -> Result<Self> {
        if !location.contains("://") {
            let target = location.strip_prefix('/').map(|_| location.to_owned());
            // Relative to the folder of the target.
            let folder = self.target.split('?').next().unwrap_or_default();
            let folder = &folder[..=folder.rfind('/').unwrap_or_default()];
            return Ok(Self {
                target: target.unwrap_or_else(|| format!("{folder}{location}")),
                ..self.clone()
            });
        }
        let next = Self::parse(location)?;
        if self.is_secure && !next.is_secure {
            let message = format!("{} leads from https to http", self.authority);
            return Err(Error::new(Kind::Refused, message).into());
        }
        Ok(next)
    }

    /// The same with something behind it.
    fn with_suffix(&self, suffix: &str) -> Self {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.target.as_str(), String::new()),
        };
        Self {
            target: format!("{path}{suffix}{query}"),
            ..self.clone()
        }
    }

    fn origin(&self) -> Result<Origin, Error> {
        let scheme = if self.is_secure { "https" } else { "http" };
        Origin::parse(&format!("{scheme}://{}", self.authority))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

/// Makes connections to a server.
pub(crate) type Connect<'a> = dyn Fn(Origin) -> Result<Http> + 'a;

/// The head of the answer that an address leads to in the end.
pub(crate) async fn get(connect: &Connect<'_>, url: &Url) -> Result<Answer> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let http = connect(url.origin()?)?;
        let answer = http
            .retrying(|| Call::get(url.target.clone()).anonymous())
            .await?;
        if !answer.head.status.is_redirection() {
            return Ok(answer);
        }
        let location = answer.header("location").map(str::to_owned);
        let location = location.ok_or_else(|| Error::protocol("a redirect without an address"))?;
        url = url.follow(&location)?;
    }
    Err(Error::protocol(format!("more than {REDIRECTS_MAX} redirects")).into())
}

/// The manifest at an address, if one of `keys` signed it.
pub(crate) async fn manifest(
    connect: &Connect<'_>,
    url: &Url,
    keys: &[PublicKey],
) -> Result<Manifest> {
    let content = whole(connect, url).await?;
    let signature = url.with_suffix(SIGNATURE_SUFFIX);
    let signature = whole(connect, &signature)
        .await
        .with_context(|| format!("the release at {url} has no signature"))?;
    verify(&content, &signature, keys).with_context(|| url.to_string())?;
    Manifest::parse(&content).map_err(|error| forged(error.to_string()).into())
}

async fn whole(connect: &Connect<'_>, url: &Url) -> Result<Vec<u8>> {
    let answer = get(connect, url).await.with_context(|| url.to_string())?;
    Ok(answer.bytes(MANIFEST_BYTES_MAX).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("http://h", "http://h/"),
            ("HTTPS://h:8080/a/b?c=d#e", "https://h:8080/a/b?c=d"),
            ("http://[::1]:80?x", "http://[::1]:80/?x"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), want, "{text}");
        }
        for bad in [
            "h/a",
            "ftp://h/a",
            "http://",
            "https:///a",
            "http://u:p@h/",
            "file:///etc",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        let signature = Url::parse("http://h/v.json?x=1")
            .unwrap()
            .with_suffix(".minisig");
        assert_eq!(signature.to_string(), "http://h/v.json.minisig?x=1");
    }

    #[test]
    fn redirects_never_lead_out_of_https() {
        let from = |text: &str| Url::parse(text).unwrap();
        let follow = |url: &str, location| from(url).follow(location).map(|url| url.to_string());
        for (url, location, want) in [
            ("http://h/a/b?q", "/c?d", "http://h/c?d"),
            ("http://h/a/b?q/r", "c", "http://h/a/c"),
            ("http://h/a", "https://g/x", "https://g/x"),
            ("https://h/a", "https://g", "https://g/"),
            ("http://h/a", "http://g", "http://g/"),
        ] {
            assert_eq!(follow(url, location).unwrap(), want, "{url} {location}");
        }
        assert!(follow("https://h/a", "http://h/a").is_err());
        assert!(follow("http://h/a", "file:///etc/passwd").is_err());
    }
}
