//! A PostgreSQL for the tests: own folder, own port on loopback, no syncs, gone afterwards.

use crate::tools;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running server, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// Finds or installs PostgreSQL and starts one. The error is the reason why not.
    pub(crate) fn start() -> Result<Postgres, String> {
        let bin = find()?;
        let dir = std::env::temp_dir().join(format!("gfl-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let port = free_port().map_err(|e| e.to_string())?;
        let server = Postgres { bin, dir, port };
        if gfl_e2e::skip::is_root() {
            let mut chown = Command::new("chown");
            run(chown.arg("postgres").arg(&server.dir))?;
        }
        server.init()?;
        server.boot()?;
        Ok(server)
    }

    /// For `GFL_TEST_PG`.
    pub(crate) fn url(&self) -> String {
        format!("postgres://gfl@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A PostgreSQL program; as root it runs as user postgres, because it refuses to be root.
    fn program(&self, name: &str) -> Command {
        let mut command = if gfl_e2e::skip::is_root() {
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
             -c max_connections=200",
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

/// The folder with `initdb`.
fn find() -> Result<PathBuf, String> {
    let found = || {
        // Debian keeps the programs of each version apart; take the newest.
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
        let debian = dirs
            .into_iter()
            .rev()
            .map(|d| d.join("bin"))
            .find(|b| b.join("initdb").is_file());
        debian.or_else(|| tools::find("initdb").and_then(|p| Some(p.parent()?.to_path_buf())))
    };
    if let Some(bin) = found() {
        return Ok(bin);
    }
    tools::install("postgresql")?;
    found().ok_or_else(|| "package postgresql brought no initdb".into())
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The server must not inherit our pipes: it outlives the command that starts it.
fn run(command: &mut Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    tools::run(command).map_err(|e| format!("{e:#}"))
}
