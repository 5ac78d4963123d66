//! What a start does with what a crash left: redoes every intent in order, then forgets drafts and
//! sessions that lead nowhere. Nothing here looks at the tree beyond the intents' own paths.

use super::shared::Shared;
use crate::catalog::intents::{self, Intent, Step};
use crate::catalog::uploads;
use crate::error::{Kind, Result};
use crate::id::Key;
use crate::store::{Found, Publish, Stamp};
use gfl_api::path::FilePath;

const INTENTS_PER_STEP: i64 = 256;

impl Shared {
    /// Before the first request.
    pub(crate) async fn recover(&self) -> Result<()> {
        let mut after = 0;
        let mut count = 0usize;
        loop {
            let intents = self
                .db
                .read("intents", after, |tx, after| {
                    Box::pin(intents::after(tx, *after, INTENTS_PER_STEP))
                })
                .await?;
            let Some(last) = intents.last() else { break };
            after = last.id;
            for intent in &intents {
                self.redo(intent).await;
                count += 1;
            }
        }
        if count > 0 {
            tracing::info!(
                count,
                "finished {count} changes that the last run had begun"
            );
            self.settle_round().await?;
        }
        Ok(())
    }

    /// One step. A step that cannot be done now stays for the next start: its row is the only trace of
    /// an acknowledged change.
    async fn redo(&self, intent: &Intent) {
        let path = &intent.path;
        match self.redo_step(intent).await {
            Ok(stamp) => {
                let to = match &intent.step {
                    Step::Rename { to, .. } => to,
                    _ => path,
                };
                self.unsettled.push(intent.id, &[path, to], stamp);
            }
            Err(error) if error.kind() == Kind::NotFound => {
                // Neither where it was nor where it should be: a person took it. Noticed on the next look.
                self.unsettled.push(intent.id, &[path], None);
            }
            Err(error) => {
                tracing::error!(path = %path, error = ?error, "a change of the last run cannot be finished now");
            }
        }
    }

    async fn redo_step(&self, intent: &Intent) -> Result<Option<(Key, Stamp)>> {
        let (path, ino) = (&intent.path, intent.ino);
        match &intent.step {
            Step::Publish {
                version,
                replaces,
                edit_key,
            } => {
                let publish = Publish {
                    key: version.clone(),
                    ino,
                    path: path.clone(),
                    replaces: replaces.clone(),
                    edit_key: edit_key.clone(),
                    create_only: false,
                };
                let published = self.store.publish(&publish).await?;
                Ok(published.stamp.map(|stamp| (version.clone(), stamp)))
            }
            Step::Retire { key } => {
                self.store.retire(path, ino, key).await?;
                Ok(None)
            }
            Step::Unretire { key, version } => {
                self.store.unretire(key, ino, path).await?;
                self.stamp_of(path, version.as_ref()).await
            }
            Step::Rename { to, over, version } => {
                self.store.rename(path, ino, to, over.as_ref()).await?;
                self.stamp_of(to, version.as_ref()).await
            }
            Step::MakeDir => {
                self.store.make_dir(path).await?;
                Ok(None)
            }
            Step::Meta {
                mtime_ns,
                mode,
                version,
            } => {
                self.store.set_meta(path, *mtime_ns, *mode).await?;
                self.stamp_of(path, version.as_ref()).await
            }
        }
    }

    /// The catalog takes a write.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.db
            .write("ready", (), |tx, ()| {
                Box::pin(async move {
                    tx.exec("UPDATE entry SET kind = 0 WHERE id = 1 AND kind <> 0", &[])
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The stamp to record for a version after its file moved.
    pub(crate) async fn stamp_of(
        &self,
        path: &FilePath,
        version: Option<&Key>,
    ) -> Result<Option<(Key, Stamp)>> {
        let Some(version) = version else {
            return Ok(None);
        };
        Ok(match self.store.stat(path).await? {
            Found::File { stamp, .. } => Some((version.clone(), stamp)),
            Found::Nothing | Found::Dir { .. } | Found::Other => None,
        })
    }

    /// Drafts without a session and without an intent: requests that were cut off. Runs beside requests,
    /// so it only touches drafts made before `started_ms`.
    pub(crate) async fn collect_drafts(&self, keys: Vec<Key>) -> Result<usize> {
        let mut gone = 0;
        for key in keys {
            let used = self
                .db
                .read("draft in use", key.clone(), |tx, key| {
                    Box::pin(async move {
                        Ok::<_, crate::Error>(
                            uploads::uses_draft(tx, key).await?
                                || crate::catalog::versions::get(tx, key).await?.is_some(),
                        )
                    })
                })
                .await?;
            if !used {
                self.store.discard(&key).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}
