//! The power goes: the same traffic on an ext4 that is shut down without flushing its log, mounted again
//! and compared. `GFL_POWER_ROUNDS` says how often (`cargo xtask test`: 40).

use crate::common::{append, begin};
use gfl_e2e::data::{self, Rng};
use gfl_e2e::mount::Mount;
use gfl_e2e::traffic::{Target, Worker};
use gfl_e2e::{Http, Server, Setup, skip};
use std::time::Duration;

const WORKERS: usize = 3;
const ROUNDS_DEFAULT: u64 = 3;
/// Bytes of one append: shares pages and groups with its neighbours.
const APPEND_BYTES: usize = 5000;
const DISK_MIB: u64 = 1024;

#[test]
fn acknowledged_work_survives_a_power_cut() {
    let mut mount = match Mount::ext4(DISK_MIB) {
        Ok(mount) => mount,
        Err(why) => return skip::skip("loss of power", &why),
    };
    let seed = Rng::seed_of_run();
    let mut rng = Rng::new(seed);
    // Data, catalog and tokens: all on the disk that loses its power.
    let root = mount.dir().join("gfl");
    let mut server = Setup::default().at(&root).start();
    let mut workers: Vec<Worker> = (0..WORKERS).map(|n| Worker::new(n, seed, true)).collect();
    // What the harness itself wrote has to be on the medium before the first cut.
    rustix::fs::sync();
    for round in 0..rounds() {
        let life = Duration::from_millis(rng.between(20, 400));
        let done = one(&mut server, &mut mount, &mut workers, life);
        if let Err(what) = done {
            panic!(
                "GFL_SEED={seed}, round {round}: {what}\n{}",
                tail(&server.log())
            );
        }
    }
    let done: u64 = workers.iter().map(|w| w.done).sum();
    println!("{done} operations acknowledged, seed {seed}");
    server.kill9();
}

fn rounds() -> u64 {
    let rounds = std::env::var("GFL_POWER_ROUNDS").ok();
    rounds
        .and_then(|r| r.parse().ok())
        .unwrap_or(ROUNDS_DEFAULT)
}

/// Every append announces how far it came, and after that touches the disk no more: the moment at which a
/// cut would show best that something was announced too early.
#[test]
fn announced_offsets_survive_a_power_cut() {
    let mut mount = match Mount::ext4(DISK_MIB) {
        Ok(mount) => mount,
        Err(why) => return skip::skip("announced offsets and loss of power", &why),
    };
    let mut rng = Rng::new(Rng::seed_of_run());
    let root = mount.dir().join("gfl");
    let mut server = Setup::default().at(&root).start();
    rustix::fs::sync();
    let mut announced = 0;
    for round in 0..rounds() {
        let http = server.http();
        let targets: Vec<String> = (0..WORKERS)
            .map(|n| begin(&http, &format!("{round}-{n}"), None))
            .collect();
        let told: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = targets
                .iter()
                .map(|target| {
                    let http = server.http();
                    scope.spawn(move || append_until_the_end(&http, target))
                })
                .collect();
            // Not a wait for anything: the moment is random.
            std::thread::sleep(Duration::from_millis(rng.between(30, 150)));
            let cut = mount.cut_power(&[server.pid()]);
            server.kill9();
            cut.expect("the power can be cut");
            let ends = threads.into_iter().map(|t| t.join());
            ends.map(|told| told.expect("appending does not panic"))
                .collect()
        });
        mount.unmount().expect("nobody uses the disk");
        mount.mount().expect("the disk comes back");
        server.restart();
        for (target, told) in targets.iter().zip(told) {
            let answer = server.http().head_of(target).expect(204);
            let offset = answer.number("Upload-Offset").unwrap_or(0) as usize;
            assert!(
                offset >= told,
                "round {round}: announced {told}, now {offset}"
            );
            announced += told;
        }
    }
    assert!(announced > 0, "nothing was ever announced");
    server.kill9();
}

/// The last offset that was announced.
fn append_until_the_end(http: &Http, target: &str) -> usize {
    let piece = data::bytes(1, APPEND_BYTES);
    let mut at = 0;
    while let Ok(answer) = http.try_send(&append(target, at, false, &piece)) {
        match answer.number("Upload-Offset") {
            Some(offset) if answer.status == 204 => at = offset as usize,
            // The disk was gone before the process was.
            _ => break,
        }
    }
    at
}

fn one(
    server: &mut Server,
    mount: &mut Mount,
    workers: &mut [Worker],
    life: Duration,
) -> Result<(), String> {
    let target = Target::of(server);
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                let target = &target;
                scope.spawn(move || worker.run(target))
            })
            .collect();
        // Not a wait for anything: the moment is random.
        std::thread::sleep(life);
        let cut = mount.cut_power(&[server.pid()]);
        server.kill9();
        let mut outcomes = vec![cut];
        outcomes.extend(
            threads
                .into_iter()
                .map(|t| t.join().expect("workers do not panic")),
        );
        outcomes
    });
    outcomes.into_iter().collect::<Result<(), String>>()?;
    mount.unmount()?;
    mount.mount()?;
    server.restart();
    let target = Target::of(server);
    workers
        .iter_mut()
        .try_for_each(|worker| worker.verify(&target))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
