//! `cargo xtask ci`: what must hold before a change lands. Does all steps, then says which failed.

use crate::{deps, test, tools};
use anyhow::{Result, bail};

/// A check and its name.
type Step = (&'static str, Box<dyn Fn() -> Result<()>>);

/// Runs all checks.
pub(crate) fn run() -> Result<()> {
    let clippy = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    let steps: [Step; 4] = [
        ("dependencies", Box::new(deps::check)),
        (
            "rustfmt",
            Box::new(|| tools::run(&mut tools::cargo(&["fmt", "--all", "--", "--check"]))),
        ),
        (
            "clippy",
            Box::new(move || tools::run(&mut tools::cargo(&clippy))),
        ),
        ("tests", Box::new(tests)),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        println!("== {name}");
        let began = std::time::Instant::now();
        let done = step();
        let seconds = began.elapsed().as_secs();
        match done {
            Ok(()) => println!("== {name}: ok ({seconds} s)"),
            Err(e) => {
                println!("== {name}: FAILED ({seconds} s): {e:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    println!("ci: ok");
    Ok(())
}

/// In CI a test that did not run did not pass.
fn tests() -> Result<()> {
    let skipped = test::all(&[])?;
    for line in &skipped {
        println!("{line}");
    }
    if !skipped.is_empty() {
        bail!("{} skipped", skipped.len());
    }
    Ok(())
}
