//! `gfl discover`: shows servers near by, as v0.1 showed them.

use super::Context;
use crate::discovery::{BEATS_SECONDS_MAX, Found, Search};
use crate::exit::Exit;
use crate::ui::Ui;
use anyhow::{Context as _, Result};

/// Looks and shows. Finding nothing is no failure, as in v0.1.
pub(super) async fn run(context: &Context, wait: bool) -> Result<Exit> {
    let ui = &context.ui;
    ui.line("Discovering GoFlux servers on local network...");
    ui.line("");
    if wait {
        ui.note(format_args!(
            "listening for {BEATS_SECONDS_MAX} s, since servers of v0.1 speak every 30 s"
        ));
    }
    let outcome = Search::nearby(wait).run().await;
    let outcome = outcome.context("cannot ask the network")?;
    if let Some(error) = &outcome.deaf {
        ui.warn(format_args!(
            "cannot listen for servers of v0.1 ({error}); one may be running on this machine"
        ));
    }
    if ui.is_json() {
        for server in &outcome.servers {
            ui.data(json(server))?;
        }
    } else {
        show(ui, &outcome.servers)?;
    }
    if outcome.servers.is_empty() {
        ui.hint(
            "a server that listens on loopback only, as one does at its first start, announces itself only with \
             `\"discovery\": true` in its configuration",
        );
    }
    if outcome.servers.is_empty() && !wait {
        ui.hint("servers of v0.1 speak only every 30 s: `gfl discover --wait` listens that long");
    }
    Ok(Exit::Ok)
}

fn show(ui: &Ui, servers: &[Found]) -> std::io::Result<()> {
    if servers.is_empty() {
        return ui.data("No GoFlux servers found on the local network.");
    }
    ui.data(format_args!("Found {} GoFlux server(s):", servers.len()))?;
    ui.data("")?;
    for (number, server) in (1..).zip(servers) {
        let told = &server.told;
        let version = told.version.trim_start_matches('v');
        let status = if told.auth_enabled {
            "Auth Required"
        } else {
            "No Auth"
        };
        let seen = match server.seen.elapsed().as_secs() {
            0 => "just now".to_owned(),
            seconds => format!("{seconds}s ago"),
        };
        ui.data(format_args!("{number}. {} (v{version})", told.name))?;
        ui.data(format_args!("   Address: {}", server.url()))?;
        ui.data(format_args!("   Status:  {status}"))?;
        ui.data(format_args!("   Seen:    {seen}"))?;
        ui.data("")?;
    }
    ui.data("Use 'gfl config <address>' to configure your client for a server.")
}

fn json(server: &Found) -> serde_json::Value {
    let told = &server.told;
    serde_json::json!({
        "name": told.name,
        "version": told.version,
        "address": server.address,
        "url": format!("{}://{}", if told.tls { "https" } else { "http" }, server.address),
        "tls": told.tls,
        "auth_enabled": told.auth_enabled,
    })
}
