//! A test that cannot run here says so loudly. `cargo xtask ci` counts every such line as a failure.

use std::io::Write;
use std::path::Path;

/// Announces that `what` was not tested because of `why`.
pub fn skip(what: &str, why: &str) {
    match std::env::var_os("GFL_SKIP_LOG") {
        Some(log) => skip_to(Path::new(&log), what, why),
        None => announce(what, why),
    }
}

/// The same, into this file.
pub fn skip_to(log: &Path, what: &str, why: &str) {
    announce(what, why);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log);
    // One write call, so that lines of parallel tests do not mix.
    file.and_then(|mut f| f.write_all(format!("{}\n", line(what, why)).as_bytes()))
        .expect("the skip log can be written");
}

#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn announce(what: &str, why: &str) {
    eprintln!("{}", line(what, why));
}

fn line(what: &str, why: &str) -> String {
    format!("SKIPPED: {what}: {why}")
}

/// Whether this process may mount file systems and drop privileges of others.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
