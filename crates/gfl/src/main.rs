//! The GoFlux Lite client.
//!
//! `main` reads as the story: words, settings, server, command, exit code. Everything that prints is in `ui`,
//! everything that speaks HTTP in `remote`, everything that moves content in `transfer`.

mod args;
mod commands;
mod config;
mod discovery;
mod exit;
mod local;
mod remote;
mod transfer;
mod ui;
mod update;

use args::{ArgsError, Invocation};
use exit::Exit;
use std::process::ExitCode;
use std::time::Duration;
use ui::{Ui, Voice};

/// Network on two threads; hashing and disks have their own.
const NETWORK_THREADS: usize = 2;
/// Threads for hashing and disks: one a connection, and some to spare.
const BLOCKING_THREADS_MAX: usize = 96;
/// What is still running after Ctrl-C gets this long to end by itself.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let Ok(words) = words() else {
        return complain(&ArgsError::Flag("arguments must be utf-8".into()), false);
    };
    let is_here = |word: &str| std::path::Path::new(word).symlink_metadata().is_ok();
    let invocation = match args::parse(&words, is_here) {
        Ok(invocation) => invocation,
        Err(error) => return complain(&error, args::is_json(&words)),
    };
    let ui = Ui::new(invocation.voice);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.error(&anyhow::Error::new(error).context("cannot start"));
            return Exit::Failure.into();
        }
    };
    let exit = runtime.block_on(run(invocation, &ui));
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    exit.into()
}

/// Runs the command until it ends or a signal ends it. Dropping it leaves everything resumable.
async fn run(invocation: Invocation, ui: &std::sync::Arc<Ui>) -> Exit {
    let is_continued = invocation.command.is_continued();
    let leftovers = remote::Leftovers::default();
    let command = commands::run(invocation, std::sync::Arc::clone(ui), leftovers.clone());
    let signal = tokio::select! {
        done = command => {
            ui.progress().end();
            return match done {
                Ok(exit) => exit,
                Err(mut error) => {
                    let exit = Exit::of(&error);
                    if exit != Exit::Ok {
                        if is_continued {
                            exit::hint_at_continuing(&mut error);
                        }
                        ui.error(&error);
                    }
                    exit
                }
            };
        }
        signal = signals() => signal,
    };
    ui.progress().end();
    ui.note("interrupted");
    leftovers.remove().await;
    if is_continued {
        ui.hint("run the same command again to continue where it stopped");
    }
    signal
}

/// Ctrl-C, or a polite request to end.
#[cfg(unix)]
async fn signals() -> Exit {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => Exit::Interrupted,
        _ = term.recv() => Exit::Terminated,
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
async fn signals() -> Exit {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Exit::Interrupted,
        Err(_) => std::future::pending().await,
    }
}

fn words() -> Result<Vec<String>, std::ffi::OsString> {
    std::env::args_os()
        .skip(1)
        .map(std::ffi::OsString::into_string)
        .collect()
}

/// What v0.1 said, with its exit codes; but on stderr, where it is in nobody's way.
fn complain(error: &ArgsError, is_json: bool) -> ExitCode {
    let ui = Ui::new(Voice {
        json: is_json,
        ..Voice::default()
    });
    let exit = match error {
        ArgsError::Help => {
            return match ui.page(args::usage_of(None)) {
                Ok(()) => Exit::Ok.into(),
                Err(error) => Exit::of(&error.into()).into(),
            };
        }
        ArgsError::Flag(_) | ArgsError::Word { .. } => Exit::Usage,
        _ => Exit::Failure,
    };
    let hint = match error {
        ArgsError::Word { hint, .. } => Some(hint.as_str()),
        _ => None,
    };
    if is_json {
        ui.error_object(exit.code(), None, &error.to_string(), hint, exit);
        return exit.into();
    }
    match error {
        ArgsError::Missing(command) => ui.page_err(args::usage_of(Some(command))),
        ArgsError::NoCommand => ui.page_err(args::usage_of(None)),
        ArgsError::Topic(_) => {
            ui.note(error);
            ui.note("`gfl help` shows all commands");
        }
        ArgsError::Unknown(_) => {
            ui.note(error);
            ui.page_err(args::usage_of(None));
        }
        _ => {
            ui.note(error);
            if let Some(hint) = hint {
                ui.hint(hint);
            }
            ui.note("Usage: gfl [options] <command> [arguments]; `gfl help` tells more");
        }
    }
    exit.into()
}
