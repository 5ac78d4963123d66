//! The v0 surface: the endpoints of the Go program, status by status and word for word (docs/compat.md lists the
//! differences). Each file is one endpoint: decode, one call into the application, encode. New features go to v1.

mod auth_challenge;
mod config;
mod delete;
mod download;
mod list;
mod mkdir;
pub mod redirect;
mod upload;
mod upload_status;

use crate::body::Body;
use crate::caller;
use crate::problem::{TextFailure, causes, code_of, status_of};
use crate::query::Query;
use crate::server::Call;
use gfl_api::path::{FilePath, PathError};
use gfl_api::v0::texts;
use gfl_core::auth::{Caller, Verb};
use gfl_core::{Error, Kind};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

/// What a v0 handler gives.
type Answer = Result<Response<Body>, TextFailure>;

/// `POST /upload`.
pub async fn upload(call: Call) -> Response<Body> {
    call.route("/upload");
    let id = call.facts.id.clone();
    finish(upload::answer(call).await, &id)
}

/// `GET /upload/status`.
pub async fn upload_status(call: Call) -> Response<Body> {
    call.route("/upload/status");
    finish(upload_status::answer(&call).await, &call.facts.id)
}

/// `/download`, any method.
pub async fn download(call: Call) -> Response<Body> {
    call.route("/download");
    finish(download::answer(&call).await, &call.facts.id)
}

/// `/list`, any method.
pub async fn list(call: Call) -> Response<Body> {
    call.route("/list");
    finish(list::answer(&call).await, &call.facts.id)
}

/// `DELETE /delete`.
pub async fn delete(call: Call) -> Response<Body> {
    call.route("/delete");
    finish(delete::answer(&call).await, &call.facts.id)
}

/// `POST /mkdir`.
pub async fn mkdir(call: Call) -> Response<Body> {
    call.route("/mkdir");
    finish(mkdir::answer(&call).await, &call.facts.id)
}

/// `GET /config`.
pub fn config(call: &Call) -> Response<Body> {
    call.route("/config");
    finish(config::answer(call), &call.facts.id)
}

/// `/auth/challenge`, any method.
pub fn auth_challenge(call: &Call) -> Response<Body> {
    call.route("/auth/challenge");
    finish(auth_challenge::answer(call), &call.facts.id)
}

fn finish(answer: Answer, request_id: &str) -> Response<Body> {
    answer.unwrap_or_else(|failure| failure.into_answer(request_id))
}

/// The `path` of a query: as the client wrote it, and as a path. Empty when it is missing.
struct Target {
    text: String,
    path: Result<FilePath, PathError>,
}

impl Target {
    fn of(call: &Call) -> Target {
        let query = Query::parse(call.uri().query());
        let text = query.get("path").unwrap_or_default().to_owned();
        let path = FilePath::parse_v0(&text);
        name(call, &text, &path);
        Target { text, path }
    }
}

/// Names what a request is about in the log: as it was understood, else as it was written.
fn name(call: &Call, text: &str, path: &Result<FilePath, PathError>) {
    match path {
        Ok(path) => call.names(path),
        Err(_) => call.facts.names(text),
    }
}

/// Who calls, and that they may do this here. v0.1 decided both before it looked at method or path.
async fn admit(
    call: &Call,
    target: &Target,
    verb: Verb,
    permission: &'static str,
) -> Result<Caller, TextFailure> {
    let caller = caller::for_v0(call).await?;
    let root = FilePath::root();
    match caller.may(verb, target.path.as_ref().unwrap_or(&root)) {
        Ok(_) => Ok(caller),
        Err(_) => Err(TextFailure::new(
            StatusCode::FORBIDDEN,
            texts::permission_denied(permission),
        )),
    }
}

fn demand_method(call: &Call, method: &Method) -> Result<(), TextFailure> {
    if call.method == *method {
        return Ok(());
    }
    Err(TextFailure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        texts::METHOD_NOT_ALLOWED,
    ))
}

/// An unusable path in v0.1's words.
fn path_text(error: &PathError, text: &str) -> String {
    match error {
        PathError::Traversal(_) => {
            texts::path_traversal(&gfl_api::path::Shown::new(text).to_string())
        }
        _ => error.to_string(),
    }
}

/// A core error: what v0.1 never told apart is `usual`, with `text` around the message; the rest keeps the status
/// it has in v1, so that clients and proxies can tell "later" from "never".
fn failure(
    error: &Error,
    usual: StatusCode,
    permission: &str,
    text: impl Fn(&str) -> String,
) -> TextFailure {
    let status = match error.kind() {
        Kind::Forbidden => {
            return TextFailure::new(StatusCode::FORBIDDEN, texts::permission_denied(permission));
        }
        Kind::Unauthenticated
        | Kind::DigestMismatch
        | Kind::LengthMismatch
        | Kind::TooLarge
        | Kind::StorageFull
        | Kind::ReadOnlyStorage
        | Kind::OutcomeUnknown
        | Kind::Busy
        | Kind::Unavailable
        | Kind::ClientGone => {
            StatusCode::from_u16(status_of(code_of(error.kind()))).unwrap_or(usual)
        }
        Kind::Invalid
        | Kind::InvalidPath
        | Kind::ReservedPath
        | Kind::NotFound
        | Kind::UploadGone
        | Kind::AlreadyExists
        | Kind::IsADirectory
        | Kind::NotADirectory
        | Kind::NotEmpty
        | Kind::Conflict
        | Kind::OffsetMismatch
        | Kind::RangeOverlap
        | Kind::UploadIncomplete
        | Kind::NameCollision
        | Kind::PreconditionFailed
        | Kind::NameNotStorable
        | Kind::StoragePermission
        | Kind::RangeNotSatisfiable
        | Kind::Internal => usual,
    };
    TextFailure {
        status,
        text: text(error.message()),
        cause: causes(error),
    }
}

/// A success text: no newline, and the type that Go sniffed.
fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::full(text));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// A JSON answer.
fn json(body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::full(body));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
