//! Past 2^32: one file of 5 GiB up and down, verified, and parts and ranges around that offset.

use super::{Measured, ROOM_BYTES};
use crate::tools;
use anyhow::{Result, ensure};
use gfl_e2e::data::{self, Hash, Stream};
use gfl_e2e::{Http, Request, Response, Setup, http};
use std::time::Instant;

const BYTES: u64 = 5 << 30;
const SEED: u64 = 5;
/// 16 bytes around 2^32.
const AROUND: (u64, u64) = ((1 << 32) - 8, (1 << 32) + 8);

pub(super) fn measure() -> Result<Vec<Measured>> {
    let work = tools::roomy_temp(ROOM_BYTES)?;
    let mut server = Setup::default().at(&work.path().join("server")).start();
    let http = server.http();
    let want = data::b3_of(Stream::new(SEED, 0, BYTES))?;

    let began = Instant::now();
    let request = Request::new("PUT", http::file("five")).header("Gfl-Blake3", want.clone());
    let answer = http.upload(&request, BYTES, &mut Stream::new(SEED, 0, BYTES))?;
    let up = began.elapsed().as_secs_f64();
    let mut out = vec![Measured::holds(
        format!("5 GiB up at {:.0} MB/s, digest", BYTES as f64 / 1e6 / up),
        answer.status == 201 && answer.header("Gfl-Blake3") == Some(&want),
        format!("{}", answer.status),
    )];
    out.push(down(&http, "five", &want)?);
    out.push(range(&http)?);
    http.delete(http::file("five")).expect(204);
    out.push(parts(&http, &want)?);
    server.kill9();
    Ok(out)
}

fn down(http: &Http, path: &str, want: &str) -> Result<Measured> {
    let began = Instant::now();
    let (mut hasher, mut bytes) = (Hash::new(), 0);
    let request = Request::new("GET", http::file(path));
    let answer = http.download(&request, &mut |piece| {
        hasher.add(piece);
        bytes += piece.len() as u64;
    })?;
    let rate = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    let same = answer.status == 200 && bytes == BYTES && hasher.hex() == want;
    Ok(Measured::holds(
        format!("5 GiB down at {rate:.0} MB/s, digest"),
        same,
        format!("{bytes} bytes"),
    ))
}

fn range(http: &Http) -> Result<Measured> {
    let request = Request::new("GET", http::file("five"))
        .header("Range", format!("bytes={}-{}", AROUND.0, AROUND.1 - 1));
    let answer = http.try_send(&request)?;
    let mut want = vec![0; (AROUND.1 - AROUND.0) as usize];
    data::fill_at(SEED, AROUND.0, &mut want);
    let same = answer.status == 206 && answer.body == want;
    Ok(Measured::holds(
        "a range across 2^32",
        same,
        format!("{}", answer.status),
    ))
}

/// The same file through a session, whose last part comes first.
fn parts(http: &Http, want: &str) -> Result<Measured> {
    let begin = Request::new("POST", "/v1/uploads?path=five.parts")
        .header("Upload-Complete", "?0")
        .header("Upload-Length", BYTES.to_string());
    let session = http.try_send(&begin)?;
    ensure!(session.status == 201, "begin: {}", session.text());
    let target = format!(
        "/v1/uploads/{}",
        session.json()["id"].as_str().unwrap_or_default()
    );
    for (start, end) in [(AROUND.0, BYTES), (0, AROUND.0)] {
        let answer = part(http, &target, start, end)?;
        ensure!(
            answer.status == 204,
            "part {start}-{end}: {}",
            answer.text()
        );
    }
    let complete = Request::new("PATCH", target)
        .header("Content-Type", "application/partial-upload")
        .header("Upload-Offset", BYTES.to_string())
        .header("Upload-Complete", "?1");
    let answer = http.try_send(&complete)?;
    let same = answer.status == 201 && answer.json()["b3"] == want;
    Ok(Measured::holds(
        "5 GiB in two parts, the last one first",
        same,
        format!("{}", answer.status),
    ))
}

fn part(http: &Http, target: &str, start: u64, end: u64) -> Result<Response> {
    let request = Request::new("PUT", target).header(
        "Content-Range",
        format!("bytes {start}-{}/{BYTES}", end - 1),
    );
    Ok(http.upload(&request, end - start, &mut Stream::new(SEED, start, end))?)
}
