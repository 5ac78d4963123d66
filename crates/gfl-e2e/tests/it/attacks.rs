//! Clients with bad manners: others are served meanwhile, and nothing of what they send is taken for a request that
//! it is not. How fast others are served, and in how much memory, is measured by `cargo xtask promises`.

use crate::common::assert_file;
use gfl_e2e::siege::{ATTACKS, Attack, Siege};
use gfl_e2e::{Conn, Http, Server, Setup, http, skip, wait};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Fewer places than attackers: they have to be driven out …
const PLACES: usize = 40;
const ATTACKERS: usize = 60;
/// … except those for whom requests run.
const BUSY_ATTACKERS: usize = 30;
/// A debug build on a busy machine; the promise is much less.
const ANSWER_SECONDS_MAX: u64 = 5;

/// Another client's work, in time.
#[track_caller]
fn others_are_served(http: &Http, attack: Attack) {
    let begun = Instant::now();
    let file = http::file("others");
    http.put(&*file, "work")
        .expect(if attack == ATTACKS[0] { 201 } else { 200 });
    assert_file(http, "others", b"work");
    http.get("/readyz").expect(200);
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(ANSWER_SECONDS_MAX),
        "{attack:?}: {took:?}"
    );
}

#[test]
fn others_are_served_under_every_attack() {
    let server = Setup::default().with("connections_max", PLACES).start();
    for attack in ATTACKS {
        let attackers = match attack {
            Attack::SlowBody | Attack::ChunkExtension | Attack::Trailers | Attack::NoReading => {
                BUSY_ATTACKERS
            }
            _ => ATTACKERS,
        };
        let siege = Siege::start(server.addr(), attack, attackers, server.token());
        others_are_served(&server.http(), attack);
        // With a connection of its own for each request, too: each needs a place.
        for _ in 0..3 {
            server.http().get("/livez").expect(200);
        }
        let seen = siege.end();
        assert!(seen.opened >= attackers as u64 / 2, "{attack:?}: {seen:?}");
    }
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

/// Everything that comes back for these bytes, until the server closes or `silence` passes.
fn reply(server: &Server, bytes: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(server.addr()).expect("connects");
    let limit = Some(Duration::from_millis(700));
    stream.set_read_timeout(limit).expect("a time limit");
    std::io::Write::write_all(&mut stream, bytes.as_bytes()).expect("sends");
    let (mut got, mut buf) = (Vec::new(), [0; 4096]);
    let closed = loop {
        match stream.read(&mut buf) {
            Ok(0) => break true,
            Ok(n) => got.extend_from_slice(&buf[..n]),
            Err(e) => break e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    (String::from_utf8_lossy(&got).into_owned(), closed)
}

#[test]
fn ambiguous_framing_never_hides_a_request() {
    let server = Setup::default().open().start();
    let hidden = "GET /v1/files/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    server
        .http()
        .put(http::file("hidden"), "secret")
        .expect(201);
    let put = |fields: &str, body: &str| {
        format!("PUT /v1/files/f HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}")
    };
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let turned = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    // Chunked counts, and the connection ends: what stands behind it may be meant for a proxy.
    for fields in [both, turned] {
        let (got, closed) = reply(&server, &put(fields, &format!("0\r\n\r\n{hidden}")));
        assert!(closed && !got.contains("secret"), "{fields}: {got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{fields}: {got}");
    }
    let refused = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length: 5\r\n Folded: 1\r\n",
        "X: a\0b\r\nContent-Length: 5\r\n",
        "X: a\rb\r\nContent-Length: 5\r\n",
    ];
    for fields in refused {
        let (got, closed) = reply(&server, &put(fields, &format!("hello{hidden}")));
        assert!(
            got.starts_with("HTTP/1.1 400 ") && closed,
            "{fields:?}: {got}"
        );
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {got}");
    }
    let old =
        format!("PUT /v1/files/f HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}");
    let (got, closed) = reply(&server, &old);
    assert!(!got.contains("secret") && closed, "{got}");
    for chunk in [
        "FFFFFFFFFFFFFFFFF\r\n",
        "5 x\r\nhello",
        "-1\r\n",
        "5\r\nhelloXX",
        "\r\n",
    ] {
        let body = format!("{chunk}{hidden}");
        let (got, closed) = reply(&server, &put("Transfer-Encoding: chunked\r\n", &body));
        assert!(closed && !got.contains("secret"), "{chunk:?}: {got}");
        assert!(
            got.starts_with("HTTP/1.1 4") || got.is_empty(),
            "{chunk:?}: {got}"
        );
    }
    let stored = server.http().get(http::file("f")).status;
    assert!(stored == 200 || stored == 404, "{stored}");
    server.http().get("/readyz").expect(200);
}

#[test]
fn a_head_has_a_size_and_a_number_of_fields() {
    let server = Server::start();
    let get = |more: &str| format!("GET /livez HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let answer = |request: &str| reply(&server, request).0;
    // The longest path there may be, every byte of it escaped, still fits.
    let path = ("%41".repeat(255) + "/").repeat(16);
    let long = format!(
        "GET /v1/files/{path}%41 HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(4000)
    );
    assert!(answer(&long).starts_with("HTTP/1.1 401 "));
    let fields = |n: usize| "A: b\r\n".repeat(n);
    assert!(answer(&get(&fields(90))).starts_with("HTTP/1.1 200 "));
    for wrong in [
        get(&fields(200)),
        get(&format!("X: {}\r\n", "a".repeat(30_000))),
    ] {
        let got = answer(&wrong);
        assert!(got.starts_with("HTTP/1.1 431 "), "{got:?}");
    }
}

#[test]
fn half_open_connections_are_given_up() {
    let server = Setup::default().with("drain_seconds", 1).start();
    let http = server.http();
    // The client's side ends before the answer can be sent, or before the body is there.
    for request in [
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost",
        "PUT /v1/files/f HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
    ] {
        let mut conn = Conn::open(server.addr()).expect("connects");
        conn.send(request.as_bytes()).expect("sends");
        conn.socket()
            .shutdown(std::net::Shutdown::Write)
            .expect("is open");
        let mut end = conn.socket();
        wait::until("the server closes", 20, || {
            matches!(end.read(&mut [0; 4096]), Ok(0) | Err(_)).then_some(())
        });
    }
    http.get("/livez").expect(200);
}

/// An address of this machine that is not loopback; nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn one_address_cannot_take_all_places() {
    const MAX: usize = 5;
    let Some(own) = own_address() else {
        skip::skip("the limit per address", "this machine has only loopback");
        return;
    };
    let mut server = Setup::default()
        .with("address", "0.0.0.0:0")
        .with("connections_per_address_max", MAX)
        .prepare();
    server.try_start().expect("starts");
    let there = SocketAddr::new(own, server.addr().port());
    let local = SocketAddr::new([127, 0, 0, 1].into(), server.addr().port());
    // Connections with a request that runs cannot be driven out.
    let put = format!(
        "PUT /v1/files/f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\n\
         Content-Length: 9\r\n\r\n",
        server.token()
    );
    let busy: Vec<Conn> = (0..MAX)
        .map(|_| {
            let mut conn = Conn::open(there).expect("connects");
            conn.send(put.as_bytes()).expect("sends");
            let mut interim = [0; 12];
            conn.socket()
                .read_exact(&mut interim)
                .expect("is asked for the body");
            assert_eq!(&interim, b"HTTP/1.1 100");
            conn
        })
        .collect();
    let refused = Conn::open(there).and_then(|mut conn| {
        conn.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")?;
        conn.answer("GET")
    });
    assert!(refused.is_err(), "{refused:?}");
    assert!(
        server.log().contains("connections_per_address_max"),
        "{}",
        server.log()
    );
    // This machine itself is never locked out.
    Http::new(local, None).get("/livez").expect(200);
    drop(busy);
    wait::until("the places are free again", 10, || {
        let answer = Conn::open(there).and_then(|mut conn| {
            conn.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")?;
            conn.answer("GET")
        });
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    });
}
