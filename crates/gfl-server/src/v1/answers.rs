//! The core's values as v1 bodies, and bodies as answers.

use crate::body::Body;
use crate::content::set;
use crate::incoming::{ReadError, RequestBody};
use crate::problem::{Failure, Outcome};
use gfl_api::http::{GFL_BLAKE3, format_mode, format_mtime};
use gfl_api::limits::JSON_BODY_BYTES_MAX;
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::{Entry, EntryType, UploadDone, UploadInfo, UploadState};
use gfl_core::files::{Committed, Node, Stat, UploadState as State, UploadStatus};
use http::header::{CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Body> {
    // The bodies of gfl-api are plain data, which always serialises.
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    let mut answer = Response::new(Body::full(bytes));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// One line of an NDJSON answer.
pub(super) fn line<T: Serialize>(value: &T) -> bytes::Bytes {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Reads a JSON request body.
pub(super) async fn read_json<T: DeserializeOwned>(body: RequestBody) -> Outcome<T> {
    let bytes = body
        .read_all(JSON_BODY_BYTES_MAX)
        .await
        .map_err(|error| match error {
            ReadError::TooLarge => Failure::new(
                Code::TooLarge,
                format!(
                    "the body is larger than {JSON_BODY_BYTES_MAX} bytes, send several requests"
                ),
            ),
            ReadError::Broken(why) => Failure::new(Code::Timeout, why),
        })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::invalid(format!("the body is not the JSON expected: {error}")))
}

/// An entry of a listing; with its whole path where names alone do not tell.
pub(super) fn entry(stat: &Stat, with_path: bool) -> Entry {
    let mut entry = Entry {
        name: stat.path.name().unwrap_or_default().to_owned(),
        path: with_path.then(|| stat.path.as_str().to_owned()),
        kind: EntryType::Dir,
        mtime: Some(format_mtime(stat.mtime_ns)),
        mode: Some(format_mode(stat.mode)),
        ..Entry::default()
    };
    if let Node::File {
        size,
        version,
        b3,
        etag,
        ..
    } = &stat.node
    {
        entry.kind = EntryType::File;
        entry.size = *size;
        entry.b3 = b3.map(|b3| b3.to_string());
        entry.etag = Some(etag.clone());
        entry.version = version.as_ref().map(|v| v.as_str().to_owned());
    }
    entry
}

/// The answer to a write that became a version.
pub(super) fn committed(committed: &Committed) -> Response<Body> {
    let done = upload_done(committed);
    let status = if committed.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut answer = json(status, &done);
    let headers = answer.headers_mut();
    set(headers, ETAG, &done.etag);
    set(headers, CONTENT_LOCATION, &file_url(&committed.stat.path));
    if !done.b3.is_empty() {
        set(headers, HeaderName::from_static(GFL_BLAKE3), &done.b3);
    }
    answer
}

/// Where a file is.
pub(super) fn file_url(path: &FilePath) -> String {
    format!("/v1/files/{}", path.to_url())
}

fn upload_done(committed: &Committed) -> UploadDone {
    let mut done = UploadDone {
        path: committed.stat.path.as_str().to_owned(),
        created: committed.created,
        ..UploadDone::default()
    };
    if let Node::File {
        size,
        version,
        b3,
        etag,
        ..
    } = &committed.stat.node
    {
        done.size = *size;
        done.etag = etag.clone();
        done.b3 = b3.map(|b3| b3.to_string()).unwrap_or_default();
        done.version = version
            .as_ref()
            .map(|v| v.as_str().to_owned())
            .unwrap_or_default();
    }
    done
}

/// The state of an upload.
pub(super) fn upload_info(status: &UploadStatus) -> UploadInfo {
    UploadInfo {
        id: status.id.clone(),
        path: status.path.as_str().to_owned(),
        state: match status.state {
            State::Receiving => UploadState::Receiving,
            State::Committing => UploadState::Committing,
            State::Done => UploadState::Done,
            State::Failed => UploadState::Failed,
        },
        length: status.len,
        offset: status.offset,
        received: status.received.iter().map(|(a, b)| [*a, *b]).collect(),
        expires: Some(time_ms(status.expires_ms)),
        created: Some(time_ms(status.created_ms)),
        fingerprint: status.fingerprint.clone(),
    }
}

/// A time in Unix milliseconds as RFC 3339.
pub(super) fn time_ms(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or_default()
        .to_string()
}
