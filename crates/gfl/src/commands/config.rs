//! `gfl config`: remembers a server and a token, or shows what is remembered.

use super::Context;
use super::trust::{self, Found};
use crate::config::{Settings, TOKEN_VAR, env_token, trust_of, write};
use crate::exit::{Exit, Failed};
use crate::remote::url::Origin;
use crate::remote::{Http, Kind, Remote, Retries};
use anyhow::{Context as _, Result};
use gfl_api::config::{Config, set_client_server, set_client_text};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What is to be remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The server; none: show what is remembered.
    pub(super) address: Option<&'a str>,
    /// The token.
    pub(super) token: Option<&'a str>,
    /// In place of another token too.
    pub(super) force: bool,
    /// Whatever certificate the server shows.
    pub(super) trust: bool,
}

/// Shows or writes settings.
pub(super) async fn run(context: &Context, wish: Wish<'_>) -> Result<Exit> {
    let Some(address) = wish.address else {
        return show(context);
    };
    let (path, text) = file(context)?;
    let old = if text.trim().is_empty() {
        Config::default()
    } else {
        Config::parse(&text)
            .with_context(|| path.display().to_string())?
            .0
    };
    let old_token = Some(old.client.token.trim()).filter(|token| !token.is_empty());
    let asked_for = match wish.token {
        Some("-") => Some(context.ui.secret("Token: ").await.context("no token")?),
        _ => None,
    };
    let token = asked_for.as_deref().or(wish.token);
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    if asked_for.is_some() && token.is_none() {
        let message = "there is no token on stdin";
        return Err(Failed::new(Exit::Usage, message).into());
    }
    if token.is_some() && old_token.is_some() && token != old_token && !wish.force {
        let message = format!(
            "{} holds another token; add --force to replace it",
            path.display()
        );
        return Err(Failed::new(Exit::Conflict, message).into());
    }
    let old_origin = Origin::parse(&old.client.server_url).ok();
    let asked = trust::Asked {
        address,
        old: old_origin.as_ref(),
        old_trust: trust_of(&old.client, &path, true)?,
        trust: wish.trust,
    };
    let found = trust::settle(context, asked).await?;
    let is_moved = old_origin.is_some_and(|old| !old.is_same_host(&found.origin));
    if token.is_none() && old_token.is_some() && is_moved {
        context.ui.warn(format_args!(
            "the token of {} is kept and shown to {}",
            old.client.server_url, found.origin
        ));
    }
    let in_env = env_token();
    // As every command will: the environment goes first. A token that is given here is the one to be tried.
    let tried = token.or(in_env.as_deref()).or(old_token);
    ask(context, &found, tried).await?;
    let text = changed(&text, &old.client.tls_fingerprint, &found, token)?;
    write::replace(&path, &text)?;
    if token.is_some() && in_env.is_some() && token != in_env.as_deref() {
        context.ui.warn(format_args!(
            "{TOKEN_VAR} is set and goes before the token that was saved"
        ));
    }
    context
        .ui
        .line(format_args!("✓ Configuration saved to {}", path.display()));
    Ok(Exit::Ok)
}

/// The settings with what was found in them.
fn changed(text: &str, old_pin: &str, found: &Found, token: Option<&str>) -> Result<String> {
    let mut text = set_client_server(text, &found.origin.to_url())?;
    match found.trust.pin {
        Some(pin) => text = set_client_text(&text, "tls_fingerprint", &pin.to_string())?,
        // One that belongs to another server, or is not needed any more.
        None if !old_pin.is_empty() => text = set_client_text(&text, "tls_fingerprint", "")?,
        None => {}
    }
    if let Some(token) = token {
        text = set_client_text(&text, "token", token)?;
    }
    Ok(text)
}

/// The file to write: the one in use if it is the user's, else the user's own.
fn file(context: &Context) -> Result<(PathBuf, String)> {
    if let Some(named) = &context.config {
        return match context.places.find(Some(named)) {
            Ok(Some(found)) => Ok(found),
            // To be made. What is there and cannot be used is not to be written over.
            Err(error) if Exit::of(&error) != Exit::NotFound || Path::new(named).exists() => {
                Err(error)
            }
            _ => Ok((PathBuf::from(named), String::new())),
        };
    }
    match context.places.find(None)? {
        Some((path, text)) if !path.starts_with("/etc") => Ok((path, text)),
        _ => {
            let own = context.places.own_file();
            let own = own.context("there is no home folder; name a file with -config")?;
            Ok((own, String::new()))
        }
    }
}

/// Looks whether the server is there and takes the token. An address that does not answer is not remembered.
async fn ask(context: &Context, found: &Found, token: Option<&str>) -> Result<()> {
    let origin = &found.origin;
    let http = Http::new(
        origin.clone(),
        found.trust.clone(),
        token,
        Retries::exactly(0),
        context.timeout,
        |_| {},
    )?;
    let remote = Remote::probe(http).await?;
    let Remote::V1(v1) = remote else {
        context
            .ui
            .note(format_args!("{origin} is a GoFlux Lite v0.1 server"));
        return Ok(());
    };
    match v1.me().await {
        Ok(me) => context.ui.note(format_args!(
            "{origin} knows you as {} ({})",
            me.user,
            me.permissions.join(", ")
        )),
        Err(error) if error.kind == Kind::Auth && token.is_none() => {
            context.ui.note(format_args!(
                "{origin} requires a token: gfl config {origin} TOKEN"
            ));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("{origin} does not take the token"));
        }
    }
    Ok(())
}

/// What is in use and where it is from. Asks no server, and never shows a token.
fn show(context: &Context) -> Result<Exit> {
    let settings = context.settings()?;
    let Settings {
        origin,
        origin_source,
        trust,
        token,
        token_source,
        is_file_token_unused,
        file,
        warnings,
    } = &settings;
    let ui = &context.ui;
    warnings.iter().for_each(|warning| ui.warn(warning));
    let file = file.as_ref().map(|file| file.display().to_string());
    let pin = trust.pin.filter(|_| origin.is_tls);
    if ui.is_json() {
        let shown = json!({
            "file": file,
            "server": origin.to_url(),
            "server_source": origin_source,
            "tls_fingerprint": pin.map(|pin| pin.to_string()),
            "token": token.is_some(),
            "token_source": token_source,
        });
        ui.data(shown)?;
        return Ok(Exit::Ok);
    }
    let file = file.unwrap_or_else(|| "none".to_owned());
    ui.data(format_args!("file     {file}"))?;
    ui.data(format_args!(
        "server   {}, {origin_source}",
        origin.to_url()
    ))?;
    if let Some(pin) = pin {
        ui.data(format_args!("trusts   only the certificate {pin}"))?;
    }
    let hidden = if token.is_some() { "****, " } else { "" };
    let also = match is_file_token_unused {
        true => "; the one in the file is not used",
        false => "",
    };
    ui.data(format_args!("token    {hidden}{token_source}{also}"))?;
    Ok(Exit::Ok)
}
