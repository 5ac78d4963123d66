//! The commands, one per file: what the words mean and what is shown. How it is done is in `remote` and `transfer`.

mod config;
mod cp;
mod get;
mod legacy;
mod ls;
mod mkdir;
mod mv;
mod put;
mod restore;
mod rm;
mod stat;
mod trust;
mod version;

use crate::args::{Command, Invocation, usage_of};
use crate::config::{Places, Settings, load};
use crate::exit::Exit;
use crate::remote::{Http, Remote, Retries};
use crate::ui::{Ui, words};
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::certificate::Fingerprint;
use std::sync::Arc;
use std::time::Duration;

/// What a command needs.
pub(crate) struct Context {
    /// The voice.
    pub(crate) ui: Arc<Ui>,
    /// Where files are looked for.
    places: Places,
    config: Option<String>,
    server: Option<String>,
    fingerprint: Option<Fingerprint>,
    retries: u32,
    timeout: Duration,
}

impl Command {
    /// Whether running it again continues it.
    pub(crate) fn is_transfer(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Get { .. })
    }
}

/// Runs a command.
pub(crate) async fn run(invocation: Invocation, ui: Arc<Ui>) -> Result<Exit> {
    let Invocation {
        config,
        server,
        fingerprint,
        retries,
        timeout_s,
        command,
        ..
    } = invocation;
    let context = Context {
        ui,
        places: Places::from_env(),
        config,
        server,
        fingerprint,
        retries,
        timeout: Duration::from_secs(timeout_s),
    };
    match command {
        Command::Put { words, options } => put::run(&context, &words, options).await,
        Command::Get {
            remote,
            local,
            options,
        } => get::run(&context, &remote, local.as_deref(), options).await,
        Command::Ls {
            path,
            long,
            recursive,
        } => ls::run(&context, &path, long, recursive).await,
        Command::Rm { path } => rm::run(&context, &path).await,
        Command::Mkdir { path } => mkdir::run(&context, &path).await,
        Command::Mv {
            from,
            to,
            overwrite,
        } => mv::run(&context, &from, &to, overwrite).await,
        Command::Cp {
            from,
            to,
            overwrite,
        } => cp::run(&context, &from, &to, overwrite).await,
        Command::Stat { path } => stat::run(&context, &path).await,
        Command::Restore {
            path,
            version,
            list,
        } => restore::run(&context, &path, version.as_deref(), list).await,
        Command::Config {
            address,
            token,
            force,
            trust,
        } => {
            let wish = config::Wish {
                address: address.as_deref(),
                token: token.as_deref(),
                force,
                trust,
            };
            config::run(&context, wish).await
        }
        Command::Version { ask_server } => version::run(&context, ask_server).await,
        Command::Help { topic } => {
            context.ui.page(usage_of(topic.as_deref()))?;
            Ok(Exit::Ok)
        }
    }
}

impl Context {
    /// The settings in use.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut settings = load(&self.places, self.config.as_deref(), self.server.as_deref())?;
        if self.fingerprint.is_some() {
            settings.trust.pin = self.fingerprint;
        }
        Ok(settings)
    }

    /// Connections to the configured server.
    pub(crate) fn http(&self, settings: &Settings) -> Result<Http> {
        let ui = Arc::clone(&self.ui);
        let on_retry = move |error: &crate::remote::Error, delay| {
            ui.retrying(
                format_args!("{error}; trying again in {}", words::span(delay)),
                delay,
            );
        };
        Ok(Http::new(
            settings.origin.clone(),
            settings.trust.clone(),
            settings.token.as_deref(),
            Retries(self.retries),
            self.timeout,
            on_retry,
        )?)
    }

    /// The configured server.
    pub(crate) async fn remote(&self) -> Result<Remote> {
        let settings = self.settings()?;
        for warning in &settings.warnings {
            self.ui.warn(warning);
        }
        let http = self.http(&settings)?;
        let remote = Remote::probe(http.clone()).await?;
        trust::warn_of_end(&self.ui, &settings, &http);
        if matches!(remote, Remote::V0(_)) {
            self.ui
                .detail("the server is GoFlux Lite v0.1: nothing can be verified or resumed");
        }
        Ok(remote)
    }
}

/// A remote path as a person writes it: with or without a leading slash, with `..` resolved. True if it ends in a
/// slash, which says that a folder is meant.
fn remote_path(text: &str) -> Result<(FilePath, bool)> {
    let is_folder = text.is_empty() || text.ends_with('/');
    let path = FilePath::parse_v0(text).map_err(|error| {
        crate::remote::Error::new(crate::remote::Kind::Refused, error.to_string())
    })?;
    Ok((path, is_folder))
}

/// The target of mv and cp: what ends in a slash gets the source's name added.
fn target(from: &FilePath, to: &str) -> Result<FilePath> {
    let (path, is_folder) = remote_path(to)?;
    match from.name() {
        Some(name) if is_folder => Ok(path.join(name)?),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_people_write_them() {
        for (text, want, is_folder) in [
            ("/docs/a", "docs/a", false),
            ("docs/", "docs", true),
            ("/", "", true),
            ("a/../b", "b", false),
        ] {
            let (path, folder) = remote_path(text).unwrap();
            assert_eq!((path.as_str(), folder), (want, is_folder), "{text}");
        }
        assert!(remote_path("../x").is_err());
        let from = FilePath::parse("a/b").unwrap();
        assert_eq!(target(&from, "c/").unwrap().as_str(), "c/b");
        assert_eq!(target(&from, "c").unwrap().as_str(), "c");
        assert_eq!(target(&from, "/").unwrap().as_str(), "b");
    }
}
