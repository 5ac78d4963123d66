//! `GET /v1/` and `GET /v1/me`: what this server can do, and who is asking.

use super::answers::{json, time_ms};
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::limits::{
    BATCH_OPS_MAX, BULK_FILE_BYTES_MAX, GROUP_BYTES, LIST_PAGE_ENTRIES_MAX, PART_BYTES_MAX,
};
use gfl_api::v1::{Capabilities, CapabilityLimits, Me};
use http::{Method, StatusCode};

/// The upload protocols spoken.
const UPLOADS: &[&str] = &["native"];
/// What clients may ask for.
const FEATURES: &[&str] = &["bulk", "batch", "versions", "meta"];

/// `GET /v1/`, without authentication: it tells nothing about what is stored.
pub(super) fn capabilities(call: &Call) -> Outcome {
    call.route("/v1/");
    only_get(call)?;
    let settings = call.app().settings();
    let body = Capabilities {
        name: Capabilities::NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: 1,
        uploads: UPLOADS.iter().map(|s| (*s).to_owned()).collect(),
        features: FEATURES.iter().map(|s| (*s).to_owned()).collect(),
        limits: CapabilityLimits {
            file_bytes_max: settings.max_file_bytes,
            bulk_file_bytes_max: BULK_FILE_BYTES_MAX,
            part_bytes_max: PART_BYTES_MAX,
            group_bytes: GROUP_BYTES,
            list_page_entries_max: LIST_PAGE_ENTRIES_MAX as u64,
            batch_ops_max: BATCH_OPS_MAX as u64,
            upload_expiry_s: u64::try_from(settings.upload_expiry_ms / 1000).unwrap_or(0),
        },
    };
    Ok(json(StatusCode::OK, &body))
}

/// `GET /v1/me`.
pub(super) async fn me(call: &Call) -> Outcome {
    call.route("/v1/me");
    let caller = caller::for_v1(call).await?;
    only_get(call)?;
    let mut permissions: Vec<String> = Vec::new();
    for name in caller
        .rules()
        .iter()
        .filter(|rule| rule.allow)
        .flat_map(|rule| &rule.permissions)
    {
        if !permissions.contains(name) {
            permissions.push(name.clone());
        }
    }
    let body = Me {
        user: caller.user().to_owned(),
        token: caller.token().map(str::to_owned),
        permissions,
        expires: caller.expires_ms().map(time_ms),
    };
    Ok(json(StatusCode::OK, &body))
}

fn only_get(call: &Call) -> Outcome<()> {
    match call.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Failure::method("GET, HEAD")),
    }
}
