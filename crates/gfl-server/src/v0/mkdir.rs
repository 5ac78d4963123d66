//! `POST /mkdir`: a directory with its parents.

use super::{Answer, Target, admit, demand_method, failure, path_text, text};
use crate::problem::TextFailure;
use crate::server::Call;
use gfl_api::v0::texts;
use gfl_core::auth::Verb;
use http::{Method, StatusCode};

pub(super) async fn answer(call: &Call) -> Answer {
    let target = Target::of(call);
    let caller = admit(call, &target, Verb::Mkdir, "mkdir").await?;
    demand_method(call, &Method::POST)?;
    if target.text.is_empty() {
        return Err(TextFailure::new(
            StatusCode::BAD_REQUEST,
            texts::PATH_PARAMETER_REQUIRED,
        ));
    }
    let usual = StatusCode::INTERNAL_SERVER_ERROR;
    let path = target.path.map_err(|error| {
        TextFailure::new(usual, texts::mkdir_failed(&path_text(&error, &target.text)))
    })?;
    // 201 also when it was there: v0.1 did not tell.
    call.app()
        .mkdir(&caller, &path)
        .await
        .map_err(|error| failure(&error, usual, "mkdir", texts::mkdir_failed))?;
    Ok(text(
        StatusCode::CREATED,
        texts::created_directory(&target.text),
    ))
}
