//! The project's own commands: `cargo xtask demo | test | ci | promises | docs | dist`. Needs nothing but cargo; what
//! else a test wants is looked for, installed where that is allowed, or skipped aloud.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool that talks to people"
)]

mod ci;
mod demo;
mod deps;
mod dist;
mod docs;
mod promises;
mod table;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>
  demo      moves your cargo sources through a server, with kills in between, and compares digests
  test      every test, doing its own set-up; arguments after it go to `cargo test`
  ci        test with no skips, rustfmt, clippy, licences, bans (what .ci/run calls)
  promises  measures memory, start time, sizes, health under load, attacks and a 5 GiB file against what is promised;
            names after it measure only those: `promises memory attacks`, one attack alone: `promises attacks:HugeHead`
  docs      writes the pages in docs/ that are made from tables in the code
  dist      makes a release: programs, Debian package, manuals, completions, manifest, checksums, signatures";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("demo") => demo::run(),
        Some("test") => test::run(rest),
        Some("ci") => ci::run(),
        Some("promises") => promises::run(rest),
        Some("docs") => docs::run(),
        Some("dist") => dist::run(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}
