//! The real client: v0.1's grammar, exit codes, folders, and going on after either side was killed.

use crate::common::{assert_file, assert_nothing, list};
use gfl_e2e::data::{self, Rng};
use gfl_e2e::proxy::Proxy;
use gfl_e2e::{Gfl, Server, tree, wait};
use std::fs;
use std::path::Path;

/// Large enough that a transfer can be stopped in the middle.
const LARGE: usize = 64 << 20;
/// Sent twice at most: what was in flight and not yet announced, for every connection.
const TWICE_BYTES_MAX: u64 = 48 << 20;

#[test]
fn the_old_commands_say_what_they_said() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::write(gfl.local("a.txt"), "hello").unwrap();
    let out = gfl
        .run(&["put", "a.txt", "dir/my", "file.txt"])
        .expect(0)
        .out;
    assert!(
        out.contains("✓ Upload complete: a.txt → dir/my file.txt (5 bytes"),
        "{out}"
    );
    assert_file(&server.http(), "dir/my file.txt", b"hello");
    let out = gfl.run(&["ls", "dir"]).expect(0).out;
    assert_eq!(out, "Files in dir:\n  my file.txt\n");
    let out = gfl
        .run(&["get", "dir/my file.txt", "back.txt"])
        .expect(0)
        .out;
    assert!(
        out.contains("✓ Download complete: dir/my file.txt → back.txt (5 bytes"),
        "{out}"
    );
    assert_eq!(fs::read_to_string(gfl.local("back.txt")).unwrap(), "hello");
    let out = gfl.run(&["mkdir", "new", "folder"]).expect(0).out;
    assert!(
        out.contains("✓ Successfully created directory: new folder"),
        "{out}"
    );
    let out = gfl.run(&["ls", "new", "folder"]).expect(0).out;
    assert_eq!(out, "No files in new folder\n");
    let out = gfl.run(&["rm", "dir/my", "file.txt"]).expect(0).out;
    assert!(
        out.contains("✓ Successfully deleted: dir/my file.txt"),
        "{out}"
    );
    assert_nothing(&server.http(), "dir/my file.txt");
}

#[test]
fn exit_codes() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::write(gfl.local("a"), "x").unwrap();
    server.http().put("/v1/files/folder/x", "x").expect(201);
    for (args, code) in [
        (&[][..], 1),
        (&["frobnicate"], 1),
        (&["put", "a"], 1),
        (&["-nonsense", "ls"], 2),
        (&["put", "a", "b", "--paralel", "3"], 2),
        (&["-h"], 0),
        (&["-version"], 0),
        (&["put", "missing", "b"], 4),
        (&["get", "missing", "b"], 4),
        (&["get", "missing", "b"], 4),
        (&["ls", "missing"], 4),
        (&["rm", "missing"], 4),
        (&["mv", "missing", "elsewhere"], 4),
        (&["mkdir", "folder/x"], 5),
    ] {
        let output = gfl.run(args);
        assert_eq!(
            output.code,
            Some(code),
            "{args:?}: {} {}",
            output.out,
            output.err
        );
        if code > 1 {
            assert!(!output.err.is_empty(), "{args:?} says nothing");
        }
    }
    let stranger = Gfl::at(&server.url(), "not a token");
    stranger.run(&["ls"]).expect(3);
    let nowhere = Gfl::at("http://127.0.0.1:1", "x");
    let output = nowhere.run(&["--retries", "0", "ls"]).expect(6);
    assert!(
        output.err.contains("127.0.0.1:1"),
        "does not name the server: {}",
        output.err
    );
}

#[test]
fn configuration_is_merged() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    let own = serde_json::json!({
        "server": { "address": "0.0.0.0:9" },
        "client": { "server_url": "http://old", "token": server.token(), "mine": 1 },
    });
    fs::write(gfl.config(), own.to_string()).unwrap();
    gfl.run(&["config", &server.addr().to_string()]).expect(0);
    let text = fs::read_to_string(gfl.config()).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["server"]["address"], "0.0.0.0:9", "{config}");
    assert_eq!(config["client"]["token"], server.token(), "{config}");
    assert_eq!(config["client"]["mine"], 1, "{config}");
    gfl.run(&["ls"]).expect(0);
}

/// Files of every kind that a folder transfer stumbles over.
fn make_tree(root: &Path, seed: u64) {
    let mut rng = Rng::new(seed);
    for n in 0..300 {
        let dir = root.join(format!("d{}/e {}", rng.below(6), rng.below(4)));
        fs::create_dir_all(&dir).expect("made");
        let len = if n == 7 {
            9 << 20
        } else {
            rng.below(40_000) as usize
        };
        fs::write(dir.join(format!("file {n} ü.bin")), data::bytes(n, len)).expect("written");
    }
    fs::write(root.join(".hidden"), "hidden").expect("written");
    fs::write(root.join(".gitignore"), "*.bin\n").expect("written");
    fs::write(root.join("empty"), "").expect("written");
}

#[test]
fn folders_go_up_and_come_back_whole() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    make_tree(&gfl.local("src"), 1);
    let want = tree::summary(&gfl.local("src")).unwrap();
    gfl.run(&["put", "src", "up/folder"]).expect(0);
    assert_eq!(
        tree::summary(&server.data().join("up/folder")).unwrap(),
        want
    );
    gfl.run(&["get", "up/folder", "back"]).expect(0);
    assert_eq!(tree::summary(&gfl.local("back")).unwrap(), want);
    // A second time nothing is sent, and one change is one file.
    fs::write(gfl.local("src/empty"), "no longer").unwrap();
    let proxy = Proxy::start(server.addr());
    let second = Gfl::at(&proxy.url(), server.token());
    let src = gfl.local("src");
    second
        .run(&["put", &src.to_string_lossy(), "up/folder"])
        .expect(0);
    assert!(
        proxy.up() < want.bytes / 10,
        "sent {} of {} again",
        proxy.up(),
        want.bytes
    );
    let want = tree::summary(&src).unwrap();
    assert_eq!(
        tree::summary(&server.data().join("up/folder")).unwrap(),
        want
    );
}

#[test]
fn several_files_and_wildcards() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    for name in ["one.txt", "two.txt", "three.log"] {
        fs::write(gfl.local(name), name).unwrap();
    }
    gfl.run(&["put", "*.txt", "up/"]).expect(0);
    assert_eq!(list(&server.http(), "up"), ["one.txt", "two.txt"]);
    gfl.run(&["put", "one.txt", "three.log", "more/"]).expect(0);
    assert_eq!(list(&server.http(), "more"), ["one.txt", "three.log"]);
    gfl.run(&["get", "up/*.txt", "down"]).expect(0);
    assert_eq!(
        fs::read_to_string(gfl.local("down/two.txt")).unwrap(),
        "two.txt"
    );
}

struct Large {
    server: Server,
    proxy: Proxy,
    gfl: Gfl,
    content: Vec<u8>,
}

fn large() -> Large {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    let content = data::bytes(77, LARGE);
    fs::write(gfl.local("large"), &content).expect("written");
    Large {
        server,
        proxy,
        gfl,
        content,
    }
}

impl Large {
    fn until_half(&self, what: &str, passed: impl Fn() -> u64) {
        wait::until(what, 60, || (passed() > LARGE as u64 / 2).then_some(()));
    }
}

#[test]
fn an_upload_continues_after_the_client_was_killed() {
    let large = large();
    let mut child = large.gfl.spawn(&["put", "large", "f"]);
    large.until_half("half of the upload", || large.proxy.up());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing(&large.server.http(), "f");
    large.gfl.run(&["put", "large", "f"]).expect(0);
    assert_file(&large.server.http(), "f", &large.content);
    let twice = large.proxy.up().saturating_sub(LARGE as u64);
    assert!(twice < TWICE_BYTES_MAX, "{twice} bytes sent twice");
    let list = large.server.http().get("/v1/uploads").expect(200).json();
    let sessions = list["uploads"].as_array().cloned().unwrap_or_default();
    let open = sessions.iter().any(|s| s["state"] != "done");
    assert!(!open, "a session is left behind: {list}");
}

#[test]
fn an_upload_continues_after_the_server_was_killed() {
    let mut large = large();
    let mut child = large.gfl.spawn(&["put", "large", "f"]);
    large.until_half("half of the upload", || large.proxy.up());
    large.server.kill9();
    large.server.restart();
    large.proxy.set_target(large.server.addr());
    if !child.wait().unwrap().success() {
        large.gfl.run(&["put", "large", "f"]).expect(0);
    }
    assert_file(&large.server.http(), "f", &large.content);
    // The server loses what it had not checkpointed: up to one checkpoint's bytes, here all of the file.
    assert!(
        large.proxy.up() < 2 * LARGE as u64 + TWICE_BYTES_MAX,
        "sent {}",
        large.proxy.up()
    );
}

#[test]
fn a_download_continues_after_the_client_was_killed() {
    let large = large();
    large
        .server
        .http()
        .put("/v1/files/f", large.content.clone())
        .expect(201);
    let mut child = large.gfl.spawn(&["get", "f", "back"]);
    large.until_half("half of the download", || large.proxy.down());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !large.gfl.local("back").exists(),
        "half a download has the name of a whole one"
    );
    large.gfl.run(&["get", "f", "back"]).expect(0);
    assert!(fs::read(large.gfl.local("back")).unwrap() == large.content);
    let twice = large.proxy.down().saturating_sub(LARGE as u64);
    assert!(twice < TWICE_BYTES_MAX, "{twice} bytes sent twice");
}

#[test]
fn a_download_survives_the_servers_death() {
    let mut large = large();
    large
        .server
        .http()
        .put("/v1/files/f", large.content.clone())
        .expect(201);
    let mut child = large.gfl.spawn(&["get", "f", "back"]);
    large.until_half("half of the download", || large.proxy.down());
    large.server.kill9();
    large.server.restart();
    large.proxy.set_target(large.server.addr());
    if !child.wait().unwrap().success() {
        large.gfl.run(&["get", "f", "back"]).expect(0);
    }
    assert!(fs::read(large.gfl.local("back")).unwrap() == large.content);
}

#[test]
fn a_file_that_changes_between_two_tries_is_sent_anew() {
    let large = large();
    let mut child = large.gfl.spawn(&["put", "large", "f"]);
    large.until_half("half of the upload", || large.proxy.up());
    child.kill().unwrap();
    child.wait().unwrap();
    let other = data::bytes(78, LARGE);
    fs::write(large.gfl.local("large"), &other).unwrap();
    large.gfl.run(&["put", "large", "f"]).expect(0);
    assert_file(&large.server.http(), "f", &other);
}

#[test]
fn a_folder_continues_after_the_client_was_killed() {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    make_tree(&gfl.local("src"), 2);
    let want = tree::summary(&gfl.local("src")).unwrap();
    let mut child = gfl.spawn(&["put", "src", "up"]);
    wait::until("half of the folder", 60, || {
        (proxy.up() > want.bytes / 2).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    gfl.run(&["put", "src", "up"]).expect(0);
    assert_eq!(tree::summary(&server.data().join("up")).unwrap(), want);
}

#[test]
fn several_clients_that_send_the_same_file_at_once_all_succeed() {
    let server = Server::start();
    let content = data::bytes(79, LARGE);
    let clients = [(); 3].map(|()| Gfl::new(&server));
    for gfl in &clients {
        fs::write(gfl.local("large"), &content).unwrap();
        let file = fs::File::options().write(true).open(gfl.local("large"));
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        // The same file for the server: they share one session, and take parts over from each other.
        file.unwrap().set_modified(time).unwrap();
    }
    let running = clients
        .each_ref()
        .map(|gfl| gfl.spawn(&["put", "large", "f", "--force"]));
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_file(&server.http(), "f", &content);
}
