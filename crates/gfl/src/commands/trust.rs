//! Which certificate is remembered for a server, and who decides that: the part of `gfl config` where trust begins.
//! A certificate that is remembered is never replaced without being told which one is the new one.

use super::Context;
use crate::config::Settings;
use crate::exit::{Exit, Failed};
use crate::remote::tls::{Certificate, changed_certificate, now_s};
use crate::remote::url::Origin;
use crate::remote::{Error, Http, Kind, Look, Trust, look};
use crate::ui::Ui;
use anyhow::Result;
use gfl_api::certificate::{Fingerprint, day};

/// Days before its end from which on a remembered certificate is warned about.
const END_DAYS_WARNED: i64 = 30;

/// What is known before the server is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// As typed.
    pub(super) address: &'a str,
    /// The server that is remembered.
    pub(super) old: Option<&'a Origin>,
    /// What makes its certificate good.
    pub(super) old_trust: Trust,
    /// `--trust`.
    pub(super) trust: bool,
}

/// A server, and what makes its certificate good from now on.
#[derive(Debug)]
pub(super) struct Found {
    /// The server.
    pub(super) origin: Origin,
    /// What makes its certificate good.
    pub(super) trust: Trust,
}

/// Finds out what the server speaks and decides whom to trust. Sends nothing.
pub(super) async fn settle(context: &Context, asked: Asked<'_>) -> Result<Found> {
    let given = Origin::parse(asked.address)?;
    let is_open = !asked.address.contains("://");
    let ca_file = asked.old_trust.ca_file.clone();
    let plain = |origin| {
        Ok(Found {
            origin,
            trust: Trust {
                pin: None,
                ca_file: ca_file.clone(),
            },
        })
    };
    if !is_open && !given.is_tls {
        return plain(given);
    }
    let encrypted = match is_open {
        true => Origin::parse(&format!("https://{}", asked.address.trim()))?,
        false => given.clone(),
    };
    let why = match look(&encrypted, &asked.old_trust).await {
        Ok(Look::Tls(shown)) => {
            let pin = decide(context, &asked, &encrypted, &shown).await?;
            return Ok(Found {
                origin: encrypted,
                trust: Trust { pin, ca_file },
            });
        }
        Ok(Look::Other(why)) => why,
        // Without a port there are two of them to be tried.
        Err(why) if is_open && given.port != encrypted.port => why,
        Err(why) => return Err(why.into()),
    };
    if !is_open {
        return Err(why.into());
    }
    if context.fingerprint.is_some() {
        let message = format!("{given} shows no certificate, so none with that fingerprint: {why}");
        return Err(Error::new(Kind::Auth, message).into());
    }
    refuse_downgrade(&asked, &given)?;
    if !given.is_loopback() {
        context.ui.warn(format_args!(
            "{given} does not speak TLS: tokens and files can be read on the way"
        ));
    }
    plain(given)
}

/// A server that was encrypted once and is not any more is either another one, or somebody is in between.
fn refuse_downgrade(asked: &Asked<'_>, given: &Origin) -> Result<()> {
    let was_encrypted = asked
        .old
        .is_some_and(|old| old.is_tls && old.is_same_host(given));
    if !was_encrypted {
        return Ok(());
    }
    let message = format!("{given} was remembered as encrypted, but does not speak TLS now");
    Err(Error::new(Kind::Auth, message)
        .with_hint("if it is meant to be so, write http:// in front of the address")
        .into())
}

/// The certificate to be remembered; none if an authority vouches for the server, now and later.
async fn decide(
    context: &Context,
    asked: &Asked<'_>,
    origin: &Origin,
    shown: &Certificate,
) -> Result<Option<Fingerprint>> {
    let found = shown.fingerprint;
    if let Some(expected) = context.fingerprint {
        return match expected == found {
            true => Ok(Some(found)),
            false => Err(Error::new(
                Kind::Auth,
                format!(
                    "{origin} shows another certificate than the one asked for: it is {found}, not {expected}"
                ),
            )
            .into()),
        };
    }
    let is_known = asked
        .old
        .is_some_and(|old| old.is_tls && old.is_same_host(origin));
    if let Some(old) = asked.old_trust.pin.filter(|_| is_known) {
        return match (old == found, &shown.doubt, asked.trust) {
            (true, _, _) => Ok(Some(found)),
            (false, None, true) => {
                context.ui.note(format_args!(
                    "{origin} has a new certificate that an authority vouches for; the old one is forgotten"
                ));
                Ok(None)
            }
            _ => Err(changed_certificate(origin, old, found).into()),
        };
    }
    let Some(doubt) = &shown.doubt else {
        return Ok(None);
    };
    let ends = match shown.validity {
        Some(validity) => format!(", valid until {}", day(validity.not_after_s)),
        None => String::new(),
    };
    context.ui.note(format_args!(
        "{origin} shows a certificate that is not known here: {doubt}{ends}"
    ));
    context
        .ui
        .note(format_args!("its SHA-256 fingerprint: {found}"));
    if asked.trust {
        return Ok(Some(found));
    }
    let question = "Is that what the server printed at its start? Remember it? (y/N): ";
    match context.ui.confirm(question).await {
        Some(true) => Ok(Some(found)),
        Some(false) => Err(Failed::new(Exit::Auth, "nothing was remembered").into()),
        None => Err(Error::new(
            Kind::Auth,
            format!("nobody is here to say whether the certificate of {origin} is the right one"),
        )
        .with_hint(
            "add --fingerprint with what `gfl-server -check` prints on the server, or --trust to believe it unseen",
        )
        .into()),
    }
}

/// A remembered certificate is good whatever its date, but other programs are stricter.
pub(super) fn warn_of_end(ui: &Ui, settings: &Settings, http: &Http) {
    let validity = http.certificate().and_then(|shown| shown.validity);
    let (Some(validity), Some(_)) = (validity, settings.trust.pin) else {
        return;
    };
    let (origin, end) = (&settings.origin, day(validity.not_after_s));
    let left = validity.days_left(now_s());
    if left < 0 {
        ui.warn(format_args!(
            "the certificate of {origin} ended on {end}; it is the remembered one, so it is accepted, but the \
             server should get a new one"
        ));
    } else if left <= END_DAYS_WARNED {
        ui.warn(format_args!("the certificate of {origin} ends on {end}"));
    }
}
