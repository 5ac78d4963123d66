//! After the answer: makes the directories of recent renames durable, fills the stamps and drops the
//! intents. Until then a restart redoes them.

use super::shared::Shared;
use crate::catalog::{Tx, intents, versions};
use crate::error::Result;
use crate::id::Key;
use crate::store::Stamp;
use gfl_api::path::FilePath;
use parking_lot::Mutex;

/// One rename that was done and is not yet certainly on the disk.
#[derive(Debug, Clone)]
struct Done {
    intent: i64,
    dirs: Vec<FilePath>,
    stamp: Option<(Key, Stamp)>,
}

/// Renames done since the last round.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<Vec<Done>>);

/// Rows per transaction, so that other writers are not held up.
const ROWS_PER_STEP: usize = 256;

impl Unsettled {
    /// A file got its place.
    pub(crate) fn push_file(&self, intent: i64, path: &FilePath, stamp: Option<(Key, Stamp)>) {
        self.push(intent, &[path], stamp);
    }

    /// Something changed at these paths.
    pub(crate) fn push(&self, intent: i64, paths: &[&FilePath], stamp: Option<(Key, Stamp)>) {
        // Parents may be new as well, and a new directory is durable only when its own parent is.
        let mut dirs = vec![FilePath::root()];
        for path in paths {
            dirs.extend(path.ancestors());
        }
        self.0.lock().push(Done {
            intent,
            dirs,
            stamp,
        });
    }
}

impl Shared {
    /// One round; returns how many intents it settled.
    pub(crate) async fn settle_round(&self) -> Result<usize> {
        let done = std::mem::take(&mut *self.unsettled.0.lock());
        if done.is_empty() {
            return Ok(0);
        }
        let mut dirs: Vec<FilePath> = done.iter().flat_map(|d| d.dirs.clone()).collect();
        dirs.sort();
        dirs.dedup();
        let count = done.len();
        if let Err(error) = self.settle_all(&dirs, &done).await {
            // The intents stay: the next round, or a restart, does it.
            self.unsettled.0.lock().extend(done);
            return Err(error);
        }
        Ok(count)
    }

    async fn settle_all(&self, dirs: &[FilePath], done: &[Done]) -> Result<()> {
        self.store.sync_dirs(dirs).await?;
        for step in done.chunks(ROWS_PER_STEP) {
            self.db
                .write("settle", step.to_vec(), |tx, step| {
                    Box::pin(settle_rows(tx, step))
                })
                .await?;
        }
        Ok(())
    }
}

async fn settle_rows(tx: &mut Tx<'_>, done: &[Done]) -> Result<()> {
    for one in done {
        if let Some((key, stamp)) = &one.stamp {
            versions::set_stamp(tx, key, stamp.ino, Some(stamp.ctime_ns)).await?;
        }
        intents::remove(tx, one.intent).await?;
    }
    Ok(())
}
