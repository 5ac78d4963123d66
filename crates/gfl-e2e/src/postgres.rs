//! A PostgreSQL for the tests: own folder, own port on loopback, no syncs, gone afterwards.

use crate::skip;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server, stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts one, from the folder with `initdb` ([`Postgres::programs`]). The error is the reason why not.
    pub fn start(bin: PathBuf) -> Result<Postgres, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gfl-postgres-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let port = free_port().map_err(|e| e.to_string())?;
        let server = Postgres { bin, dir, port };
        if skip::is_root() {
            let mut chown = Command::new("chown");
            run(chown.arg("postgres").arg(&server.dir))?;
        }
        server.init()?;
        server.boot()?;
        Ok(server)
    }

    /// One for a test that stops it, or none: then the test is skipped and says so.
    pub fn of_its_own(what: &str) -> Option<Postgres> {
        // Where PostgreSQL is not tested at all this is no test either.
        if std::env::var_os("GFL_TEST_PG").is_none() {
            skip::skip(what, "GFL_TEST_PG is not set");
            return None;
        }
        let Some(bin) = Postgres::programs() else {
            skip::skip(what, "there is no initdb");
            return None;
        };
        Some(Postgres::start(bin).expect("PostgreSQL starts"))
    }

    /// The folder with `initdb`: Debian keeps the programs of each version apart; the newest is taken.
    pub fn programs() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        let number = |p: &Path| {
            p.file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.parse::<u32>().ok())
                .unwrap_or(0)
        };
        let mut dirs: Vec<PathBuf> = versions.map(|v| v.path()).collect();
        dirs.sort_by_key(|p| number(p));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let debian = dirs.into_iter().rev().map(|d| d.join("bin"));
        debian
            .chain(std::env::split_paths(&path))
            .find(|bin| bin.join("initdb").is_file())
    }

    /// Its folder; `data` is in it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A URL as this user, to this database.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the owner, one statement after the other; returns what `psql` prints.
    #[track_caller]
    pub fn sql(&self, statements: &[&str]) -> String {
        let mut psql = self.program("psql");
        psql.args([
            "-qtA",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "gfl",
        ]);
        psql.args(["-p", &self.port.to_string(), "-d", "postgres"]);
        for statement in statements {
            psql.args(["-c", statement]);
        }
        let done = psql.stdin(Stdio::null()).output().expect("psql runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{statements:?}: {said}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Ends it: `fast` ends all sessions, `immediate` is a crash.
    #[track_caller]
    pub fn stop(&self, how: &str) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D").arg(self.data());
        run(stop.args(["-m", how, "-w", "stop"])).expect("PostgreSQL ends");
    }

    /// Starts it again where it was.
    #[track_caller]
    pub fn resume(&self) {
        self.boot().expect("PostgreSQL starts again");
    }

    /// The process that all others are children of.
    pub fn pid(&self) -> i32 {
        let file = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(file).expect("PostgreSQL runs");
        let first = text.lines().next().and_then(|line| line.parse().ok());
        first.expect("the first line is a number")
    }

    /// As its owner, who needs no password.
    pub fn url(&self) -> String {
        format!("postgres://gfl@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A PostgreSQL program; as root it runs as user postgres, because it refuses to be root.
    fn program(&self, name: &str) -> Command {
        let mut command = if skip::is_root() {
            let mut runuser = Command::new("runuser");
            runuser
                .args(["-u", "postgres", "--"])
                .arg(self.bin.join(name));
            runuser
        } else {
            Command::new(self.bin.join(name))
        };
        command.current_dir(&self.dir);
        command
    }

    fn init(&self) -> Result<(), String> {
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(self.data());
        run(initdb.args(["-A", "trust", "-U", "gfl", "-E", "UTF8", "--no-sync"]))
    }

    fn boot(&self) -> Result<(), String> {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off \
             -c max_connections=200 -c log_min_messages=fatal",
            self.port,
            self.dir.display()
        );
        let mut start = self.program("pg_ctl");
        start
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.dir.join("log"));
        run(start.args(["-w", "-o", &options, "start"]))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D")
            .arg(self.data())
            .args(["-m", "immediate", "-w", "stop"]);
        let _already_gone = run(&mut stop);
        let _left_behind = std::fs::remove_dir_all(&self.dir);
    }
}

/// Below the ports that systems hand out: nobody gets it while the server is not up yet, or stopped by its test.
fn free_port() -> std::io::Result<u16> {
    const FIRST: u32 = 16_000;
    const COUNT: u32 = 16_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + from.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).unwrap_or(u16::MAX);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    TcpListener::bind("127.0.0.1:0")?
        .local_addr()
        .map(|at| at.port())
}

/// The server must not inherit our pipes: it outlives the command that starts it.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}
