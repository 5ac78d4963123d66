//! A disk that is full to its last block, with the files and the catalog on it: it can be emptied over the API,
//! and works again once there is room. Needs root, for a disk that may be filled.

use crate::common::{append, assert_file, assert_nothing, begin};
use gfl_e2e::mount::{Mount, free_bytes};
use gfl_e2e::{Http, Request, Server, Setup, catalog, data, http, skip, wait};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const DISK_MIB: u64 = 256;
/// More than the server wants free before it takes its ballast again.
const BIG_BYTES: usize = 60 << 20;
const BALLAST_BYTES: u64 = 16 << 20;
const SMALL_FILES: usize = 60;

/// A server with everything on one disk.
fn on_one_disk(what: &str) -> Option<(Server, Mount)> {
    let mount = match Mount::ext4(DISK_MIB) {
        Ok(mount) => mount,
        Err(why) => {
            skip::skip(what, &why);
            return None;
        }
    };
    let dir = |name: &str| mount.dir().join(name).to_string_lossy().into_owned();
    let setup = Setup::default()
        .with("storage_dir", dir("data"))
        .with("meta_dir", dir("meta"));
    Some((setup.start(), mount))
}

/// Waits until the server has nothing more to write, and fills the disk to the last block. Whoever filled it
/// while the server still wrote would fill the room of its ballast as well.
fn fill_behind(mount: &Mount) -> PathBuf {
    let meta = mount.dir().join("meta");
    wait::until("the server has settled", 20, || {
        (catalog::unsettled(&meta) == Ok(0)).then_some(())
    });
    fill(&mount.dir())
}

/// Fills a disk to the last block.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).expect("makes the filler");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![1u8; size];
        // What is written is not yet allocated, and may not all fit.
        while file.write_all(&piece).is_ok() {}
        let _full = file.sync_all();
    }
    while free_bytes(disk) > 0 && file.write_all(b"x").is_ok() {
        let _full = file.sync_all();
    }
    assert_eq!(free_bytes(disk), 0, "the disk is not full");
    path
}

fn ballast_of(mount: &Mount) -> u64 {
    fs::metadata(mount.dir().join("meta/ballast")).map_or(0, |m| m.blocks() * 512)
}

fn is_full(http: &Http, path: &str) {
    let answer = http.put(http::file(path), vec![7u8; 300_000]);
    let answer = answer.problem(507, "storage-full");
    assert!(answer.text().contains(path), "{}", answer.text());
    assert_nothing(http, path);
}

#[test]
fn a_full_disk_can_be_emptied() {
    let Some((server, mount)) = on_one_disk("emptying a full disk") else {
        return;
    };
    let http = server.http();
    http.put(http::file("stays"), "was there before")
        .expect(201);
    http.put(http::file("big"), data::bytes(1, BIG_BYTES))
        .expect(201);
    for n in 0..SMALL_FILES {
        http.put(http::file(&format!("small/{n}")), "small")
            .expect(201);
    }
    assert!(ballast_of(&mount) >= BALLAST_BYTES, "no ballast");
    fill_behind(&mount);
    is_full(&http, "new");
    // What is deleted first gives back next to nothing: there is only the ballast to live on.
    for n in 0..SMALL_FILES {
        http.delete(http::file(&format!("small/{n}"))).expect(204);
    }
    assert_eq!(ballast_of(&mount), 0, "the catalog found room all the same");
    is_full(&http, "new");
    let session = http
        .send(&Request::new("POST", "/v1/uploads?path=session").header("Upload-Complete", "?0"));
    session.problem(507, "storage-full");
    assert_file(&http, "stays", b"was there before");
    http.get("/v1/files/small/?limit=10").expect(200);
    http.put("/v1/files/folder/", "").expect(201);
    let move_it =
        serde_json::json!({ "ops": [{ "op": "move", "path": "stays", "to": "folder/stays" }] });
    let moved = http.send(&Request::new("POST", "/v1/batch").json(&move_it));
    let results = &moved.json()["results"];
    assert_eq!(results[0]["status"], 201, "{results}");
    // What is deleted now is kept, until somebody needs its room.
    http.delete(http::file("big")).expect(204);
    let content = data::bytes(2, 5 << 20);
    http.put(http::file("new"), content.clone()).expect(201);
    assert_file(&http, "new", &content);
    assert!(
        ballast_of(&mount) >= BALLAST_BYTES,
        "the ballast is not back"
    );
    assert_file(&http, "folder/stays", b"was there before");
}

#[test]
fn the_ballast_comes_back_by_itself() {
    let Some((server, mount)) = on_one_disk("the ballast on a full disk") else {
        return;
    };
    let http = server.http();
    for n in 0..SMALL_FILES {
        http.put(http::file(&format!("small/{n}")), "small")
            .expect(201);
    }
    let filler = fill_behind(&mount);
    for n in 0..SMALL_FILES {
        http.delete(http::file(&format!("small/{n}"))).expect(204);
    }
    assert_eq!(ballast_of(&mount), 0, "the catalog found room all the same");
    fs::remove_file(filler).expect("removes the filler");
    wait::until("the ballast is back", 20, || {
        (ballast_of(&mount) >= BALLAST_BYTES).then_some(())
    });
    http.put(http::file("new"), "fits").expect(201);
}

#[test]
fn a_server_starts_on_a_full_disk() {
    let Some((mut server, mount)) = on_one_disk("starting on a full disk") else {
        return;
    };
    for n in 0..4 {
        let big = data::bytes(n, BIG_BYTES / 4);
        server
            .http()
            .put(http::file(&format!("big/{n}")), big)
            .expect(201);
    }
    for kill in [false, true] {
        // An orderly end folds the log into the catalog and removes it: the next start needs room for a new one.
        if kill {
            server.kill9();
        } else {
            assert!(server.stop());
        }
        let filler = fill(&mount.dir());
        server.restart();
        let http = server.http();
        is_full(&http, "new");
        http.delete(http::file("big/0")).expect(204);
        assert_file(&http, "big/1", &data::bytes(1, BIG_BYTES / 4));
        fs::remove_file(filler).expect("removes the filler");
        wait::until("uploads work again", 20, || {
            let answer = http.put(http::file("big/0"), data::bytes(0, BIG_BYTES / 4));
            (answer.status == 201).then_some(())
        });
    }
}

#[test]
fn history_gives_way_in_the_middle_of_a_body() {
    const MIB: usize = 1 << 20;
    let mount = match Mount::tmpfs(24) {
        Ok(mount) => mount,
        Err(why) => return skip::skip("history on a full disk", &why),
    };
    let dir = mount.dir().to_string_lossy().into_owned();
    let server = Setup::default()
        .with("storage_dir", dir)
        .with("undo_free_percent_min", 0)
        .start();
    let http = server.http();
    let replace = |seed| {
        http.put(http::file("old"), data::bytes(seed, 8 * MIB));
    };
    replace(1);
    replace(2);
    // 16 of 24 MiB are used, 8 of them by history; nobody says how long this is.
    let content = data::bytes(3, 12 * MIB);
    let mut chunked = Vec::new();
    for piece in content.chunks(MIB) {
        chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let request = Request::new("PUT", http::file("new")).header("Transfer-Encoding", "chunked");
    http.send(&request.body(chunked)).expect(201);
    assert_file(&http, "new", &content);
    assert_file(&http, "old", &data::bytes(2, 8 * MIB));
    // The same for a session: what was replaced makes room for what comes.
    http.delete(http::file("new")).expect(204);
    let target = begin(&http, "session", None);
    for at in (0..12 * MIB).step_by(4 * MIB) {
        let piece = &content[at..at + 4 * MIB];
        let last = at + 4 * MIB == content.len();
        http.send(&append(&target, at, last, piece))
            .expect(if last { 201 } else { 204 });
    }
    assert_file(&http, "session", &content);
}
