//! Header fields that both sides of a connection read and write: names, ranges, entity tags, digests, dates and
//! the metadata of files. Functions from text to values and back.
//!
//! Knows nothing of requests, connections or any HTTP library.

mod digest;
mod etag;
mod fields;
mod range;

pub use digest::{DigestError, Digests, sha256_field, wants_digest};
pub use etag::{Etag, EtagList, Preconditions, Verdict, if_range_holds};
pub use fields::{
    HttpDate, format_boolean, format_mode, format_mtime, parse_boolean, parse_integer, parse_mode,
    parse_mtime,
};
pub use range::{ContentRange, RangeRequest, parse_range};

/// BLAKE3 of the whole content, 64 hex digits.
pub const GFL_BLAKE3: &str = "gfl-blake3";
/// Time of the last change of the content: RFC 3339 with up to nine digits of a second.
pub const GFL_MTIME: &str = "gfl-mtime";
/// Permission bits, four octal digits.
pub const GFL_MODE: &str = "gfl-mode";
/// The client's own mark of an upload, by which it finds the upload again.
pub const GFL_FINGERPRINT: &str = "gfl-fingerprint";
/// The id of the version an answer is about.
pub const GFL_VERSION: &str = "gfl-version";
/// Bytes received without a gap, an integer.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Bytes of the whole content, an integer.
pub const UPLOAD_LENGTH: &str = "upload-length";
/// Whether this request ends the upload, a structured-field boolean.
pub const UPLOAD_COMPLETE: &str = "upload-complete";
/// What the server allows for an upload, a structured-field dictionary.
pub const UPLOAD_LIMIT: &str = "upload-limit";
/// When an upload expires, an HTTP date.
pub const UPLOAD_EXPIRES: &str = "upload-expires";
/// Digest of this message's content (RFC 9530).
pub const CONTENT_DIGEST: &str = "content-digest";
/// Digest of the whole representation (RFC 9530).
pub const REPR_DIGEST: &str = "repr-digest";
/// Digests the sender would like to get (RFC 9530).
pub const WANT_REPR_DIGEST: &str = "want-repr-digest";
/// The request's id, echoed in the answer and found in the log.
pub const X_REQUEST_ID: &str = "x-request-id";

/// The media type of bytes of unknown kind.
pub const TYPE_OCTETS: &str = "application/octet-stream";
/// The media type of an append to an upload (IETF resumable uploads, interop 6 and later).
pub const TYPE_PARTIAL_UPLOAD: &str = "application/partial-upload";
/// The media type of a bulk stream, see [`crate::frames`].
pub const TYPE_BULK: &str = "application/vnd.gfl.bulk";
/// The media type of JSON values, one a line.
pub const TYPE_NDJSON: &str = "application/x-ndjson";
/// The media type of a merge patch (RFC 7396).
pub const TYPE_MERGE_PATCH: &str = "application/merge-patch+json";
