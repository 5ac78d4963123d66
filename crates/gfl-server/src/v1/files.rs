//! `/v1/files/{path}`: read, store and delete a file; with a trailing `/`: list, make and remove a directory.

use super::answers::{committed, empty};
use super::{fields, list};
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use crate::{caller, content};
use gfl_api::http::ContentRange;
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_core::auth::Caller;
use gfl_core::files::{Delete, Node, Preconditions, Put};
use gfl_core::id::Key;
use http::header::{CACHE_CONTROL, CONTENT_RANGE, HeaderValue};
use http::{Method, StatusCode};

/// Answers a request for what is below `/v1/files/`.
pub(super) async fn route(call: Call, rest: &str) -> Outcome {
    call.route("/v1/files/{path}");
    let caller = caller::for_v1(&call).await?;
    let (path, is_dir) = FilePath::from_url(rest)?;
    call.names(&path);
    match (call.method.clone(), is_dir) {
        (Method::GET | Method::HEAD, false) => get(call, caller, path).await,
        (Method::PUT, false) => put(call, caller, path).await,
        (Method::DELETE, false) => delete(call, caller, path, false).await,
        (Method::GET | Method::HEAD, true) => list::route(call, caller, path).await,
        (Method::PUT, true) => mkdir(call, caller, path).await,
        (Method::DELETE, true) => delete(call, caller, path, true).await,
        _ => Err(Failure::method("GET, HEAD, PUT, DELETE")),
    }
}

async fn get(call: Call, caller: Caller, path: FilePath) -> Outcome {
    let query = fields::query(&call)?;
    let version = query.get("version").map(version).transpose()?;
    let file = call
        .app()
        .open_file(&caller, &path, version.as_ref())
        .await?;
    let answer = content::answer(&call.method, call.headers(), file, &call.server.budget);
    let mut answer = answer.map_err(|why| match why {
        content::NotSent::PreconditionFailed => Failure::new(
            Code::PreconditionFailed,
            format!("{path}: changed since it was last seen, get it anew"),
        ),
        content::NotSent::Unsatisfiable(size) => {
            let failure = Failure::new(
                Code::RangeNotSatisfiable,
                format!("{path}: has {size} bytes, the range lies behind them"),
            );
            match HeaderValue::from_str(&ContentRange::unsatisfied(size).to_string()) {
                Ok(range) => failure.header(CONTENT_RANGE, range),
                Err(_) => failure,
            }
        }
    })?;
    // May be kept, and must be checked before use: the validators make that cheap.
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(answer)
}

/// A version id in a query.
pub(super) fn version(text: &str) -> Outcome<Key> {
    Key::parse(text).ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            "no such version; GET /v1/versions/{path} lists them",
        )
    })
}

async fn put(mut call: Call, caller: Caller, path: FilePath) -> Outcome {
    if call.headers().contains_key(CONTENT_RANGE) {
        // RFC 9110 section 14.5: ignoring it would replace the file by a piece of it.
        return Err(Failure::invalid(
            "PUT stores whole files; send parts to an upload made by POST /v1/uploads",
        ));
    }
    fields::refuse_coding(&call)?;
    let put = Put {
        len: call.body.declared_bytes(),
        meta: fields::meta(&call)?,
        expected: fields::expected(&call, true)?,
        pre: fields::preconditions(&call)?,
        path,
    };
    refuse_early(&call, &caller, &put.path, &put.pre).await?;
    let body = call.take_body().into_stream();
    let done = call.app().put(&caller, put, body).await?;
    if let Node::File { size, .. } = &done.stat.node {
        call.facts.stores(*size, None);
    }
    Ok(committed(&done))
}

/// Refuses what can be seen to fail before the first byte of the body, which then need not be sent at all. The
/// commit decides for good; this only saves the way.
async fn refuse_early(
    call: &Call,
    caller: &Caller,
    path: &FilePath,
    pre: &Preconditions,
) -> Outcome<()> {
    if pre.if_match.is_none() && pre.if_none_match.is_none() {
        return Ok(());
    }
    let stat = match call.app().stat(caller, path).await {
        Ok(stat) => Some(stat),
        Err(error) if error.kind() == gfl_core::Kind::NotFound => None,
        // A caller may write here without being allowed to look.
        Err(_) => return Ok(()),
    };
    let etag = stat.as_ref().and_then(|stat| stat.etag());
    let wanted = pre
        .if_match
        .as_ref()
        .is_none_or(|list| list.matches_strong(etag));
    let unwanted = pre
        .if_none_match
        .as_ref()
        .is_some_and(|list| list.matches_weak(etag));
    if wanted && !unwanted {
        return Ok(());
    }
    Err(Failure::new(
        Code::PreconditionFailed,
        format!("{path}: is not as the request demands, look at it again"),
    ))
}

async fn mkdir(call: Call, caller: Caller, path: FilePath) -> Outcome {
    if call.body.declared_bytes() != Some(0) {
        return Err(Failure::invalid(format!(
            "{path}/: makes a folder, which has no content; a file has no / behind its name"
        )));
    }
    let new = call.app().mkdir(&caller, &path).await?;
    Ok(empty(if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }))
}

async fn delete(call: Call, caller: Caller, path: FilePath, is_dir: bool) -> Outcome {
    let query = fields::query(&call)?;
    if path.is_root() {
        return Err(Failure::new(
            Code::Forbidden,
            "the root cannot be deleted, only what is in it",
        ));
    }
    let how = Delete {
        recursive: is_dir && fields::switch(&query, "recursive")?,
        must_be_dir: Some(is_dir),
        pre: fields::preconditions(&call)?,
    };
    call.app().delete(&caller, &path, &how).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
