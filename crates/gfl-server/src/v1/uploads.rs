//! `/v1/uploads`: sessions that receive a file in parts, in any order and over any number of connections.

use super::answers::{committed, empty, json, upload_info};
use super::fields;
use crate::caller;
use crate::content::set;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::http::{
    ContentRange, GFL_FINGERPRINT, TYPE_PARTIAL_UPLOAD, UPLOAD_COMPLETE, UPLOAD_LENGTH,
    UPLOAD_OFFSET, format_boolean, parse_boolean, parse_integer,
};
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::UploadList;
use gfl_core::auth::{Caller, Verb};
use gfl_core::files::{Begin, Expected, Part, UploadState, UploadStatus};
use gfl_core::limits::{FINGERPRINT_CHARS_MAX, UPLOADS_PAGE_MAX};
use http::header::{CACHE_CONTROL, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

const OFFSET: HeaderName = HeaderName::from_static(UPLOAD_OFFSET);
const LENGTH: HeaderName = HeaderName::from_static(UPLOAD_LENGTH);
const COMPLETE: HeaderName = HeaderName::from_static(UPLOAD_COMPLETE);

/// `/v1/uploads`.
pub(super) async fn collection(call: Call) -> Outcome {
    call.route("/v1/uploads");
    let caller = caller::for_v1(&call).await?;
    match call.method {
        Method::POST => begin(call, caller).await,
        Method::GET | Method::HEAD => list(call, caller).await,
        _ => Err(Failure::method("GET, HEAD, POST")),
    }
}

/// `/v1/uploads/{id}`.
pub(super) async fn one(call: Call, id: &str) -> Outcome {
    call.route("/v1/uploads/{id}");
    let caller = caller::for_v1(&call).await?;
    let (server, facts) = (Arc::clone(&call.server), Arc::clone(&call.facts));
    let outcome = match call.method {
        Method::GET => status(&call, &caller, id).await,
        Method::HEAD => head(&call, &caller, id).await,
        Method::PUT => part(call, &caller, id).await,
        Method::PATCH => append(call, &caller, id).await,
        Method::DELETE => cancel(&call, &caller, id).await,
        _ => Err(Failure::method("GET, HEAD, PUT, PATCH, DELETE")),
    };
    if outcome.is_err()
        && let Ok(status) = server.app.upload_status(&caller, id).await
    {
        // Whoever looks for a failed part in the log knows the file's name and not the upload's.
        facts.names(status.path.as_str());
    }
    outcome
}

async fn status(call: &Call, caller: &Caller, id: &str) -> Outcome {
    let status = call.app().upload_status(caller, id).await?;
    call.names(&status.path);
    Ok(json(StatusCode::OK, &upload_info(&status)))
}

async fn cancel(call: &Call, caller: &Caller, id: &str) -> Outcome {
    // Afterwards nobody knows its path any more.
    if let Ok(status) = call.app().upload_status(caller, id).await {
        call.names(&status.path);
    }
    call.app().upload_cancel(caller, id).await?;
    call.server.meters.upload_cancelled();
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn begin(call: Call, caller: Caller) -> Outcome {
    let query = fields::query(&call)?;
    let path = query
        .get("path")
        .ok_or_else(|| Failure::invalid("?path= is missing: where the file is to be stored"))?;
    let path = FilePath::parse(path)?;
    call.names(&path);
    // Before everything else that may be wrong: who may not write here learns nothing more.
    if caller.may(Verb::Overwrite, &path).is_err() {
        caller.may(Verb::Create, &path)?;
    }
    if call
        .header(UPLOAD_COMPLETE)
        .as_deref()
        .and_then(parse_boolean)
        != Some(false)
    {
        return Err(Failure::invalid(
            "send Upload-Complete: ?0; a file in one request goes to PUT /v1/files/{path}",
        ));
    }
    if call.body.declared_bytes() != Some(0) {
        return Err(Failure::invalid(
            "send no body; the bytes go to PUT or PATCH of the upload",
        ));
    }
    let begin = Begin {
        path,
        len: length(&call)?,
        fingerprint: call.header(GFL_FINGERPRINT).map(fingerprint).transpose()?,
        meta: fields::meta(&call)?,
        expected: fields::expected(&call, false)?,
        pre: fields::preconditions(&call)?,
    };
    let (status, new) = call.app().upload_begin(&caller, begin).await?;
    let code = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut answer = json(code, &upload_info(&status));
    set(
        answer.headers_mut(),
        LOCATION,
        &format!("/v1/uploads/{}", status.id),
    );
    progress(answer.headers_mut(), &status);
    Ok(answer)
}

/// `Upload-Length`: absent is fine, malformed is not.
fn length(call: &Call) -> Outcome<Option<u64>> {
    let parse = |text: String| {
        parse_integer(&text).ok_or_else(|| {
            Failure::invalid("Upload-Length is not a number of bytes of up to 15 digits")
        })
    };
    call.header(UPLOAD_LENGTH).map(parse).transpose()
}

fn fingerprint(text: String) -> Outcome<String> {
    let good =
        text.len() <= FINGERPRINT_CHARS_MAX && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if good {
        return Ok(text);
    }
    Err(Failure::invalid(format!(
        "Gfl-Fingerprint is at most {FINGERPRINT_CHARS_MAX} visible ASCII characters"
    )))
}

async fn list(call: Call, caller: Caller) -> Outcome {
    let query = fields::query(&call)?;
    let limit = fields::limit(&query, UPLOADS_PAGE_MAX, UPLOADS_PAGE_MAX)?;
    let uploads = call
        .app()
        .upload_list(&caller, query.get("cursor"), limit)
        .await?;
    let next = uploads
        .last()
        .filter(|_| uploads.len() == limit)
        .map(|last| last.id.clone());
    let body = UploadList {
        uploads: uploads.iter().map(upload_info).collect(),
        next,
    };
    Ok(json(StatusCode::OK, &body))
}

async fn head(call: &Call, caller: &Caller, id: &str) -> Outcome {
    let status = call.app().upload_fence(caller, id).await?;
    call.names(&status.path);
    let mut answer = empty(StatusCode::NO_CONTENT);
    progress(answer.headers_mut(), &status);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// What an answer tells of the session.
fn progress(headers: &mut HeaderMap, status: &UploadStatus) {
    let complete = status.state == UploadState::Done;
    headers.insert(OFFSET, HeaderValue::from(status.offset));
    headers.insert(COMPLETE, HeaderValue::from_static(format_boolean(complete)));
    if let Some(len) = status.len {
        headers.insert(LENGTH, HeaderValue::from(len));
    }
}

async fn part(mut call: Call, caller: &Caller, id: &str) -> Outcome {
    fields::refuse_coding(&call)?;
    let field = call.header(CONTENT_RANGE.as_str()).unwrap_or_default();
    let (range, total) = match ContentRange::parse(&field) {
        Some(ContentRange {
            range: Some(range),
            total,
        }) => (range, total),
        _ => {
            return Err(Failure::invalid(
                "send Content-Range: bytes FIRST-LAST/TOTAL (or /*), counted from 0: LAST is below TOTAL",
            ));
        }
    };
    let len = range.end - range.start;
    if call
        .body
        .declared_bytes()
        .is_some_and(|declared| declared != len)
    {
        return Err(Failure::new(
            Code::LengthMismatch,
            format!("Content-Range names {len} bytes and Content-Length another number"),
        ));
    }
    let expected = fields::expected_of_part(&call)?;
    let part = Part {
        start: range.start,
        end: range.end,
        total,
        expected,
    };
    let body = call.take_body().into_stream();
    let status = call.app().upload_part(caller, id, part, body).await?;
    call.names(&status.path);
    let mut answer = empty(StatusCode::NO_CONTENT);
    progress(answer.headers_mut(), &status);
    Ok(answer)
}

async fn append(mut call: Call, caller: &Caller, id: &str) -> Outcome {
    fields::refuse_coding(&call)?;
    let accept_patch = HeaderName::from_static("accept-patch");
    fields::demand_type(&call, TYPE_PARTIAL_UPLOAD, accept_patch)?;
    let offset = call
        .header(UPLOAD_OFFSET)
        .as_deref()
        .and_then(parse_integer)
        .ok_or_else(|| Failure::invalid("send Upload-Offset: where these bytes begin"))?;
    let completes = call
        .header(UPLOAD_COMPLETE)
        .as_deref()
        .and_then(parse_boolean)
        .ok_or_else(|| Failure::invalid("send Upload-Complete: ?1 with the last bytes, else ?0"))?;
    let expected = match completes {
        true => fields::expected(&call, false)?,
        false => Expected::default(),
    };
    let known = call.app().upload_status(caller, id).await?;
    call.names(&known.path);
    if completes && known.state != UploadState::Receiving {
        // Asked again after the answer was lost: the bytes, if any, are there already.
        return complete(&call, caller, id, expected, None).await;
    }
    let began_ms = Some(known.created_ms);
    let declared = call.body.declared_bytes();
    if declared == Some(0) {
        let status = call.app().upload_fence(caller, id).await?;
        check_offset(&status, offset, completes)?;
        if completes {
            return complete(&call, caller, id, expected, began_ms).await;
        }
        return Ok(not_complete(&status));
    }
    if let (Some(declared), Some(len)) = (declared, known.len)
        && offset <= len
        && declared > len - offset
    {
        return Err(Failure::new(
            Code::LengthMismatch,
            format!("{declared} bytes from {offset} on pass the announced length of {len}"),
        ));
    }
    let body = call.take_body().into_stream();
    let received = call.app().upload_append(caller, id, offset, body).await;
    let status = received.map_err(|error| tell_offset(Failure::from(error)))?;
    if completes {
        return complete(&call, caller, id, expected, began_ms).await;
    }
    Ok(not_complete(&status))
}

/// The offset of a request without bytes. The end of the file is right too while there are gaps: completing then
/// tells which.
fn check_offset(status: &UploadStatus, offset: u64, completes: bool) -> Outcome<()> {
    let end = status
        .len
        .unwrap_or_else(|| status.received.last().map_or(0, |(_, end)| *end));
    if offset == status.offset || (completes && offset == end) {
        return Ok(());
    }
    let failure = Failure::new(
        Code::OffsetMismatch,
        format!("the upload continues at {}, not at {offset}", status.offset),
    );
    Err(tell_offset(
        failure
            .with("expected-offset", status.offset)
            .with("provided-offset", offset),
    ))
}

/// Adds the header fields that the resumable-upload draft wants beside the problem's members.
fn tell_offset(failure: Failure) -> Failure {
    match (failure.code(), failure.number("expected-offset")) {
        (Code::OffsetMismatch, Some(offset)) => failure
            .header(OFFSET, HeaderValue::from(offset))
            .header(COMPLETE, HeaderValue::from_static(format_boolean(false))),
        _ => failure,
    }
}

/// Completes an upload that began then; none if another request has done it already.
async fn complete(
    call: &Call,
    caller: &Caller,
    id: &str,
    expected: Expected,
    began_ms: Option<i64>,
) -> Outcome {
    let done = call.app().upload_complete(caller, id, expected).await?;
    let mut answer = committed(&done);
    answer
        .headers_mut()
        .insert(COMPLETE, HeaderValue::from_static(format_boolean(true)));
    if let gfl_core::files::Node::File { size, .. } = &done.stat.node {
        answer
            .headers_mut()
            .insert(OFFSET, HeaderValue::from(*size));
        if began_ms.is_some() {
            call.facts.stores(*size, began_ms);
        }
    }
    Ok(answer)
}

fn not_complete(status: &UploadStatus) -> http::Response<crate::body::Body> {
    let mut answer = empty(StatusCode::NO_CONTENT);
    progress(answer.headers_mut(), status);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(len: Option<u64>, offset: u64, received: &[(u64, u64)]) -> UploadStatus {
        UploadStatus {
            id: "u".into(),
            path: FilePath::parse("a").unwrap(),
            state: UploadState::Receiving,
            len,
            offset,
            received: received.to_vec(),
            created_ms: 0,
            expires_ms: 0,
            fingerprint: None,
        }
    }

    #[test]
    fn offsets_of_empty_appends() {
        let gap = status(Some(11), 5, &[(0, 5), (8, 11)]);
        assert!(check_offset(&gap, 5, false).is_ok());
        assert!(check_offset(&gap, 11, true).is_ok());
        assert!(check_offset(&gap, 11, false).is_err());
        let error = check_offset(&gap, 7, true).unwrap_err();
        assert_eq!(error.number("expected-offset"), Some(5));
        assert_eq!(error.into_answer("r").headers()[UPLOAD_OFFSET], "5");
        let open = status(None, 0, &[(4, 9)]);
        assert!(check_offset(&open, 9, true).is_ok());
        assert!(check_offset(&open, 4, true).is_err());
    }

    #[test]
    fn fingerprints() {
        assert!(fingerprint("size=1;mtime=2 x~".into()).is_ok());
        assert!(fingerprint("ü".into()).is_err());
        assert!(fingerprint("x".repeat(257)).is_err());
    }
}
