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
    let facts = std::sync::Arc::clone(&call.facts);
    match dispatch(call, rest).await {
        Ok(answer) => answer,
        Err(failure) => failure.about(facts.named()).into_answer(&facts.id),
    }
}

async fn dispatch(call: Call, rest: &str) -> Outcome {
    let (resource, below) = match rest.split_once('/') {
        Some((resource, below)) => (resource, Some(below)),
        None => (rest, None),
    };
    match (resource, below) {
        ("", None) => identity::capabilities(&call),
        ("me", None) => Box::pin(identity::me(&call)).await,
        ("files", below) => Box::pin(files::route(call, below.unwrap_or_default())).await,
        ("stats", None) => Box::pin(stats::stats(call)).await,
        ("admin", Some("check")) => Box::pin(admin::check(call)).await,
        ("access", None) => Box::pin(stats::access(call)).await,
        ("uploads", None | Some("")) => Box::pin(uploads::collection(call)).await,
        ("uploads", Some(id)) => Box::pin(uploads::one(call, id)).await,
        ("bulk", None) => Box::pin(bulk_put::route(call)).await,
        ("bulk", Some("get")) => Box::pin(bulk_get::route(call)).await,
        ("batch", None) => Box::pin(batch::route(call)).await,
        ("meta", below) => Box::pin(meta::route(call, below.unwrap_or_default())).await,
        ("versions", below) => Box::pin(versions::route(call, below.unwrap_or_default())).await,
        _ => Err(Failure::new(
            Code::NotFound,
            "v1 has no such resource; GET /v1/ tells what it has",
        )),
    }
}
