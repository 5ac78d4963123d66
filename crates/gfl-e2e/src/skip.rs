//! A test that cannot run here says so loudly. `cargo xtask ci` counts every such line as a failure.

use std::io::Write;

/// Announces that `what` was not tested because of `why`.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn skip(what: &str, why: &str) {
    let line = format!("SKIPPED: {what}: {why}");
    eprintln!("{line}");
    let Some(log) = std::env::var_os("GFL_SKIP_LOG") else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log);
    // One write call, so that lines of parallel tests do not mix.
    file.and_then(|mut f| f.write_all(format!("{line}\n").as_bytes()))
        .expect("the skip log can be written");
}

/// Whether this process may mount file systems and drop privileges of others.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
