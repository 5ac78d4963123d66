//! `DELETE /delete`: a file, or a directory with all it holds. Kept for undo; the root is refused.

use super::{Answer, Target, admit, demand_method, failure, path_text, text};
use crate::problem::TextFailure;
use crate::server::Call;
use gfl_api::v0::texts;
use gfl_core::Kind;
use gfl_core::auth::Verb;
use gfl_core::files::Delete;
use http::{Method, StatusCode};

pub(super) async fn answer(call: &Call) -> Answer {
    let target = Target::of(call);
    let caller = admit(call, &target, Verb::Delete, "delete").await?;
    demand_method(call, &Method::DELETE)?;
    if target.text.is_empty() {
        return Err(TextFailure::new(
            StatusCode::BAD_REQUEST,
            texts::PATH_PARAMETER_REQUIRED,
        ));
    }
    let usual = StatusCode::INTERNAL_SERVER_ERROR;
    let refuse = |cause: &str| TextFailure::new(usual, texts::delete_failed(cause));
    let path = target
        .path
        .map_err(|error| refuse(&path_text(&error, &target.text)))?;
    if path.is_root() {
        // v0.1 removed the whole storage folder here.
        let shown = gfl_api::path::Shown::new(&target.text);
        return Err(refuse(&format!(
            "storage error [{shown}]: the root cannot be deleted"
        )));
    }
    let how = Delete {
        recursive: true,
        ..Delete::default()
    };
    call.app()
        .delete(&caller, &path, &how)
        .await
        .map_err(|error| match error.kind() {
            Kind::NotFound => refuse(&texts::does_not_exist(&target.text)),
            _ => failure(&error, usual, "delete", texts::delete_failed),
        })?;
    Ok(text(StatusCode::OK, texts::deleted(&target.text)))
}
