//! The JSON bodies of v1. A field here is a promise: it is never renamed, and a new one is optional to read.
//!
//! Times are RFC 3339 text, modes octal text, hashes hex text, as they stand on the wire; see
//! [`crate::http::parse_mtime`], [`crate::http::parse_mode`] and [`crate::Root`]. Unknown members of answers are
//! ignored, so that a newer server may say more; those of requests are noticed, see [`Strict`].

mod admin;
mod stats;
mod strict;

use crate::problem::Problem;
pub use admin::AdminCheck;
use serde::{Deserialize, Deserializer, Serialize};
pub use stats::{AccessEntry, AccessPage, UsageEntry, UsagePage, day_number, day_text};
pub use strict::{AtMost, Members, Strict, UnknownMember};

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryType {
    /// A file.
    #[default]
    File,
    /// A folder.
    Dir,
    /// Something a newer server knows.
    #[serde(other)]
    Other,
}

/// One file or folder, as in listings and stat answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The last segment of the path; empty for the root.
    pub name: String,
    /// The whole path, in recursive listings and stat answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// File or folder.
    #[serde(rename = "type")]
    pub kind: EntryType,
    /// Bytes of content; 0 for a folder.
    pub size: u64,
    /// Time of the last change of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// Permission bits, four octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// BLAKE3 of the content, 64 hex digits; missing for a folder and while a hand-made change is being hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b3: Option<String>,
    /// The entity tag, quotes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The id of the current version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// One page of a listing, sorted by the bytes of the name (recursive: of the path).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListPage {
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// The cursor of the next page; none on the last.
    pub next: Option<String>,
    /// How many names and folders cannot be shown, on this page and not counted on another.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// How many of these are folders whose content the server may not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
}

/// Limits a client should know before it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapabilityLimits {
    /// Bytes of one file; 0 for no limit.
    pub file_bytes_max: u64,
    /// Bytes of one file in a bulk stream.
    pub bulk_file_bytes_max: u64,
    /// Bytes of one part of a parallel upload.
    pub part_bytes_max: u64,
    /// Bytes that parts should be aligned to.
    pub group_bytes: u64,
    /// Entries in a page of a listing.
    pub list_page_entries_max: u64,
    /// Operations in a batch.
    pub batch_ops_max: u64,
    /// Seconds without activity after which an upload expires.
    pub upload_expiry_s: u64,
}

/// The answer of `GET /v1/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Always `GoFlux Lite`.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// The major version of this API: 1.
    pub api: u32,
    /// The upload protocols spoken, such as `native`.
    pub uploads: Vec<String>,
    /// Limits.
    pub limits: CapabilityLimits,
    /// Named features, for what is not told by a version.
    pub features: Vec<String>,
}

impl Capabilities {
    /// The name every server of this kind gives.
    pub const NAME: &'static str = "GoFlux Lite";

    /// Whether the server names this feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }
}

/// Where an upload stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// Takes bytes.
    #[default]
    Receiving,
    /// All bytes are there; being made the new version.
    Committing,
    /// The new version is visible.
    Done,
    /// It cannot be finished.
    Failed,
    /// The caller gave it up.
    Cancelled,
    /// Something a newer server knows.
    #[serde(other)]
    Other,
}

/// One upload: the answer of `GET /v1/uploads/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadInfo {
    /// The upload's id, unguessable.
    pub id: String,
    /// The path the file will have.
    pub path: String,
    /// Where it stands.
    pub state: UploadState,
    /// Bytes of the whole file, once known.
    pub length: Option<u64>,
    /// Bytes from the start without a gap.
    pub offset: u64,
    /// Everything received and durable, as `[start, end)` pairs in order.
    pub received: Vec<[u64; 2]>,
    /// When it expires if nothing happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The client's own mark, by which it finds the upload again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The caller's uploads: the answer of `GET /v1/uploads`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadList {
    /// The uploads, newest first.
    pub uploads: Vec<UploadInfo>,
    /// The cursor of the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The answer to an upload that became a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadDone {
    /// The file's path.
    pub path: String,
    /// The new version's id.
    pub version: String,
    /// The entity tag, quotes included.
    pub etag: String,
    /// BLAKE3 of the content.
    pub b3: String,
    /// Bytes of content.
    pub size: u64,
    /// Whether the path is new; otherwise an older version was replaced.
    pub created: bool,
}

/// One line (NDJSON) of the answer to a bulk put: what became of one file. Lines come in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkAnswer {
    /// The index in the file's frame.
    pub index: u32,
    /// The file's path.
    pub path: String,
    /// The status a single PUT would have had.
    pub status: u16,
    /// BLAKE3 of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b3: Option<String>,
    /// The entity tag, quotes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The new version's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// One file of a bulk get request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkGetPath {
    /// The file's path.
    pub path: String,
    /// The content the caller has already: an equal file is answered 304 without bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b3: Option<String>,
}

impl Members for BulkGetPath {
    const MEMBERS: &'static [&'static str] = &["path", "b3"];
}

/// The body of `POST /v1/bulk/get`; frame indices of the answer count this list from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkGetRequest {
    /// The files wanted.
    pub paths: Vec<BulkGetPath>,
}

/// What a batch operation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchVerb {
    /// Deletes `path`.
    Delete,
    /// Makes the folder `path`, and its parents with `recursive`.
    Mkdir,
    /// Moves `path` to `to`.
    Move,
    /// Copies `path` to `to`.
    Copy,
    /// Tells about `path`.
    Stat,
    /// Makes `version` the current version of `path` again.
    Restore,
    /// Something this version does not know: answered per operation, so that the rest still runs.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One operation of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchOp {
    /// The operation.
    pub op: BatchVerb,
    /// The path it is about.
    pub path: String,
    /// The target of a move or copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether a folder goes with all it holds.
    #[serde(skip_serializing_if = "is_false")]
    pub recursive: bool,
    /// Whether an existing target is replaced.
    #[serde(skip_serializing_if = "is_false")]
    pub overwrite: bool,
    /// The version to restore, or the version the entry must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Members for BatchOp {
    const MEMBERS: &'static [&'static str] =
        &["op", "path", "to", "recursive", "overwrite", "version"];
}

/// The body of `POST /v1/batch`. Operations run in order, each by itself: one that fails stops none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequest {
    /// The operations, at most [`crate::limits::BATCH_OPS_MAX`].
    pub ops: Vec<BatchOp>,
}

/// What became of one operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchResult {
    /// The operation's place in the request, from 0.
    pub index: u32,
    /// The status a single request would have had.
    pub status: u16,
    /// The entry as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The answer to a batch, one result per operation in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAnswer {
    /// The results.
    pub results: Vec<BatchResult>,
}

/// The body of `GET /v1/meta/{path}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Time of the last change of the content.
    pub mtime: Option<String>,
    /// Permission bits, four octal digits.
    pub mode: Option<String>,
}

/// The body of `PATCH /v1/meta/{path}`, a merge patch (RFC 7396): a missing member stays as it is (`None`),
/// `null` forgets the value (`Some(None)`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetaPatch {
    /// The new time.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Option<String>>,
    /// The new permission bits.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub mode: Option<Option<String>>,
}

impl Members for MetaPatch {
    const MEMBERS: &'static [&'static str] = &["mtime", "mode"];
}

/// Whether a version is the one a path names now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// The path names it now.
    #[default]
    Current,
    /// Kept for undo.
    Kept,
    /// Something a newer server knows.
    #[serde(other)]
    Other,
}

/// One version of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// The version's id.
    pub id: String,
    /// The path it has, or had when it was replaced.
    pub path: String,
    /// File, or folder for a deleted folder that is kept as a whole.
    #[serde(rename = "type")]
    pub kind: EntryType,
    /// Bytes of content.
    pub size: u64,
    /// BLAKE3 of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b3: Option<String>,
    /// Time of the last change of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// Current or kept.
    pub state: VersionState,
    /// Why it was kept, such as `replaced` or `deleted`.
    #[serde(rename = "reason", skip_serializing_if = "Option::is_none")]
    pub kept_reason: Option<String>,
    /// When it was uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<String>,
    /// When it stopped being current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<String>,
    /// Who uploaded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One page of versions, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionList {
    /// The versions of this page.
    pub versions: Vec<Version>,
    /// The cursor of the next page; none on the last.
    pub next: Option<String>,
}

/// Who is asking: the answer of `GET /v1/me`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Me {
    /// The user's name.
    pub user: String,
    /// The token's id, never its secret; none where authentication is off.
    pub token: Option<String>,
    /// The permissions, as the token lists them.
    pub permissions: Vec<String>,
    /// When the token expires.
    pub expires: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde calls"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Reads a member that is there, so that `null` and absence differ.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
