//! Disks that are full or read-only. Needs root, for a disk that may be filled.

use crate::common::{append, assert_file, assert_nothing, begin};
use gfl_e2e::mount::Mount;
use gfl_e2e::{Http, Request, Server, Setup, data, http, skip, v0, wait};

const DISK_MIB: u64 = 24;
const TOO_MUCH: usize = 40 << 20;

/// A server whose visible files lie on a small disk of their own, its catalog elsewhere.
fn on_small_disk(what: &str) -> Option<(Server, Mount)> {
    let mount = match Mount::tmpfs(DISK_MIB) {
        Ok(mount) => mount,
        Err(why) => {
            skip::skip(what, &why);
            return None;
        }
    };
    let dir = mount.dir().to_string_lossy().into_owned();
    Some((Setup::default().with("storage_dir", dir).start(), mount))
}

fn still_works(http: &Http) {
    // What readiness found a moment ago may still be told.
    wait::until("the server is ready again", 10, || {
        (http.get("/readyz").status == 200).then_some(())
    });
    http.put(http::file("small"), "fits").expect(201);
    assert_file(http, "small", b"fits");
    assert_file(http, "before", b"was there before");
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let Some((server, _mount)) = on_small_disk("a full disk") else {
        return;
    };
    let http = server.http();
    http.put(http::file("before"), "was there before")
        .expect(201);
    let big = vec![7u8; TOO_MUCH];
    // Announced: refused before anything is sent; unknown: refused on the way.
    for replaces in ["before", "new"] {
        let answer = http
            .put(http::file(replaces), big.clone())
            .problem(507, "storage-full");
        assert!(
            answer.text().contains(replaces),
            "does not name the path: {}",
            answer.text()
        );
    }
    let mut chunked = Vec::new();
    for piece in big.chunks(1 << 20) {
        chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let request = Request::new("PUT", http::file("new")).header("Transfer-Encoding", "chunked");
    match http.try_send(&request.body(chunked)) {
        Ok(answer) => drop(answer.problem(507, "storage-full")),
        // Refused while we were still sending: the answer may be lost with the connection.
        Err(e) => assert!(
            e.to_string().contains("reset") || e.to_string().contains("pipe"),
            "{e}"
        ),
    }
    assert_nothing(&http, "new");
    still_works(&http);
}

#[test]
fn a_session_on_a_full_disk_keeps_what_it_has() {
    let Some((server, mount)) = on_small_disk("upload sessions on a full disk") else {
        return;
    };
    let http = server.http();
    http.put(http::file("before"), "was there before")
        .expect(201);
    let content = data::bytes(2, 12 << 20);
    let target = begin(&http, "f", None);
    http.send(&append(&target, 0, false, &content[..4 << 20]))
        .expect(204);
    // Somebody else fills the disk.
    let filler = mount.dir().join("filler");
    let _full = std::fs::write(&filler, vec![1u8; TOO_MUCH]);
    let answer = http.send(&append(&target, 4 << 20, false, &content[4 << 20..]));
    answer.problem(507, "storage-full");
    std::fs::remove_file(&filler).expect("removes the filler");
    let offset = http
        .head_of(&target)
        .expect(204)
        .number("Upload-Offset")
        .unwrap_or(0) as usize;
    assert!(offset >= 4 << 20, "what was announced is gone: {offset}");
    http.send(&append(&target, offset, true, &content[offset..]))
        .expect(201);
    assert_file(&http, "f", &content);
    still_works(&http);
}

#[test]
fn old_clients_hear_of_a_full_disk() {
    let Some((server, _mount)) = on_small_disk("v0 uploads on a full disk") else {
        return;
    };
    let http = server.http();
    http.put(http::file("before"), "was there before")
        .expect(201);
    let chunk = data::bytes(3, 4 << 20);
    let answers: Vec<u16> = (0..10)
        .map(|id| http.send(&v0::request("big.bin", id, 10, &chunk)).status)
        .collect();
    assert_eq!(answers.first(), Some(&200));
    assert!(answers.iter().any(|s| *s >= 500), "{answers:?}");
    assert_nothing(&http, "big.bin");
    http.get("/list?path=/").expect(200);
    assert_file(&http, "before", b"was there before");
}

#[test]
fn a_read_only_disk_serves_and_refuses() {
    let Some((server, mount)) = on_small_disk("a read-only disk") else {
        return;
    };
    let http = server.http();
    http.put(http::file("before"), "was there before")
        .expect(201);
    // A file still open for writing keeps the disk from being remounted for a moment.
    let remounted = (0..200).any(|_| {
        let done = mount.set_read_only(true).is_ok();
        if !done {
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        done
    });
    assert!(remounted, "an idle server keeps a file open for writing");
    assert_file(&http, "before", b"was there before");
    for (method, target) in [
        ("PUT", "/v1/files/before"),
        ("PUT", "/v1/files/new"),
        ("DELETE", "/v1/files/before"),
        ("PUT", "/v1/files/folder/"),
    ] {
        let answer = http.send(&Request::new(method, target));
        let answer = answer.problem(503, "read-only-storage");
        assert!(
            !answer.text().contains(&*mount.dir().to_string_lossy()),
            "{}",
            answer.text()
        );
    }
    let ready = http.get("/readyz").expect(503).text();
    assert!(ready.contains("[-]storage failed"), "{ready}");
    assert!(ready.contains("read-only"), "{ready}");
    http.get("/livez").expect(200);
    mount
        .set_read_only(false)
        .expect("can be made writable again");
    still_works(&http);
}
