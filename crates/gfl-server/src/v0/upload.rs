//! `POST /upload`: one chunk in JSON. Decoded while it arrives, so that no chunk is ever whole in memory.

use super::{Answer, demand_method, failure, path_text, text};
use crate::caller::{self, may_somewhere};
use crate::facts::logged;
use crate::incoming;
use crate::problem::TextFailure;
use crate::server::Call;
use bytes::Bytes;
use gfl_api::limits::V0_CHUNKS_MAX;
use gfl_api::path::{FilePath, PathError};
use gfl_api::v0::{UploadDecoder, UploadMessage, V0Error, checksum_to_verify, texts};
use gfl_core::app::Spool;
use gfl_core::auth::{Caller, Verb};
use gfl_core::files::{BodyBroken, Committed, Node, V0Chunk};
use http::{Method, StatusCode};

const PERMISSION: &str = "upload";

pub(super) async fn answer(mut call: Call) -> Answer {
    let caller = caller::for_v0(&call).await?;
    if !may_somewhere(&caller, Verb::Create) {
        let text = texts::permission_denied(PERMISSION);
        return Err(TextFailure::new(StatusCode::FORBIDDEN, text));
    }
    demand_method(&call, &Method::POST)?;
    let (message, spool) = receive(&mut call, &caller).await?;
    let path = FilePath::parse_v0(&message.path);
    super::name(&call, &message.path, &path);
    let chunk = check(&message, path)?;
    let (id, total) = (message.chunk_id, message.total);
    let done = call
        .app()
        .v0_chunk(&caller, chunk, spool)
        .await
        .map_err(|error| {
            // The core words its messages as v0.1 did where it had the same error.
            failure(
                &error,
                StatusCode::INTERNAL_SERVER_ERROR,
                PERMISSION,
                str::to_owned,
            )
        })?;
    if let Some(done) = done {
        log_saved(&call, &done);
    }
    Ok(text(StatusCode::OK, texts::chunk_received(id, total)))
}

/// Decodes the body; the chunk's bytes go to the spool on the way.
async fn receive(call: &mut Call, caller: &Caller) -> Result<(UploadMessage, Spool), TextFailure> {
    let write_failed = |error: gfl_core::Error| {
        failure(
            &error,
            StatusCode::INTERNAL_SERVER_ERROR,
            PERMISSION,
            texts::chunk_write_failed,
        )
    };
    let mut spool = call.app().v0_spool(caller).map_err(write_failed)?;
    let mut decoder = UploadDecoder::new();
    let mut body = call.take_body().into_stream();
    while let Some(piece) = incoming::next(&mut body).await {
        let piece =
            piece.map_err(|BodyBroken(why)| TextFailure::new(StatusCode::REQUEST_TIMEOUT, why))?;
        let mut decoded = Vec::new();
        decoder.push(&piece, &mut decoded).map_err(bad_body)?;
        if !decoded.is_empty() {
            spool
                .write(Bytes::from(decoded))
                .await
                .map_err(write_failed)?;
        }
    }
    Ok((decoder.finish().map_err(bad_body)?, spool))
}

fn bad_body(error: V0Error) -> TextFailure {
    let status = match error {
        V0Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    TextFailure::new(status, error.to_string())
}

/// What v0.1 noticed only after it had stored everything, now before.
fn check(
    message: &UploadMessage,
    path: Result<FilePath, PathError>,
) -> Result<V0Chunk, TextFailure> {
    let refuse = |text| TextFailure::new(StatusCode::INTERNAL_SERVER_ERROR, text);
    let path = path.map_err(|error| {
        let cause = format!("storage failed: {}", path_text(&error, &message.path));
        refuse(texts::reassembly_failed(&cause))
    })?;
    let numbers = || {
        let total = u32::try_from(message.total).ok()?;
        let chunk_id = u32::try_from(message.chunk_id).ok()?;
        (chunk_id < total && u64::from(total) <= V0_CHUNKS_MAX).then_some((chunk_id, total))
    };
    let (chunk_id, total) = numbers()
        .ok_or_else(|| refuse(texts::invalid_chunk_id(message.chunk_id, message.total)))?;
    Ok(V0Chunk {
        path,
        chunk_id,
        total,
        sha256: checksum_to_verify(&message.checksum),
    })
}

/// v0.1 printed this line to stdout.
fn log_saved(call: &Call, done: &Committed) {
    if let Node::File { size, .. } = &done.stat.node {
        call.facts.stores(*size, None);
        let path = logged(done.stat.path.as_str());
        tracing::info!("File saved: {path} ({size} bytes)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &UploadMessage) -> Result<V0Chunk, TextFailure> {
        super::check(message, FilePath::parse_v0(&message.path))
    }

    fn message(path: &str, chunk_id: i64, total: i64) -> UploadMessage {
        UploadMessage {
            path: path.into(),
            chunk_id,
            total,
            checksum: String::new(),
        }
    }

    #[test]
    fn numbers_and_paths_are_checked_before_anything_is_kept() {
        let good = check(&message("/a/../b", 1, 2)).unwrap();
        assert_eq!((good.path.as_str(), good.chunk_id, good.total), ("b", 1, 2));
        for (id, total) in [
            (0, 0),
            (2, 2),
            (-1, 2),
            (0, -1),
            (0, 1 << 40),
            (0, 1_000_001),
        ] {
            let refused = check(&message("a", id, total)).unwrap_err();
            assert_eq!(refused.status, 500);
            assert_eq!(refused.text, texts::invalid_chunk_id(id, total));
        }
        let refused = check(&message("../x", 0, 1)).unwrap_err();
        assert_eq!(
            refused.text,
            "reassembly failed: storage failed: invalid path: storage error [../x]: path traversal attempt detected"
        );
    }
}
