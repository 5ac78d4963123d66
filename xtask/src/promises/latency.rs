//! How long answers take, as a client sees it; and the promise about health under full load.

use super::Measured;
use anyhow::{Result, anyhow, ensure};
use gfl_e2e::{Http, Request, Response, Server, http};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TRANSFERS_EACH_WAY: usize = 25;
const FILE_BYTES: u64 = 64 << 20;
const DURING: Duration = Duration::from_secs(20);
const HEALTH_P99_MS_MAX: f64 = 20.0;
/// What whoever watches a server asks it.
const ASKED: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Times of answers.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<f64>);

impl Latencies {
    /// Times one answer, which must have one of these statuses.
    pub(super) fn measure(
        &mut self,
        ask: impl FnOnce() -> io::Result<Response>,
        statuses: &[u16],
    ) -> Result<()> {
        let begun = Instant::now();
        let answer = ask()?;
        self.0.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(
            statuses.contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// The slowest.
    pub(super) fn max_ms(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// So many percent were at least as fast.
    pub(super) fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

pub(super) fn measure() -> Result<Vec<Measured>> {
    let server = Server::start();
    for n in 0..TRANSFERS_EACH_WAY {
        send(&server.http(), &format!("down/{n}"), FILE_BYTES)?;
    }
    let (done, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut asked = ASKED.map(|_| Latencies::default());
    let rate = thread::scope(|scope| -> Result<f64> {
        let (server, done, moved) = (&server, &done, &moved);
        let workers: Vec<_> = (0..TRANSFERS_EACH_WAY)
            .flat_map(|n| {
                let up = scope.spawn(move || uploads(server, n, done, moved));
                let down = scope.spawn(move || downloads(server, n, done, moved));
                [up, down]
            })
            .collect();
        let begun = Instant::now();
        let outcome = ask(server, &mut asked);
        let rate = moved.load(Ordering::Relaxed) as f64 / 1e6 / begun.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow!("a transfer panicked"))??;
        }
        outcome.map(|()| rate)
    })?;
    let row = |name: &str, latencies: &Latencies| {
        Measured::below(
            format!(
                "p99 of {name}, {} transfers at {rate:.0} MB/s (max {:.0} ms)",
                TRANSFERS_EACH_WAY * 2,
                latencies.max_ms()
            ),
            latencies.percentile_ms(99),
            HEALTH_P99_MS_MAX,
            "ms",
        )
    };
    Ok(ASKED
        .iter()
        .zip(&asked)
        .map(|(name, l)| row(name, l))
        .collect())
}

/// As a load balancer and a collector of metrics do: on a new connection each time, several times a second.
fn ask(server: &Server, asked: &mut [Latencies; ASKED.len()]) -> Result<()> {
    let get = |target: &str| server.http().try_send(&Request::new("GET", target));
    // What is asked for the first time may take its time.
    for target in ASKED {
        get(target)?;
    }
    let begun = Instant::now();
    while begun.elapsed() < DURING {
        for (target, latencies) in ASKED.iter().zip(&mut *asked) {
            latencies.measure(|| get(target), &[200])?;
        }
        thread::sleep(Duration::from_millis(15));
    }
    Ok(())
}

fn send(http: &Http, path: &str, bytes: u64) -> Result<()> {
    let request = Request::new("PUT", http::file(path));
    let answer = http.upload(&request, bytes, &mut io::repeat(b'x').take(bytes))?;
    ensure!(answer.status < 300, "{path}: {}", answer.text());
    Ok(())
}

fn uploads(server: &Server, n: usize, done: &AtomicBool, moved: &AtomicU64) -> Result<()> {
    let http = server.http();
    while !done.load(Ordering::Relaxed) {
        send(&http, &format!("up/{n}"), FILE_BYTES)?;
        moved.fetch_add(FILE_BYTES, Ordering::Relaxed);
    }
    Ok(())
}

fn downloads(server: &Server, n: usize, done: &AtomicBool, moved: &AtomicU64) -> Result<()> {
    let http = server.http();
    while !done.load(Ordering::Relaxed) {
        let request = Request::new("GET", http::file(&format!("down/{n}")));
        let answer = http.download(&request, &mut |piece| {
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        })?;
        ensure!(answer.status == 200, "{}", answer.text());
    }
    Ok(())
}
