//! `/v1/meta/{path}`: what a path is, and changing its time and mode. The root included.

use super::answers::{entry, json, read_json};
use super::fields;
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::http::TYPE_MERGE_PATCH;
use gfl_api::path::FilePath;
use gfl_api::v1::{MetaPatch, Strict};
use gfl_core::files::{FileMeta, Stat};
use http::header::{ETAG, HeaderName};
use http::{Method, Response, StatusCode};

/// Answers a request for what is below `/v1/meta/`.
pub(super) async fn route(mut call: Call, rest: &str) -> Outcome {
    call.route("/v1/meta/{path}");
    let caller = caller::for_v1(&call).await?;
    let (path, _) = FilePath::from_url(rest)?;
    call.names(&path);
    match call.method {
        Method::GET | Method::HEAD => Ok(answer(&call.app().stat(&caller, &path).await?)),
        Method::PATCH => {
            fields::demand_type(
                &call,
                TYPE_MERGE_PATCH,
                HeaderName::from_static("accept-patch"),
            )?;
            let patch: Strict<MetaPatch> = read_json(call.take_body()).await?;
            fields::refuse_unknown(&patch, "the patch")?;
            let meta = changes(patch.value)?;
            Ok(answer(&call.app().set_meta(&caller, &path, &meta).await?))
        }
        _ => Err(Failure::method("GET, HEAD, PATCH")),
    }
}

fn answer(stat: &Stat) -> Response<crate::body::Body> {
    let mut answer = json(StatusCode::OK, &entry(stat, true));
    if let Some(etag) = stat.etag() {
        crate::content::set(answer.headers_mut(), ETAG, etag);
    }
    answer
}

/// A member that is null cannot be forgotten: a file always has a time and a mode.
fn changes(patch: MetaPatch) -> Outcome<FileMeta> {
    let given = |member: Option<Option<String>>, name: &str| match member {
        None => Ok(None),
        Some(Some(text)) => Ok(Some(text)),
        Some(None) => Err(Failure::invalid(format!(
            "{name} cannot be removed, give a value"
        ))),
    };
    Ok(FileMeta {
        mtime_ns: given(patch.mtime, "mtime")?
            .map(|text| fields::mtime(&text))
            .transpose()?,
        mode: given(patch.mode, "mode")?
            .map(|text| fields::mode(&text))
            .transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches() {
        let read = |text: &str| changes(serde_json::from_str(text).unwrap());
        let meta = read(r#"{"mode":"0600","mtime":"1970-01-01T00:00:01Z"}"#).unwrap();
        assert_eq!(
            (meta.mode, meta.mtime_ns),
            (Some(0o600), Some(1_000_000_000))
        );
        let nothing = read("{}").unwrap();
        assert_eq!((nothing.mode, nothing.mtime_ns), (None, None));
        for bad in [
            r#"{"mode":null}"#,
            r#"{"mode":"rw"}"#,
            r#"{"mtime":"yesterday"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
