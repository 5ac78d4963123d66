//! Requests that several topics need.

use gfl_e2e::traffic::ranges;
use gfl_e2e::{Http, Request, Response, data, http};

/// Bytes of a hash group.
pub(crate) const GROUP: usize = 65_536;
/// Bytes of the default part.
pub(crate) const PART: usize = 8 * 1024 * 1024;
/// The sizes at which code that counts bytes goes wrong.
pub(crate) const SIZES: [usize; 6] = [0, 1, GROUP, GROUP + 1, PART, PART + 1];

/// Begins an upload session; returns its target.
#[track_caller]
pub(crate) fn begin(http: &Http, path: &str, len: Option<usize>) -> String {
    let answer = http.send(&begin_request(path, len)).expect(201);
    let id = answer.json()["id"]
        .as_str()
        .map(str::to_owned)
        .expect("the session has an id");
    let target = format!("/v1/uploads/{id}");
    assert_eq!(answer.header("Location"), Some(target.as_str()));
    target
}

/// The request that begins a session.
pub(crate) fn begin_request(path: &str, len: Option<usize>) -> Request {
    let request = Request::new("POST", format!("/v1/uploads?path={}", http::encode(path)))
        .header("Upload-Complete", "?0");
    match len {
        Some(len) => request.header("Upload-Length", len.to_string()),
        None => request,
    }
}

/// The request that sends `content[start..end]` as a part.
pub(crate) fn part(target: &str, content: &[u8], start: usize, end: usize) -> Request {
    Request::new("PUT", target)
        .header(
            "Content-Range",
            format!("bytes {start}-{}/{}", end - 1, content.len()),
        )
        .body(&content[start..end])
}

/// The request that appends.
pub(crate) fn append(target: &str, offset: usize, complete: bool, body: &[u8]) -> Request {
    Request::new("PATCH", target)
        .header("Content-Type", "application/partial-upload")
        .header("Upload-Offset", offset.to_string())
        .header("Upload-Complete", if complete { "?1" } else { "?0" })
        .body(body)
}

/// Completes a session whose parts are all there.
#[track_caller]
pub(crate) fn complete(http: &Http, target: &str, len: usize) -> Response {
    http.send(&append(target, len, true, b""))
}

/// What a session has received, as announced.
#[track_caller]
pub(crate) fn received(http: &Http, target: &str) -> Vec<(u64, u64)> {
    ranges(&http.get(target).expect(200).json()["received"])
}

/// The file must be there, whole, under all its descriptions.
#[track_caller]
pub(crate) fn assert_file(http: &Http, path: &str, content: &[u8]) {
    let answer = http.get(http::file(path)).expect(200);
    assert!(
        answer.body == content,
        "{path}: other content, {} bytes",
        answer.body.len()
    );
    let b3 = data::b3(content);
    assert_eq!(answer.header("Gfl-Blake3"), Some(b3.as_str()), "{path}");
    let etag = format!("\"b3-{b3}\"");
    assert_eq!(answer.header("ETag"), Some(etag.as_str()), "{path}");
    let head = http.head_of(http::file(path)).expect(200);
    assert_eq!(
        head.number("Content-Length"),
        Some(content.len() as u64),
        "{path}"
    );
    let meta = http
        .get(format!("/v1/meta/{}", http::encode(path)))
        .expect(200)
        .json();
    assert_eq!(meta["size"], content.len(), "{path}: {meta}");
    assert_eq!(meta["b3"], b3, "{path}: {meta}");
}

/// Nothing may be at the path.
#[track_caller]
pub(crate) fn assert_nothing(http: &Http, path: &str) {
    http.get(http::file(path)).problem(404, "not-found");
}

/// A batch of one operation; returns its result.
#[track_caller]
pub(crate) fn batch(http: &Http, op: serde_json::Value) -> serde_json::Value {
    let answer = http
        .post("/v1/batch", &serde_json::json!({ "ops": [op] }))
        .expect(200);
    answer.json()["results"][0].clone()
}

/// Names in a directory, in the order of the answer.
#[track_caller]
pub(crate) fn list(http: &Http, dir: &str) -> Vec<String> {
    let target = if dir.is_empty() {
        "/v1/files/".into()
    } else {
        http::file(dir) + "/"
    };
    let answer = http.get(target).expect(200).json();
    let entries = answer["entries"]
        .as_array()
        .cloned()
        .expect("a listing has entries");
    entries
        .iter()
        .filter_map(|e| e["name"].as_str().map(str::to_owned))
        .collect()
}
