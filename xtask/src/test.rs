//! `cargo xtask test`: builds what the tests start, starts what the tests need, counts what was skipped.

use crate::tools;
use anyhow::{Context, Result, bail};
use gfl_e2e::postgres::Postgres;
use std::path::{Path, PathBuf};

/// Rounds of the kill and power tests, unless the environment says otherwise. A plain `cargo test`
/// does fewer.
const ROUNDS: [(&str, &str); 2] = [("GFL_KILL_ROUNDS", "300"), ("GFL_POWER_ROUNDS", "40")];

/// Foreign programs that tests use, with the Debian package that brings each.
const PROGRAMS: [(&str, &str); 9] = [
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("nghttpx", "nghttp2-proxy"),
    ("pebble", "pebble"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("perl", "perl-base"),
    ("systemd-analyze", "systemd"),
];

/// Runs every test. Skips are announced and allowed.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let skipped = all(args)?;
    for line in &skipped {
        println!("{line}");
    }
    match skipped.len() {
        0 => println!("all tests passed, none skipped"),
        n => println!("all tests passed that could run here; {n} skipped (see above)"),
    }
    Ok(())
}

/// Runs every test and returns what was skipped.
pub(crate) fn all(args: &[String]) -> Result<Vec<String>> {
    tools::run(&mut tools::cargo(&[
        "build",
        "--locked",
        "--workspace",
        "--bins",
    ]))?;
    let log = SkipLog::new()?;
    for (program, package) in PROGRAMS {
        if let Err(why) = tools::find_or_install(program, package) {
            gfl_e2e::skip::skip_to(&log.path, &format!("whatever needs {program}"), &why);
        }
    }
    if let Err(why) = python_module("prometheus_client", "python3-prometheus-client") {
        gfl_e2e::skip::skip_to(&log.path, "metrics as Python's client reads them", &why);
    }
    let postgres = postgres();
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(args).env("GFL_SKIP_LOG", &log.path);
    match &postgres {
        Ok(server) => {
            command.env("GFL_TEST_PG", server.url());
        }
        Err(why) => {
            gfl_e2e::skip::skip_to(&log.path, "everything that runs on PostgreSQL", why);
        }
    }
    for (name, rounds) in ROUNDS {
        if std::env::var_os(name).is_none() {
            command.env(name, rounds);
        }
    }
    // Most end-to-end tests wait for disks and processes, not for a processor.
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", "4");
    }
    let done = tools::run(&mut command);
    drop(postgres);
    let skipped = log.lines();
    if let Err(e) = done {
        for line in &skipped {
            println!("{line}");
        }
        bail!("tests failed: {e:#}");
    }
    Ok(skipped)
}

/// Sees to it that Debian's Python or another one has this module.
fn python_module(module: &str, package: &str) -> Result<(), String> {
    let import = format!("import {module}");
    let has = |python: &str| {
        let output = std::process::Command::new(python)
            .args(["-c", &import])
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if has("python3") || has("/usr/bin/python3") {
        return Ok(());
    }
    tools::install(package)?;
    if has("/usr/bin/python3") {
        return Ok(());
    }
    Err(format!("package {package} brought no module {module}"))
}

/// The file to which tests write what they skipped.
struct SkipLog {
    path: PathBuf,
}

impl SkipLog {
    fn new() -> Result<SkipLog> {
        let path = tools::target_dir()?.join(format!("skipped-{}.log", std::process::id()));
        std::fs::write(&path, "").with_context(|| format!("writing {}", path.display()))?;
        Ok(SkipLog { path })
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

impl Drop for SkipLog {
    fn drop(&mut self) {
        let _may_stay = std::fs::remove_file(Path::new(&self.path));
    }
}

/// One for all tests, installed when it is missing.
fn postgres() -> Result<Postgres, String> {
    let bin = match Postgres::programs() {
        Some(bin) => bin,
        None => {
            tools::install("postgresql")?;
            Postgres::programs().ok_or("package postgresql brought no initdb")?
        }
    };
    Postgres::start(bin)
}
