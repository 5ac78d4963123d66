//! For tests: an application without background jobs, what the jobs do by hand and in order, and an audit
//! of the catalog against the store. Must not change what the application does.

use crate::app::App;
use crate::catalog::events::{self, EventKind};
use crate::catalog::fault::Commits;
use crate::catalog::versions::{self, Fit};
use crate::catalog::{Db, Row, Tx, entries, key_column, path_column};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::settings::Settings;
use crate::store::{Found, Store};
use gfl_api::path::FilePath;
use std::collections::HashSet;
use std::sync::Arc;

/// An event as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// `EventKind`'s name.
    pub kind: String,
    /// Where.
    pub path: String,
    /// Where to.
    pub target: Option<String>,
    /// Who; empty when it was done by hand.
    pub who: String,
}

impl App {
    /// Opens without jobs; drafts of cut-off requests are collected before it returns.
    pub async fn open_quiet(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        db: Db,
    ) -> Result<Arc<App>> {
        let app = App::begin(settings, clock, store, db, Vec::new()).await?;
        let drafts = app.shared.store.drafts().await?;
        app.shared.collect_drafts(drafts).await?;
        Ok(Arc::new(app))
    }

    /// Everything the jobs do, once, to the end.
    pub async fn run_jobs(&self) -> Result<()> {
        let shared = &self.shared;
        shared.finish_round().await?;
        shared.checkpoint_due(0).await?;
        shared.settle_round().await?;
        while shared.adopt_one().await? {}
        while shared.prune_step().await? {}
        while shared.sweep_limbo().await? {}
        shared.expire_uploads().await?;
        shared.measure().await?;
        shared.flush_access().await?;
        shared.prune_access().await?;
        shared.prune_events().await?;
        shared.settle_round().await?;
        Ok(())
    }

    /// Only the writing of what was recorded.
    pub async fn flush_access(&self) -> Result<()> {
        self.shared.flush_access().await
    }

    /// Only the checkpoints.
    pub async fn checkpoint(&self) -> Result<()> {
        self.shared.checkpoint_due(0).await
    }

    /// The switchboard of the catalog's lost commits.
    pub fn commits(&self) -> &Commits {
        self.shared.db.commits()
    }

    /// Only what could be neither done nor taken back.
    pub async fn finish(&self) -> Result<()> {
        self.shared.finish_round().await
    }

    /// Only the settling of renames.
    pub async fn settle(&self) -> Result<usize> {
        self.shared.settle_round().await
    }

    /// One step of recording what people changed by hand; false when there is none.
    pub async fn adopt_step(&self) -> Result<bool> {
        self.shared.adopt_one().await
    }

    /// Only the pruning of history.
    pub async fn prune(&self) -> Result<()> {
        while self.shared.prune_step().await? {}
        Ok(())
    }

    /// How many rows `entry`, `version` or `upload` has.
    pub async fn count(&self, table: &str) -> Result<i64> {
        let sql = match table {
            "entry" => "SELECT COUNT(*) FROM entry",
            "version" => "SELECT COUNT(*) FROM version",
            "upload" => "SELECT COUNT(*) FROM upload",
            _ => return Err(Error::new(Kind::Invalid, "no such table")),
        };
        let rows = self.rows(sql).await?;
        rows.first().map_or(Ok(0), |row| Ok(row.int(0)?))
    }

    /// How many events of a kind there are.
    pub async fn event_count(&self, kind: EventKind) -> Result<i64> {
        self.shared
            .db
            .read("count events", kind, |tx, kind| {
                Box::pin(events::count(tx, *kind))
            })
            .await
    }

    /// All events, in order.
    pub async fn events(&self) -> Result<Vec<Happened>> {
        let sql = "SELECT kind, path, target, who FROM event ORDER BY id LIMIT 60000";
        let rows = self.rows(sql).await?;
        rows.iter()
            .map(|row| {
                Ok(Happened {
                    kind: kind_name(row.int(0)?).to_owned(),
                    path: row.text(1)?,
                    target: row.opt_text(2)?,
                    who: row.text(3)?,
                })
            })
            .collect()
    }

    /// Intents that are not settled.
    pub async fn open_intents(&self) -> Result<usize> {
        Ok(self.rows("SELECT id FROM intent LIMIT 60000").await?.len())
    }

    /// Whatever in the catalog and the store does not agree, as text; empty when all is well. Call it with
    /// nothing under way and after [`App::run_jobs`].
    pub async fn audit(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        self.audit_entries(&mut wrong).await?;
        self.audit_kept(&mut wrong).await?;
        self.audit_drafts(&mut wrong).await?;
        for (what, sql) in ORPHANS {
            for row in self.rows(sql).await? {
                wrong.push(format!("{what}: {}", row.text(0)?));
            }
        }
        Ok(wrong)
    }

    async fn rows(&self, sql: &'static str) -> Result<Vec<Row>> {
        self.shared
            .db
            .read("test", sql, |tx, sql| {
                Box::pin(async move { Ok::<_, Error>(tx.rows(sql, &[]).await?) })
            })
            .await
    }

    /// Every file row's file is there and fits.
    async fn audit_entries(&self, wrong: &mut Vec<String>) -> Result<()> {
        for row in self
            .rows("SELECT id FROM entry WHERE kind = 1 LIMIT 60000")
            .await?
        {
            let id = row.int(0)?;
            let known = self
                .shared
                .db
                .read("test", id, |tx, id| Box::pin(place_of(tx, *id)))
                .await?;
            let Some((path, version)) = known else {
                continue;
            };
            let Some(version) = version else {
                wrong.push(format!("{path}: its version has no row"));
                continue;
            };
            match self.shared.store.stat(&path).await? {
                Found::File { stamp, .. } if version.fit(&stamp) != Fit::Edited => {}
                found => wrong.push(format!(
                    "{path}: the row says {version:?}, the tree {found:?}"
                )),
            }
        }
        Ok(())
    }

    /// Every kept row's bytes are there.
    async fn audit_kept(&self, wrong: &mut Vec<String>) -> Result<()> {
        for row in self
            .rows("SELECT id, parent FROM kept ORDER BY id LIMIT 60000")
            .await?
        {
            let key = key_column(&row.text(0)?)?;
            if self.shared.store.stat_kept(&key).await? == Found::Nothing {
                wrong.push(format!("kept {key} has no bytes"));
            }
        }
        Ok(())
    }

    /// Every draft belongs to an open upload.
    async fn audit_drafts(&self, wrong: &mut Vec<String>) -> Result<()> {
        let rows = self
            .rows(
                "SELECT version FROM upload WHERE state < 2 UNION ALL \
                 SELECT aside FROM upload_slot WHERE aside IS NOT NULL LIMIT 60000",
            )
            .await?;
        let used: HashSet<String> = rows
            .iter()
            .map(|row| Ok(row.text(0)?))
            .collect::<Result<_>>()?;
        let drafts: Vec<Key> = self.shared.store.drafts().await?;
        for key in drafts.iter().filter(|key| !used.contains(key.as_str())) {
            wrong.push(format!("draft {key} belongs to nothing"));
        }
        Ok(())
    }
}

/// Rows that nothing refers to.
const ORPHANS: &[(&str, &str)] = &[
    (
        "a version that nothing names",
        "SELECT v.id FROM version v WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.version = v.id) \
         AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.version = v.id) LIMIT 100",
    ),
    (
        "a kept file without a version",
        "SELECT k.id FROM kept k JOIN entry e ON e.id = k.parent WHERE k.kind = 1 \
         AND NOT EXISTS (SELECT 1 FROM version v WHERE v.id = k.version) LIMIT 100",
    ),
    (
        "ranges of no upload",
        "SELECT r.upload FROM upload_range r WHERE NOT EXISTS \
         (SELECT 1 FROM upload u WHERE u.id = r.upload AND u.state < 2) LIMIT 100",
    ),
    (
        "chunks of no upload",
        "SELECT s.upload FROM upload_slot s WHERE NOT EXISTS \
         (SELECT 1 FROM upload u WHERE u.id = s.upload AND u.state < 2) LIMIT 100",
    ),
    (
        "a change that is not settled, at",
        "SELECT path FROM intent LIMIT 100",
    ),
];

async fn place_of(
    tx: &mut Tx<'_>,
    id: i64,
) -> Result<Option<(FilePath, Option<versions::VersionRow>)>> {
    let Some((row, _)) = entries::by_id(tx, id).await? else {
        return Ok(None);
    };
    let Some(path) = entries::path_of(tx, id).await? else {
        return Ok(None);
    };
    let version = match &row.version {
        Some(key) => versions::get(tx, key).await?,
        None => None,
    };
    path_column(path.as_str())?;
    Ok(Some((path, version)))
}

fn kind_name(kind: i64) -> &'static str {
    match kind {
        1 => "Created",
        2 => "Replaced",
        3 => "Deleted",
        4 => "Moved",
        5 => "DirMade",
        6 => "MetaChanged",
        7 => "Restored",
        8 => "Adopted",
        9 => "Vanished",
        _ => "?",
    }
}

/// A failed audit as an error, for `?` in tests.
///
/// # Errors
/// When anything is wrong.
pub fn all_well(wrong: &[String]) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, wrong.join("\n")))
}
