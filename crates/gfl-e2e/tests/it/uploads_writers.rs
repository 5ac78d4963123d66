//! Several connections on one session: the newer one wins, nothing is mixed, nobody waits for the dead.

use crate::common::{GROUP, assert_file, begin, complete, part, received};
use gfl_e2e::{Http, Server, data, wait};
use std::time::{Duration, Instant};

const LEN: usize = 8 * GROUP;
/// A second client goes on within this time (protocol notes, kill tests).
const TAKEOVER_SECONDS_MAX: u64 = 2;

/// A connection that sent half of the session's bytes and then fell silent, and how many bytes exactly.
/// The server has begun with them: a request it sees only later is newer than ours, and may take over.
fn half_open(http: &Http, target: &str, content: &[u8]) -> (gfl_e2e::Conn, usize) {
    let mut conn = http.connect();
    conn.send(&http.head(&part(target, content, 0, LEN), None))
        .expect("sends");
    conn.send(&content[..LEN / 2]).expect("sends");
    // A piece may count only when the next one comes, so a byte follows now and then.
    let mut sent = LEN / 2;
    wait::until("the writer's half is checkpointed", 20, || {
        conn.send(&content[sent..=sent]).expect("still welcome");
        sent += 1;
        let announced = received(http, target).first().map_or(0, |r| r.1);
        (announced >= LEN as u64 / 2).then_some(())
    });
    (conn, sent)
}

#[test]
fn a_second_client_takes_over_from_a_dead_one() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(3, LEN);
    let target = begin(&http, "f", Some(LEN));
    let _silent = half_open(&http, &target, &content);
    let began = Instant::now();
    http.send(&part(&target, &content, 0, LEN)).expect(204);
    complete(&http, &target, LEN).expect(201);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(TAKEOVER_SECONDS_MAX),
        "took {took:?}"
    );
    assert_file(&http, "f", &content);
}

#[test]
fn head_fences_a_dead_writer() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(4, LEN);
    let target = begin(&http, "f", Some(LEN));
    let (mut silent, sent) = half_open(&http, &target, &content);
    let began = Instant::now();
    let offset = http
        .head_of(&target)
        .expect(204)
        .number("Upload-Offset")
        .unwrap_or(0) as usize;
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(TAKEOVER_SECONDS_MAX),
        "took {took:?}"
    );
    assert!(
        (LEN / 2..=sent).contains(&offset),
        "{offset}, {sent} were sent"
    );
    // The fenced writer may wake up and send the rest: it must not be written any more.
    let poison = vec![0xAA; LEN / 2];
    let _refused = silent.send(&poison);
    drop(silent);
    http.send(&part(&target, &content, offset, LEN)).expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn cancelling_ends_writers() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(5, LEN);
    let target = begin(&http, "f", Some(LEN));
    let _silent = half_open(&http, &target, &content);
    let began = Instant::now();
    http.delete(&target).expect(204);
    assert!(began.elapsed() < Duration::from_secs(TAKEOVER_SECONDS_MAX));
    http.get(&target).problem(404, "upload-gone");
}

#[test]
fn two_appends_at_one_offset_do_not_mix() {
    let server = Server::start();
    let http = server.http();
    let target = begin(&http, "f", Some(LEN));
    let bodies = [vec![b'a'; LEN], vec![b'b'; LEN]];
    std::thread::scope(|scope| {
        for body in &bodies {
            let (server, target) = (&server, &target);
            // Either may be cut off by the other: its connection then breaks.
            scope.spawn(move || {
                server
                    .http()
                    .try_send(&crate::common::append(target, 0, false, body))
            });
        }
    });
    let offset = http
        .head_of(&target)
        .expect(204)
        .number("Upload-Offset")
        .unwrap_or(0) as usize;
    // What is there up to here is one writer's, or a prefix of one and the rest of nobody; finish with 'c'.
    http.send(&crate::common::append(
        &target,
        offset,
        true,
        &vec![b'c'; LEN - offset],
    ))
    .expect(201);
    let answer = http.get(gfl_e2e::http::file("f")).expect(200);
    let first = answer.body.first().copied();
    let whole = answer.body[..offset].iter().all(|b| Some(*b) == first);
    assert!(whole, "bytes of two writers are mixed");
}

#[test]
fn a_slow_writer_is_not_cut_off_while_it_sends() {
    let server = Server::start();
    let http = server.http();
    let content = data::bytes(6, 2_000);
    let target = begin(&http, "f", Some(content.len()));
    let mut conn = http.connect();
    conn.send(&http.head(&part(&target, &content, 0, content.len()), None))
        .expect("sends");
    for piece in content.chunks(20) {
        conn.send(piece).expect("the slow writer is still welcome");
        // A trickle, not a wait for anything: a hundred small packets.
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(conn.answer("PUT").expect("answers").status, 204);
    complete(&http, &target, content.len()).expect(201);
    assert_file(&http, "f", &content);
}
