//! The only file that prints.

pub(crate) use gfl_api::units::bytes;
use std::fmt::Display;
use std::io::Write;

/// A line v0.1's tool printed. Nobody reading it is no failure.
pub(crate) fn out(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line that is new.
pub(crate) fn err(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
