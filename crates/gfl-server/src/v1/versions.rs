//! `/v1/versions/{path}`: what a path was before, and bringing it back.

use super::answers::{entry, json, time_ms};
use super::{fields, files};
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::http::format_mtime;
use gfl_api::path::FilePath;
use gfl_api::v1::{EntryType, Version, VersionList, VersionState};
use gfl_core::files::{KeptReason, VersionInfo, VersionMark, VersionsQuery};
use gfl_core::id::Key;
use gfl_core::limits::VERSIONS_PAGE_MAX;
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
            let ask = VersionsQuery {
                path,
                of_directory: is_dir,
                after: query.get("cursor").map(parse_cursor).transpose()?,
                limit: fields::limit(&query, VERSIONS_PAGE_MAX, VERSIONS_PAGE_MAX)?,
            };
            let page = call.app().versions(&caller, &ask).await?;
            Ok(json(
                StatusCode::OK,
                &VersionList {
                    versions: page.versions.iter().map(version).collect(),
                    next: page.next.as_ref().map(cursor),
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

/// Stands in a cursor for the time of what is current.
const CURRENT: &str = "current";

/// A place in the list as clients carry it: when it was retired, and the id.
fn cursor(mark: &VersionMark) -> String {
    match mark.retired_ms {
        Some(ms) => format!("{ms}.{}", mark.id),
        None => format!("{CURRENT}.{}", mark.id),
    }
}

fn parse_cursor(text: &str) -> Outcome<VersionMark> {
    let parse = || {
        let (when, id) = text.split_once('.')?;
        let retired_ms = match when {
            CURRENT => None,
            ms => Some(ms.parse().ok()?),
        };
        let id = Key::parse(id)?;
        Some(VersionMark { retired_ms, id })
    };
    parse().ok_or_else(|| Failure::invalid("the cursor is not one of this list, begin it anew"))
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
        mtime: info.mtime_ns.map(format_mtime),
        state: if info.kept.is_some() {
            VersionState::Kept
        } else {
            VersionState::Current
        },
        kept_reason: info.kept.map(|reason| reason_text(reason).to_owned()),
        uploaded: info.uploaded_ms.map(time_ms),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back() {
        let id = Key::parse("0123456789abcdefghjkmnpqrs").unwrap();
        for retired_ms in [None, Some(0), Some(1_800_000_000_000)] {
            let id = id.clone();
            let mark = VersionMark { retired_ms, id };
            assert_eq!(parse_cursor(&cursor(&mark)).unwrap(), mark);
        }
        for bad in [
            "",
            "5",
            "x.y",
            "5.short",
            "current",
            ".0123456789abcdefghjkmnpqrs",
        ] {
            assert!(parse_cursor(bad).is_err(), "{bad}");
        }
    }
}
