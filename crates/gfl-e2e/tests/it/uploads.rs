//! Upload sessions: begin, resume, repeat, contradict, complete.

use crate::common::{
    GROUP, append, assert_file, assert_nothing, begin, begin_request, complete, part, received,
};
use gfl_e2e::server::Token;
use gfl_e2e::traffic::ranges;
use gfl_e2e::{Http, Request, Server, data, http, wait};

const LEN: usize = 5 * GROUP + 123;

fn content() -> Vec<u8> {
    data::bytes(11, LEN)
}

#[test]
fn a_session_tells_what_it_is() {
    let server = Server::start();
    let http = server.http();
    let request = begin_request("a/b", Some(LEN)).header("Gfl-Fingerprint", "size:mtime:1");
    let answer = http.send(&request).expect(201);
    let info = answer.json();
    assert_eq!(
        (&info["path"], &info["state"]),
        (&"a/b".into(), &"receiving".into())
    );
    assert_eq!((&info["length"], &info["offset"]), (&LEN.into(), &0.into()));
    assert_eq!(
        (&info["received"], &info["fingerprint"]),
        (&serde_json::json!([]), &"size:mtime:1".into())
    );
    assert!(
        info["expires"].is_string() && info["created"].is_string(),
        "{info}"
    );
    let again = http.send(&request).expect(200).json();
    assert_eq!(again["id"], info["id"]);
    let other = begin_request("a/b", Some(LEN)).header("Gfl-Fingerprint", "size:mtime:2");
    let other = http.send(&other).expect(201).json();
    assert_ne!(other["id"], info["id"]);
    let list = http.get("/v1/uploads").expect(200).json();
    assert_eq!(list["uploads"].as_array().map(Vec::len), Some(2), "{list}");
    assert_nothing(&http, "a/b");
}

#[test]
fn parts_resume_after_a_graceful_stop_and_after_a_kill() {
    let mut server = Server::start();
    let content = content();
    let target = begin(&server.http(), "f", Some(LEN));
    server
        .http()
        .send(&part(&target, &content, GROUP, 3 * GROUP))
        .expect(204);
    assert!(
        server.stop(),
        "SIGTERM ends the server with 0: {}",
        server.log()
    );
    server.restart();
    // A graceful end checkpoints: everything that was answered is announced.
    let all = received(&server.http(), &target);
    assert_eq!(all, [(GROUP as u64, 3 * GROUP as u64)]);
    server
        .http()
        .send(&part(&target, &content, 0, GROUP))
        .expect(204);
    let head = server.http().head_of(&target).expect(204);
    assert_eq!(head.number("Upload-Offset"), Some(3 * GROUP as u64));
    server.kill9();
    server.restart();
    let http = server.http();
    assert_eq!(received(&http, &target), [(0, 3 * GROUP as u64)]);
    http.send(&part(&target, &content, 3 * GROUP, LEN))
        .expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn head_announces_all_that_arrived() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    http.send(&part(&target, &content, 0, 1000)).expect(204);
    let head = http.head_of(&target).expect(204);
    assert_eq!(head.number("Upload-Offset"), Some(1000));
    assert_eq!(head.number("Upload-Length"), Some(LEN as u64));
    assert_eq!(head.header("Upload-Complete"), Some("?0"));
    assert_eq!(head.header("Cache-Control"), Some("no-store"));
    assert_eq!(received(&http, &target), [(0, 1000)]);
}

#[test]
fn what_arrived_before_the_connection_broke_stays() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    let mut conn = http.connect();
    let request = part(&target, &content, 0, LEN);
    conn.send(&http.head(&request, None)).unwrap();
    conn.send(&content[..2 * GROUP + 77]).unwrap();
    drop(conn);
    // Not by HEAD: that would end the writer while the kernel still holds bytes for it.
    let offset = wait::until("the broken part is received as far as it came", 20, || {
        let came = [(0, (2 * GROUP + 77) as u64)];
        (received(&http, &target) == came).then_some(2 * GROUP + 77)
    });
    http.send(&part(&target, &content, offset, LEN)).expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn repeats_are_compared() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    http.send(&part(&target, &content, 0, 2 * GROUP))
        .expect(204);
    http.send(&part(&target, &content, 0, 2 * GROUP))
        .expect(204);
    http.send(&part(&target, &content, 100, GROUP + 5))
        .expect(204);
    let mut other = content.clone();
    other[GROUP + 1] ^= 1;
    let refused = http
        .send(&part(&target, &other, GROUP, 2 * GROUP))
        .problem(409, "range-overlap");
    assert!(
        !ranges(&refused.json()["received"]).is_empty(),
        "{}",
        refused.text()
    );
    // Half known, half new: fine with the same bytes, refused with others, whatever comes first.
    http.send(&part(&target, &content, GROUP, 3 * GROUP))
        .expect(204);
    http.send(&part(&target, &other, GROUP, 4 * GROUP))
        .problem(409, "range-overlap");
    http.send(&part(&target, &content, 4 * GROUP, LEN))
        .expect(204);
    http.send(&part(&target, &content, 0, LEN)).expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn a_wrong_offset_is_told_the_right_one() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    http.send(&append(&target, 0, false, &content[..GROUP]))
        .expect(204);
    for offset in [0, GROUP - 1, GROUP + 1, LEN + 1] {
        let answer = http.send(&append(&target, offset, false, b"x"));
        let problem = answer.problem(409, "offset-mismatch").json();
        assert_eq!(problem["expected-offset"], GROUP);
        assert_eq!(problem["provided-offset"], offset);
    }
    http.send(&append(&target, GROUP, true, &content[GROUP..]))
        .expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn gaps_keep_a_session_open() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    http.send(&part(&target, &content, 10, GROUP)).expect(204);
    let problem = complete(&http, &target, LEN);
    let missing = match problem.status {
        409 => problem.json()["missing"].clone(),
        other => panic!("{other}: {}", problem.text()),
    };
    assert_eq!(missing, serde_json::json!([[0, 10], [GROUP, LEN]]));
    assert_nothing(&http, "f");
    http.send(&part(&target, &content, 0, 10)).expect(204);
    http.send(&part(&target, &content, GROUP, LEN)).expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn completing_again_gives_the_same_answer() {
    let mut server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    http.send(&part(&target, &content, 0, LEN)).expect(204);
    let first = complete(&http, &target, LEN).expect(201);
    assert_eq!(first.header("Upload-Complete"), Some("?1"));
    assert_eq!(first.json()["b3"], data::b3(&content));
    let second = complete(&http, &target, LEN).expect(201);
    assert_eq!(second.json(), first.json());
    server.kill9();
    server.restart();
    let third = complete(&server.http(), &target, LEN).expect(201);
    assert_eq!(third.json(), first.json());
    // It is history: it must not bring the content back over something newer.
    server.http().put(http::file("f"), "newer").expect(200);
    complete(&server.http(), &target, LEN).expect(201);
    assert_file(&server.http(), "f", b"newer");
}

#[test]
fn a_wrong_digest_of_the_whole_changes_nothing() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("f"), "old").expect(201);
    let content = content();
    let wrong = data::b3(b"something else");
    let answer = http
        .send(&begin_request("f", Some(LEN)).header("Gfl-Blake3", wrong))
        .expect(201);
    let target = answer.header("Location").unwrap_or_default().to_owned();
    http.send(&part(&target, &content, 0, LEN)).expect(204);
    complete(&http, &target, LEN).problem(400, "digest-mismatch");
    assert_file(&http, "f", b"old");
}

#[test]
fn a_wrong_digest_of_a_part_rejects_the_part() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let target = begin(&http, "f", Some(LEN));
    for (name, value) in [
        ("Content-Digest", data::sha256_field(b"other")),
        ("Gfl-Blake3", data::b3(b"other")),
    ] {
        let request = part(&target, &content, 0, GROUP).header(name, value);
        http.send(&request).problem(400, "digest-mismatch");
        http.head_of(&target).expect(204);
        assert_eq!(
            received(&http, &target),
            [],
            "{name}: a rejected part is announced"
        );
    }
    let good = part(&target, &content, 0, GROUP);
    let good = good.header("Content-Digest", data::sha256_field(&content[..GROUP]));
    http.send(&good).expect(204);
    let good = part(&target, &content, GROUP, LEN);
    http.send(&good.header("Gfl-Blake3", data::b3(&content[GROUP..])))
        .expect(204);
    complete(&http, &target, LEN).expect(201);
    assert_file(&http, "f", &content);
}

#[test]
fn conditions_are_decided_at_the_end() {
    let server = Server::start();
    let http = server.http();
    let content = content();
    let answer = http
        .send(&begin_request("f", Some(LEN)).header("If-None-Match", "*"))
        .expect(201);
    let target = answer.header("Location").unwrap_or_default().to_owned();
    http.send(&part(&target, &content, 0, LEN)).expect(204);
    http.put(http::file("f"), "came in between").expect(201);
    complete(&http, &target, LEN).problem(412, "precondition-failed");
    assert_file(&http, "f", b"came in between");
}

#[test]
fn cancelled_and_foreign_sessions_are_gone() {
    let server = Server::start();
    let http = server.http();
    let mut other = Token::new(&gfl_e2e::server::new_token(), "tok_000000000002", &["*"]);
    other.user = "somebody-else".into();
    let own = Token::new(server.token(), "tok_000000000001", &["*"]);
    let target = begin(&http, "f", Some(LEN));
    server.write_tokens(&[own, other.clone()]);
    let foreign = server.http_as(Some(&other.secret));
    wait::until("the new token works", 10, || {
        (foreign.get("/v1/me").status == 200).then_some(())
    });
    gone(&foreign, &target);
    http.get(&target).expect(200);
    http.delete(&target).expect(204);
    gone(&http, &target);
    gone(&http, "/v1/uploads/00000000000000000000000000");
    gone(&http, "/v1/uploads/nonsense");
    assert_nothing(&http, "f");
}

fn gone(http: &Http, target: &str) {
    http.get(target).problem(404, "upload-gone");
    assert_eq!(http.head_of(target).status, 404);
    http.send(&part(target, b"abc", 0, 3))
        .problem(404, "upload-gone");
    complete(http, target, 3).problem(404, "upload-gone");
}

#[test]
fn curls_continuation_is_refused_and_not_taken_for_a_whole_file() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("f"), "0123456789").expect(201);
    let request = Request::new("PUT", http::file("f")).header("Content-Range", "bytes 5-9/10");
    http.send(&request.body("56789"))
        .problem(400, "invalid-request");
    assert_file(&http, "f", b"0123456789");
}
