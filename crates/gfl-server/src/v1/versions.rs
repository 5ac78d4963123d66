//! `/v1/versions/{path}`: what a path was before, and bringing it back.

use super::answers::{entry, json, time_ms};
use super::{fields, files};
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::http::format_mtime;
use gfl_api::limits::{LIST_PAGE_ENTRIES_DEFAULT, LIST_PAGE_ENTRIES_MAX};
use gfl_api::path::FilePath;
use gfl_api::v1::{EntryType, Version, VersionList, VersionState};
use gfl_core::files::{KeptReason, VersionInfo};
use http::{Method, StatusCode};

/// Answers a request for what is below `/v1/versions/`.
pub(super) async fn route(call: Call, rest: &str) -> Outcome {
    call.route("/v1/versions/{path}");
    let caller = caller::for_v1(&call).await?;
    let (path, is_dir) = FilePath::from_url(rest)?;
    call.names(&path);
    let query = fields::query(&call)?;
    match call.method {
        Method::GET | Method::HEAD => {
            let limit = fields::limit(&query, LIST_PAGE_ENTRIES_DEFAULT, LIST_PAGE_ENTRIES_MAX)?;
            let versions = call.app().versions(&caller, &path, is_dir, limit).await?;
            let versions = versions.iter().map(version).collect();
            Ok(json(
                StatusCode::OK,
                &VersionList {
                    versions,
                    next: None,
                },
            ))
        }
        Method::POST => {
            let wanted = query.get("restore").map(files::version).transpose()?;
            let stat = call.app().restore(&caller, &path, wanted.as_ref()).await?;
            Ok(json(StatusCode::OK, &entry(&stat, true)))
        }
        _ => Err(Failure::method("GET, HEAD, POST")),
    }
}

fn version(info: &VersionInfo) -> Version {
    Version {
        id: info.id.as_str().to_owned(),
        path: info.path.as_str().to_owned(),
        kind: if info.is_dir {
            EntryType::Dir
        } else {
            EntryType::File
        },
        size: info.size,
        b3: info.b3.map(|b3| b3.to_string()),
        mtime: Some(format_mtime(info.mtime_ns)),
        state: if info.kept.is_some() {
            VersionState::Kept
        } else {
            VersionState::Current
        },
        kept_reason: info.kept.map(|reason| reason_text(reason).to_owned()),
        uploaded: Some(time_ms(info.uploaded_ms)),
        retired: info.retired_ms.map(time_ms),
        by: Some(info.by.clone()).filter(|by| !by.is_empty()),
    }
}

fn reason_text(reason: KeptReason) -> &'static str {
    match reason {
        KeptReason::Replaced => "replaced",
        KeptReason::Deleted => "deleted",
        KeptReason::Edited => "edited",
    }
}
