//! Making directories.

use super::look::Looked;
use super::shared::Shared;
use crate::auth::{Caller, Verb};
use crate::catalog::entries;
use crate::catalog::events::{self, Event, EventKind};
use crate::catalog::intents::{self, Step};
use crate::error::{Error, Kind, Result};
use gfl_api::path::FilePath;

impl Shared {
    /// Makes a directory and its parents; false when it was there.
    pub(crate) async fn mkdir(&self, caller: &Caller, path: &FilePath) -> Result<bool> {
        let grant = caller.may(Verb::Mkdir, path)?;
        if path.is_root() {
            return Ok(false);
        }
        let _lock = self.locks.exclusive(path).await;
        match self.look(path).await? {
            Looked::Dir { .. } => return Ok(false),
            Looked::File(_) => {
                return Err(Error::new(
                    Kind::NotADirectory,
                    format!("{path}: is a file, a directory cannot take its place"),
                ));
            }
            Looked::Nothing { .. } => self.check_parents(path).await?,
        }
        if let Some(other) = self.store.collides(path).await? {
            return Err(Error::new(
                Kind::NameCollision,
                format!("{path}: the file system here takes it for '{other}', which exists"),
            ));
        }
        let args = (self.clock.now_ms(), grant);
        let (intent, event, entry) = self
            .db
            .write("make directory", args, |tx, (now_ms, grant)| {
                Box::pin(async move {
                    let path = grant.path();
                    let entry = entries::ensure_dir(tx, path, *now_ms).await?;
                    let intent = intents::insert(tx, path, 0, grant.user(), &Step::MakeDir).await?;
                    let event = Event {
                        kind: EventKind::DirMade,
                        path: path.clone(),
                        target: None,
                        entry: Some(entry),
                        version: None,
                        size: None,
                        who: grant.user().to_owned(),
                    };
                    Ok::<_, Error>((intent, events::record(tx, *now_ms, &event).await?, entry))
                })
            })
            .await?;
        match self.store.make_dir(path).await {
            Ok(new) => {
                self.unsettled.push(intent, &[path], None);
                Ok(new)
            }
            Err(error) => {
                self.db
                    .write(
                        "take a directory back",
                        (intent, event, entry),
                        |tx, ids| {
                            Box::pin(async move {
                                intents::remove(tx, ids.0).await?;
                                events::unrecord(tx, ids.1).await?;
                                entries::remove(tx, ids.2).await
                            })
                        },
                    )
                    .await?;
                Err(error)
            }
        }
    }
}
