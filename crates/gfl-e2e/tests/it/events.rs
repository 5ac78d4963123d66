//! Every visible change has exactly one event, in the same transaction (invariant 5).

use crate::common::{append, batch, begin};
use gfl_e2e::{Request, Server, catalog, frames, http, v0, wait};
use std::fs;

#[test]
fn every_change_has_exactly_one_event() {
    let mut server = Server::start();
    let http = server.http();
    http.put(http::file("f"), "1").expect(201);
    http.put(http::file("f"), "2").expect(200);
    http.send(&Request::new("PUT", "/v1/files/d/")).expect(201);
    http.send(&Request::new("PUT", "/v1/files/d/")).expect(200);
    v0::upload(&http, "d/v0", b"abc", 2);
    let target = begin(&http, "d/session", Some(3));
    http.send(&append(&target, 0, true, b"abc")).expect(201);
    http.send(&append(&target, 3, true, b"")).expect(201);
    let body = frames::put_body(&[("b1".into(), b"1".to_vec()), ("b2".into(), b"2".to_vec())]);
    let bulk = Request::new("POST", "/v1/bulk").header("Content-Type", "application/vnd.gfl.bulk");
    http.send(&bulk.body(body)).expect(200);
    batch(
        &http,
        serde_json::json!({ "op": "move", "path": "d", "to": "e" }),
    );
    http.delete(http::file("f")).expect(204);
    http.delete(http::file("f")).problem(404, "not-found");
    http.post("/v1/versions/f", &serde_json::Value::Null)
        .expect(200);
    // Reading, asking and being refused are no changes.
    http.get(http::file("f")).expect(200);
    http.send(&Request::new("PUT", http::file("f")).header("If-None-Match", "*"))
        .expect(412);
    server.kill9();
    server.restart();
    let events = catalog::events(&server.meta(), 0).expect("readable");
    let mut seen: Vec<(&str, &str)> = events.iter().map(|e| (e.kind, e.path.as_str())).collect();
    // The two files of the bulk stream may be committed in either order.
    seen.sort_by_key(|(_, path)| *path == "b2");
    let mut want = vec![
        ("created", "f"),
        ("replaced", "f"),
        ("dir made", "d"),
        ("created", "d/v0"),
        ("created", "d/session"),
        ("created", "b1"),
        ("moved", "d"),
        ("deleted", "f"),
        ("restored", "f"),
        ("created", "b2"),
    ];
    want.sort_by_key(|(_, path)| *path == "b2");
    assert_eq!(seen, want);
    let moved = events
        .iter()
        .find(|e| e.kind == "moved")
        .and_then(|e| e.target.clone());
    assert_eq!(moved.as_deref(), Some("e"));
}

#[test]
fn changes_by_hand_are_recorded_when_somebody_looks() {
    let server = Server::start();
    let http = server.http();
    http.put(http::file("edited"), "1").expect(201);
    http.put(http::file("removed"), "1").expect(201);
    let last = catalog::events(&server.meta(), 0)
        .expect("readable")
        .last()
        .map_or(0, |e| e.id);
    fs::write(server.data().join("edited"), "by hand").unwrap();
    fs::write(server.data().join("new"), "by hand").unwrap();
    fs::remove_file(server.data().join("removed")).unwrap();
    for path in ["edited", "new", "removed"] {
        let _noticed = http.get(http::file(path));
    }
    let seen = wait::until("three changes are recorded", 20, || {
        let events = catalog::events(&server.meta(), last).ok()?;
        (events.len() >= 3).then_some(events)
    });
    let mut seen: Vec<(&str, &str)> = seen.iter().map(|e| (e.kind, e.path.as_str())).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("adopted", "edited"),
            ("adopted", "new"),
            ("vanished", "removed")
        ]
    );
}
