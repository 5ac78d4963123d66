//! `/metrics`: right in both formats, true, bounded, and shown to whom it may be shown.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::common::{begin, complete, part};
use gfl_e2e::prometheus::{self, Format, Page};
use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Request, Response, Server, Setup, data, frames, http, skip, socket, v0};
use std::io::Write;
use std::process::{Command, Stdio};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn scrape(server: &Server) -> Page {
    let answer = server.http_as(None).get("/metrics").expect(200);
    prometheus::read(&answer.text(), Format::Text).unwrap()
}

fn scrape_open(server: &Server) -> Response {
    let request = Request::new("GET", "/metrics").header("Accept", OPEN);
    server.http_as(None).send(&request).expect(200)
}

/// Something of everything, with names that must not turn up.
fn traffic(server: &Server) {
    let http = server.http();
    let content = data::bytes(1, 100_000);
    http.put(http::file("secret-name/a\"\n"), &content[..])
        .expect(201);
    http.get(http::file("secret-name/a\"\n")).expect(200);
    http.get(http::file("secret-name/none")).expect(404);
    let target = begin(&http, "secret-name/b", Some(100_000));
    http.send(&part(&target, &content, 0, 100_000)).expect(204);
    complete(&http, &target, 100_000).expect(201);
    let given_up = begin(&http, "secret-name/c", Some(1));
    http.delete(&given_up).expect(204);
    v0::upload(&http, "secret-name/d", &content, 60_000);
    let files = [
        ("e".to_owned(), vec![1; 10]),
        ("../x".to_owned(), vec![2; 20]),
    ];
    let bulk = Request::new("POST", "/v1/bulk")
        .header("Content-Type", "application/vnd.gfl.bulk")
        .body(frames::put_body(&files));
    http.send(&bulk).expect(200);
    server.http_as(Some("wrong")).get("/v1/me").expect(401);
    server.http_as(None).get("/v1/me").expect(401);
    http.send(&Request::new("BREW", "/v1/me")).expect(405);
    http.send(&Request::new("GET", "/secret-name/x?y=z"))
        .expect(404);
}

#[test]
fn both_formats_are_right() {
    let server = Server::start();
    traffic(&server);
    let text = server.http_as(None).get("/metrics").expect(200);
    assert_eq!(
        text.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let open = scrape_open(&server);
    assert_eq!(open.header("Content-Type"), Some(OPEN));
    let old = prometheus::read(&text.text(), Format::Text).unwrap();
    let new = prometheus::read(&open.text(), Format::OpenMetrics).unwrap();
    let names = |page: &Page| -> Vec<String> {
        let plain = |name: &str| name.replace(".0\"", "\"");
        page.series().map(|(name, _)| plain(name)).collect()
    };
    let mut more = names(&new);
    // The scrape before is counted in the second page.
    more.retain(|name| !name.contains("/metrics"));
    assert_eq!(names(&old), more, "the same series in both");
    assert_eq!(new.types["gfl_build"], "info");
    assert_eq!(old.types["gfl_build_info"], "gauge");

    let head = server.http_as(None).head_of("/metrics").expect(200);
    assert!(head.body.is_empty());
    server
        .http_as(None)
        .send(&Request::new("POST", "/metrics"))
        .expect(405);
    by_promtool(&text.text());
    by_python(&text.text(), &open.text());
}

/// Where it is installed. Python's readers are what has to be there.
fn by_promtool(page: &str) {
    let Ok(mut child) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn by_python(text: &str, open: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text"), text).unwrap();
    std::fs::write(dir.path().join("open"), open).unwrap();
    let code = "import sys\n\
                from prometheus_client.parser import text_string_to_metric_families as text\n\
                from prometheus_client.openmetrics.parser import text_string_to_metric_families as om\n\
                print(len(list(text(open('text').read()))), len(list(om(open('open').read()))))";
    let pythons = ["python3", "/usr/bin/python3"];
    let has = |python: &&str| {
        let import = Command::new(python)
            .args(["-c", "import prometheus_client"])
            .output();
        import.is_ok_and(|output| output.status.success())
    };
    let Some(python) = pythons.into_iter().find(has) else {
        let why = "no python3 with prometheus_client (Debian package python3-prometheus-client)";
        skip::skip("metrics as Python's client reads them", why);
        return;
    };
    let output = Command::new(python)
        .args(["-c", code])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let mut counts = out.split_whitespace();
    assert!(output.status.success(), "{err}");
    assert_eq!(counts.next(), counts.next(), "families in both: {out}");
}

#[test]
fn they_tell_what_happened() {
    let server = Server::start();
    traffic(&server);
    let page = scrape(&server);
    for (series, value) in [
        (
            "gfl_transfers_total{direction=\"up\",protocol=\"v1\",result=\"complete\"}",
            2.0,
        ),
        (
            "gfl_transfers_total{direction=\"up\",protocol=\"v0\",result=\"complete\"}",
            1.0,
        ),
        (
            "gfl_transfers_total{direction=\"up\",protocol=\"bulk\",result=\"complete\"}",
            1.0,
        ),
        (
            "gfl_transfers_total{direction=\"up\",protocol=\"bulk\",result=\"failed\"}",
            1.0,
        ),
        (
            "gfl_transfers_total{direction=\"down\",protocol=\"v1\",result=\"complete\"}",
            1.0,
        ),
        (
            "gfl_transfer_bytes_total{direction=\"up\",protocol=\"v1\"}",
            200_000.0,
        ),
        (
            "gfl_transfer_bytes_total{direction=\"down\",protocol=\"v1\"}",
            100_000.0,
        ),
        (
            "gfl_uploads_total{protocol=\"any\",result=\"cancelled\"}",
            1.0,
        ),
        ("gfl_uploads_active", 0.0),
        ("gfl_transfers_active{direction=\"up\"}", 0.0),
        ("gfl_auth_failures_total{reason=\"invalid\"}", 1.0),
        ("gfl_auth_failures_total{reason=\"missing\"}", 1.0),
        (
            "gfl_http_requests_total{code=\"405\",method=\"other\",route=\"/v1/me\"}",
            1.0,
        ),
        (
            "gfl_http_requests_total{code=\"404\",method=\"GET\",route=\"-\"}",
            1.0,
        ),
        (
            "gfl_http_requests_total{code=\"201\",method=\"PUT\",route=\"/v1/files/{path}\"}",
            1.0,
        ),
        (
            "gfl_http_request_duration_seconds_count{route=\"/v1/files/{path}\"}",
            3.0,
        ),
        ("gfl_tokens{status=\"active\"}", 1.0),
        ("gfl_access_log_dropped_total", 0.0),
    ] {
        assert_eq!(page.value(series), Some(value), "{series}");
    }
    for series in [
        "gfl_storage_free_bytes",
        "gfl_storage_used_bytes",
        "gfl_storage_size_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "gfl_catalog_commits_total",
    ] {
        assert!(page.value(series).is_some_and(|v| v > 0.0), "{series}");
    }
}

#[test]
fn labels_do_not_grow_with_what_is_asked() {
    let server = Server::start();
    traffic(&server);
    let series = || {
        let page = scrape(&server);
        page.series()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    };
    // The first scrape is counted only afterwards.
    series();
    let before = series();
    for n in 0..50 {
        let (http, name) = (server.http(), format!("n{n}"));
        http.get(http::file(&name)).expect(404);
        http.send(&Request::new("BREW", format!("/v1/me?{name}")))
            .expect(405);
        http.get(format!("/{name}/{name}")).expect(404);
        server.http_as(Some(&name)).get("/v1/me").expect(401);
    }
    assert_eq!(series(), before);
    let text = server.http_as(None).get("/metrics").text();
    for word in ["secret-name", "tester", "tok_"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn only_who_may_reads_them() {
    let token = |id: &str, permissions: &[&str]| Token::new(&new_token(), id, permissions);
    let metrics = token("tok_00000000000a", &["metrics"]);
    let admin = token("tok_00000000000b", &["admin"]);
    for (setting, plain, forwarded, star) in [
        ("local", 200, 401, 200),
        ("public", 200, 200, 200),
        ("permission", 401, 401, 403),
    ] {
        let server = Setup::default().with("metrics", setting).start();
        server.write_tokens(&[
            Token::new(server.token(), "tok_000000000001", &["*"]),
            metrics.clone(),
            admin.clone(),
        ]);
        let get = Request::new("GET", "/metrics");
        let status =
            |secret: Option<&str>, request: &Request| server.http_as(secret).send(request).status;
        assert_eq!(status(None, &get), plain, "{setting}");
        assert_eq!(
            status(Some(server.token()), &get),
            star,
            "{setting}: * is no permission for it"
        );
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
            let passed_on = get.clone().header(header, "for=127.0.0.1");
            assert_eq!(status(None, &passed_on), forwarded, "{setting} {header}");
            assert_eq!(
                status(Some(&metrics.secret), &passed_on),
                200,
                "{setting} {header}"
            );
            let star_there = if setting == "public" { 200 } else { 403 };
            assert_eq!(
                status(Some(server.token()), &passed_on),
                star_there,
                "{setting}"
            );
        }
        assert_eq!(status(Some(&metrics.secret), &get), 200, "{setting}");
        assert_eq!(status(Some(&admin.secret), &get), 200, "{setting}");
        let over_socket = socket::get(&server.meta(), "/metrics").unwrap();
        assert_eq!(over_socket.status, 200, "{setting}");
    }
}
