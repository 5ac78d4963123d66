//! The catalog of a server that does not run, moved from SQLite into PostgreSQL and back. All or nothing: the new
//! place counts only when everything in it was read again and found the same, and the old one stays as it is.

use crate::catalog::transfer::{self, TableSum};
use crate::catalog::{Db, MIGRATIONS, SyncMode};
use crate::error::{Error, Kind, Result};
use crate::lock::DirLock;
use crate::offline::fits;
use crate::settings::Settings;
use std::path::Path;

const CATALOG: &str = "catalog.db";
/// What SQLite's file is called when PostgreSQL has its place.
pub const MIGRATED: &str = "catalog.db.migrated";
/// Filled here; it gets its name when it is whole.
const UNFINISHED: &str = "catalog.db.unfinished";
/// Files that SQLite keeps beside one.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
const CONNECTIONS: usize = 2;

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// From `meta_dir` into the configured PostgreSQL.
    Postgres,
    /// From there into `meta_dir`.
    Sqlite,
}

/// Moves it; what is in each table.
///
/// # Errors
/// `Busy` when a server runs, `NotFound` when there is nothing to move, `AlreadyExists` when the target has something
/// else in it, `Conflict` when the source is of another version.
pub async fn migrate(settings: &Settings, target: Target) -> Result<Vec<TableSum>> {
    let url = settings.database.as_ref().ok_or_else(|| {
        let message = "no PostgreSQL is configured; set server.database";
        Error::new(Kind::Invalid, message)
    })?;
    if !settings.meta_dir.is_dir() {
        return Err(Error::new(Kind::NotFound, "there is no such meta_dir"));
    }
    let _lock = DirLock::take(&settings.meta_dir.join("lock"))?;
    let postgres = Db::open_postgres(url, CONNECTIONS).await?;
    let moved = match postgres.claim().await {
        Ok(()) => match target {
            Target::Postgres => into_postgres(&settings.meta_dir, &postgres).await,
            Target::Sqlite => into_sqlite(&settings.meta_dir, &postgres).await,
        },
        Err(error) => Err(error.into()),
    };
    postgres.close().await;
    moved
}

async fn into_postgres(meta_dir: &Path, postgres: &Db) -> Result<Vec<TableSum>> {
    let path = meta_dir.join(CATALOG);
    if !path.is_file() {
        let message = "there is no catalog.db in meta_dir, so there is nothing to move";
        return Err(Error::new(Kind::NotFound, message));
    }
    let sqlite = Db::open_sqlite(&path, SyncMode::Full).await?;
    let moved = async {
        fits(&sqlite).await?;
        postgres.migrate(MIGRATIONS).await?;
        if transfer::is_empty(postgres).await? {
            return Ok(transfer::copy(&sqlite, postgres).await?);
        }
        // One that was interrupted between its two last steps.
        let (here, there) = (
            transfer::sums(&sqlite).await?,
            transfer::sums(postgres).await?,
        );
        if here == there {
            Ok(there)
        } else {
            Err(not_empty("the PostgreSQL"))
        }
    }
    .await;
    sqlite.close().await;
    let moved = moved?;
    rename(meta_dir, CATALOG, MIGRATED)?;
    Ok(moved)
}

async fn into_sqlite(meta_dir: &Path, postgres: &Db) -> Result<Vec<TableSum>> {
    if meta_dir.join(CATALOG).exists() {
        return Err(not_empty("meta_dir"));
    }
    fits(postgres).await?;
    remove(meta_dir, UNFINISHED)?;
    let path = meta_dir.join(UNFINISHED);
    let sqlite = Db::open_sqlite(&path, SyncMode::Full).await?;
    let moved = async {
        sqlite.migrate(MIGRATIONS).await?;
        Ok(transfer::copy(postgres, &sqlite).await?)
    }
    .await;
    sqlite.close().await;
    match moved {
        Ok(moved) => rename(meta_dir, UNFINISHED, CATALOG).map(|()| moved),
        Err(error) => {
            remove(meta_dir, UNFINISHED)?;
            Err(error)
        }
    }
}

fn not_empty(what: &str) -> Error {
    let message =
        format!("{what} has a catalog already; it is not written over, move that one away");
    Error::new(Kind::AlreadyExists, message)
}

/// Durably. What SQLite keeps beside a closed file is empty.
fn rename(dir: &Path, from: &str, to: &str) -> Result<()> {
    let renamed = std::fs::rename(dir.join(from), dir.join(to))
        .and_then(|()| std::fs::File::open(dir)?.sync_all());
    renamed.map_err(|error| {
        Error::new(Kind::Internal, format!("{from} cannot be renamed to {to}")).caused_by(error)
    })?;
    for ending in BESIDE {
        // Gone already, mostly.
        let _ = std::fs::remove_file(dir.join(format!("{from}{ending}")));
    }
    Ok(())
}

fn remove(dir: &Path, name: &str) -> Result<()> {
    for ending in ["", BESIDE[0], BESIDE[1]] {
        match std::fs::remove_file(dir.join(format!("{name}{ending}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("{name} of an earlier attempt cannot be removed");
                return Err(Error::new(Kind::Internal, message).caused_by(error));
            }
            _ => {}
        }
    }
    Ok(())
}
