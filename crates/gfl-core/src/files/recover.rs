//! What a start does with what a crash left: redoes every intent in order, then forgets drafts and
//! sessions that lead nowhere. Nothing here looks at the tree beyond the intents' own paths.
//!
//! A redo may find the tree anywhere between "nothing after this intent has happened" and "everything
//! has". Files are recognised by their inode, whatever their name. Directories are not, because a redo of
//! an earlier intent may have had to make them again: for them the rows decide, which know where every
//! directory ended up.

use super::finish::{ino_of, names};
use super::rows;
use super::shared::Shared;
use crate::catalog::intents::{self, Intent, Step};
use crate::catalog::{entries, kept, uploads, versions};
use crate::error::{Kind, Result};
use crate::id::Key;
use crate::store::{CameOut, Found, Publish, Stamp};
use gfl_api::path::FilePath;

const INTENTS_PER_STEP: i64 = 256;

impl Shared {
    /// Before the first request.
    pub(crate) async fn recover(&self) -> Result<()> {
        let mut after = 0;
        let mut count = 0usize;
        // New directories last: where they are now, everything that moved them has been redone.
        let mut new_dirs = Vec::new();
        loop {
            let intents = self
                .db
                .read("intents", after, |tx, after| {
                    Box::pin(intents::after(tx, *after, INTENTS_PER_STEP))
                })
                .await?;
            let Some(last) = intents.last() else { break };
            after = last.id;
            for intent in intents {
                count += 1;
                if matches!(intent.step, Step::MakeDir { .. }) {
                    new_dirs.push(intent);
                } else {
                    self.redo_or_later(&intent).await;
                }
            }
        }
        for intent in &new_dirs {
            self.redo_or_later(intent).await;
        }
        if count > 0 {
            tracing::info!(
                count,
                "finished {count} changes that the last run had begun"
            );
            self.settle_round().await?;
            // A completion that is settled here has its parts no other way.
            self.db
                .write("ended uploads", (), |tx, ()| {
                    Box::pin(uploads::clear_ended(tx))
                })
                .await?;
        }
        Ok(())
    }

    /// One step. When it cannot be done now its row, which is the only trace of an acknowledged change, stays,
    /// and it is tried again later.
    pub(crate) async fn redo(&self, intent: &Intent) -> Result<()> {
        let stamp = match self.redo_step(intent).await {
            // Neither where it was nor where it should be: a person took it. Noticed on the next look.
            Err(error) if error.kind() == Kind::NotFound => None,
            done => done?,
        };
        self.unsettled.push(intent.id, &names(intent), stamp);
        Ok(())
    }

    async fn redo_or_later(&self, intent: &Intent) {
        if let Err(error) = self.redo(intent).await {
            tracing::error!(path = %intent.path, error = ?error, "a change that was begun cannot be finished now");
            self.unfinished.push(intent.id, &names(intent));
        }
    }

    async fn redo_step(&self, intent: &Intent) -> Result<Option<(Key, Stamp)>> {
        let (path, ino) = (&intent.path, intent.ino);
        match &intent.step {
            Step::Publish { .. } => self.redo_publish(intent).await,
            Step::Retire { key } => {
                self.redo_retire(path, ino, key).await?;
                Ok(None)
            }
            Step::Unretire { key, version } => {
                self.redo_unretire(path, ino, key).await?;
                self.stamp_of(path, ino, version.as_ref()).await
            }
            Step::Rename { to, over, version } => {
                let done = self.store.rename(path, ino, to, over.as_ref()).await?;
                if !done && version.is_none() {
                    self.rename_made_anew(path, to).await?;
                }
                if let Some(over) = over {
                    self.agree_on_kept(over).await?;
                }
                self.stamp_of(to, ino, version.as_ref()).await
            }
            Step::MakeDir { entry } => {
                self.redo_make_dir(*entry).await?;
                Ok(None)
            }
            Step::Remove { key } => {
                self.store.remove_kept(key).await?;
                Ok(None)
            }
            Step::Meta {
                mtime_ns,
                mode,
                version,
            } => {
                // What is there now may be something else, published later.
                let found = self.store.stat(path).await?;
                let same = match &found {
                    Found::Dir { .. } => version.is_none() && self.row_is_dir(path).await?,
                    other => ino_of(other) == Some(ino),
                };
                if same {
                    self.store.set_meta(path, *mtime_ns, *mode).await?;
                }
                self.stamp_of(path, ino, version.as_ref()).await
            }
        }
    }

    async fn redo_publish(&self, intent: &Intent) -> Result<Option<(Key, Stamp)>> {
        let Step::Publish {
            version,
            replaces,
            edit_key,
        } = &intent.step
        else {
            return Ok(None);
        };
        let row = self
            .db
            .read("version", version.clone(), |tx, key| {
                Box::pin(versions::get(tx, key))
            })
            .await?;
        if row.is_none() {
            // Taken back, edited by hand or pruned since: nothing waits for these bytes any more.
            self.forget_draft(version).await;
            if let Some((old, _)) = replaces {
                self.agree_on_kept(old).await?;
            }
            self.agree_on_kept(edit_key).await?;
            return Ok(None);
        }
        let publish = Publish {
            key: version.clone(),
            ino: intent.ino,
            path: intent.path.clone(),
            replaces: replaces.clone(),
            edit_key: edit_key.clone(),
            create_only: false,
        };
        let published = self.store.publish(&publish).await?;
        let stamp = published.stamp.map(|stamp| (version.clone(), stamp));
        let ours = published.came_out == CameOut::Ours;
        self.record_came_out(intent.clone(), published).await?;
        if let Some((old, _)) = replaces.as_ref().filter(|_| ours) {
            self.agree_on_kept(old).await?;
        }
        Ok(stamp)
    }

    async fn redo_retire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<()> {
        let done = self.store.retire(path, ino, key).await?;
        if !done
            && let Found::Dir { ino, .. } = self.store.stat(path).await?
            && self.store.stat_kept(key).await? == Found::Nothing
            && self.kept_row(key).await?.is_some_and(|row| row.is_dir)
            && !self.has_row(path).await?
        {
            // Made again by the redo of something that was in it.
            self.store.retire(path, ino, key).await?;
        }
        self.agree_on_kept(key).await
    }

    async fn redo_unretire(&self, path: &FilePath, ino: u64, key: &Key) -> Result<()> {
        if self.store.unretire(key, ino, path).await? {
            return Ok(());
        }
        if let Found::Dir { ino, .. } = self.store.stat_kept(key).await?
            && self.row_is_dir(path).await?
        {
            self.store.unretire(key, ino, path).await?;
        }
        Ok(())
    }

    /// A directory that was made again by the redo of something in it has another inode.
    async fn rename_made_anew(&self, from: &FilePath, to: &FilePath) -> Result<()> {
        if let Found::Dir { ino, .. } = self.store.stat(from).await?
            && self.store.stat(to).await? == Found::Nothing
            && !self.has_row(from).await?
        {
            self.store.rename(from, ino, to, None).await?;
        }
        Ok(())
    }

    async fn redo_make_dir(&self, entry: i64) -> Result<()> {
        let place = self
            .db
            .read("new directory", entry, |tx, entry| {
                Box::pin(async move {
                    match entries::by_id(tx, *entry).await? {
                        Some((row, _)) if row.is_dir => entries::path_of(tx, *entry).await,
                        _ => Ok::<_, crate::Error>(None),
                    }
                })
            })
            .await?;
        if let Some(path) = place {
            self.store.make_dir(&path).await?;
        }
        Ok(())
    }

    /// Kept bytes and kept row: neither stays without the other.
    async fn agree_on_kept(&self, key: &Key) -> Result<()> {
        let there = self.store.stat_kept(key).await? != Found::Nothing;
        match self.kept_row(key).await? {
            Some(_) if !there => {
                self.db
                    .write("nothing was kept", key.clone(), |tx, key| {
                        Box::pin(rows::forget_kept(tx, key))
                    })
                    .await
            }
            // Pruned while the rename was not yet durable.
            None if there => self.store.remove_kept(key).await,
            _ => Ok(()),
        }
    }

    async fn kept_row(&self, key: &Key) -> Result<Option<kept::KeptRow>> {
        self.db
            .read("kept", key.clone(), |tx, key| Box::pin(kept::get(tx, key)))
            .await
    }

    async fn has_row(&self, path: &FilePath) -> Result<bool> {
        Ok(self.entry_of(path).await?.is_some())
    }

    async fn row_is_dir(&self, path: &FilePath) -> Result<bool> {
        Ok(self.entry_of(path).await?.is_some_and(|row| row.is_dir))
    }

    async fn entry_of(&self, path: &FilePath) -> Result<Option<entries::EntryRow>> {
        self.db
            .read("entry", path.clone(), |tx, path| {
                Box::pin(entries::find(tx, path))
            })
            .await
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

    /// The stamp to record for a version after its file moved, if it is still that file.
    pub(crate) async fn stamp_of(
        &self,
        path: &FilePath,
        ino: u64,
        version: Option<&Key>,
    ) -> Result<Option<(Key, Stamp)>> {
        let Some(version) = version else {
            return Ok(None);
        };
        Ok(match self.store.stat(path).await? {
            Found::File { stamp, .. } if stamp.ino == ino => Some((version.clone(), stamp)),
            _ => None,
        })
    }

    /// Removes drafts without a session and without a version: requests that were cut off. `keys` were
    /// listed before the first request, so that no new draft is among them.
    pub(crate) async fn collect_drafts(&self, keys: Vec<Key>) -> Result<usize> {
        let mut gone = 0;
        for key in keys {
            let used = self
                .db
                .read("draft in use", key.clone(), |tx, key| {
                    Box::pin(async move {
                        Ok::<_, crate::Error>(
                            uploads::uses_draft(tx, key).await?
                                || versions::get(tx, key).await?.is_some(),
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
