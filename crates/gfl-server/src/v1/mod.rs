//! The v1 surface: `/v1/…`, problem+json errors. Each file decodes one resource's requests, makes one call into the
//! application and encodes what comes back; what is allowed and what happens is the application's business.

mod admin;
mod answers;
mod batch;
mod bulk_get;
mod bulk_put;
mod fields;
mod files;
mod held;
mod identity;
mod list;
mod meta;
mod stats;
mod uploads;
mod versions;

use crate::body::Body;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::problem::Code;
use http::Response;
pub use stats::{access_entry, usage_entry};

/// Answers a request below `/v1/`; `rest` is the raw target behind that.
pub async fn route(call: Call, rest: &str) -> Response<Body> {
    let id = call.facts.id.clone();
    match dispatch(call, rest).await {
        Ok(answer) => answer,
        Err(failure) => failure.into_answer(&id),
    }
}

async fn dispatch(call: Call, rest: &str) -> Outcome {
    let (resource, below) = match rest.split_once('/') {
        Some((resource, below)) => (resource, Some(below)),
        None => (rest, None),
    };
    match (resource, below) {
        ("", None) => identity::capabilities(&call),
        ("me", None) => identity::me(&call).await,
        ("files", below) => files::route(call, below.unwrap_or_default()).await,
        ("stats", None) => stats::stats(call).await,
        ("admin", Some("check")) => admin::check(call).await,
        ("access", None) => stats::access(call).await,
        ("uploads", None | Some("")) => uploads::collection(call).await,
        ("uploads", Some(id)) => uploads::one(call, id).await,
        ("bulk", None) => bulk_put::route(call).await,
        ("bulk", Some("get")) => bulk_get::route(call).await,
        ("batch", None) => batch::route(call).await,
        ("meta", below) => meta::route(call, below.unwrap_or_default()).await,
        ("versions", below) => versions::route(call, below.unwrap_or_default()).await,
        _ => Err(Failure::new(
            Code::NotFound,
            "v1 has no such resource; GET /v1/ tells what it has",
        )),
    }
}
