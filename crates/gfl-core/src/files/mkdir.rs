//! Making directories.

use super::doubt::Then;
use super::look::{Looked, unserved};
use super::rows::{self, DirRow};
use super::settle::Reach;
use super::shared::Shared;
use crate::auth::{Caller, Grant, Verb};
use crate::catalog::Tx;
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::error::{Error, Kind, Result};
use gfl_api::path::FilePath;

#[derive(Debug, Clone, Copy)]
struct Written {
    dir: DirRow,
    intent: i64,
    event: i64,
}

impl Shared {
    /// Makes a directory and its parents; false when it was there.
    pub(crate) async fn mkdir(&self, caller: &Caller, path: &FilePath) -> Result<bool> {
        let grant = caller.may(Verb::Mkdir, path)?;
        if path.is_root() {
            return Ok(false);
        }
        let _lock = self.locks.exclusive(path).await;
        self.quiet(path, Reach::Name).await?;
        match self.look(path).await? {
            Looked::Dir { .. } => return Ok(false),
            Looked::File(_) => {
                return Err(Error::new(
                    Kind::NotADirectory,
                    format!("{path}: is a file, a directory cannot take its place"),
                ));
            }
            Looked::Other { .. } => return Err(unserved(path)),
            Looked::Nothing { .. } => self.check_parents(path).await?,
        }
        if let Some(other) = self.store.collides(path).await? {
            return Err(Error::new(
                Kind::NameCollision,
                format!("{path}: the file system here takes it for '{other}', which exists"),
            ));
        }
        let args = (self.clock.now_ms(), grant);
        let written = self
            .db
            .write("make directory", args, |tx, (now_ms, grant)| {
                Box::pin(write_rows(tx, *now_ms, grant))
            })
            .await
            .map_err(|error| self.doubted(error, &[path], Then::change()))?;
        match self.store.make_dir(path).await {
            Ok(new) => {
                self.unsettled.push(written.intent, &[path], None);
                Ok(new)
            }
            Err(error) => {
                let fate = self.fate_of_make_dir(path).await;
                let back = self
                    .db
                    .write("take a directory back", written, |tx, written| {
                        Box::pin(unwrite_rows(tx, *written))
                    });
                self.settle_fate(written.intent, &[path], fate, error, back)
                    .await?;
                Ok(true)
            }
        }
    }
}

async fn write_rows(tx: &mut Tx<'_>, now_ms: i64, grant: &Grant) -> Result<Written> {
    let path = grant.path();
    let dir = rows::ensure_dir(tx, path, now_ms).await?;
    let entry = dir.id;
    let step = Step::MakeDir { entry };
    let intent = intents::insert(tx, path, 0, grant.user(), &step).await?;
    let event = Event {
        kind: EventKind::DirMade,
        path: path.clone(),
        target: None,
        entry: Some(entry),
        version: None,
        size: None,
        who: grant.user().to_owned(),
    };
    let event = events::record(tx, now_ms, &event).await?;
    Ok(Written { dir, intent, event })
}

async fn unwrite_rows(tx: &mut Tx<'_>, written: Written) -> Result<()> {
    written.dir.take_back(tx).await?;
    intents::remove(tx, written.intent).await?;
    events::unrecord(tx, written.event).await
}
