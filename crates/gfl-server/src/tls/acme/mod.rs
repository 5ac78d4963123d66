//! Certificates from an authority by ACME (RFC 8555) with `http-01`: got when there is none, and again when two thirds
//! of its life have passed. Everything lies in `meta_dir/acme/`; what goes wrong is logged with what to do, tried
//! again later, and never ends the server.
//!
//! `door` answers the authority's question, `wire` asks ours, `store` keeps the results, `due` says when.

mod door;
mod due;
mod store;
mod wire;

use super::pair::PairFiles;
use super::{Tls, now_s};
use crate::start::Finding;
use anyhow::{Context, Result, bail};
use door::{Answers, Door};
use gfl_api::certificate::day;
use gfl_api::config::AcmeConfig;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// Names in one certificate, as Let's Encrypt limits them.
const DOMAINS_MAX: usize = 100;
/// One certificate is had within this time, or not at all.
const ORDER_MS_MAX: u64 = 300_000;
/// How long the authority may look before it decides.
const DECISION_MS_MAX: u64 = 90_000;
/// The longest sleep: clocks jump, and machines are suspended.
const LOOK_MS_MAX: u64 = 6 * 60 * 60 * 1000;
/// The authority knows our account no more.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What certificate is wanted, from whom.
#[derive(Debug, Clone)]
pub struct Acme {
    domains: Vec<String>,
    email: String,
    directory: String,
    address: String,
    ca_file: Option<PathBuf>,
    dir: PathBuf,
}

impl Acme {
    /// Checks what can be known beforehand. Everything is kept in `dir`.
    pub fn new(config: &AcmeConfig, dir: PathBuf) -> Result<Acme, Finding> {
        if !config.accept_terms {
            let why = format!(
                "server.acme_domains is set, but this is not: read the terms of the authority ({} names them) and \
                 agree to them by `true`",
                config.directory
            );
            return Err(Finding::error("server.acme_accept_terms", "false", why));
        }
        if !config.directory.starts_with("https://") {
            let why = "must begin with https://";
            return Err(Finding::error(
                "server.acme_directory",
                &config.directory,
                why,
            ));
        }
        let domains = "server.acme_domains";
        if config.domains.len() > DOMAINS_MAX {
            let why = format!("has more than {DOMAINS_MAX} names");
            return Err(Finding::error(domains, "", why).without_value());
        }
        if let Some(bad) = config.domains.iter().find(|name| !is_domain(name)) {
            let why = "cannot be certified this way; write full names such as files.example.org, without wildcards \
                       and addresses";
            return Err(Finding::error(domains, bad, why));
        }
        Ok(Acme {
            domains: config
                .domains
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            email: config.email.clone(),
            directory: config.directory.clone(),
            address: config.address.clone(),
            ca_file: Some(PathBuf::from(&config.ca_file)).filter(|path| *path != Path::new("")),
            dir,
        })
    }

    /// Where the certificate lies once there is one, with its key.
    pub fn files(&self) -> PairFiles {
        self.store().files()
    }

    /// In words, for the administrator.
    pub fn describe(&self) -> String {
        format!(
            "ACME for {} from {}",
            self.domains.join(", "),
            self.directory
        )
    }

    fn store(&self) -> Store {
        Store::new(&self.dir, &self.directory, &self.domains)
    }

    /// Whether what lies there is what is wanted now, and not for other names or from another authority.
    pub fn is_current(&self) -> bool {
        self.store().is_current()
    }

    /// Opens the door for the authority's questions. Port 80 is not everybody's to open.
    pub async fn prepare(&self) -> Result<Upkeep> {
        let door = Door::open(&self.address).await.with_context(|| {
            format!(
                "cannot listen on server.acme_address {}; the authority asks at port 80 of {}: let the service \
                 bind it (CAP_NET_BIND_SERVICE), or forward http://…/.well-known/acme-challenge/ to another address \
                 and name that one",
                self.address,
                self.domains.join(", ")
            )
        })?;
        Ok(Upkeep {
            acme: self.clone(),
            door,
        })
    }
}

/// A name that an authority can ask at: labels of letters, digits and hyphens.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    name.len() <= 253 && name.contains('.') && !is_address && name.split('.').all(is_label)
}

/// Keeps a certificate for as long as it runs.
#[derive(Debug)]
pub struct Upkeep {
    acme: Acme,
    door: Door,
}

impl Upkeep {
    /// Gets certificates for `tls`. Never returns.
    pub async fn run(self, tls: Arc<Tls>) {
        let Upkeep { acme, door } = self;
        let answers = door.answers();
        tokio::select! {
            () = door.serve() => {}
            () = acme.keep(&tls, &answers) => {}
        }
    }
}

impl Acme {
    async fn keep(&self, tls: &Arc<Tls>, answers: &Answers) {
        let mut failures = 0;
        let mut random = due::random();
        let mut ready_s = 0;
        loop {
            let now = now_s();
            // Nothing wanted is shown: at once. A failure waits for its turn whatever is shown.
            let shown = tls.shown().filter(|_| self.is_current());
            let renewal_s = shown.map_or(now, |pair| due::renewal_s(pair.validity, random));
            let next_s = renewal_s.max(ready_s);
            if next_s > now {
                let left_ms = u64::try_from(next_s - now).unwrap_or_default() * 1000;
                tokio::time::sleep(Duration::from_millis(left_ms.min(LOOK_MS_MAX))).await;
                continue;
            }
            random = due::random();
            let order =
                tokio::time::timeout(Duration::from_millis(ORDER_MS_MAX), self.get(answers));
            let got = match order.await {
                Ok(got) => got,
                Err(_) => Err(anyhow::anyhow!("the authority took too long")),
            };
            match got.and_then(|pem| self.take(tls, &pem)) {
                Ok(()) => {
                    failures = 0;
                    ready_s = now_s().saturating_add(due::PAUSE_S);
                }
                Err(error) => {
                    failures += 1;
                    let wait_s = due::retry_s(failures, random);
                    ready_s = now_s().saturating_add(wait_s);
                    self.complain(tls, &error, wait_s);
                }
            }
        }
    }

    fn complain(&self, tls: &Tls, error: &anyhow::Error, wait_s: i64) {
        let shown = match tls.shown() {
            Some(pair) => format!(
                "the old one is shown until {}",
                day(pair.validity.not_after_s)
            ),
            None => "until there is one nobody can connect by TLS".to_owned(),
        };
        tracing::error!(
            "no certificate for {} from {}: {error:#}; {shown}; next try in {} min",
            self.domains.join(", "),
            self.directory,
            (wait_s + 59) / 60
        );
    }

    /// Keeps and shows a new certificate.
    fn take(&self, tls: &Tls, pem: &str) -> Result<()> {
        self.store().keep(pem)?;
        tls.reload().map(|_| ())
    }

    /// A new key with its certificate chain, PEM.
    async fn get(&self, answers: &Answers) -> Result<String> {
        let account = self.account().await?;
        let identifiers: Vec<Identifier> =
            self.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = match account.new_order(&NewOrder::new(&identifiers)).await {
            Ok(order) => order,
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                self.store().forget_account();
                return Err(Error::Api(problem).into());
            }
            Err(error) => return Err(error.into()),
        };
        let asked = challenge(&mut order, answers).await;
        let decided = match asked {
            Ok(()) => decision(&mut order).await,
            Err(error) => Err(error),
        };
        answers.clear();
        decided?;
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&patience()).await?;
        tracing::info!("got a certificate for {}", self.domains.join(", "));
        Ok(format!("{key}{chain}"))
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account> {
        let builder =
            Account::builder_with_http(Box::new(wire::Wire::new(self.ca_file.as_deref())?));
        if let Some(credentials) = self.store().account()? {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = format!("mailto:{}", self.email);
        let contact: &[&str] = match self.email.as_str() {
            "" => &[],
            _ => &[&contact],
        };
        let wanted = NewAccount {
            contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder
            .create(&wanted, self.directory.clone(), None)
            .await
            .context("the authority gives no account")?;
        self.store().keep_account(&credentials)?;
        Ok(account)
    }
}

/// How long an authority is waited for, and how often it is asked.
fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(Duration::from_millis(DECISION_MS_MAX))
}

/// Puts the answers behind the door and asks the authority to come and look.
async fn challenge(order: &mut Order, answers: &Answers) -> Result<()> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let mut challenge = authorization
            .challenge(ChallengeType::Http01)
            .context("the authority does not offer http-01")?;
        answers.add(&challenge.token, challenge.key_authorization().as_str());
        challenge.set_ready().await?;
    }
    Ok(())
}

/// Waits until the authority has looked; an error tells what it saw.
async fn decision(order: &mut Order) -> Result<()> {
    let seen = match order.poll_ready(&patience()).await {
        Ok(OrderStatus::Ready) => return Ok(()),
        Ok(_) => what_was_seen(order).await?,
        Err(Error::Api(problem)) => problem_text(&problem),
        Err(error) => return Err(error.into()),
    };
    bail!(
        "the authority could not convince itself that the names are ours ({seen}); \
         http://NAME/.well-known/acme-challenge/ must reach server.acme_address from where the authority is"
    )
}

async fn what_was_seen(order: &mut Order) -> Result<String> {
    let mut seen = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let name = state.identifier().to_string();
        let errors = state.challenges.iter().filter_map(|c| c.error.as_ref());
        seen.extend(errors.map(|problem| format!("{name}: {}", problem_text(problem))));
    }
    Ok(seen.join("; "))
}

fn problem_text(problem: &instant_acme::Problem) -> String {
    let text = problem
        .detail
        .clone()
        .unwrap_or_else(|| problem.to_string());
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme(change: impl FnOnce(&mut AcmeConfig)) -> Result<Acme, Finding> {
        let mut config = AcmeConfig {
            domains: vec!["Files.example.org".into()],
            accept_terms: true,
            ..AcmeConfig::default()
        };
        change(&mut config);
        Acme::new(&config, PathBuf::from("acme"))
    }

    #[test]
    fn what_cannot_work_is_told_at_once() {
        let acme_ok = acme(|_| {}).unwrap();
        assert!(
            acme_ok
                .describe()
                .contains("files.example.org from https://acme-v02")
        );
        let error = |change: fn(&mut AcmeConfig)| acme(change).unwrap_err().to_string();
        assert!(error(|c| c.accept_terms = false).contains("server.acme_accept_terms"));
        assert!(error(|c| c.directory = "http://ca".into()).contains("server.acme_directory"));
        for bad in [
            "*.example.org",
            "192.0.2.1",
            "nas",
            "a..b",
            "-a.example",
            "a b.example",
            "",
        ] {
            let refused = acme(|c| c.domains = vec!["a.example".into(), bad.into()]);
            assert!(
                refused
                    .unwrap_err()
                    .to_string()
                    .contains("server.acme_domains"),
                "{bad}"
            );
        }
    }
}
