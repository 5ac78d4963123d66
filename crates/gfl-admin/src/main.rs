//! Administration of GoFlux Lite: tokens, made, listed and revoked in `tokens.json`; the numbers and the health of the
//! server on this machine.
//!
//! What v0.1's tool printed stands on stdout as it did; errors, and what is new to say, go to stderr.

#[cfg(unix)]
mod access;
#[cfg(unix)]
mod asked;
mod create;
#[cfg(unix)]
mod doctor;
mod file;
mod list;
#[cfg(unix)]
mod migrate;
mod permissions;
#[cfg(unix)]
mod place;
mod revoke;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod stats;
#[cfg(unix)]
mod table;
mod ui;

use gfl_api::goflags::{self, FlagError, Known};
use std::process::ExitCode;

/// What went wrong, and what that means for the exit code.
#[derive(Debug)]
enum Failure {
    /// A message, exit 1.
    Plain(anyhow::Error),
    /// Options that cannot be understood: usage on stderr, exit 2, as Go does it; for help on stdout, exit 0.
    Flags(FlagError, &'static str),
    /// The value of an option is none: the same, exit 2.
    Value(String, &'static str),
    /// Said already.
    Said,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Plain(error.into())
    }
}

type Result<T> = std::result::Result<T, Failure>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(Failure::Plain(error)) => {
            ui::err(format_args!("Error: {error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Flags(FlagError::Help, usage)) => {
            ui::out(usage);
            ExitCode::SUCCESS
        }
        Err(Failure::Value(text, usage)) => {
            ui::err(text);
            ui::err(usage);
            ExitCode::from(2)
        }
        Err(Failure::Flags(error, usage)) => {
            ui::err(error);
            ui::err(usage);
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let front = goflags::parse(words, &[Known::switch("version")])
        .map_err(|error| Failure::Flags(error, USAGE))?;
    if front.is_on("version") {
        ui::out(format_args!(
            "goflux-lite-admin version: {}",
            env!("CARGO_PKG_VERSION")
        ));
        return Ok(());
    }
    let Some((command, rest)) = front.rest.split_first() else {
        ui::err(USAGE);
        return Err(Failure::Said);
    };
    match command.as_str() {
        "create" => create::run(rest),
        "list" => list::run(rest),
        "revoke" => revoke::run(rest),
        #[cfg(unix)]
        "stats" => stats::run(rest),
        #[cfg(unix)]
        "access" => access::run(rest),
        #[cfg(unix)]
        "doctor" => doctor::run(rest),
        #[cfg(unix)]
        "migrate" => migrate::run(rest),
        "help" => {
            ui::out(USAGE);
            Ok(())
        }
        unknown => {
            ui::err(format_args!("Unknown command: {unknown}"));
            ui::err(USAGE);
            Err(Failure::Said)
        }
    }
}

const USAGE: &str = "\
Administration of GoFlux Lite

Usage: gfl-admin [-version] <command> [arguments]

  create -user NAME [-permissions LIST] [-days N] [-file FILE]   make a token
  list [-file FILE]                                              show all tokens
  revoke ID [-file FILE]                                         end a token
  stats [-days N] [-user NAME] [-json] [-config FILE]            what every user moved on every day
  access [-days N] [-user NAME] [-limit N] [-json] [-config FILE]  the last downloads, uploads, logins and denials
  doctor [-config FILE] [-json]                                  what is wrong with the server here
  migrate postgres|sqlite [-config FILE]                         move the catalog of a stopped server
  help                                                           show this

FILE of create, list and revoke is the server's tokens_file (default tokens.json in the current folder); a running
server notices changes by itself. FILE of the others is the server's configuration (default goflux.json).
Permissions: list, download, upload (create and overwrite), create, overwrite, delete, mkdir, move, share, metrics,
admin; * is every file permission.";
