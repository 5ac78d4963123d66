//! The plain-text answers of v0.1, word for word: scripts may compare them.

/// A chunk was stored; `id` counts from 0, the text from 1.
pub fn chunk_received(id: i64, total: i64) -> String {
    format!("chunk {}/{total} received", id.saturating_add(1))
}

/// A file or folder was deleted; `path` as the client wrote it.
pub fn deleted(path: &str) -> String {
    format!("Successfully deleted: {path}")
}

/// A folder was made or was there; `path` as the client wrote it.
pub fn created_directory(path: &str) -> String {
    format!("Successfully created directory: {path}")
}

/// Any wrong method.
pub const METHOD_NOT_ALLOWED: &str = "method not allowed";
/// Any unknown path.
pub const PAGE_NOT_FOUND: &str = "404 page not found";
/// `/download` and `/upload/status` without a path.
pub const PATH_REQUIRED: &str = "path required";
/// `/delete` and `/mkdir` without a path.
pub const PATH_PARAMETER_REQUIRED: &str = "path parameter required";
/// `/config` of a server that has none.
pub const CONFIG_NOT_AVAILABLE: &str = "server config not available";

/// 401: no `Authorization`.
pub const AUTH_REQUIRED: &str = "Authorization header required";
/// 401: another scheme.
pub const AUTH_FORMAT: &str =
    "Invalid authorization header format. Use: Bearer <token> or Challenge <data>";
/// 401: no such token.
pub const TOKEN_INVALID: &str = "Authentication failed: auth error: invalid token";
/// 401: revoked.
pub const TOKEN_REVOKED: &str = "Authentication failed: auth error: token has been revoked";
/// 401: expired.
pub const TOKEN_EXPIRED: &str = "Authentication failed: auth error: token has expired";
/// 401: a challenge answer of another shape.
pub const CHALLENGE_FORMAT: &str =
    "Invalid challenge format. Expected: Challenge <response>;<nonce>;<token_id>";
/// 401: a challenge answer with an id that is unknown, revoked or expired.
pub const CHALLENGE_TOKEN_ID: &str = "Invalid token ID";
/// 401: a challenge answer with a nonce that was never given or is used up.
pub const CHALLENGE_NONCE: &str = "Challenge validation failed: invalid or expired nonce";
/// 401: a challenge answer that came too late.
pub const CHALLENGE_EXPIRED: &str = "Challenge validation failed: challenge expired";
/// 401: a challenge answer that is wrong.
pub const CHALLENGE_RESPONSE: &str = "Invalid challenge response";

/// 403: the token lacks a permission.
pub fn permission_denied(permission: &str) -> String {
    format!("Permission denied. Required: {permission}")
}

/// 500: `total` differs from that of the running upload.
pub fn chunk_count_mismatch(session: i64, request: i64) -> String {
    format!("session error: chunk count mismatch: session has {session}, request has {request}")
}

/// 500: a chunk number outside `0..total`.
pub fn invalid_chunk_id(id: i64, total: i64) -> String {
    format!("failed to mark chunk: invalid chunk ID: {id} (total: {total})")
}

/// 500: a chunk could not be stored.
pub fn chunk_write_failed(cause: &str) -> String {
    format!("failed to write chunk: {cause}")
}

/// 500: all chunks are there but no file came of them.
pub fn reassembly_failed(cause: &str) -> String {
    format!("reassembly failed: {cause}")
}

/// 500: the status of an upload cannot be told.
pub fn status_failed(cause: &str) -> String {
    format!("failed to get missing chunks: {cause}")
}

/// 500: a delete that failed.
pub fn delete_failed(cause: &str) -> String {
    format!("delete failed: {cause}")
}

/// The cause of a failed delete of something that is not there.
pub fn does_not_exist(path: &str) -> String {
    format!("storage error [{path}]: path does not exist")
}

/// 500: a folder that could not be made.
pub fn mkdir_failed(cause: &str) -> String {
    format!("mkdir failed: {cause}")
}

/// A path that leads out of the root; 404 on download, the cause of a 500 elsewhere.
pub fn path_traversal(path: &str) -> String {
    format!("invalid path: storage error [{path}]: path traversal attempt detected")
}

/// 404 on download: nothing there. v0.1 showed the path on the server's disk here; this shows the caller's own.
pub fn open_not_found(path: &str) -> String {
    format!("open {path}: no such file or directory")
}

/// 404 on download: a folder.
pub fn read_is_directory(path: &str) -> String {
    format!("read {path}: is a directory")
}

/// 500: no challenge could be made.
pub fn challenge_failed(cause: &str) -> String {
    format!("Failed to generate challenge: {cause}")
}
