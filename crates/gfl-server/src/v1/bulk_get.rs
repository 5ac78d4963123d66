//! `POST /v1/bulk/get`: many small files in one answer, in the order asked for.

use super::answers::read_json;
use super::fields;
use crate::body::{Body, BodyError, FileBody};
use crate::budget::Member;
use crate::caller;
use crate::facts::Facts;
use crate::problem::{Failure, Outcome};
use crate::server::{Call, Server};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use gfl_api::frames::{self, ErrorFrame, FileHeader};
use gfl_api::http::TYPE_BULK;
use gfl_api::limits::{BULK_FILE_BYTES_MAX, BULK_GET_PATHS_MAX, GROUP_BYTES};
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::{AtMost, BulkGetPath, Members, Strict};
use gfl_core::auth::Caller;
use gfl_core::files::{Node, OpenFile};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Files opened ahead of the one that is being sent.
const OPEN_AHEAD_FILES: usize = 8;
/// A file up to this size is read when it is opened and sent together with its frame.
const READ_AT_ONCE_BYTES_MAX: u64 = GROUP_BYTES;
/// The status of a file that the caller has already.
const NOT_MODIFIED: u16 = 304;

/// Answers a bulk get.
pub(super) async fn route(mut call: Call) -> Outcome {
    call.route("/v1/bulk/get");
    let caller = caller::for_v1(&call).await?;
    if call.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    let wanted = wanted(read_json(call.take_body()).await?)?;
    call.facts.many();
    let getter = Arc::new(Getter {
        server: Arc::clone(&call.server),
        caller,
        facts: Arc::clone(&call.facts),
        member: call.server.budget.join(),
    });
    let files = stream::iter((0..).zip(wanted))
        .map(move |(index, wanted)| {
            let getter = Arc::clone(&getter);
            async move { getter.frame(index, wanted).await }
        })
        .buffered(OPEN_AHEAD_FILES)
        .flat_map(Frame::into_stream);
    let begin = stream::iter([Ok(Bytes::from_static(frames::MAGIC))]);
    let end = stream::iter([Ok(frames::encode_end())]);
    let mut answer = Response::new(Body::stream(Box::pin(begin.chain(files).chain(end))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE_BULK));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The body of a request, [`gfl_api::v1::BulkGetRequest`] on the wire.
#[derive(Deserialize)]
struct Request {
    paths: AtMost<Strict<BulkGetPath>, BULK_GET_PATHS_MAX>,
}

impl Members for Request {
    const MEMBERS: &'static [&'static str] = &["paths"];
}

/// What is asked for. A malformed request is refused whole: its answer would be a stream.
fn wanted(request: Strict<Request>) -> Outcome<Vec<BulkGetPath>> {
    fields::refuse_unknown(&request, "the body")?;
    let paths = request.value.paths;
    if paths.more {
        return Err(Failure::new(
            Code::TooLarge,
            format!("a bulk get has at most {BULK_GET_PATHS_MAX} paths, send several"),
        ));
    }
    let check = |(index, wanted): (usize, Strict<BulkGetPath>)| {
        let place = format!("paths[{index}]");
        fields::refuse_unknown(&wanted, &place)?;
        if !wanted.has("path") {
            return Err(fields::missing(&place, "path", "name a file"));
        }
        Ok(wanted.value)
    };
    paths.items.into_iter().enumerate().map(check).collect()
}

struct Getter {
    server: Arc<Server>,
    caller: Caller,
    facts: Arc<Facts>,
    member: Member,
}

/// A frame with its content, which is still to be read when it is large.
struct Frame {
    bytes: Bytes,
    content: Option<FileBody>,
}

impl Frame {
    fn into_stream(self) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> {
        let content = stream::unfold(self.content, |content| async move {
            let mut content = content?;
            let piece = std::future::poll_fn(|cx| content.poll_piece(cx)).await?;
            Some((piece, Some(content)))
        });
        stream::iter([Ok(self.bytes)]).chain(content)
    }
}

impl Getter {
    /// The frame of one path; what fails becomes an error frame and stops no other.
    async fn frame(&self, index: u32, wanted: BulkGetPath) -> Frame {
        match self.open(index, &wanted).await {
            Ok(frame) => {
                self.facts.many().done();
                frame
            }
            Err(failure) => {
                let status = failure.status();
                let problem = failure.into_problem(&self.facts.id);
                self.facts
                    .many()
                    .failed(&wanted.path, problem.code.as_str());
                error_frame(
                    index,
                    wanted.path,
                    status,
                    problem.code.as_str(),
                    problem.detail,
                )
            }
        }
    }

    async fn open(&self, index: u32, wanted: &BulkGetPath) -> Outcome<Frame> {
        let path = FilePath::parse(&wanted.path)?;
        let file = self.server.app.open_file(&self.caller, &path, None).await?;
        let Node::File { size, b3, .. } = file.stat.node else {
            return Err(Failure::new(
                Code::IsADirectory,
                format!("{path}: is a directory"),
            ));
        };
        if size > BULK_FILE_BYTES_MAX {
            return Err(Failure::new(
                Code::TooLarge,
                format!(
                    "{path}: has {size} bytes, more than a bulk stream takes; get it by itself"
                ),
            ));
        }
        if b3.is_some() && wanted.b3 == b3.map(|b3| b3.to_string()) {
            let path = wanted.path.clone();
            return Ok(error_frame(index, path, NOT_MODIFIED, "not-modified", None));
        }
        let header = frames::encode_file(&FileHeader {
            index,
            path: wanted.path.clone(),
            size,
            mtime_ns: Some(file.stat.mtime_ns),
            mode: Some(file.stat.mode),
            b3,
            create_only: false,
        })
        .map_err(|error| Failure::new(Code::InvalidPath, error.to_string()))?;
        self.content(header, &file, size).await
    }

    async fn content(&self, header: Bytes, file: &OpenFile, size: u64) -> Outcome<Frame> {
        let lease = self.member.piece(size.max(1));
        if size > READ_AT_ONCE_BYTES_MAX || (lease.bytes() as u64) < size {
            drop(lease);
            let content = Arc::clone(&file.content);
            let content = FileBody::new(content, 0, size, &self.server.budget);
            return Ok(Frame {
                bytes: header,
                content: Some(content),
            });
        }
        let mut bytes = BytesMut::from(header);
        if size > 0 {
            let data = file.content.read_at(0, lease.bytes()).await?;
            if data.len() as u64 != size || !file.content.unchanged().await? {
                let path = &file.stat.path;
                let why = format!("{path}: was changed while it was read, get it again");
                return Err(Failure::new(Code::Conflict, why));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Frame {
            bytes: lease.attach(bytes.freeze()),
            content: None,
        })
    }
}

fn error_frame(index: u32, path: String, status: u16, code: &str, detail: Option<String>) -> Frame {
    let detail = detail.unwrap_or_default();
    let frame = ErrorFrame {
        index,
        path,
        status,
        code: code.to_owned(),
        detail,
    };
    Frame {
        bytes: frames::encode_error(&frame),
        content: None,
    }
}
