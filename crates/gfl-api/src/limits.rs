//! Every limit that both sides of a connection must agree on, with its unit in its name.
//!
//! Limits that only one program needs (pool sizes, queue lengths, retry delays) stay in that program.

/// Bytes in one group of the BLAKE3 tree: the smallest piece whose hash is kept, and so the smallest piece
/// that can be verified, repaired or sent again.
pub const GROUP_BYTES: u64 = 65_536;

/// Bytes in one path segment; the limit of nearly every file system.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes in a whole path, separators included.
pub const PATH_BYTES_MAX: usize = 4_096;

/// Segments in a path.
pub const PATH_DEPTH_MAX: usize = 255;

/// Bytes of a path quoted in an error message or a log line.
pub const PATH_SHOWN_BYTES_MAX: usize = 120;

/// Bytes of a file's content in one bulk frame; larger files go through an upload session.
pub const BULK_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of one bulk frame's header: a longest path plus the fixed fields, with room for later fields.
pub const BULK_HEADER_BYTES_MAX: usize = 8_192;

/// Decoded bytes in one v0 upload chunk. The v0.1 client sends 1 MiB.
pub const V0_CHUNK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Chunks in one v0 upload (`total`); 1 TB in chunks of 1 MiB.
pub const V0_CHUNKS_MAX: u64 = 1_000_000;

/// Bytes of the `path` member of a v0 upload before path rules are applied.
pub const V0_PATH_BYTES_MAX: usize = 65_536;

/// Nesting of objects and arrays in a v0 upload body; the limit of Go's parser.
pub const V0_JSON_DEPTH_MAX: usize = 10_000;

/// Entries in one page of a listing when the caller names no limit.
pub const LIST_PAGE_ENTRIES_DEFAULT: usize = 1_000;

/// Entries in one page of a listing, whatever the caller asks for.
pub const LIST_PAGE_ENTRIES_MAX: usize = 10_000;

/// Operations in one batch request.
pub const BATCH_OPS_MAX: usize = 1_000;

/// Paths in one bulk get request.
pub const BULK_GET_PATHS_MAX: usize = 10_000;

/// Ranges in one `Range` header; a header with more is ignored.
pub const RANGES_PER_REQUEST_MAX: usize = 16;

/// Entity tags in one `If-Match` or `If-None-Match` header; a header with more is malformed.
pub const ETAGS_PER_REQUEST_MAX: usize = 64;

/// Members in one digest field; a field with more is malformed.
pub const DIGESTS_PER_FIELD_MAX: usize = 16;

/// Bytes of a JSON request body outside the v0 upload.
pub const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one part of a parallel upload or download, at least.
pub const PART_BYTES_MIN: u64 = 1024 * 1024;

/// Bytes of one part of a parallel upload or download, when the length gives no reason for another size.
pub const PART_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;

/// Bytes of one part of a parallel upload or download, at most.
pub const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of one file: what the hash tree and a signed 64-bit file offset both can express.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
