//! The application object: everything a protocol may call. Signatures first; bodies live in `files/`.

use crate::auth::Caller;
use crate::clock::Clock;
use crate::error::Result;
use crate::files::*;
use crate::id::Key;
use crate::settings::Settings;
use bytes::Bytes;
use gfl_api::path::FilePath;
use std::sync::Arc;

/// The application. Cheap to share.
pub struct App {}

/// A credential as a protocol decoded it.
#[derive(Debug, Clone)]
pub enum Credential {
    /// None given.
    None,
    /// A token (Bearer, or the password of Basic).
    Token(String),
    /// v0's challenge scheme.
    Challenge {
        /// Hex HMAC.
        response: String,
        /// Nonce.
        nonce: String,
        /// Token id.
        token_id: String,
    },
}

/// v0's challenge.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// 64 hex digits.
    pub nonce: String,
    /// Unix ms.
    pub expires_ms: i64,
}

/// Bytes of one v0 chunk while its JSON is still being read: a little in memory, more in an unnamed file.
pub struct Spool {}

impl Spool {
    /// Adds decoded bytes.
    pub async fn write(&mut self, _data: Bytes) -> Result<()> {
        todo!()
    }
}

impl App {
    /// Opens catalog and store, finishes what a crash left, starts the jobs.
    pub async fn open(_settings: Settings, _clock: Arc<dyn Clock>) -> Result<Arc<App>> {
        todo!()
    }
    /// Ends jobs, checkpoints uploads, closes the catalog.
    pub async fn close(&self) {
        todo!()
    }

    /// False when no tokens file is configured: then every caller is `anonymous` with `*`.
    pub fn auth_enabled(&self) -> bool {
        todo!()
    }
    /// Who this is. `peer` is the address without port. Errors (`Unauthenticated`) carry v0's exact text after "Authentication failed: " or the like.
    pub fn authenticate(&self, _credential: &Credential, _peer: &str) -> Result<Caller> {
        todo!()
    }
    /// A fresh challenge.
    pub fn challenge(&self) -> Result<Challenge> {
        todo!()
    }
    /// Catalog and store can be written (readiness).
    pub async fn ready(&self) -> Result<()> {
        todo!()
    }
    /// The budget that all bodies share. A server takes from it for what it reads.
    pub fn settings(&self) -> &Settings {
        todo!()
    }

    /// What a path names.
    pub async fn stat(&self, _caller: &Caller, _path: &FilePath) -> Result<Stat> {
        todo!()
    }
    /// Opens a file, or one of its kept versions.
    pub async fn open_file(
        &self,
        _caller: &Caller,
        _path: &FilePath,
        _version: Option<&Key>,
    ) -> Result<OpenFile> {
        todo!()
    }
    /// A page of a directory.
    pub async fn list(&self, _caller: &Caller, _query: &ListQuery) -> Result<ListPage> {
        todo!()
    }
    /// Stores a whole file.
    pub async fn put(&self, _caller: &Caller, _put: Put, _body: BodyStream) -> Result<Committed> {
        todo!()
    }
    /// Makes a directory and its parents; true when it is new.
    pub async fn mkdir(&self, _caller: &Caller, _path: &FilePath) -> Result<bool> {
        todo!()
    }
    /// Deletes; kept for undo.
    pub async fn delete(&self, _caller: &Caller, _path: &FilePath, _how: &Delete) -> Result<()> {
        todo!()
    }
    /// Moves a file or a directory.
    pub async fn rename(
        &self,
        _caller: &Caller,
        _from: &FilePath,
        _to: &FilePath,
        _how: &Relocate,
    ) -> Result<Committed> {
        todo!()
    }
    /// Copies a file (a directory: one call per file is the caller's business).
    pub async fn copy(
        &self,
        _caller: &Caller,
        _from: &FilePath,
        _to: &FilePath,
        _how: &Relocate,
    ) -> Result<Committed> {
        todo!()
    }
    /// Changes mtime and mode.
    pub async fn set_meta(
        &self,
        _caller: &Caller,
        _path: &FilePath,
        _meta: &FileMeta,
    ) -> Result<Stat> {
        todo!()
    }
    /// Versions of a path, newest first; of a directory: the deleted things directly in it.
    pub async fn versions(
        &self,
        _caller: &Caller,
        _path: &FilePath,
        _of_directory: bool,
        _limit: usize,
    ) -> Result<Vec<VersionInfo>> {
        todo!()
    }
    /// Brings a kept version back (`None`: the newest deleted one).
    pub async fn restore(
        &self,
        _caller: &Caller,
        _path: &FilePath,
        _version: Option<&Key>,
    ) -> Result<Stat> {
        todo!()
    }

    /// Begins (true) or finds again (false) an upload session.
    pub async fn upload_begin(
        &self,
        _caller: &Caller,
        _begin: Begin,
    ) -> Result<(UploadStatus, bool)> {
        todo!()
    }
    /// The caller's sessions, oldest first, after id `after`.
    pub async fn upload_list(
        &self,
        _caller: &Caller,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<UploadStatus>> {
        todo!()
    }
    /// What is durable now. Disturbs nobody.
    pub async fn upload_status(&self, _caller: &Caller, _id: &str) -> Result<UploadStatus> {
        todo!()
    }
    /// Ends running writers, checkpoints, and says what is durable then (HEAD).
    pub async fn upload_fence(&self, _caller: &Caller, _id: &str) -> Result<UploadStatus> {
        todo!()
    }
    /// Receives one part. What arrived before an error stays received (`ClientGone` when the body broke).
    pub async fn upload_part(
        &self,
        _caller: &Caller,
        _id: &str,
        _part: Part,
        _body: BodyStream,
    ) -> Result<UploadStatus> {
        todo!()
    }
    /// Receives bytes at the contiguous end, of unknown length; `offset` must be that end.
    pub async fn upload_append(
        &self,
        _caller: &Caller,
        _id: &str,
        _offset: u64,
        _body: BodyStream,
    ) -> Result<UploadStatus> {
        todo!()
    }
    /// Completes: verifies, commits, publishes. The same answer again for 24 hours.
    pub async fn upload_complete(&self, _caller: &Caller, _id: &str) -> Result<Committed> {
        todo!()
    }
    /// Cancels.
    pub async fn upload_cancel(&self, _caller: &Caller, _id: &str) -> Result<()> {
        todo!()
    }

    /// Starts receiving a v0 chunk.
    pub fn v0_spool(&self, _caller: &Caller) -> Result<Spool> {
        todo!()
    }
    /// Files a v0 chunk; completes the upload with the last one (`Some`).
    pub async fn v0_chunk(
        &self,
        _caller: &Caller,
        _chunk: V0Chunk,
        _spool: Spool,
    ) -> Result<Option<Committed>> {
        todo!()
    }
    /// State of the caller's v0 upload to a path, `None` without a session.
    pub async fn v0_status(&self, _caller: &Caller, _path: &FilePath) -> Result<Option<V0Status>> {
        todo!()
    }
}
