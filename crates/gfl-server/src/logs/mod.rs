//! The log: text or JSON on stderr, at the level of the configuration.

mod patient;

use anyhow::{Context, Result, anyhow};
use gfl_api::config::LogFormat;
use gfl_core::catalog::CONNECTION_MODULES;
use patient::{Patient, Stderr};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged can be changed while it is.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging. `level` is a level (`info`), modules with levels (`gfl_core=debug,hyper=info`), or both.
pub fn init(format: LogFormat, level: &str) -> Result<()> {
    let lines = tracing_subscriber::fmt::layer().with_writer(Patient::new(format, Stderr));
    let (filter, handle) = reload::Layer::new(usable(level)?);
    let _ = LEVEL.set(handle);
    let log = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => log
            .with(
                lines
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
    }
    .context("cannot start logging")
}

/// Logs at this level from now on.
pub fn set_level(level: &str) -> Result<()> {
    let filter = usable(level)?;
    match LEVEL.get() {
        Some(handle) => handle.reload(filter).context("cannot change the log level"),
        // Nothing logs, as in tests.
        None => Ok(()),
    }
}

fn usable(level: &str) -> Result<Targets> {
    filter(level).map_err(|why| anyhow!("server.log_level {level:?}: {why}"))
}

/// A plain level is for our own crates; libraries then only say what is wrong. What follows names modules with
/// levels of their own. The error says what it may be.
pub fn filter(level: &str) -> Result<Targets, &'static str> {
    const WRONG: &str =
        "is none of off, error, warn, info, debug, trace, and no list of modules with levels";
    let (mut plain, mut modules) = (None, Vec::new());
    for part in level.split(',').map(str::trim) {
        match part.parse::<LevelFilter>() {
            _ if part.contains('=') => modules.push(part),
            Ok(own) if plain.is_none() && !part.is_empty() => plain = Some(own),
            // An empty one would be read as "error", and a word that is no level would be taken for the name of a module.
            _ => return Err(WRONG),
        }
    }
    let modules: Targets = modules.join(",").parse().map_err(|_| WRONG)?;
    let base = plain.map_or_else(Targets::new, |own| {
        Targets::new()
            .with_default(own.min(LevelFilter::WARN))
            .with_target("gfl", own)
            // Connections that end are told once, by whoever has use for them.
            .with_targets(CONNECTION_MODULES.map(|module| (module, own.min(LevelFilter::ERROR))))
    });
    Ok(base.with_targets(modules))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels() {
        let info = filter("info").unwrap();
        assert!(info.would_enable("gfl_core::files", &Level::INFO));
        assert!(!info.would_enable("gfl_server", &Level::DEBUG));
        assert!(!info.would_enable("hyper", &Level::INFO));
        assert!(info.would_enable("hyper", &Level::WARN));
        assert!(
            filter("gfl_core=debug")
                .unwrap()
                .would_enable("gfl_core", &Level::DEBUG)
        );
        assert!(
            !filter("off")
                .unwrap()
                .would_enable("gfl_core", &Level::ERROR)
        );
        let both = filter("warn, gfl_server::transfer=info,hyper=debug").unwrap();
        assert!(both.would_enable("gfl_server::transfer", &Level::INFO));
        assert!(!both.would_enable("gfl_server::request", &Level::INFO));
        assert!(both.would_enable("gfl_core", &Level::WARN));
        assert!(
            both.would_enable("hyper", &Level::DEBUG) && !both.would_enable("h2", &Level::INFO)
        );
        for bad in ["loud, please", "info,debug", "info,", "", "gfl_core=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
