//! How an open file is answered: conditions, ranges, header fields. The same for v0 and v1, and pure up to the
//! body, which reads later. Knows no route and no permission.

use crate::body::{Body, FileBody, Segment};
use crate::budget::Budget;
use crate::server::header;
use bytes::Bytes;
use gfl_api::http::{
    ContentRange, GFL_BLAKE3, GFL_MODE, GFL_MTIME, GFL_VERSION, HttpDate, Preconditions,
    REPR_DIGEST, RangeRequest, TYPE_OCTETS, Verdict, format_mode, format_mtime, if_range_holds,
    parse_range, sha256_field,
};
use gfl_core::files::{Node, OpenFile, Stat};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Response, StatusCode};
use std::ops::Range;
use std::sync::Arc;

/// What to answer, decided from the request's fields alone.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    Part(Range<u64>),
    Parts(Vec<Range<u64>>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// Why a file is not sent; each surface words it in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// 412.
    PreconditionFailed,
    /// 416: no byte of the range exists in a file of this size.
    Unsatisfiable(u64),
}

/// The answer to GET or HEAD of an open file. For HEAD the body is dropped later, its length is told.
pub fn answer(
    method: &Method,
    request: &HeaderMap,
    file: OpenFile,
    budget: &Arc<Budget>,
) -> Result<Response<Body>, NotSent> {
    let size = size(&file.stat);
    let mut answer = Response::new(Body::empty());
    describe(answer.headers_mut(), &file.stat);
    let range = |range: &Range<u64>| {
        FileBody::new(Arc::clone(&file.content), range.start, range.end, budget)
    };
    match decide(method, request, &file.stat) {
        Answer::PreconditionFailed => return Err(NotSent::PreconditionFailed),
        Answer::Unsatisfiable => return Err(NotSent::Unsatisfiable(size)),
        Answer::NotModified => {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer.headers_mut().remove(CONTENT_TYPE);
        }
        Answer::Whole => *answer.body_mut() = Body::file(range(&(0..size))),
        Answer::Part(part) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(
                answer.headers_mut(),
                CONTENT_RANGE,
                &ContentRange::of(part.clone(), Some(size)).to_string(),
            );
            *answer.body_mut() = Body::file(range(&part));
        }
        Answer::Parts(parts) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let boundary = boundary();
            let kind = format!("multipart/byteranges; boundary={boundary}");
            set(answer.headers_mut(), CONTENT_TYPE, &kind);
            *answer.body_mut() = multipart(&boundary, &parts, size, range);
        }
    }
    if let Some(len) = answer.body().exact_len()
        && answer.status() != StatusCode::NOT_MODIFIED
    {
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    Ok(answer)
}

fn size(stat: &Stat) -> u64 {
    match &stat.node {
        Node::Dir => 0,
        Node::File { size, .. } => *size,
    }
}

fn decide(method: &Method, request: &HeaderMap, stat: &Stat) -> Answer {
    let field = |name: &str| header(request, name);
    let (if_match, if_none_match) = (field("if-match"), field("if-none-match"));
    let (since, unless) = (field("if-modified-since"), field("if-unmodified-since"));
    let conditions = Preconditions {
        if_match: if_match.as_deref(),
        if_none_match: if_none_match.as_deref(),
        if_modified_since: since.as_deref(),
        if_unmodified_since: unless.as_deref(),
    };
    let mtime_s = Some(HttpDate::from_ns(stat.mtime_ns).0);
    match conditions.evaluate(true, stat.etag(), mtime_s) {
        Verdict::Failed => return Answer::PreconditionFailed,
        Verdict::NotModified => return Answer::NotModified,
        Verdict::Proceed => {}
    }
    // Only GET has ranges (RFC 9110 section 14.2).
    let Some(ranges) = field("range").filter(|_| method == Method::GET) else {
        return Answer::Whole;
    };
    if field("if-range").is_some_and(|condition| !if_range_holds(&condition, stat.etag(), mtime_s))
    {
        return Answer::Whole;
    }
    match parse_range(&ranges, size(stat)) {
        RangeRequest::Ignore => Answer::Whole,
        RangeRequest::Unsatisfiable => Answer::Unsatisfiable,
        RangeRequest::Ranges(ranges) => match <[Range<u64>; 1]>::try_from(ranges) {
            Ok([range]) => Answer::Part(range),
            Err(ranges) => Answer::Parts(ranges),
        },
    }
}

/// The header fields that describe a file.
pub fn describe(headers: &mut HeaderMap, stat: &Stat) {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE_OCTETS));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(
        headers,
        LAST_MODIFIED,
        &HttpDate::from_ns(stat.mtime_ns).to_string(),
    );
    set(
        headers,
        HeaderName::from_static(GFL_MTIME),
        &format_mtime(stat.mtime_ns),
    );
    set(
        headers,
        HeaderName::from_static(GFL_MODE),
        &format_mode(stat.mode),
    );
    if let Node::File {
        version,
        b3,
        sha256,
        etag,
        ..
    } = &stat.node
    {
        set(headers, ETAG, etag);
        if let Some(b3) = b3 {
            set(
                headers,
                HeaderName::from_static(GFL_BLAKE3),
                &b3.to_string(),
            );
        }
        if let Some(sha256) = sha256 {
            set(
                headers,
                HeaderName::from_static(REPR_DIGEST),
                &sha256_field(sha256),
            );
        }
        if let Some(version) = version {
            set(
                headers,
                HeaderName::from_static(GFL_VERSION),
                version.as_str(),
            );
        }
    }
}

/// Sets a field; a value that is none in HTTP is left out.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Several ranges in one body (RFC 9110 section 14.6).
fn multipart(
    boundary: &str,
    parts: &[Range<u64>],
    size: u64,
    range: impl Fn(&Range<u64>) -> FileBody,
) -> Body {
    let mut segments = Vec::with_capacity(parts.len() * 2 + 1);
    for (at, part) in parts.iter().enumerate() {
        let line_before = if at == 0 { "" } else { "\r\n" };
        let content_range = ContentRange::of(part.clone(), Some(size));
        let head = format!(
            "{line_before}--{boundary}\r\nContent-Type: {TYPE_OCTETS}\r\nContent-Range: {content_range}\r\n\r\n"
        );
        segments.push(Segment::Text(Bytes::from(head)));
        segments.push(Segment::File(range(part)));
    }
    segments.push(Segment::Text(Bytes::from(format!(
        "\r\n--{boundary}--\r\n"
    ))));
    Body::segments(segments)
}

/// Random, so that no content can contain it on purpose.
fn boundary() -> String {
    let mut bytes = [0; 16];
    // Without randomness a boundary is guessable, which matters only to who wrote the file.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::path::FilePath;
    use gfl_api::tree::Root;

    /// The 11-byte file of protocols.md, changed at second 1_000_000_000.
    fn stat(size: u64) -> Stat {
        let b3 = Root::of(b"hello world");
        Stat {
            path: FilePath::parse("a").unwrap(),
            node: Node::File {
                size,
                version: None,
                b3: Some(b3),
                sha256: None,
                etag: b3.etag(),
            },
            mtime_ns: 1_000_000_000_500_000_000,
            mode: 0o644,
        }
    }

    fn check(size: u64, fields: &[(&'static str, &str)], want: Answer) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(
            decide(&Method::GET, &headers, &stat(size)),
            want,
            "{fields:?}"
        );
    }

    #[test]
    fn range_vectors() {
        let range = |value| [("range", value)];
        check(11, &range("bytes=0-0"), Answer::Part(0..1));
        check(11, &range("bytes=10-99"), Answer::Part(10..11));
        check(11, &range("bytes=11-"), Answer::Unsatisfiable);
        check(11, &range("bytes=-0"), Answer::Unsatisfiable);
        check(11, &range("bytes=-99"), Answer::Part(0..11));
        check(11, &range("bytes=5-2"), Answer::Whole);
        check(11, &range("items=0-1"), Answer::Whole);
        check(0, &range("bytes=0-"), Answer::Unsatisfiable);
        check(11, &range("bytes=0-4,-5"), Answer::Parts(vec![0..5, 6..11]));
        check(11, &range("bytes=0-4,5-6"), Answer::Part(0..7));
    }

    #[test]
    fn head_has_no_ranges() {
        let mut headers = HeaderMap::new();
        headers.insert("range", HeaderValue::from_static("bytes=0-1"));
        assert_eq!(decide(&Method::HEAD, &headers, &stat(11)), Answer::Whole);
    }

    #[test]
    fn conditions() {
        let etag = stat(11).etag().unwrap().to_owned();
        let weak = format!("W/{etag}");
        let date = HttpDate(1_000_000_000).to_string();
        let older = HttpDate(999_999_999).to_string();
        check(11, &[("if-none-match", &etag)], Answer::NotModified);
        check(11, &[("if-none-match", &weak)], Answer::NotModified);
        check(
            11,
            &[("if-none-match", "\"x\""), ("if-modified-since", &date)],
            Answer::Whole,
        );
        check(11, &[("if-modified-since", &date)], Answer::NotModified);
        check(11, &[("if-modified-since", &older)], Answer::Whole);
        check(11, &[("if-match", "\"x\"")], Answer::PreconditionFailed);
        check(
            11,
            &[("if-match", "\"x\""), ("if-match", &etag)],
            Answer::Whole,
        );
        check(
            11,
            &[("if-unmodified-since", &older)],
            Answer::PreconditionFailed,
        );
        let resumed = |condition| [("range", "bytes=5-"), ("if-range", condition)];
        check(11, &resumed(&etag), Answer::Part(5..11));
        check(11, &resumed(&weak), Answer::Whole);
        check(11, &resumed("\"x\""), Answer::Whole);
        check(11, &resumed(&date), Answer::Part(5..11));
        check(11, &resumed(&older), Answer::Whole);
    }
}
