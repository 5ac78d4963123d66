//! The commands, one per file: what the words mean and what is shown. How it is done is in `remote` and `transfer`.

mod config;
mod cp;
mod discover;
mod get;
mod legacy;
mod ls;
mod mkdir;
mod mv;
mod put;
mod restore;
mod rm;
mod sources;
mod stat;
mod trust;
mod update;
mod version;

use crate::args::{Command, Invocation, Names, usage_of};
use crate::config::{Places, Settings, load};
use crate::exit::Exit;
use crate::remote::{Error, Http, Kind, Leftovers, Naming, Pause, Remote, Retries};
use crate::transfer::Stream;
use crate::ui::Ui;
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::certificate::Fingerprint;
use gfl_api::path::PathError;
use std::path::Path;
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
    retries: Retries,
    timeout: Duration,
    /// What would be left on the server.
    leftovers: Leftovers,
}

impl Command {
    /// Whether running it again continues it. What went through a pipe is gone.
    pub(crate) fn is_continued(&self) -> bool {
        match self {
            Self::Put { words, .. } => words.first().is_some_and(|word| word != "-"),
            Self::Get { local, .. } => !local
                .as_deref()
                .is_some_and(|local| local == "-" || Stream::is_at(Path::new(local))),
            _ => false,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(invocation: Invocation, ui: Arc<Ui>, leftovers: Leftovers) -> Result<Exit> {
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
        leftovers,
    };
    match command {
        Command::Put {
            words,
            is_exact,
            options,
        } => put::run(&context, &words, is_exact, options).await,
        Command::Get {
            remotes,
            local,
            is_joined,
            options,
        } => {
            let target = get::Target {
                local: local.as_deref(),
                is_joined,
            };
            get::run(&context, &remotes, target, options).await
        }
        Command::Ls {
            names,
            long,
            recursive,
        } => ls::run(&context, &names, long, recursive).await,
        Command::Rm { names } => rm::run(&context, &names).await,
        Command::Mkdir { names } => mkdir::run(&context, &names).await,
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
        Command::Stat { names } => stat::run(&context, &names).await,
        Command::Restore {
            names,
            version,
            list,
        } => restore::run(&context, &names, version.as_deref(), list).await,
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
        Command::Discover { wait } => discover::run(&context, wait).await,
        Command::Update(wish) => update::run(&context, wish).await,
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
        let on_pause = move |pause: Option<&Pause<'_>>| match pause {
            Some(pause) => ui.waiting(pause.error, pause.origin, pause.wait.delay, pause.wait.left),
            None => ui.waited(),
        };
        Ok(Http::new(
            settings.origin.clone(),
            settings.trust.clone(),
            settings.token.as_deref(),
            self.retries,
            self.timeout,
            on_pause,
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

/// Does the same with each name. What fails is told, and the others are done all the same, unless nothing else can fare
/// better.
async fn each(
    context: &Context,
    names: &Names,
    mut run: impl AsyncFnMut(&str) -> Result<Exit>,
) -> Result<Exit> {
    if let [name] = names.paths.as_slice() {
        return run(name).await.map_err(|mut error| {
            let is_missing = Exit::of(&error) == Exit::NotFound;
            if let Some(error) = error.downcast_mut::<Error>()
                && names.is_joined
                && is_missing
            {
                error.set_hint(JOINED);
            }
            error
        });
    }
    let mut exit = Exit::Ok;
    for name in &names.paths {
        match run(name).await {
            Ok(done) => exit = exit.and(done),
            // Nobody knows us: not at the next name either.
            Err(error)
                if error
                    .downcast_ref::<Error>()
                    .is_some_and(Error::is_of_token) =>
            {
                return Err(error);
            }
            Err(error) => match Exit::of(&error) {
                // Nobody reads any more, or nobody answers.
                Exit::Ok | Exit::Network => return Err(error),
                failed => {
                    context.ui.error(&error);
                    exit = exit.and(failed);
                }
            },
        }
    }
    Ok(exit)
}

/// What failed between two paths, each named once.
fn between(verb: &str, from: &FilePath, to: &FilePath, error: Error) -> anyhow::Error {
    let what = if error.is_about(from) || error.is_about(to) {
        format!("cannot {verb} {from} on the server")
    } else {
        format!("cannot {verb} {from} to {to} on the server")
    };
    anyhow::Error::from(error.naming(from)).context(what)
}

/// For names of several words that are not there.
const JOINED: &str =
    "the words were taken as one name, as in v0.1; to name several, write `--` in front of them";

/// A remote path as a person writes it: with or without a leading slash, with `..` resolved. True if it ends in a
/// slash, which says that a folder is meant.
fn remote_path(text: &str) -> Result<(FilePath, bool)> {
    let is_folder = text.is_empty() || text.ends_with('/');
    let path =
        FilePath::parse_v0(text).map_err(|error| Error::new(Kind::Refused, error.to_string()))?;
    Ok((path, is_folder))
}

/// As [`remote_path`], for what is to be made: where the name cannot be used, another one can.
fn new_path(text: &str) -> Result<(FilePath, bool)> {
    remote_path(text).map_err(|mut error| {
        if let (Some(error), Err(PathError::Reserved(_))) =
            (error.downcast_mut::<Error>(), FilePath::parse_v0(text))
        {
            error.set_hint(Error::ANOTHER_NAME);
        }
        error
    })
}

/// The target of mv and cp: what ends in a slash gets the source's name added.
fn target(from: &FilePath, to: &str) -> Result<FilePath> {
    let (path, is_folder) = new_path(to)?;
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

    #[test]
    fn two_paths_are_each_named_once() {
        let (from, to) = (FilePath::parse("a").unwrap(), FilePath::parse("b").unwrap());
        for (message, want) in [
            ("a: not found", "cannot move a on the server: not found"),
            ("b: exists", "cannot move a on the server: b: exists"),
            ("too busy", "cannot move a to b on the server: too busy"),
        ] {
            let error = between("move", &from, &to, Error::new(Kind::Refused, message));
            assert_eq!(format!("{error:#}"), want);
        }
    }
}
