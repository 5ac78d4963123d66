//! One line on a terminal: what is going on, how much is done, how fast, and how long it will take.
//!
//! Knows nothing of transfers; whoever moves bytes says how many. Without a terminal it does nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// The progress line.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A line if somebody looks.
    pub(crate) fn new(is_shown: bool) -> Self {
        let bar = is_shown.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            bar.set_style(style("{spinner} {wide_msg}"));
            bar
        });
        Self { bar }
    }

    /// Begins something of unknown size.
    pub(crate) fn begin(&self, what: impl Into<String>) {
        self.start(
            what.into(),
            0,
            "{spinner} {msg}  {bytes}  {binary_bytes_per_sec}",
        );
    }

    /// Begins something of `total` bytes.
    pub(crate) fn begin_bytes(&self, what: impl Into<String>, total: u64) {
        self.start(
            what.into(),
            total,
            "{msg} [{bar:30}] {percent}% ({bytes}/{total_bytes}) {binary_bytes_per_sec}, {eta} left",
        );
    }

    /// There is more to do than was known.
    pub(crate) fn expect(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// Bytes moved.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Bytes that counted too early.
    pub(crate) fn take_back(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bar.position().saturating_sub(bytes));
        }
    }

    /// What is going on now.
    pub(crate) fn say(&self, what: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(super::words::printable(&what.into()));
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.disable_steady_tick();
            bar.finish_and_clear();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Runs something that prints, with the line out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn start(&self, what: String, total: u64, template: &str) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(total);
            bar.set_style(style(template));
            bar.set_message(super::words::printable(&what));
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // Templates are constants above; a wrong one would show as indicatif's own.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█░░")
}
