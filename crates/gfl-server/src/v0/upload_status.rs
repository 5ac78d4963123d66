//! `GET /upload/status`: which chunks of an unfinished upload are there.

use super::{Answer, Target, admit, demand_method, failure, json, path_text};
use crate::problem::TextFailure;
use crate::server::Call;
use gfl_api::v0::{UploadStatus, json_body, texts};
use gfl_core::auth::Verb;
use http::{Method, StatusCode};

pub(super) async fn answer(call: &Call) -> Answer {
    let target = Target::of(call);
    let caller = admit(call, &target, Verb::Create, "upload").await?;
    demand_method(call, &Method::GET)?;
    if target.text.is_empty() {
        return Err(TextFailure::new(
            StatusCode::BAD_REQUEST,
            texts::PATH_REQUIRED,
        ));
    }
    let usual = StatusCode::INTERNAL_SERVER_ERROR;
    let path = target.path.map_err(|error| {
        TextFailure::new(
            usual,
            texts::status_failed(&path_text(&error, &target.text)),
        )
    })?;
    let status = call
        .app()
        .v0_status(&caller, &path)
        .await
        .map_err(|error| failure(&error, usual, "upload", texts::status_failed))?;
    let body = status.map_or_else(UploadStatus::default, |status| {
        UploadStatus::of(status.received)
    });
    Ok(json(json_body(&body)))
}
