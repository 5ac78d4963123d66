//! Handshakes that are none: the wrong protocol, halves, silence, and many of them.

use crate::tls::Pair;
use gfl_e2e::http::connect;
use gfl_e2e::tls::Wire;
use gfl_e2e::{Conn, Http, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The server's limit, with room for a busy machine.
const HANDSHAKE_SECONDS: std::ops::Range<u64> = 9..25;

/// What a client sends first, cut after some bytes: a whole record header and the beginning of a ClientHello.
const HALF_A_HELLO: [u8; 16] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4, 5];

fn alive(server: &Server) {
    let mut conn = Conn::open_tls(server.addr()).expect("others are served");
    conn.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("the set-up works");
    assert_eq!(conn.answer("GET").expect("the set-up works").status, 200);
}

#[test]
fn half_handshakes_are_dropped_in_time_and_hinder_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Pair::make(dir.path()).setup().start();
    let begun = Instant::now();
    let mut open: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut socket = connect(server.addr()).unwrap();
            // Silence, one byte, half a hello.
            let said = &HALF_A_HELLO[..[0, 1, HALF_A_HELLO.len()][n % 3]];
            socket.write_all(said).unwrap();
            socket
        })
        .collect();
    alive(&server);
    for socket in &mut open {
        let mut rest = Vec::new();
        let _reset_or_closed = socket.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
    let seconds = begun.elapsed().as_secs();
    assert!(
        HANDSHAKE_SECONDS.contains(&seconds),
        "dropped after {seconds} s"
    );
    alive(&server);
}

#[test]
fn a_trickled_handshake_is_dropped_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Pair::make(dir.path()).setup().start();
    let mut socket = connect(server.addr()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let begun = Instant::now();
    // A byte now and then keeps nothing open: it is the whole that has a limit.
    for byte in HALF_A_HELLO.iter().chain(std::iter::repeat(&0)) {
        let mut answer = [0; 8];
        let ended = socket.write_all(&[*byte]).is_err()
            || matches!(socket.read(&mut answer), Ok(0))
            || begun.elapsed().as_secs() > 60;
        if ended {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs();
    assert!(
        HANDSHAKE_SECONDS.contains(&seconds),
        "dropped after {seconds} s"
    );
}

#[test]
fn plain_http_on_a_port_for_tls_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Pair::make(dir.path()).setup().start();
    let refused = Http::new(server.addr(), None).get("/v1/");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("Connection"), Some("close"));
    assert!(refused.text().contains("https://"), "{}", refused.text());
    // Also in the middle of a large body: closing at once would destroy the answer.
    let mut socket = connect(server.addr()).unwrap();
    let head = b"PUT /v1/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n";
    socket
        .write_all(&[&head[..], &[0; 200_000]].concat())
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"),
        "{answer}"
    );
    // What is neither gets nothing.
    let mut socket = connect(server.addr()).unwrap();
    socket.write_all(b"\0\0garbage").unwrap();
    let mut answer = Vec::new();
    let _reset_or_closed = socket.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

#[test]
fn tls_on_a_plain_port_is_answered_with_an_alert() {
    let server = Server::start();
    let socket = connect(server.addr()).unwrap();
    let error = Wire::tls(socket, &[]).unwrap_err().to_string();
    assert!(error.contains("HandshakeFailure"), "{error}");
    server.http().get("/livez").expect(200);
}

#[test]
fn a_waiting_handshake_does_not_delay_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Pair::make(dir.path()).setup().start();
    let mut half = connect(server.addr()).unwrap();
    half.write_all(&HALF_A_HELLO).unwrap();
    let silent = connect(server.addr()).unwrap();
    alive(&server);
    let begun = Instant::now();
    assert!(server.stop());
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop((half, silent));
}
