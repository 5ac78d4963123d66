//! The table of contents: which target belongs to whom. Decides by path only; methods are each resource's business.

use crate::body::Body;
use crate::problem::TextFailure;
use crate::server::Call;
use crate::tell::metrics;
use crate::{health, query, updates, v0, v1};
use gfl_api::v0::texts;
use http::{Response, StatusCode};

/// Answers any request. What answers is boxed: a request that takes long carries its own state and no other's.
pub async fn route(call: Call) -> Response<Body> {
    let target = call.uri().path().to_owned();
    if target == "/v1" {
        return v1::route(call, "").await;
    }
    if let Some(rest) = target.strip_prefix("/v1/") {
        return v1::route(call, rest).await;
    }
    // v0.1's mux compared decoded paths, and sent everything else to the cleaned one.
    let Some(path) = query::decode_path(&target).filter(|path| path.starts_with('/')) else {
        return not_found(&call);
    };
    let cleaned = v0::redirect::clean(&path);
    if cleaned != path {
        return v0::redirect::answer(&call, &cleaned);
    }
    match path.as_str() {
        "/livez" => health::live(&call),
        "/readyz" | "/healthz" => health::ready(&call).await,
        "/metrics" => Box::pin(metrics::answer(&call)).await,
        "/upload" => Box::pin(v0::upload(call)).await,
        "/upload/status" => Box::pin(v0::upload_status(call)).await,
        "/download" => Box::pin(v0::download(call)).await,
        "/list" => Box::pin(v0::list(call)).await,
        "/delete" => Box::pin(v0::delete(call)).await,
        "/mkdir" => Box::pin(v0::mkdir(call)).await,
        "/config" => v0::config(&call),
        "/auth/challenge" => v0::auth_challenge(&call),
        updates::MANIFEST | updates::SIGNATURE => updates::answer(&call).await,
        _ => not_found(&call),
    }
}

pub(crate) fn not_found(call: &Call) -> Response<Body> {
    TextFailure::new(StatusCode::NOT_FOUND, texts::PAGE_NOT_FOUND).into_answer(&call.facts.id)
}
