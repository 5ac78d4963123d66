//! The catalog of a server that does not run, for administration on its machine. Takes the server's lock, so that
//! the two never meet.

use crate::access::{Access, AccessQuery, StatsQuery, UsageRow, read_access, read_stats};
use crate::auth::{Caller, Verb};
use crate::catalog::{Db, DbErrorKind, MIGRATIONS, SyncMode};
use crate::error::{Error, Kind, Result};
use crate::lock::DirLock;
use crate::settings::Settings;
use gfl_api::path::FilePath;

/// Connections to a database: one for what is asked, and one to spare.
const CONNECTIONS: usize = 2;

/// An open catalog; nobody else has it.
pub struct Offline {
    db: Db,
    _lock: Option<DirLock>,
}

impl Offline {
    /// Opens the catalog of these settings, if there is one. Changes nothing in it.
    ///
    /// # Errors
    /// `Busy` when a server runs, `NotFound` without a catalog, `Conflict` when this program is of another version,
    /// `Unavailable` when its database is away.
    pub async fn open(settings: &Settings) -> Result<Offline> {
        let path = settings.meta_dir.join("catalog.db");
        // Neither lock nor database may be made just by looking.
        if settings.database.is_none() && !path.is_file() {
            return Err(Error::new(
                Kind::NotFound,
                "there is no catalog yet: no server has been started with this meta_dir",
            ));
        }
        let lock = match settings.meta_dir.is_dir() {
            true => Some(DirLock::take(&settings.meta_dir.join("lock"))?),
            false => None,
        };
        let db = match &settings.database {
            Some(url) => {
                let db = Db::open_postgres(url, CONNECTIONS).await?;
                db.claim().await?;
                db
            }
            None => Db::open_sqlite(&path, SyncMode::Full).await?,
        };
        let offline = Offline { db, _lock: lock };
        match fits(&offline.db).await {
            Ok(()) => Ok(offline),
            Err(error) => {
                offline.close().await;
                Err(error)
            }
        }
    }

    /// The sums by day, user and action.
    pub async fn stats(&self, caller: &Caller, query: &StatsQuery) -> Result<Vec<UsageRow>> {
        read_stats(&self.db, caller, query.clone()).await
    }

    /// Rows of the access log, newest first.
    pub async fn access(&self, caller: &Caller, query: &AccessQuery) -> Result<Vec<(i64, Access)>> {
        read_access(&self.db, caller, query.clone()).await
    }

    /// What is damaged in the catalog; empty when nothing is.
    pub async fn check(&self, caller: &Caller) -> Result<Vec<String>> {
        caller.may(Verb::Admin, &FilePath::root())?;
        Ok(self.db.check().await?)
    }

    /// Lets go of it.
    pub async fn close(self) {
        self.db.close().await;
    }
}

/// Whether a catalog is of this program's version.
pub(crate) async fn fits(db: &Db) -> Result<()> {
    let here = db.schema().await;
    let ours = MIGRATIONS.last().map_or(0, |last| last.version);
    let other = |message: String| Err(Error::new(Kind::Conflict, message));
    match here {
        Ok(here) if here == ours => Ok(()),
        Ok(here) if here < ours => other(format!(
            "the catalog is of an older version (schema {here}, this program has {ours}); start the server once"
        )),
        Ok(here) => other(format!(
            "the catalog is of a newer version (schema {here}, this program has {ours}); use the gfl-admin that \
                 came with the server"
        )),
        Err(error) if error.kind == DbErrorKind::Internal => {
            other("the catalog was never used; start the server once".into())
        }
        Err(error) => Err(error.into()),
    }
}
