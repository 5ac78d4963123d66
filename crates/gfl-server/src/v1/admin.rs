//! `GET /v1/admin/check`: how the server is, for `gfl-admin doctor`.

use super::answers::{json, time_ms};
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use crate::tell::process::Process;
use gfl_api::v1::AdminCheck;
use http::{Method, StatusCode};

/// Answers it.
pub(super) async fn check(call: Call) -> Outcome {
    call.route("/v1/admin/check");
    let caller = caller::for_v1(&call).await?;
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Failure::method("GET, HEAD"));
    }
    let found = call.app().examine(&caller).await?;
    let gauges = call.app().gauges();
    let process = Process::now();
    let check = AdminCheck {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        time: time_ms(call.app().now_ms()),
        draining: call.server.is_draining(),
        storage_trouble: found.storage_trouble,
        catalog_engine: found.engine.to_owned(),
        catalog_schema: found.schema,
        catalog_damage: found.catalog_damage,
        files_open: process.fds_open,
        files_max: process.fds_max,
        uploads_open: gauges.uploads_open as u64,
        access_dropped: gauges.access_dropped,
    };
    Ok(json(StatusCode::OK, &check))
}
