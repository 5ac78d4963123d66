//! `gfl config`: remembers a server and a token, or shows what is remembered.

use super::Context;
use crate::config::{Settings, write};
use crate::exit::{Exit, Failed};
use crate::remote::url::Origin;
use crate::remote::{Http, Kind, Remote, Retries};
use anyhow::{Context as _, Result};
use gfl_api::config::{Config, set_client_server, set_client_text};
use std::path::PathBuf;

/// Shows or writes settings.
pub(super) async fn run(
    context: &Context,
    address: Option<&str>,
    token: Option<&str>,
    force: bool,
) -> Result<Exit> {
    let Some(address) = address else {
        return show(context);
    };
    let origin = Origin::parse(address)?;
    let (path, text) = file(context)?;
    let old = if text.trim().is_empty() {
        Config::default()
    } else {
        Config::parse(&text)
            .with_context(|| path.display().to_string())?
            .0
    };
    let old_token = old.client.token;
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    if token.is_some_and(|token| !old_token.is_empty() && token != old_token) && !force {
        let message = format!(
            "{} holds another token; add --force to replace it",
            path.display()
        );
        return Err(Failed::new(Exit::Conflict, message).into());
    }
    ask(
        context,
        &origin,
        token.or(Some(old_token.as_str()).filter(|token| !token.is_empty())),
    )
    .await?;
    let moved =
        !old_token.is_empty() && token.is_none() && old.client.server_url != origin.to_url();
    let mut text = set_client_server(&text, &origin.to_url())?;
    if let Some(token) = token {
        text = set_client_text(&text, "token", token)?;
    }
    write::replace(&path, &text)?;
    if moved {
        context.ui.warn(format_args!(
            "the token of {} is kept and will be shown to {origin}",
            old.client.server_url
        ));
    }
    context
        .ui
        .line(format_args!("✓ Configuration saved to {}", path.display()));
    Ok(Exit::Ok)
}

/// The file to write: the one in use if it is the user's, else the user's own.
fn file(context: &Context) -> Result<(PathBuf, String)> {
    if let Some(named) = &context.config {
        let text = std::fs::read_to_string(named).unwrap_or_default();
        return Ok((PathBuf::from(named), text));
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
async fn ask(context: &Context, origin: &Origin, token: Option<&str>) -> Result<()> {
    let http = Http::new(
        origin.clone(),
        token,
        Retries(0),
        context.timeout,
        |_, _| {},
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

fn show(context: &Context) -> Result<Exit> {
    let Settings {
        origin,
        token,
        token_source,
        file,
        warnings,
    } = context.settings()?;
    warnings.iter().for_each(|warning| context.ui.warn(warning));
    let file = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    context.ui.data(format_args!("file     {file}"))?;
    context
        .ui
        .data(format_args!("server   {}", origin.to_url()))?;
    let token = if token.is_some() {
        format!("set, from {token_source}")
    } else {
        "none".to_owned()
    };
    context.ui.data(format_args!("token    {token}"))?;
    Ok(Exit::Ok)
}
