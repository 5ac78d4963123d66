//! `GET /version.json` and its signature, for `gfl update --local`: two files of the server's owner, told to
//! everybody. Looks into neither; whoever installs something checks the signature.

use crate::body::Body;
use crate::router::not_found;
use crate::server::Call;
use gfl_api::release::{MANIFEST_BYTES_MAX, SIGNATURE_SUFFIX};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where v0.1's client looks for it.
pub const MANIFEST: &str = "/version.json";
/// Beside it.
pub const SIGNATURE: &str = "/version.json.minisig";

/// Answers for both.
pub async fn answer(call: &Call) -> Response<Body> {
    let is_manifest = call.uri().path() == MANIFEST;
    call.route(if is_manifest { MANIFEST } else { SIGNATURE });
    let Some(manifest) = &call.server.about.updates_file else {
        return not_found(call);
    };
    if !matches!(call.method, Method::GET | Method::HEAD) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    let (file, kind) = if is_manifest {
        (manifest.clone(), "application/json")
    } else {
        (signature_of(manifest), "text/plain; charset=utf-8")
    };
    match tokio::task::spawn_blocking(move || read(&file).map_err(|e| (file, e))).await {
        Ok(Ok(content)) => found(content, kind),
        Ok(Err((file, error))) => {
            tracing::warn!(
                "server.updates_file: cannot read {}: {error}",
                file.display()
            );
            not_found(call)
        }
        Err(_) => not_found(call),
    }
}

fn found(content: Vec<u8>, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::full(content));
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A manifest and the signature of another one do not fit together.
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn signature_of(manifest: &Path) -> PathBuf {
    let mut name = manifest.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    name.into()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let limit = MANIFEST_BYTES_MAX as u64;
    std::fs::File::open(file)?
        .take(limit + 1)
        .read_to_end(&mut content)?;
    if content.len() > MANIFEST_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(content)
}
