//! The power goes: the same traffic on an ext4 that is shut down without flushing its log, mounted again
//! and compared. `GFL_POWER_ROUNDS` says how often (`cargo xtask test`: 40).

use gfl_e2e::data::Rng;
use gfl_e2e::mount::Mount;
use gfl_e2e::traffic::{Target, Worker};
use gfl_e2e::{Server, Setup, skip};
use std::time::Duration;

const WORKERS: usize = 3;
const ROUNDS_DEFAULT: u64 = 3;
const DISK_MIB: u64 = 1024;

#[test]
fn acknowledged_work_survives_a_power_cut() {
    let mut mount = match Mount::ext4(DISK_MIB) {
        Ok(mount) => mount,
        Err(why) => return skip::skip("loss of power", &why),
    };
    let rounds = std::env::var("GFL_POWER_ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok());
    let seed = Rng::seed_of_run();
    let mut rng = Rng::new(seed);
    // Data, catalog and tokens: all on the disk that loses its power.
    let root = mount.dir().join("gfl");
    let mut server = Setup::default().at(&root).start();
    let mut workers: Vec<Worker> = (0..WORKERS).map(|n| Worker::new(n, seed, true)).collect();
    // What the harness itself wrote has to be on the medium before the first cut.
    rustix::fs::sync();
    for round in 0..rounds.unwrap_or(ROUNDS_DEFAULT) {
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
        let cut = mount.cut_power();
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
