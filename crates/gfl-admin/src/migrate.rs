//! `gfl-admin migrate`: the catalog of a stopped server from SQLite into PostgreSQL, and back.

use crate::{Failure, Result, place, ui};
use anyhow::Context;
use gfl_api::goflags::{self, Known};
use gfl_core::Kind;
use gfl_core::moving::{Target, migrate};

const FLAGS: &[Known] = &[Known::value("config")];
const USAGE: &str = "\
Usage of migrate:
  -config string
    \tThe server's configuration (default \"goflux.json\")
Moves the catalog of a stopped server: with postgres from catalog.db in meta_dir into the PostgreSQL that
server.database names, with sqlite from there into catalog.db. Everything or nothing is moved, and read again; what
is in the target is never written over. Files and tokens stay where they are.";

/// Moves it.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let (target, rest) = match words.split_first() {
        Some((word, rest)) if word == "postgres" => (Some(Target::Postgres), rest),
        Some((word, rest)) if word == "sqlite" => (Some(Target::Sqlite), rest),
        _ => (None, words),
    };
    let flags = goflags::parse(rest, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let Some(target) = target else {
        let text = "say where to: migrate postgres, or migrate sqlite";
        return Err(Failure::Value(text.into(), USAGE));
    };
    let settings = place::settings(&flags)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let moved = runtime.block_on(migrate(&settings, target));
    let moved = moved.map_err(|error| {
        let busy = error.kind() == Kind::Busy;
        let error = anyhow::Error::new(error);
        if busy {
            error.context("stop the server first")
        } else {
            error
        }
    })?;
    for table in &moved {
        ui::out(format_args!("{:<13}{:>12} rows", table.table, table.rows));
    }
    ui::out(match target {
        Target::Postgres => {
            "All read again and found the same. catalog.db is catalog.db.migrated now; start the server."
        }
        Target::Sqlite => {
            "All read again and found the same. Take server.database out of the configuration, then start the server."
        }
    });
    Ok(())
}
