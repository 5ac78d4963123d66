//! The only place that writes to stdout and stderr (the log aside). stdout carries what scripts read.

use std::io::{IsTerminal, Write};

/// Writes to stdout; a reader that has gone is no error.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Writes to stderr.
pub fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A fatal error, in the form of Go's log package, which scripts may match.
pub fn fatal(message: &str) {
    let now = jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S");
    err(&format!("{now} {message}\n"));
}

/// Green where somebody sees it. v0.1 coloured even pipes.
pub fn green(text: &str) -> String {
    colour(text, 32, std::io::stdout().is_terminal())
}

/// Red where somebody sees it.
pub fn red(text: &str) -> String {
    colour(text, 31, std::io::stdout().is_terminal())
}

fn colour(text: &str, code: u8, terminal: bool) -> String {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !unwanted {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
