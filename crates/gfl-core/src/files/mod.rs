//! The verbs, one per file, and the values they take and give. Nothing here knows a protocol.

mod adopt;
mod commit;
mod delete;
mod doubt;
mod finish;
mod list;
mod locks;
mod look;
mod meta;
mod mkdir;
mod precondition;
mod prune;
mod put;
mod read;
mod recover;
mod relocate;
mod room;
mod rows;
mod settle;
mod shared;
mod turns;
mod upload;
mod v0;
mod versions;

pub(crate) use shared::Shared;
pub use v0::Spool;

use crate::error::Result;
use crate::id::Key;
use crate::store::{Content, Stamp};
use bytes::Bytes;
use futures_util::Stream;
use gfl_api::http::EtagList;
use gfl_api::path::FilePath;
use gfl_api::tree::Root;
use std::pin::Pin;
use std::sync::Arc;

/// A body as it arrives. An `Err` item means the client is gone; what arrived before it counts.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyBroken>> + Send>>;

/// The client's body ended before it was whole.
#[derive(Debug)]
pub struct BodyBroken(pub String);

/// What a path names now.
#[derive(Debug, Clone)]
pub struct Stat {
    /// The path.
    pub path: FilePath,
    /// What it is.
    pub node: Node,
    /// Modification time, ns since the epoch.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
}

/// A directory, or a file with its current version.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// The version, unless the file is a person's and not yet adopted.
        version: Option<Key>,
        /// Root of the content, once known.
        b3: Option<Root>,
        /// SHA-256, when somebody demanded it.
        sha256: Option<[u8; 32]>,
        /// Identifies the content: strong (`"b3-…"`) when `b3` is known, else weak.
        etag: String,
    },
}

impl Stat {
    /// The file's entity tag; `None` for a directory.
    pub fn etag(&self) -> Option<&str> {
        match &self.node {
            Node::Dir => None,
            Node::File { etag, .. } => Some(etag),
        }
    }

    /// Its content may be another than the version's: digests are not told, and the tag is weak.
    pub(crate) fn distrust(&mut self, stamp: &Stamp) {
        if let Node::File {
            b3, sha256, etag, ..
        } = &mut self.node
        {
            (*b3, *sha256) = (None, None);
            *etag = weak_etag(stamp);
        }
    }
}

/// A file open for reading: what it is and its bytes.
pub struct OpenFile {
    /// Belongs to exactly these bytes.
    pub stat: Stat,
    /// The bytes. Call [`Content::unchanged`] after the last read and abort the answer when false.
    pub content: Arc<dyn Content>,
}

/// If-Match and If-None-Match as received. Decided at commit, under the path's lock.
#[derive(Debug, Clone, Default)]
pub struct Preconditions {
    /// Content must match one of these (`*`: must exist).
    pub if_match: Option<EtagList>,
    /// Content must match none of these (`*`: must not exist).
    pub if_none_match: Option<EtagList>,
}

/// What travels with content.
#[derive(Debug, Clone, Default)]
pub struct FileMeta {
    /// Modification time, ns; `None` is now.
    pub mtime_ns: Option<i64>,
    /// Permission bits (setuid, setgid and sticky are dropped).
    pub mode: Option<u32>,
}

/// Digests the content must have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// BLAKE3 root.
    pub b3: Option<Root>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
}

/// One whole file in one request.
#[derive(Debug, Clone)]
pub struct Put {
    /// Where.
    pub path: FilePath,
    /// Announced length; `None` for a chunked body.
    pub len: Option<u64>,
    /// Metadata.
    pub meta: FileMeta,
    /// Digests to verify.
    pub expected: Expected,
    /// Conditions.
    pub pre: Preconditions,
}

/// A committed file.
#[derive(Debug, Clone)]
pub struct Committed {
    /// What is there now.
    pub stat: Stat,
    /// Nothing was there before.
    pub created: bool,
}

/// What to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// The directory.
    pub dir: FilePath,
    /// Only what comes after this path (of the answer's order), exclusive.
    pub after: Option<FilePath>,
    /// At most so many.
    pub limit: usize,
    /// Everything below, depth first, a directory before its content.
    pub recursive: bool,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct ListPage {
    /// The entries; `b3` is given where known.
    pub entries: Vec<Stat>,
    /// Continue with `after` = the last entry's path.
    pub more: bool,
    /// Names and, in a walk, directories that cannot be shown: what is neither file nor directory, what the server
    /// may not read. Not counted again by later pages.
    pub skipped: u64,
    /// How many of these are directories whose content the server may not read.
    pub unreadable: u64,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct Delete {
    /// Also a directory that holds something.
    pub recursive: bool,
    /// The path must be a directory (`Some(true)`) or a file (`Some(false)`).
    pub must_be_dir: Option<bool>,
    /// Conditions (files).
    pub pre: Preconditions,
}

/// How to move or copy.
#[derive(Debug, Clone, Default)]
pub struct Relocate {
    /// A file at the target is replaced (and kept).
    pub overwrite: bool,
    /// Conditions on the source.
    pub pre: Preconditions,
}

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct VersionsQuery {
    /// Whose.
    pub path: FilePath,
    /// Not the path's own versions: the deleted things directly in this directory.
    pub of_directory: bool,
    /// Only what comes after this one.
    pub after: Option<VersionMark>,
    /// At most so many.
    pub limit: usize,
}

/// A place in a list of versions. It stays one when the version itself is restored or pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMark {
    /// When it was retired, unix ms; `None`: the current one.
    pub retired_ms: Option<i64>,
    /// Its id.
    pub id: Key,
}

/// A page of versions, newest first.
#[derive(Debug, Clone)]
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<VersionInfo>,
    /// Continue after this one; `None` on the last page.
    pub next: Option<VersionMark>,
}

/// A version of a path, current or kept.
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// Its id (for a deleted directory: the id of what was kept).
    pub id: Key,
    /// The path it belongs to.
    pub path: FilePath,
    /// A directory kept whole.
    pub is_dir: bool,
    /// Bytes.
    pub size: u64,
    /// Root.
    pub b3: Option<Root>,
    /// Modification time, ns; `None` when it is not known.
    pub mtime_ns: Option<i64>,
    /// `None`: current. Else why it is kept.
    pub kept: Option<KeptReason>,
    /// When it was uploaded or adopted (a directory: first known here), unix ms.
    pub uploaded_ms: Option<i64>,
    /// When it was retired, unix ms.
    pub retired_ms: Option<i64>,
    /// Who retired it.
    pub by: String,
}

/// Why content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptReason {
    /// A newer version took its place.
    Replaced,
    /// It was deleted.
    Deleted,
    /// A person had put it there by hand and a write of ours replaced it.
    Edited,
}

/// A new upload session.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Target.
    pub path: FilePath,
    /// Length if known.
    pub len: Option<u64>,
    /// The client's own mark to find the session again.
    pub fingerprint: Option<String>,
    /// Metadata.
    pub meta: FileMeta,
    /// Digests to verify at commit.
    pub expected: Expected,
    /// Conditions at commit.
    pub pre: Preconditions,
}

/// State of an upload session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// Takes parts.
    Receiving,
    /// Is being completed.
    Committing,
    /// Became a file.
    Done,
    /// Could not be completed (a digest or a condition did not hold).
    Failed,
}

/// What is announced of an upload session: only what is checkpointed.
#[derive(Debug, Clone)]
pub struct UploadStatus {
    /// Id.
    pub id: String,
    /// Target.
    pub path: FilePath,
    /// State.
    pub state: UploadState,
    /// Length if known.
    pub len: Option<u64>,
    /// Contiguous bytes from the start.
    pub offset: u64,
    /// Received ranges, half open, sorted.
    pub received: Vec<(u64, u64)>,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms.
    pub expires_ms: i64,
    /// As given.
    pub fingerprint: Option<String>,
}

/// One part of a session: `body` must hold exactly `end - start` bytes.
#[derive(Debug, Clone)]
pub struct Part {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Total that the client named.
    pub total: Option<u64>,
    /// Digests of this part.
    pub expected: Expected,
}

/// One v0 chunk, decoded: its bytes are in the [`Spool`].
#[derive(Debug, Clone)]
pub struct V0Chunk {
    /// Cleaned path.
    pub path: FilePath,
    /// 0-based.
    pub chunk_id: u32,
    /// Chunks in all.
    pub total: u32,
    /// SHA-256 to verify, if the client sent a real one.
    pub sha256: Option<[u8; 32]>,
}

/// State of a v0 upload, for `/upload/status`.
#[derive(Debug, Clone)]
pub struct V0Status {
    /// Chunks in all.
    pub total: u32,
    /// One flag a chunk.
    pub received: Vec<bool>,
}

/// The weak entity tag of a file that was not hashed since a person may have changed it.
pub fn weak_etag(stamp: &Stamp) -> String {
    format!(
        "W/\"m-{:x}-{:x}-{:x}-{:x}\"",
        stamp.size, stamp.mtime_ns, stamp.ino, stamp.ctime_ns
    )
}
