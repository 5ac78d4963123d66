//! `gfl version`: ours, and the server's if it can be reached.

use super::Context;
use crate::exit::Exit;
use crate::remote::{Http, Remote, Retries};
use anyhow::Result;
use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows versions. A server that does not answer is no failure here.
pub(super) async fn run(context: &Context, ask_server: bool) -> Result<Exit> {
    let ui = &context.ui;
    if !ui.is_json() {
        ui.data(format_args!("gfl version: {VERSION}"))?;
    }
    let mut shown = json!({ "version": VERSION });
    if ask_server {
        shown["server"] = server(context).await?;
    }
    if ui.is_json() {
        ui.data(shown)?;
    }
    Ok(Exit::Ok)
}

/// The server's version, shown, and as scripts want it.
async fn server(context: &Context) -> Result<Value> {
    let settings = context.settings()?;
    for warning in &settings.warnings {
        context.ui.warn(warning);
    }
    let http = Http::new(
        settings.origin.clone(),
        settings.trust.clone(),
        settings.token.as_deref(),
        Retries::exactly(0),
        context.timeout,
        |_| {},
    )?;
    let (name, version, api) = match Remote::probe(http).await {
        Ok(Remote::V1(v1)) => {
            let told = v1.capabilities;
            (told.name, told.version, told.api)
        }
        Ok(Remote::V0(_)) => ("GoFlux Lite".to_owned(), "v0.1".to_owned(), 0),
        Err(error) => {
            let text = format_args!("server {}: {error}", settings.origin);
            context.ui.note(text);
            return Ok(Value::Null);
        }
    };
    if !context.ui.is_json() {
        let api = match api {
            0 => String::new(),
            api => format!(" (api {api})"),
        };
        let origin = &settings.origin;
        context
            .ui
            .data(format_args!("server {origin}: {name} {version}{api}"))?;
    }
    Ok(json!({
        "url": settings.origin.to_url(),
        "name": name,
        "version": version,
        "api": api,
    }))
}
