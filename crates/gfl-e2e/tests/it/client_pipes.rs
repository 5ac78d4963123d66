//! The real client and pipes: bytes that nobody can ask for a second time, while either side dies.

use crate::common::{assert_file, assert_nothing};
use gfl_e2e::data;
use gfl_e2e::proxy::Proxy;
use gfl_e2e::{Gfl, Server, wait};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;

/// Several parts of a pipe, and more than pipes, sockets and queues hold on the way.
const LARGE: usize = 48 << 20;

fn spawn(gfl: &Gfl, args: &[&str]) -> Child {
    let mut command = gfl.command();
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("gfl can be started")
}

/// Writes on a thread of its own; the end of the pipe comes back with the thread.
fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) -> thread::JoinHandle<ChildStdin> {
    thread::spawn(move || {
        stdin.write_all(&bytes).expect("gfl reads");
        stdin
    })
}

#[test]
fn a_pipe_of_any_length_is_one_file() {
    let server = Server::start();
    let gfl = Gfl::new(&server);
    for len in [0, 5, (8 << 20) + 1, LARGE] {
        let content = data::bytes(len as u64, len);
        let mut child = spawn(&gfl, &["put", "-", "f"]);
        let feeding = feed(child.stdin.take().unwrap(), content.clone());
        drop(feeding.join().unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_file(&server.http(), "f", &content);
        let mut back = spawn(&gfl, &["get", "f", "-"]);
        drop(back.stdin.take());
        let output = back.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout == content);
    }
}

#[test]
fn a_pipe_survives_the_servers_death() {
    let mut server = Server::start();
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    let content = data::bytes(7, LARGE);
    let (first, second) = content.split_at(LARGE / 2);
    let mut child = spawn(&gfl, &["put", "-", "f", "--json"]);
    let feeding = feed(child.stdin.take().unwrap(), first.to_vec());
    let mut stdin = feeding.join().unwrap();
    wait::until("some parts of the pipe", 60, || {
        (proxy.up() > 16 << 20).then_some(())
    });
    server.kill9();
    server.restart();
    proxy.set_target(server.addr());
    stdin.write_all(second).unwrap();
    assert_nothing(&server.http(), "f");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_file(&server.http(), "f", &content);
}

#[test]
fn an_interrupted_pipe_leaves_no_file_and_no_session() {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    let mut child = spawn(&gfl, &["put", "-", "f"]);
    let feeding = feed(child.stdin.take().unwrap(), data::bytes(1, LARGE / 2));
    let stdin = feeding.join().unwrap();
    wait::until("some parts of the pipe", 60, || {
        (proxy.up() > 16 << 20).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "interrupted\n");
    let uploads = server.http().get("/v1/uploads").expect(200).json();
    assert_eq!(uploads["uploads"], serde_json::json!([]), "{uploads}");
    assert_nothing(&server.http(), "f");
}

#[test]
fn a_download_into_a_pipe_survives_the_servers_death() {
    let mut server = Server::start();
    let content = data::bytes(9, LARGE);
    server
        .http()
        .put("/v1/files/f", content.clone())
        .expect(201);
    let proxy = Proxy::start(server.addr());
    let gfl = Gfl::at(&proxy.url(), server.token());
    let mut child = spawn(&gfl, &["get", "f", "-"]);
    let mut stdout = child.stdout.take().unwrap();
    let mut got = vec![0; LARGE / 4];
    stdout.read_exact(&mut got).unwrap();
    server.kill9();
    server.restart();
    proxy.set_target(server.addr());
    stdout.read_to_end(&mut got).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(got == content);
}
