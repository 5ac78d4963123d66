//! Files of the sizes at which counting goes wrong, in every mode, and offsets no disk can hold.

use crate::common::{
    GROUP, PART, SIZES, append, assert_file, begin, begin_request, complete, part, received,
};
use gfl_e2e::data::{self, Rng};
use gfl_e2e::frames::{self, Frame};
use gfl_e2e::{Gfl, Http, Request, Server, http, v0};
use std::fs;

fn each(test: impl Fn(&Server, &Http, &str, &[u8])) {
    let server = Server::start();
    let http = server.http();
    for size in SIZES {
        let (path, content) = (
            format!("dir/size-{size}"),
            data::bytes(size as u64 + 1, size),
        );
        test(&server, &http, &path, &content);
        assert_file(&http, &path, &content);
        let on_disk = fs::read(server.data().join(&path)).expect("is on the disk");
        assert!(on_disk == content, "{path}: other bytes on the disk");
    }
}

#[test]
fn put() {
    each(|_, http, path, content| {
        let answer = http.put(http::file(path), content).expect(201);
        assert_eq!(answer.json()["size"], content.len());
        assert_eq!(answer.json()["created"], true);
    });
}

#[test]
fn put_replaces() {
    each(|_, http, path, content| {
        http.put(http::file(path), "something else").expect(201);
        let answer = http.put(http::file(path), content).expect(200);
        assert_eq!(answer.json()["created"], false);
    });
}

#[test]
fn put_of_unknown_length() {
    each(|_, http, path, content| {
        let mut body = Vec::new();
        for chunk in content.chunks(100_003) {
            body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let request = Request::new("PUT", http::file(path)).header("Transfer-Encoding", "chunked");
        http.send(&request.body(body)).expect(201);
    });
}

#[test]
fn parts_in_random_order_over_several_connections() {
    each(|server, http, path, content| {
        let target = begin(http, path, Some(content.len()));
        let mut pieces: Vec<usize> = (0..content.len()).step_by(700_001).collect();
        Rng::new(content.len() as u64).shuffle(&mut pieces);
        std::thread::scope(|scope| {
            for lane in 0..3 {
                let (pieces, target) = (&pieces, &target);
                scope.spawn(move || {
                    let http = server.http();
                    for start in pieces.iter().skip(lane).step_by(3) {
                        let end = (start + 700_001).min(content.len());
                        http.send(&part(target, content, *start, end)).expect(204);
                    }
                });
            }
        });
        complete(http, &target, content.len()).expect(201);
    });
}

#[test]
fn appends() {
    each(|_, http, path, content| {
        let target = begin(http, path, Some(content.len()));
        let mut offset = 0;
        for piece in content.chunks(1_500_000) {
            let answer = http
                .send(&append(&target, offset, false, piece))
                .expect(204);
            offset += piece.len();
            let announced = answer.number("Upload-Offset").unwrap();
            assert!(
                announced <= offset as u64,
                "announces {announced} of {offset}"
            );
        }
        complete(http, &target, content.len()).expect(201);
    });
}

#[test]
fn appends_of_unknown_length() {
    each(|_, http, path, content| {
        let target = begin(http, path, None);
        let half = content.len() / 2;
        http.send(&append(&target, 0, false, &content[..half]))
            .expect(204);
        let answer = http
            .send(&append(&target, half, true, &content[half..]))
            .expect(201);
        assert_eq!(answer.header("Upload-Complete"), Some("?1"));
    });
}

#[test]
fn v0_chunks() {
    each(|_, http, path, content| {
        v0::upload(http, path, content, 1 << 20);
        let answer = http.get(format!("/download?path={path}")).expect(200);
        assert!(answer.body == content);
    });
}

#[test]
fn v0_chunks_of_odd_sizes_in_any_order() {
    each(|_, http, path, content| {
        let mut chunks: Vec<(u32, &[u8])> = (0u32..).zip(content.chunks(333_331)).collect();
        if chunks.is_empty() {
            chunks.push((0, &[]));
        }
        let total = chunks.len() as u32;
        chunks.reverse();
        for (id, chunk) in chunks {
            http.send(&v0::request(path, id, total, chunk)).expect(200);
        }
    });
}

#[test]
fn bulk_both_ways() {
    let server = Server::start();
    let http = server.http();
    let sizes = SIZES.iter().filter(|s| **s <= PART);
    let files: Vec<(String, Vec<u8>)> = sizes
        .map(|s| (format!("bulk/size-{s}"), data::bytes(*s as u64, *s)))
        .collect();
    let request = Request::new("POST", "/v1/bulk")
        .header("Content-Type", "application/vnd.gfl.bulk")
        .body(frames::put_body(&files));
    let answer = http.send(&request).expect(200).text();
    let lines: Vec<serde_json::Value> = answer
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.last().unwrap()["end"], true, "{answer}");
    assert_eq!(lines.last().unwrap()["count"], files.len());
    for line in &lines[..files.len()] {
        let (path, content) = &files[line["index"].as_u64().unwrap() as usize];
        assert_eq!(
            (line["status"].as_u64(), line["path"].as_str()),
            (Some(201), Some(&**path))
        );
        assert_eq!(line["b3"], data::b3(content));
        assert_file(&http, path, content);
    }
    let paths: Vec<_> = files
        .iter()
        .map(|(p, _)| serde_json::json!({ "path": p }))
        .collect();
    let answer = http
        .post("/v1/bulk/get", &serde_json::json!({ "paths": paths }))
        .expect(200);
    let mut want: Vec<Frame> = (0u32..)
        .zip(files)
        .map(|(index, (path, content))| Frame::File {
            index,
            path,
            content,
        })
        .collect();
    want.push(Frame::End);
    assert!(
        frames::parse(&answer.body) == Some(want),
        "bulk get gives other files"
    );
}

#[test]
fn bulk_refuses_what_is_too_large_and_keeps_the_rest() {
    let server = Server::start();
    let http = server.http();
    let files = vec![
        ("first".to_owned(), b"1".to_vec()),
        ("../evil".to_owned(), b"2".to_vec()),
        ("last".to_owned(), b"3".to_vec()),
    ];
    let request =
        Request::new("POST", "/v1/bulk").header("Content-Type", "application/vnd.gfl.bulk");
    let answer = http
        .send(&request.body(frames::put_body(&files)))
        .expect(200)
        .text();
    let lines: Vec<serde_json::Value> = answer
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |i: u64| {
        lines
            .iter()
            .find(|l| l["index"] == i)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        (of(0)["status"].as_u64(), of(2)["status"].as_u64()),
        (Some(201), Some(201))
    );
    assert_eq!(
        (of(1)["status"].as_u64(), &of(1)["problem"]["code"]),
        (Some(400), &"invalid-path".into())
    );
    http.put(http::file("big"), vec![0; PART + 1]).expect(201);
    let answer = http
        .post(
            "/v1/bulk/get",
            &serde_json::json!({ "paths": [{"path":"big"},{"path":"nix"},{"path":"last"}] }),
        )
        .expect(200);
    let got = frames::parse(&answer.body).expect("a whole stream");
    assert!(
        matches!(&got[0], Frame::Error { code, .. } if code == "too-large"),
        "{:?}",
        got[0]
    );
    assert!(matches!(&got[1], Frame::Error { code, status: 404, .. } if code == "not-found"));
    assert!(matches!(&got[2], Frame::File { index: 2, .. }));
}

#[test]
fn client_put_and_get() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    for size in SIZES {
        let content = data::bytes(size as u64, size);
        fs::write(gfl.local("in.bin"), &content).unwrap();
        let remote = format!("c/size-{size}");
        gfl.run(&["put", "in.bin", &remote]).expect(0);
        assert_file(&server.http(), &remote, &content);
        gfl.run(&["get", &remote, "out.bin"]).expect(0);
        assert!(
            fs::read(gfl.local("out.bin")).unwrap() == content,
            "{size} bytes came back wrong"
        );
    }
}

#[test]
fn offsets_beyond_a_terabyte() {
    let server = Server::start();
    let http = server.http();
    // Sparse: only the last bytes are ever written.
    let len: u64 = (1 << 40) + 3 * GROUP as u64 + 1;
    let announced = begin_request("huge", None).header("Upload-Length", len.to_string());
    let refused = http.send(&announced).problem(507, "storage-full");
    assert!(
        refused.text().contains("huge"),
        "does not name the path: {}",
        refused.text()
    );
    let target = begin(&http, "huge", None);
    let tail = data::bytes(1, GROUP + 1);
    let start = len - tail.len() as u64;
    let request = Request::new("PUT", &target)
        .header("Content-Range", format!("bytes {start}-{}/*", len - 1))
        .body(tail);
    http.send(&request).expect(204);
    http.head_of(&target).expect(204);
    assert_eq!(received(&http, &target), [(start, len)]);
    let answer = http.send(&append(&target, len as usize, true, b""));
    let answer = answer.problem(409, "upload-incomplete");
    assert_eq!(answer.json()["missing"], serde_json::json!([[0, start]]));
    http.delete(&target).expect(204);
}
