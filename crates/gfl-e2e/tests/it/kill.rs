//! SIGKILL at random points of mixed traffic, hundreds of times, against a model that knows what was
//! acknowledged. Replay with `GFL_SEED`; `GFL_KILL_ROUNDS` says how often (`cargo xtask test`: 300).

use gfl_e2e::data::{self, Rng};
use gfl_e2e::model::Contended;
use gfl_e2e::postgres::Postgres;
use gfl_e2e::traffic::{Target, Worker, new_content};
use gfl_e2e::{Gfl, Request, Server, Setup, http, model, tree};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const WORKERS: usize = 3;
const ROUNDS_DEFAULT: u64 = 20;
const HOT: &str = "hot/contended";

fn rounds() -> u64 {
    std::env::var("GFL_KILL_ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok())
        .unwrap_or(ROUNDS_DEFAULT)
}

#[test]
fn the_server_dies_in_mixed_traffic() {
    let seed = Rng::seed_of_run();
    die_in_mixed_traffic(Server::start(), seed, rounds());
}

/// With PostgreSQL behind it: what was acknowledged is there in both.
#[test]
fn the_server_dies_over_postgres() {
    let Some(postgres) = Postgres::of_its_own("a server that dies over PostgreSQL") else {
        return;
    };
    let server = Setup::default().with("database", postgres.url()).start();
    die_in_mixed_traffic(server, Rng::seed_of_run(), rounds().div_ceil(5));
}

#[expect(
    clippy::print_stdout,
    reason = "the seed is there to be found in a log"
)]
fn die_in_mixed_traffic(mut server: Server, seed: u64, rounds: u64) {
    let mut run = Run::new(seed);
    for round in 0..rounds {
        if let Err(what) = run.round(&mut server) {
            let kept = server.keep();
            panic!(
                "GFL_SEED={seed}, round {round}: {what}\nkept for a look: {}",
                kept.display()
            );
        }
    }
    let done: u64 = run.workers.iter().map(|w| w.done).sum();
    println!("{rounds} rounds, {done} operations acknowledged, seed {seed}");
    assert!(done > rounds, "next to no traffic: {done} operations");
}

struct Run {
    rng: Rng,
    workers: Vec<Worker>,
    hot: Mutex<Contended>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let workers = (0..WORKERS).map(|n| Worker::new(n, seed, false)).collect();
        Run {
            rng: Rng::new(seed),
            workers,
            hot: Mutex::default(),
        }
    }

    /// Traffic, death, edits by hand, restart, comparison.
    fn round(&mut self, server: &mut Server) -> Result<(), String> {
        let target = Target::of(server);
        let life = Duration::from_millis(self.rng.between(10, 500));
        let (workers, hot) = (&mut self.workers, &self.hot);
        let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in workers.iter_mut() {
                let target = &target;
                threads.push(scope.spawn(move || worker.run(target)));
            }
            for _ in 0..2 {
                let target = &target;
                threads.push(scope.spawn(move || contend(target, hot)));
            }
            // Not a wait for anything: the moment of death is random.
            std::thread::sleep(life);
            server.kill9();
            threads
                .into_iter()
                .map(|t| t.join().expect("workers do not panic"))
                .collect()
        });
        outcomes.into_iter().collect::<Result<(), String>>()?;
        for worker in &mut self.workers {
            worker.edit_while_down(&target)?;
        }
        server.restart();
        let target = Target::of(server);
        for worker in &mut self.workers {
            worker.verify(&target)?;
        }
        self.check_hot(&target)
    }

    fn check_hot(&self, target: &Target) -> Result<(), String> {
        let answer = target
            .http()
            .try_send(&Request::new("GET", http::file(HOT)));
        let answer = answer.map_err(|e| e.to_string())?;
        let seen = match answer.status {
            200 => Some(model::identify(HOT, &answer.body)?),
            404 => None,
            other => return Err(format!("{HOT}: {other} {}", answer.text())),
        };
        self.hot.lock().expect("no holder panics").settle(seen)
    }
}

/// Writes to the path that others write to at the same time, until the server dies.
fn contend(target: &Target, hot: &Mutex<Contended>) -> Result<(), String> {
    let http = target.http();
    loop {
        let id = new_content(500);
        let number = hot.lock().expect("no holder panics").begin(id);
        let request = Request::new("PUT", http::file(HOT)).body(data::marked(id));
        match http.try_send(&request) {
            Err(_) => return Ok(()),
            Ok(answer) if (200..300).contains(&answer.status) => {
                hot.lock().expect("no holder panics").acknowledge(number);
            }
            Ok(answer) => return Err(format!("{HOT}: {} {}", answer.status, answer.text())),
        }
    }
}

/// Removes what a killed download leaves below a folder; how much it was.
fn sweep(dir: &Path) -> usize {
    let mut swept = 0;
    for entry in fs::read_dir(dir).expect("is a folder") {
        let entry = entry.expect("can be read");
        let name = entry.file_name().into_string().expect("is UTF-8");
        if entry.file_type().expect("can be looked at").is_dir() {
            swept += sweep(&entry.path());
        } else if name.starts_with('.')
            && (name.ends_with(".gfl-part") || name.ends_with(".gfl-note"))
        {
            fs::remove_file(entry.path()).expect("is ours");
            swept += 1;
        }
    }
    swept
}

#[test]
fn the_client_dies_in_folder_transfers() {
    let seed = Rng::seed_of_run();
    let mut rng = Rng::new(seed);
    let server = Server::start();
    let gfl = Gfl::new(&server);
    for round in 0..rounds().div_ceil(10) {
        let src = gfl.local("src");
        for n in 0..60 {
            let dir = src.join(format!("d{}", rng.below(5)));
            fs::create_dir_all(&dir).unwrap();
            let len = rng.between(0, 60_000) as usize;
            fs::write(dir.join(format!("f{n}")), data::bytes(rng.bits(), len)).unwrap();
        }
        fs::write(src.join("large"), data::bytes(rng.bits(), 12 << 20)).unwrap();
        let up = rng.chance(70);
        let args: [&str; 3] = if up {
            ["put", "src", "up"]
        } else {
            ["get", "up", "down"]
        };
        if !up {
            gfl.run(&["put", "src", "up"]).expect(0);
        }
        for _ in 0..2 {
            let mut child = gfl.spawn(&args);
            // Not a wait for anything: the moment of death is random.
            std::thread::sleep(Duration::from_millis(rng.between(5, 250)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        gfl.run(&args).expect(0);
        if !up {
            // A death in the very moment of renaming leaves a hidden file of gfl's own, as docs/transfer.md says.
            assert!(
                sweep(&gfl.local("down")) <= 2,
                "more than one for each death"
            );
        }
        let want = tree::summary(&src).unwrap();
        let got = match up {
            true => tree::summary(&server.data().join("up")),
            false => tree::summary(&gfl.local("down")),
        };
        assert_eq!(
            got.unwrap(),
            want,
            "GFL_SEED={seed}, round {round}, {args:?}"
        );
    }
}
