//! What becomes of a server whose PostgreSQL goes, hangs, cuts connections or takes no writes, and comes back.

use crate::common::{assert_file, begin, complete, part, received};
use gfl_e2e::data::{self, Rng};
use gfl_e2e::postgres::Postgres;
use gfl_e2e::{Gfl, Http, Request, Response, Server, Setup, http, tree, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than it may take until a request knows that there is no database.
const KNOWN_S_MAX: u64 = 30;
const MIB: usize = 1 << 20;

fn start(what: &str) -> Option<(Postgres, Server)> {
    let postgres = Postgres::of_its_own(what)?;
    let server = Setup::default().with("database", postgres.url()).start();
    Some((postgres, server))
}

fn ready(http: &Http) -> Response {
    http.get("/readyz")
}

#[track_caller]
fn until_ready(http: &Http) {
    wait::until("it is ready again", 30, || {
        (ready(http).status == 200).then_some(())
    });
}

/// The database is away: an error that says so, soon, with a hint when to come again.
#[track_caller]
fn is_refused(http: &Http) -> Response {
    let begun = Instant::now();
    let answer = http.put(http::file("refused"), "x");
    let answer = answer.problem(503, "unavailable");
    assert!(
        begun.elapsed().as_secs() < KNOWN_S_MAX,
        "{:?}",
        begun.elapsed()
    );
    assert!(answer.header("Retry-After").is_some(), "{}", answer.text());
    answer
}

fn lines_about(server: &Server, word: &str) -> usize {
    server
        .log()
        .lines()
        .filter(|line| line.contains(word))
        .count()
}

#[test]
fn a_database_that_is_away_is_said_and_found_again() {
    let Some((postgres, server)) = start("a PostgreSQL that is away") else {
        return;
    };
    let http = server.http();
    let content = data::bytes(7, 9 * MIB);
    http.put(http::file("before"), "x").expect(201);
    let session = begin(&http, "large", Some(content.len()));
    http.send(&part(&session, &content, 0, 4 * MIB)).expect(204);
    wait::until("a checkpoint", 10, || {
        (received(&http, &session) == [(0, (4 * MIB) as u64)]).then_some(())
    });
    postgres.stop("fast");
    let refused = is_refused(&http);
    assert!(
        refused.text().contains("nobody listens"),
        "{}",
        refused.text()
    );
    let red = ready(&http);
    assert_eq!(red.status, 503);
    let said = "[-]catalog failed: the catalog's database is away (nobody listens at its address)";
    assert!(red.text().contains(said), "{}", red.text());
    assert_eq!(http.get("/livez").status, 200);
    assert!(http.get("/metrics").text().contains("gfl_database_up 0"));
    // v0's clients are told the same, in their way.
    let v0 = http.get("/list?path=");
    assert_eq!(v0.status, 503, "{}", v0.text());
    // Everybody is refused at once now.
    let begun = Instant::now();
    for _ in 0..50 {
        http.get(http::file("before")).expect(503);
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert!(
        lines_about(&server, "PostgreSQL is away") <= 3,
        "{}",
        server.log()
    );
    assert_eq!(
        lines_about(&server, "trying again later"),
        0,
        "{}",
        server.log()
    );
    // Nothing but a line for each request, the one of readiness, and what it began with.
    let lines = server.log().lines().count() - lines_about(&server, "request_id=");
    assert!(lines < 30, "{}", server.log());

    postgres.resume();
    until_ready(&http);
    assert!(http.get("/metrics").text().contains("gfl_database_up 1"));
    assert_eq!(
        lines_about(&server, "PostgreSQL is back"),
        1,
        "{}",
        server.log()
    );
    let had = received(&http, &session);
    assert_eq!(
        had,
        [(0, (4 * MIB) as u64)],
        "nothing announced is taken back"
    );
    http.send(&part(&session, &content, 4 * MIB, content.len()))
        .expect(204);
    complete(&http, &session, content.len()).expect(201);
    assert_file(&http, "large", &content);
    http.get(http::file("refused")).problem(404, "not-found");
}

/// A body that is on its way while the database is restarted: the upload goes on.
#[test]
fn uploads_outlive_a_restart_of_the_database() {
    let Some((postgres, server)) = start("uploads over a restart of PostgreSQL") else {
        return;
    };
    for (round, how) in ["fast", "immediate"].into_iter().enumerate() {
        let http = server.http();
        let content = data::bytes(round as u64 + 1, 24 * MIB);
        let path = format!("large-{how}");
        let session = begin(&http, &path, Some(content.len()));
        let mut at = 0;
        for step in 0..6 {
            if step == 2 {
                postgres.stop(how);
            }
            if step == 4 {
                postgres.resume();
            }
            let end = at + 4 * MIB;
            wait::until("the part is taken", 60, || {
                let answer = http.send(&part(&session, &content, at, end));
                match answer.status {
                    204 => Some(()),
                    // While it is away nothing can be promised; when it is back the same part is sent again.
                    503 if step < 4 => Some(()),
                    503 => None,
                    other => panic!("{other} {}", answer.text()),
                }
            });
            at = end;
        }
        until_ready(&http);
        // What was refused is still to be sent, as a client would after asking.
        for (start, end) in gaps(&received(&http, &session), content.len()) {
            http.send(&part(&session, &content, start, end)).expect(204);
        }
        complete(&http, &session, content.len()).expect(201);
        assert_file(&http, &path, &content);
    }
}

fn gaps(have: &[(u64, u64)], len: usize) -> Vec<(usize, usize)> {
    let mut gaps = Vec::new();
    let mut at = 0;
    for (start, end) in have.iter().map(|(s, e)| (*s as usize, *e as usize)) {
        if at < start {
            gaps.push((at, start));
        }
        at = end;
    }
    if at < len {
        gaps.push((at, len));
    }
    gaps
}

/// Many small files, each of them refused while the database is away: `gfl` waits and forgets none.
#[test]
fn a_folder_is_sent_when_the_database_is_back() {
    let Some((postgres, server)) = start("a folder that is sent without PostgreSQL") else {
        return;
    };
    let gfl = Gfl::new(&server);
    let src = gfl.local("src");
    fs::create_dir_all(src.join("empty")).expect("made");
    for n in 0..300 {
        fs::write(src.join(format!("f{n}")), data::bytes(n, 100)).expect("written");
    }
    postgres.stop("fast");
    is_refused(&server.http());
    let mut child = gfl.spawn(&["put", "--force", "src", "up"]);
    wait::until("files were refused", 30, || {
        (lines_about(&server, "route=\"/v1/bulk\"") > 2).then_some(())
    });
    postgres.resume();
    assert!(child.wait().expect("it ends").success());
    let here = tree::summary(&src).expect("can be read");
    let there = tree::summary(&server.data().join("up")).expect("can be read");
    assert_eq!(here, there);
}

/// All processes of the server, stopped or continued.
fn signal_all(postgres: &Postgres, signal: Signal) {
    let top = postgres.pid();
    let mut all = vec![top];
    for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        if parent.is_some_and(|parent| parent.trim() == top.to_string()) {
            all.extend(entry.file_name().to_string_lossy().parse::<i32>());
        }
    }
    for pid in all.into_iter().filter_map(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

#[test]
fn a_database_that_hangs_is_given_up_in_time() {
    let Some((postgres, server)) = start("a PostgreSQL that hangs") else {
        return;
    };
    let http = server.http();
    http.put(http::file("f"), "x").expect(201);
    signal_all(&postgres, Signal::STOP);
    is_refused(&http);
    // It is known by now: the next one does not wait as long.
    let begun = Instant::now();
    http.get(http::file("f")).expect(503);
    let waited = begun.elapsed();
    let red = ready(&http);
    signal_all(&postgres, Signal::CONT);
    assert!(waited.as_secs() < 12, "{waited:?}");
    assert_eq!(red.status, 503, "{}", red.text());
    until_ready(&http);
    http.put(http::file("f"), "y").expect(200);
    assert_file(&http, "f", b"y");
}

#[test]
fn a_standby_is_no_database() {
    let Some((postgres, server)) = start("a PostgreSQL that takes no writes") else {
        return;
    };
    let http = server.http();
    http.put(http::file("f"), "x").expect(201);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gfl-server'";
    postgres.sql(&[
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ]);
    postgres.sql(&[end]);
    let refused = is_refused(&http);
    assert!(
        refused.text().contains("it takes no writes"),
        "{}",
        refused.text()
    );
    postgres.sql(&[
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    ]);
    until_ready(&http);
    http.put(http::file("f"), "y").expect(200);
}

/// What was acknowledged while every connection was cut again and again is there, and nothing was done twice.
#[test]
fn connections_are_cut_under_load() {
    let Some((postgres, server)) = start("cut connections to PostgreSQL") else {
        return;
    };
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut rng = Rng::new(Rng::seed_of_run());
    let last: Vec<(String, u64)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (over, done, http) = (&over, &done, server.http());
                scope.spawn(move || {
                    let path = format!("w{worker}");
                    let mut last = 0;
                    for number in 1.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let body = number.to_string();
                        let answer = http.send(&Request::new("PUT", http::file(&path)).body(body));
                        match answer.status {
                            200 | 201 => last = number,
                            503 => continue,
                            other => panic!("{path}: {other} {}", answer.text()),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    (path, last)
                })
            })
            .collect();
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = 'gfl-server' AND random() < 0.7";
        for _ in 0..40 {
            postgres.sql(&[cut]);
            // Not a wait for anything: the moment of the cut is random.
            thread::sleep(Duration::from_millis(rng.between(1, 80)));
        }
        over.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|w| w.join().expect("no worker panics"))
            .collect()
    });
    let http = server.http();
    for (path, last) in last {
        assert!(last > 0, "nothing was acknowledged at {path}");
        let seen: u64 = http
            .get(http::file(&path))
            .expect(200)
            .text()
            .parse()
            .expect("a number");
        assert!(
            seen >= last,
            "{path}: {last} was acknowledged, {seen} is there"
        );
    }
    let versions: u64 = postgres
        .sql(&["SELECT count(*) FROM version"])
        .parse()
        .expect("a number");
    assert!(
        versions >= done.load(Ordering::Relaxed),
        "{versions} versions"
    );
    let twice = "SELECT count(*) FROM (SELECT version FROM event WHERE version IS NOT NULL AND kind IN (1, 2) \
                 GROUP BY version HAVING count(*) > 1) AS twice";
    assert_eq!(postgres.sql(&[twice]), "0", "an event of each change");
    let lost = http.get("/metrics").text();
    assert!(!lost.contains("gfl_database_connects_total 0"), "{lost}");
}
