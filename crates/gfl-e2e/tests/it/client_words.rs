//! What the real client says with a real server: each path once, what was skipped, and nothing about 1970.

use crate::common::assert_file;
use gfl_e2e::proxy::Proxy;
use gfl_e2e::{Gfl, Server};
use std::fs;

#[test]
fn errors_name_a_path_once_and_say_whose_it_is() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::write(gfl.local("file"), "x").unwrap();
    fs::create_dir_all(gfl.local("tree/file")).unwrap();
    fs::write(gfl.local("tree/file/below"), "x").unwrap();
    gfl.run(&["put", "file", "there/file"]).expect(0);
    for (args, path) in [
        (&["ls", "no/thing"][..], "no/thing"),
        (&["ls", "/no/thing/"], "no/thing"),
        (&["stat", "no/thing"], "no/thing"),
        (&["get", "no/thing"], "no/thing"),
        (&["get", "there/*.none"], "there/*.none"),
        (&["rm", "no/thing"], "no/thing"),
        (&["mv", "no/thing", "other"], "no/thing"),
        (&["mv", "there/file", "there"], "there/file"),
        (&["cp", "no/thing", "other"], "no/thing"),
        (&["restore", "no/thing"], "no/thing"),
        (&["mkdir", "there/file"], "there/file"),
        (&["put", "file", "there"], "there"),
        (&["put", "file", "there/file/x"], "there/file"),
        (&["put", "tree/file", "there/file"], "there/file"),
    ] {
        let output = gfl.run(args);
        assert_ne!(output.code, Some(0), "{args:?}");
        let said = output.err.lines().next().unwrap_or_default();
        assert!(said.contains("on the server"), "{args:?}: {said}");
        assert_eq!(said.matches(path).count(), 1, "{args:?}: {said}");
    }
    // In a folder the local and the remote name are often the same.
    gfl.run(&["put", "tree", "there"]).expect(5);
    let output = gfl.run(&["put", "tree/", "there"]).expect(5);
    assert!(
        output
            .err
            .contains("warning: upload of tree/file/below failed: there/file on the server: "),
        "{}",
        output.err
    );
    let missing = gfl.run(&["put", "missing", "x"]).expect(4);
    assert_eq!(
        missing.err,
        "error: missing: no such local file or folder\n"
    );
}

#[test]
fn what_is_there_is_not_sent_again_and_existing_files_are_skipped() {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    let content = gfl_e2e::data::bytes(3, 12 << 20);
    fs::write(gfl.local("f"), &content).unwrap();
    gfl.run(&["put", "f", "f"]).expect(0);
    let sent = proxy.up();
    // Touched: the content is there, and only its time is brought up to date.
    fs::File::options()
        .write(true)
        .open(gfl.local("f"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
        .unwrap();
    let output = gfl.run(&["put", "f", "f"]).expect(0);
    assert!(
        output
            .out
            .contains("(12582912 bytes, updated time and mode)"),
        "{output:?}"
    );
    assert!(proxy.up() - sent < 10_000, "sent {}", proxy.up() - sent);
    let stat = gfl.run(&["stat", "f"]).expect(0).out;
    assert!(stat.contains("2001-09-09T01:46:40Z"), "{stat}");
    let list = gfl.run(&["restore", "--list", "f"]).expect(0).out;
    assert_eq!(list.lines().count(), 2, "no version for nothing: {list}");
    // Fetched, it is here already.
    let received = proxy.down();
    let output = gfl.run(&["get", "f", "f"]).expect(0);
    assert!(output.out.contains("unchanged"), "{output:?}");
    assert!(proxy.down() - received < 10_000);
    // Not to be touched.
    fs::write(gfl.local("f"), "changed").unwrap();
    let output = gfl.run(&["put", "--no-clobber", "f", "f"]).expect(0);
    assert!(output.err.contains("skipped 1 existing"), "{output:?}");
    let output = gfl.run(&["get", "--no-clobber", "f", "f"]).expect(0);
    assert!(output.err.contains("skipped 1 existing"), "{output:?}");
    assert_eq!(fs::read(gfl.local("f")).unwrap(), b"changed");
    gfl.run(&["put", "--force", "f", "f"]).expect(0);
    assert_file(&server.http(), "f", b"changed");
}

#[test]
fn deleted_folders_are_listed_without_times_they_do_not_have() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    fs::write(gfl.local("f"), "x").unwrap();
    gfl.run(&["put", "f", "d/s/f"]).expect(0);
    gfl.run(&["rm", "--", "d/s", "d/none"]).expect(4);
    for args in [
        &["restore", "--list", "d/"][..],
        &["restore", "--list", "d/", "--json"],
    ] {
        let output = gfl.run(args).expect(0);
        assert!(
            output.out.contains("d/s") && !output.out.contains("1970"),
            "{output:?}"
        );
    }
    gfl.run(&["restore", "d/s"]).expect(0);
    assert!(gfl.run(&["ls", "-lr", "d"]).expect(0).out.contains(" s/f"));
}
