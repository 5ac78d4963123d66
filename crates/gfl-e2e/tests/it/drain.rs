//! SIGTERM in the middle of many transfers: nothing acknowledged is lost, everything goes on after the restart.

use crate::common::{assert_file, begin, complete, part, received};
use gfl_e2e::{Http, Request, Server, Setup, data, http};
use rustix::process::Signal;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const UPLOADS: usize = 20;
const DOWNLOADS: usize = 20;
const WRITERS: usize = 10;
const UPLOAD_BYTES: usize = 4 << 20;
/// More than the kernel takes for a reader that has stopped.
const DOWNLOAD_BYTES: usize = 32 << 20;
const DOWN: &str = "down";
const DRAIN_SECONDS: u64 = 2;
/// What the rest of the end may take in a debug build on a busy machine.
const REST_SECONDS_MAX: u64 = 20;

fn content(n: usize) -> Vec<u8> {
    data::bytes(n as u64, UPLOAD_BYTES)
}

#[derive(Default)]
struct Results {
    /// The server is gone.
    ended: AtomicBool,
    /// Small files whose 201 was seen.
    acknowledged: Mutex<Vec<String>>,
    /// Bytes that each download has got.
    got: [AtomicUsize; DOWNLOADS],
    /// Transfers that were not done when the server ended.
    unfinished: AtomicUsize,
}

impl Results {
    fn wait_for_the_end(&self) {
        let ended = || self.ended.load(Ordering::SeqCst).then_some(());
        gfl_e2e::wait::until("the server ends", 120, ended);
    }

    fn count(&self, done: bool) {
        self.unfinished
            .fetch_add(usize::from(!done), Ordering::SeqCst);
    }
}

/// Hands out half of a content, and the rest only when the server is gone.
struct Halting<'a> {
    left: &'a [u8],
    results: &'a Results,
}

impl Read for Halting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.left.len() <= UPLOAD_BYTES / 2 {
            self.results.wait_for_the_end();
        }
        let n = self.left.len().min(buf.len());
        buf[..n].copy_from_slice(&self.left[..n]);
        self.left = &self.left[n..];
        Ok(n)
    }
}

fn upload(server: &Server, target: &str, n: usize, results: &Results) {
    let whole = content(n);
    let mut request = part(target, &whole, 0, UPLOAD_BYTES);
    request.body = Some(Vec::new());
    let mut source = Halting {
        left: &whole,
        results,
    };
    let answer = server
        .http()
        .upload(&request, UPLOAD_BYTES as u64, &mut source);
    results.count(answer.is_ok_and(|answer| answer.status < 300));
}

/// Reads a little, and the rest when the server is gone.
fn download(server: &Server, want: &[u8], got: &AtomicUsize, results: &Results) {
    let request = Request::new("GET", http::file(DOWN));
    let done = server.http().download(&request, &mut |piece| {
        let at = got.fetch_add(piece.len(), Ordering::SeqCst);
        assert!(
            piece == &want[at..at + piece.len()],
            "another content at {at}"
        );
        results.wait_for_the_end();
    });
    results.count(done.is_ok());
}

/// Small files, one after the other, until the server is gone.
fn write_small(server: &Server, n: usize, acknowledged: &Mutex<Vec<String>>) {
    let http = server.http();
    for i in 0.. {
        let path = format!("small/{n}-{i}");
        match http.try_send(&Request::new("PUT", http::file(&path)).body(path.as_bytes())) {
            Ok(answer) if answer.status == 201 => {
                acknowledged.lock().expect("no panics").push(path)
            }
            _ => return,
        }
    }
}

/// Runs all transfers, and SIGTERM in the middle; returns how long the server took to end.
fn transfers(server: &Server, targets: &[String], down: &[u8], results: &Results) -> Duration {
    std::thread::scope(|scope| {
        for (n, target) in targets.iter().enumerate() {
            scope.spawn(move || upload(server, target, n, results));
        }
        for got in &results.got {
            scope.spawn(move || download(server, down, got, results));
        }
        for n in 0..WRITERS {
            scope.spawn(move || write_small(server, n, &results.acknowledged));
        }
        let moving = || {
            let some = |target: &String| !received(&server.http(), target).is_empty();
            let read = |got: &AtomicUsize| got.load(Ordering::SeqCst) > 0;
            results.got.iter().all(read) && targets.iter().all(some)
        };
        gfl_e2e::wait::until("all transfers move", 60, || moving().then_some(()));
        server.signal(Signal::TERM);
        let begun = Instant::now();
        // A process that is gone but not asked about yet has no open files.
        let fds = format!("/proc/{}/fd/0", server.pid());
        let gone = || !Path::new(&fds).exists();
        gfl_e2e::wait::until("the server ends", 60, || gone().then_some(()));
        results.ended.store(true, Ordering::SeqCst);
        begun.elapsed()
    })
}

/// Sends what the session does not have, and completes it.
fn resume(http: &Http, target: &str, whole: &[u8]) {
    let kept = received(http, target);
    assert!(!kept.is_empty(), "{target} begins from nothing");
    let len = whole.len() as u64;
    let mut at = 0;
    for (start, end) in kept.into_iter().chain([(len, len)]) {
        if at < start {
            http.send(&part(target, whole, at as usize, start as usize))
                .expect(204);
        }
        at = end;
    }
    complete(http, target, whole.len()).expect(201);
}

#[test]
fn fifty_transfers_survive_a_sigterm() {
    let mut server = Setup::default()
        .with("drain_seconds", DRAIN_SECONDS)
        .start();
    let setup = server.http();
    let targets: Vec<String> = (0..UPLOADS)
        .map(|n| begin(&setup, &format!("up/{n}"), Some(UPLOAD_BYTES)))
        .collect();
    let down = data::bytes(1000, DOWNLOAD_BYTES);
    setup.put(http::file(DOWN), down.clone()).expect(201);
    let results = Results::default();
    let took = transfers(&server, &targets, &down, &results);
    assert!(server.wait_end(60).success(), "{}", server.log());
    let limit = Duration::from_secs(DRAIN_SECONDS + REST_SECONDS_MAX);
    assert!(took < limit, "{took:?}");
    let unfinished = results.unfinished.load(Ordering::SeqCst);
    assert_eq!(unfinished, UPLOADS + DOWNLOADS, "were in the middle");

    server.restart();
    let http = server.http();
    let acknowledged = results.acknowledged.into_inner().expect("no panics");
    assert!(!acknowledged.is_empty());
    for path in &acknowledged {
        assert_file(&http, path, path.as_bytes());
    }
    for (n, target) in targets.iter().enumerate() {
        resume(&http, target, &content(n));
        assert_file(&http, &format!("up/{n}"), &content(n));
    }
    for got in &results.got {
        let got = got.load(Ordering::SeqCst);
        let request =
            Request::new("GET", http::file(DOWN)).header("Range", format!("bytes={got}-"));
        assert!(
            http.send(&request).expect(206).body == down[got..],
            "the rest from {got}"
        );
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start();
    let http = server.http();
    let mut conn = http.connect();
    let request = Request::new("PUT", http::file("f")).header("Expect", "100-continue");
    conn.send(&http.head(&request, Some(9))).expect("sends");
    let mut interim = [0; 12];
    conn.socket()
        .read_exact(&mut interim)
        .expect("is asked for the body");
    server.signal(Signal::TERM);
    gfl_e2e::wait::until("the end begins", 20, || {
        server
            .log()
            .contains("send it again to end at once")
            .then_some(())
    });
    gfl_e2e::wait::until("nobody is accepted any more", 20, || {
        http.try_send(&Request::new("GET", "/livez"))
            .is_err()
            .then_some(())
    });
    server.signal(Signal::TERM);
    let status = server.wait_end(5);
    assert_eq!(status.code(), Some(143), "{status}");
}
