//! What the Go client sent.

use crate::data;
use crate::http::{Http, Request, Response};
use base64::Engine;

/// The body of one `POST /upload`.
pub fn chunk(path: &str, id: u32, total: u32, data: &[u8]) -> serde_json::Value {
    serde_json::json!({
        "path": path,
        "chunk_id": id,
        "data": base64::engine::general_purpose::STANDARD.encode(data),
        "checksum": data::sha256(data),
        "total": total,
    })
}

/// The request of one chunk.
pub fn request(path: &str, id: u32, total: u32, data: &[u8]) -> Request {
    Request::new("POST", "/upload").json(&chunk(path, id, total, data))
}

/// Uploads as the Go client does: chunks of `chunk_bytes`, one after the other. Returns the last answer.
pub fn upload(http: &Http, path: &str, data: &[u8], chunk_bytes: usize) -> Response {
    let chunks: Vec<&[u8]> = if data.is_empty() {
        vec![data]
    } else {
        data.chunks(chunk_bytes).collect()
    };
    let total = chunks.len() as u32;
    let mut last = None;
    for (id, data) in chunks.into_iter().enumerate() {
        let id = id as u32;
        let answer = http.send(&request(path, id, total, data)).expect(200);
        assert_eq!(answer.text(), format!("chunk {}/{total} received", id + 1));
        last = Some(answer);
    }
    last.expect("there is at least one chunk")
}
