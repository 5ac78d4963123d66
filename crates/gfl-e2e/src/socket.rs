//! The administrator's socket, asked by hand.

use crate::http::Response;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// GETs `target` over the socket in this folder; the error is the connection's.
pub fn get(meta_dir: &Path, target: &str) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(meta_dir.join("admin.sock"))?;
    let head = format!("GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let split = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let split = split.ok_or_else(|| std::io::Error::other("no end of the head"))?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok(Response {
        status: status.unwrap_or(0),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: answer[split + 4..].to_vec(),
    })
}
