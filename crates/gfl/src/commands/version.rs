//! `gfl version`: ours, and the server's if it can be reached.

use super::Context;
use crate::exit::Exit;
use crate::remote::{Http, Remote, Retries};
use anyhow::Result;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Shows versions. A server that does not answer is no failure here.
pub(super) async fn run(context: &Context, ask_server: bool) -> Result<Exit> {
    context.ui.data(format_args!("gfl version: {VERSION}"))?;
    if !ask_server {
        return Ok(Exit::Ok);
    }
    let settings = context.settings()?;
    for warning in &settings.warnings {
        context.ui.warn(warning);
    }
    let http = Http::new(
        settings.origin.clone(),
        settings.trust.clone(),
        settings.token.as_deref(),
        Retries(0),
        context.timeout,
        |_, _| {},
    )?;
    match Remote::probe(http).await {
        Ok(Remote::V1(v1)) => {
            let server = &v1.capabilities;
            context.ui.data(format_args!(
                "server {}: {} {} (api {})",
                settings.origin, server.name, server.version, server.api
            ))?;
        }
        Ok(Remote::V0(_)) => context
            .ui
            .data(format_args!("server {}: GoFlux Lite v0.1", settings.origin))?,
        Err(error) => context
            .ui
            .note(format_args!("server {}: {error}", settings.origin)),
    }
    Ok(Exit::Ok)
}
