//! Clients with bad manners, a thousand of them: others are answered meanwhile, the server stays inside its memory,
//! and whoever is too slow is thrown out. On this machine only, for two minutes.

use super::latency::Latencies;
use super::memory::{megabytes, raise_limit};
use super::{MEGABYTES_MAX, Measured};
use anyhow::{Result, ensure};
use gfl_e2e::siege::{ATTACKS, Attack, Seen, Siege};
use gfl_e2e::{Request, Server, http};
use std::time::{Duration, Instant};

const ATTACKERS: usize = 1000;
/// Each attack by itself …
const ALONE: Duration = Duration::from_secs(4);
/// … and all together, longer than any time limit of theirs.
const TOGETHER: Duration = Duration::from_secs(75);
const ANSWER_MS_MAX: f64 = 1000.0;

/// All attacks, or the one of this name; `together` is all at once.
pub(super) fn measure(only: Option<&str>) -> Result<Vec<Measured>> {
    raise_limit()?;
    let is_asked = |name: &str| only.is_none_or(|only| only.eq_ignore_ascii_case(name));
    let mut out = Vec::new();
    for attack in ATTACKS {
        let name = format!("{attack:?}");
        if is_asked(&name) {
            out.extend(alone(attack, &name)?);
        }
    }
    if is_asked("together") {
        out.extend(together()?);
    }
    ensure!(
        !out.is_empty(),
        "unknown attack; there are {ATTACKS:?} and together"
    );
    Ok(out)
}

fn alone(attack: Attack, name: &str) -> Result<[Measured; 2]> {
    let server = Server::start();
    let siege = Siege::start(server.addr(), attack, ATTACKERS, server.token());
    let slowest = others(&server, ALONE)?;
    siege.end();
    figures(&server, name, slowest)
}

fn together() -> Result<Vec<Measured>> {
    let server = Server::start();
    let share = ATTACKERS / ATTACKS.len();
    let sieges = ATTACKS.map(|attack| {
        let siege = Siege::start(server.addr(), attack, share, server.token());
        (attack, siege)
    });
    let slowest = others(&server, TOGETHER)?;
    let seen = sieges.map(|(attack, siege)| (attack, siege.end()));
    let mut out = figures(&server, "all at once", slowest)?.to_vec();
    out.extend(seen.map(|(attack, seen)| cut(attack, seen, share)));
    Ok(out)
}

fn figures(server: &Server, attack: &str, slowest: f64) -> Result<[Measured; 2]> {
    let log = server.log();
    ensure!(!log.contains("panicked"), "{attack}: {log}");
    let name = |what: &str| format!("{what}, {ATTACKERS} attackers: {attack}");
    Ok([
        Measured::below(
            name("slowest answer to others"),
            slowest,
            ANSWER_MS_MAX,
            "ms",
        ),
        Measured::below(name("peak memory"), megabytes(server), MEGABYTES_MAX, "MB"),
    ])
}

/// A client with manners, for so long; its slowest answer in ms.
fn others(server: &Server, during: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut latencies = Latencies::default();
    while begun.elapsed() < during {
        let http = server.http();
        for request in [
            Request::new("PUT", http::file("others")).body("work"),
            Request::new("GET", http::file("others")),
            Request::new("GET", "/readyz"),
        ] {
            latencies.measure(|| http.try_send(&request), &[200, 201])?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(latencies.max_ms())
}

/// Whether the server got rid of these.
fn cut(attack: Attack, seen: Seen, attackers: usize) -> Measured {
    Measured::holds(
        format!("{attack:?} is cut"),
        // All of them at least once; who reads nothing may, while the kernel takes what is sent to him.
        seen.cut >= attackers as u64 || attack == Attack::NoReading,
        format!("{} of {}", seen.cut, seen.opened),
    )
}
