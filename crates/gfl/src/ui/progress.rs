//! One line on a terminal: what is going on, how much is done, how fast, and how long it will take.
//!
//! Knows nothing of transfers; whoever moves bytes says how many. Without a terminal it does nothing. The line is never
//! longer than the terminal is wide: what matters least is left out first.

use super::{terminal, words};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Columns of the bar.
const BAR_COLUMNS: usize = 20;
/// A name is shown if at least so many columns are left for it.
const NAME_COLUMNS_MIN: usize = 8;

/// The progress line.
pub(crate) struct Progress {
    shown: Option<Shown>,
}

struct Shown {
    bar: ProgressBar,
    now: Arc<Now>,
    /// Something is going on, so that there is a line.
    is_begun: AtomicBool,
}

/// What the line tells besides bytes.
#[derive(Default)]
struct Now {
    what: Mutex<String>,
    /// Files done, where there are many.
    files: AtomicU64,
    /// Who is waited for, and until when if that is known.
    awaited: Mutex<Option<(String, Option<Instant>)>>,
}

/// The line's numbers.
struct Numbers {
    done: u64,
    /// 0: nobody knows.
    total: u64,
    per_second: u64,
    left: Duration,
    files: u64,
}

impl Progress {
    /// A line if somebody looks.
    pub(crate) fn new(is_shown: bool) -> Self {
        let shown = is_shown.then(|| {
            let now = Arc::new(Now::default());
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            bar.set_style(style(&now));
            let is_begun = AtomicBool::default();
            Shown { bar, now, is_begun }
        });
        Self { shown }
    }

    /// Begins something of unknown size.
    pub(crate) fn begin(&self, what: impl Into<String>) {
        self.begin_bytes(what, 0);
    }

    /// Begins something of `total` bytes.
    pub(crate) fn begin_bytes(&self, what: impl Into<String>, total: u64) {
        self.say(what);
        if let Some(shown) = &self.shown {
            let Shown { bar, now, is_begun } = shown;
            now.files.store(0, Relaxed);
            bar.reset();
            bar.set_length(total);
            is_begun.store(true, Relaxed);
            shown.show();
        }
    }

    /// Somebody is waited for, for so long at most if that is known, until [`Progress::go_on`]. Also where nothing was
    /// begun. Whether a line is there to tell it.
    pub(crate) fn wait(&self, who: String, left: Option<Duration>) -> bool {
        let Some(shown) = &self.shown else {
            return false;
        };
        if let Ok(mut awaited) = shown.now.awaited.lock() {
            *awaited = Some((who, left.map(|left| Instant::now() + left)));
        }
        if !shown.is_begun.load(Relaxed) {
            shown.show();
        }
        true
    }

    /// Nobody is waited for any longer.
    pub(crate) fn go_on(&self) {
        if let Some(shown) = &self.shown {
            shown.forget_awaited();
            if !shown.is_begun.load(Relaxed) {
                shown.hide();
            }
        }
    }

    /// There is more to do than was known.
    pub(crate) fn expect(&self, bytes: u64) {
        if let Some(Shown { bar, .. }) = &self.shown {
            bar.inc_length(bytes);
        }
    }

    /// Bytes moved.
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(Shown { bar, .. }) = &self.shown {
            bar.inc(bytes);
        }
    }

    /// A file is done.
    pub(crate) fn file_done(&self) {
        if let Some(Shown { now, .. }) = &self.shown {
            now.files.fetch_add(1, Relaxed);
        }
    }

    /// Bytes that counted too early.
    pub(crate) fn take_back(&self, bytes: u64) {
        if let Some(Shown { bar, .. }) = &self.shown {
            bar.set_position(bar.position().saturating_sub(bytes));
        }
    }

    /// What is going on now.
    pub(crate) fn say(&self, what: impl Into<String>) {
        if let Some(Shown { now, .. }) = &self.shown
            && let Ok(mut said) = now.what.lock()
        {
            *said = words::printable(&what.into());
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if let Some(shown) = &self.shown {
            shown.is_begun.store(false, Relaxed);
            shown.forget_awaited();
            shown.hide();
        }
    }

    /// Runs something that prints, with the line out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.shown {
            Some(Shown { bar, .. }) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Shown {
    fn show(&self) {
        self.bar.set_draw_target(terminal::target());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn hide(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn forget_awaited(&self) {
        if let Ok(mut awaited) = self.now.awaited.lock() {
            *awaited = None;
        }
    }
}

fn style(now: &Arc<Now>) -> ProgressStyle {
    let now = Arc::clone(now);
    let line = move |state: &ProgressState, out: &mut dyn Write| {
        let numbers = Numbers {
            done: state.pos(),
            total: state.len().unwrap_or(0),
            per_second: state.per_sec() as u64,
            left: state.eta(),
            files: now.files.load(Relaxed),
        };
        let what = now.what.lock().map(|what| what.clone());
        let columns = usize::from(terminal::columns());
        let awaited = now.awaited.lock().ok().and_then(|awaited| awaited.clone());
        let text = match awaited {
            Some((who, until)) => {
                let left = until.map(|at| at.saturating_duration_since(Instant::now()));
                waiting_line(&who, left, columns)
            }
            None => line(&what.unwrap_or_default(), &numbers, columns),
        };
        // A line that cannot be shown is no reason for anything.
        let _ = out.write_str(&text);
    };
    // The template is a constant; a wrong one would show as indicatif's own.
    ProgressStyle::with_template("{line}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("line", line)
}

/// The line for a terminal of so many columns: numbers first, the most telling before the others; what is left is for
/// the name, and for a bar if there is room for both.
fn line(what: &str, numbers: &Numbers, columns: usize) -> String {
    let Numbers {
        done,
        total,
        per_second,
        left,
        files,
    } = numbers;
    let is_known = *total > 0;
    let percent = (done.min(total) * 100).checked_div(*total).unwrap_or(0);
    let moved = match is_known {
        true => format!("{}/{}", words::bytes(*done), words::bytes(*total)),
        false => words::bytes(*done),
    };
    let rate = format!("{}/s", words::bytes(*per_second));
    let mut text = String::new();
    let parts = [
        is_known.then(|| format!("{percent:>3}%")),
        Some(moved),
        Some(rate),
        (is_known && done < total && *per_second > 0)
            .then(|| format!("{} left", words::rough_span(*left))),
        (*files > 1).then(|| words::count(*files, "file", "files")),
    ];
    for part in parts.into_iter().flatten() {
        let gap = if text.is_empty() { 0 } else { 2 };
        if words::columns(&text) + gap + words::columns(&part) > columns {
            return text;
        }
        text.push_str(&"  "[..gap]);
        text.push_str(&part);
    }
    let room = columns - words::columns(&text);
    if room < NAME_COLUMNS_MIN + 2 {
        return text;
    }
    let bar = match is_known && room >= NAME_COLUMNS_MIN + BAR_COLUMNS + 4 {
        true => bar(percent),
        false => String::new(),
    };
    let name = words::shortened(what, room - 2 - words::columns(&bar));
    if name.is_empty() {
        return text;
    }
    format!("{bar}{text}  {name}")
}

/// The line while a server is waited for: in full, or as much as there is room for.
fn waiting_line(who: &str, left: Option<Duration>, columns: usize) -> String {
    let left = left.map(words::countdown);
    let forms = match &left {
        Some(left) => [
            format!("waiting for {who}, giving up in {left}"),
            format!("waiting, {left} left"),
            left.clone(),
        ],
        None => [
            format!("waiting for {who}"),
            "waiting".to_owned(),
            String::new(),
        ],
    };
    let fits = |form: &String| words::columns(form) <= columns;
    forms.into_iter().find(fits).unwrap_or_default()
}

/// A bar and two columns behind it.
fn bar(percent: u64) -> String {
    let full = usize::try_from(percent).unwrap_or(0) * BAR_COLUMNS / 100;
    format!("{}{}  ", "█".repeat(full), "░".repeat(BAR_COLUMNS - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Numbers = Numbers {
        done: 512 << 20,
        total: 1 << 30,
        per_second: 100 << 20,
        left: Duration::from_millis(5_120),
        files: 0,
    };

    #[test]
    fn the_line_fits_whatever_the_width() {
        for columns in 0..200 {
            for what in [
                "",
                "a",
                "日本語のとても長い名前のファイル.bin",
                &"x".repeat(300),
            ] {
                for files in [0, 1_000_000] {
                    let line = line(what, &Numbers { files, ..HALF }, columns);
                    assert!(words::columns(&line) <= columns, "{columns}: {line}");
                }
            }
        }
    }

    #[test]
    fn what_matters_least_goes_first() {
        let numbers = "50%  512.0 MiB/1.0 GiB  100.0 MiB/s  6 s left";
        let full = format!("██████████░░░░░░░░░░   {numbers}  photo.jpg");
        assert_eq!(line("photo.jpg", &HALF, 80), full);
        let without_bar = format!(" {numbers}  photo.jpg");
        assert_eq!(line("photo.jpg", &HALF, 60), without_bar);
        assert_eq!(line("photo.jpg", &HALF, 48), format!(" {numbers}"));
        assert_eq!(line("photo.jpg", &HALF, 24), " 50%  512.0 MiB/1.0 GiB");
        assert_eq!(line("photo.jpg", &HALF, 6), " 50%");
    }

    #[test]
    fn who_waits_is_told_for_whom_and_how_long() {
        let left = Some(Duration::from_secs(272));
        for (columns, want) in [
            (80, "waiting for nas:8080, giving up in 4:32"),
            (38, "waiting, 4:32 left"),
            (17, "4:32"),
            (3, ""),
        ] {
            assert_eq!(waiting_line("nas:8080", left, columns), want);
        }
        assert_eq!(waiting_line("nas:8080", None, 80), "waiting for nas:8080");
    }

    #[test]
    fn nobody_knows_the_length_of_a_pipe() {
        let pipe = Numbers { total: 0, ..HALF };
        assert_eq!(line("stdin", &pipe, 60), "512.0 MiB  100.0 MiB/s  stdin");
    }
}
