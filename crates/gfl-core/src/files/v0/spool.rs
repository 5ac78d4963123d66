//! The bytes of one chunk while its JSON is still being read.

use super::internal;
use crate::error::Result;
use crate::id::Key;
use crate::limits::IO_BYTES_MAX;
use crate::store::{Draft, Store};
use crate::stream::{GroupCollector, write_values};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Decoded bytes of one chunk while its JSON is still being read: a little in memory, more in a draft
/// of its own.
///
/// Dropped without having become a file or a chunk of a session (the client went away), it removes its draft.
pub struct Spool {
    store: Arc<dyn Store>,
    key: Key,
    buffer: BytesMut,
    draft: Option<Arc<dyn Draft>>,
    /// There may be a draft that is nobody else's.
    mine: bool,
    begun_ms: i64,
    len: u64,
    sha: Sha256,
    groups: GroupCollector,
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the next start collects the draft.
        if self.mine
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (store, key) = (self.store.clone(), self.key.clone());
            runtime.spawn(async move {
                if let Err(error) = store.discard(&key).await {
                    tracing::warn!(%key, error = ?error, "a draft could not be removed");
                }
            });
        }
    }
}

impl Spool {
    pub(super) fn new(store: Arc<dyn Store>, key: Key, begun_ms: i64) -> Spool {
        Spool {
            store,
            key,
            buffer: BytesMut::new(),
            draft: None,
            mine: false,
            begun_ms,
            len: 0,
            sha: Sha256::new(),
            groups: GroupCollector::new(0),
        }
    }

    /// Adds decoded bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.sha.update(&data);
        self.groups.update(&data);
        self.len += data.len() as u64;
        self.buffer.extend_from_slice(&data);
        if self.buffer.len() >= IO_BYTES_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// When its request began, unix ms.
    pub(super) fn begun_ms(&self) -> i64 {
        self.begun_ms
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No byte so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    async fn flush(&mut self) -> Result<()> {
        let draft = match &self.draft {
            Some(draft) => draft.clone(),
            None => {
                self.mine = true;
                let draft = self.store.create(&self.key, None).await?;
                self.draft.insert(draft).clone()
            }
        };
        let data = self.buffer.split().freeze();
        let at = self.len - data.len() as u64;
        draft.write_at(at, vec![data]).await?;
        write_values(&*draft, &self.groups.take()).await
    }

    /// Makes the bytes a draft whatever their number.
    pub(super) async fn make_draft(&mut self) -> Result<Arc<dyn Draft>> {
        if self.draft.is_none() || !self.buffer.is_empty() {
            self.flush().await?;
        }
        self.groups.end(Some(self.len));
        let draft = self
            .draft
            .clone()
            .ok_or_else(|| internal("a chunk without a draft"))?;
        write_values(&*draft, &self.groups.take()).await?;
        Ok(draft)
    }

    /// The key of its draft.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The SHA-256 of its bytes.
    pub(super) fn sha256(&self) -> [u8; 32] {
        self.sha.clone().finalize().into()
    }

    /// All its bytes, when they are still in memory.
    pub(super) fn take_small(&mut self) -> Option<Bytes> {
        self.draft.is_none().then(|| self.buffer.split().freeze())
    }

    /// Its draft is somebody else's from now on.
    pub(super) fn hand_over(&mut self) {
        self.mine = false;
    }

    /// Removes its draft, if it has one, before it returns.
    pub(super) async fn discard(&mut self) -> Result<()> {
        if std::mem::take(&mut self.mine) {
            return self.store.discard(&self.key).await;
        }
        Ok(())
    }
}
