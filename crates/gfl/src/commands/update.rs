//! `gfl update`: finds a newer release and lets it take this program's place. v0.1's words where it had some.

use super::Context;
use crate::args;
use crate::config::Settings;
use crate::exit::{Exit, Failed, UsageError};
use crate::remote::url::Origin;
use crate::remote::{Error, Http, Kind, Moment, Trust};
use crate::ui::{self, Ui};
use crate::update::fetch::{self, Connect, Url};
use crate::update::install::{Draft, Installed};
use crate::update::keys;
use anyhow::{Context as _, Result};
use gfl_api::release::minisign::PublicKey;
use gfl_api::release::{Binary, MANIFEST_NAME, Manifest, Version, platform};
use std::cmp::Ordering;
use std::io::BufRead;

const OURS: &str = env!("CARGO_PKG_VERSION");

/// Looks, asks, installs.
pub(super) async fn run(context: &Context, wish: args::Update) -> Result<Exit> {
    let ui = &context.ui;
    if ui.is_json() && !wish.check && !wish.yes {
        return Err(UsageError("--json needs --check or --yes".into()).into());
    }
    let keys = keys::trusted();
    if keys.is_empty() {
        let message = "this is a development build without a key to check releases with, so it does not update \
                       itself; install a release instead";
        return Err(Failed::new(Exit::Failure, message).into());
    }
    let installed = Installed::running()?;
    if installed.is_packaged() && !wish.check {
        let message = format!(
            "{} belongs to the package goflux-lite; update that, for instance with `apt install ./goflux-lite_….deb`",
            installed.path().display()
        );
        return Err(Failed::new(Exit::Failure, message).into());
    }
    ui.line("Checking for updates...");
    let settings = context.settings()?;
    let connect = |origin| connect(context, &settings, origin);
    let manifest = find(ui, &connect, wish.local.then_some(&settings), &keys).await?;
    let ours = version(OURS)?;
    let offered = version(&manifest.version)?;
    let order = offered.cmp(&ours);
    if wish.check && ui.is_json() {
        ui.data(serde_json::json!({
            "current": OURS,
            "offered": manifest.version,
            "is_newer": order == Ordering::Greater,
            "release_date": manifest.release_date,
            "notes": manifest.notes,
        }))?;
        return Ok(Exit::Ok);
    }
    if order != Ordering::Greater && !wish.downgrade {
        ui.line(format_args!(
            "You are already running the latest version ({OURS})"
        ));
        if order == Ordering::Less {
            ui.note(format_args!(
                "the release offered is older: {offered}; --downgrade installs it"
            ));
        }
        return Ok(Exit::Ok);
    }
    announce(ui, &manifest, order);
    if wish.check {
        return Ok(Exit::Ok);
    }
    let platform = platform(std::env::consts::OS, std::env::consts::ARCH);
    let binary = manifest.binaries.get(&platform).ok_or_else(|| {
        let message = format!("the release {offered} has no program for {platform}");
        Failed::new(Exit::NotFound, message)
    })?;
    // Made before anything is asked: where it cannot be written, nothing need be decided.
    let mut draft = installed.draft(binary)?;
    if !wish.yes && !is_wanted()? {
        ui.line("Update cancelled");
        return Ok(Exit::Ok);
    }
    download(context, &connect, binary, &mut draft).await?;
    let kept = installed.replace(draft, &offered).await?;
    ui.line(format_args!(
        "✓ Updated to {offered}; the old program is kept as {}",
        kept.display()
    ));
    Ok(Exit::Ok)
}

fn version(text: &str) -> Result<Version> {
    Version::parse(text).with_context(|| format!("{text:?} is no version"))
}

/// Connections without a token. Those to the configured server are made as all others to it.
fn connect(context: &Context, settings: &Settings, origin: Origin) -> Result<Http> {
    if origin == settings.origin {
        return context.http(settings);
    }
    Ok(Http::new(
        origin,
        // What is remembered belongs to the configured server; here the system's authorities decide.
        Trust::default(),
        None,
        context.retries,
        context.timeout,
        |_| {},
    )?)
}

/// The manifest: of the configured server if that is wanted and it has one, else of the project.
async fn find(
    ui: &Ui,
    connect: &Connect<'_>,
    local: Option<&Settings>,
    keys: &[PublicKey],
) -> Result<Manifest> {
    let project = keys::manifest_url();
    if let Some(settings) = local {
        let url = format!("{}/{MANIFEST_NAME}", settings.origin.to_url());
        match fetch::manifest(connect, &Url::parse(&url)?, keys).await {
            Ok(manifest) => return Ok(manifest),
            // Not there is one thing, there and wrong another.
            Err(error) if is_absent(&error) => {
                ui.note(format_args!("{error:#}; asking {project}"));
            }
            Err(error) => return Err(error),
        }
    }
    fetch::manifest(connect, &Url::parse(&project)?, keys).await
}

fn is_absent(error: &anyhow::Error) -> bool {
    let remote = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>());
    remote.is_some_and(|remote| remote.status == 404 || remote.kind == Kind::Network)
}

fn announce(ui: &Ui, manifest: &Manifest, order: Ordering) {
    let what = match order {
        Ordering::Greater => "New version available",
        Ordering::Equal => "The same version again",
        Ordering::Less => "An older version",
    };
    let date = match manifest.release_date.as_str() {
        "" => String::new(),
        date => format!(" (released {date})"),
    };
    ui.line(format_args!("{what}: {}{date}", manifest.version));
    ui.line(format_args!("Current version: {OURS}"));
    for line in manifest.notes.lines() {
        ui.line(format_args!("  {line}"));
    }
}

/// v0.1's question; only `y` goes on.
fn is_wanted() -> Result<bool> {
    ui::raw(b"Do you want to install this update? (y/N): ")?;
    ui::flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Fetches the program, from its start after a lost connection. Only silence is timed, not the whole.
async fn download(
    context: &Context,
    connect: &Connect<'_>,
    binary: &Binary,
    draft: &mut Draft,
) -> Result<()> {
    let url = Url::parse(&binary.url).context("the release")?;
    let progress = context.ui.progress();
    progress.begin_bytes("gfl", binary.size);
    let mut attempts = context.retries.begin();
    loop {
        match receive(context, connect, &url, draft).await {
            Ok(()) => break,
            Err(error) => {
                let lost = error.downcast_ref::<Error>();
                // It told where the program is.
                let moment = Moment::now(true);
                let Some(Ok(wait)) = lost.map(|lost| attempts.failed(lost, moment)) else {
                    return Err(error.context(format!("downloading {url}")));
                };
                tokio::time::sleep(wait.delay).await;
                progress.take_back(binary.size);
                draft.restart()?;
            }
        }
    }
    progress.end();
    draft.finish(binary).with_context(|| url.to_string())
}

async fn receive(
    context: &Context,
    connect: &Connect<'_>,
    url: &Url,
    draft: &mut Draft,
) -> Result<()> {
    let mut answer = fetch::get(connect, url).await?;
    while let Some(piece) = answer.piece().await? {
        context.ui.progress().advance(piece.len() as u64);
        draft.write(&piece)?;
    }
    Ok(())
}
