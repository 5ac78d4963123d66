//! Everything the program says. stdout is data and the lines scripts of v0.1 look for, stderr is talk.
//!
//! Knows nothing of servers and files. Nothing else in this crate prints.

mod confirm;
mod progress;
mod terminal;
pub(crate) mod words;

pub(crate) use progress::Progress;

use crate::exit::{self, Exit};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much is said, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voice {
    /// Only errors, and data that was asked for.
    pub(crate) quiet: bool,
    /// Machine-readable data on stdout instead of the usual lines.
    pub(crate) json: bool,
    /// Every file and every retry.
    pub(crate) verbose: bool,
}

/// The program's voice.
pub(crate) struct Ui {
    voice: Voice,
    colour: bool,
    out_is_terminal: bool,
    progress: Progress,
    /// When a retry was last told.
    told: Mutex<Option<Instant>>,
}

const TOLD_DELAY_MIN: Duration = Duration::from_millis(500);
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// … of a wait that may take minutes.
const TOLD_WAITING_EVERY: Duration = Duration::from_secs(30);
/// Notes of one kind, before the rest is only counted.
const TOLD_OF_A_KIND_MAX: u64 = 10;

impl Ui {
    /// Looks once where the output goes and what the environment wants.
    pub(crate) fn new(voice: Voice) -> Arc<Self> {
        let err_is_terminal = std::io::stderr().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = !set("NO_COLOR") && (set("CLICOLOR_FORCE") || (err_is_terminal && !is_dumb));
        Arc::new(Self {
            voice,
            colour,
            out_is_terminal: std::io::stdout().is_terminal(),
            progress: Progress::new(err_is_terminal && !is_dumb && !voice.quiet),
            told: Mutex::default(),
        })
    }

    /// The progress line.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether data goes to the terminal too.
    pub(crate) fn is_out_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether answers are wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.voice.json
    }

    /// A line v0.1 printed on stdout, for people and for scripts that look for it. It is talk all the same: nobody
    /// reading it is no reason to stop a transfer.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.voice.quiet && !self.voice.json {
            let _ = self.write_out(&format!("{}\n", shown(&text)));
        }
    }

    /// A line of data that was asked for. Fails when nobody reads it any more.
    pub(crate) fn data(&self, text: impl Display) -> std::io::Result<()> {
        let text = match self.voice.json {
            // Escaped already, in its own way.
            true => text.to_string(),
            false => shown(&text),
        };
        self.write_out(&format!("{text}\n"))
    }

    /// Data for scripts where stdout is taken by a file.
    pub(crate) fn data_aside(&self, text: impl Display) {
        self.write_err(&format!("{text}\n"));
    }

    /// What was done: the line v0.1 printed, or an object for scripts.
    pub(crate) fn done(
        &self,
        text: impl Display,
        object: serde_json::Value,
    ) -> std::io::Result<()> {
        match self.voice.json {
            true => self.data(object),
            false => {
                self.line(text);
                Ok(())
            }
        }
    }

    /// Text of our own in several lines, on stdout.
    pub(crate) fn page(&self, text: impl Display) -> std::io::Result<()> {
        self.write_out(&format!("{text}\n"))
    }

    /// Text of our own in several lines, on stderr.
    pub(crate) fn page_err(&self, text: impl Display) {
        self.write_err(&format!("{text}\n"));
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.voice.quiet {
            self.talk("note", &shown(&text));
        }
    }

    /// One note of a kind that there may be thousands of, `before` of them told already: a few are told, and all of
    /// them to those who asked for details.
    pub(crate) fn note_of_many(&self, before: u64, text: impl Display) {
        if self.voice.verbose || before < TOLD_OF_A_KIND_MAX {
            self.note(text);
        } else if before == TOLD_OF_A_KIND_MAX {
            self.note("... and more like this; --verbose tells them all");
        }
    }

    /// As [`Ui::note_of_many`], of what may be wrong.
    pub(crate) fn warn_of_many(&self, before: u64, text: impl Display) {
        if self.voice.verbose || before < TOLD_OF_A_KIND_MAX {
            self.warn(text);
        } else if before == TOLD_OF_A_KIND_MAX {
            self.warn("... and more like this; --verbose tells them all");
        }
    }

    /// Something that matters only to those who asked for details.
    pub(crate) fn detail(&self, text: impl Display) {
        if self.voice.verbose {
            self.talk("note", &shown(&text));
        }
    }

    /// A failure that is followed by another try after `delay`, as long as the server is waited for: `left`, if that is
    /// a matter of time. Short waits are nobody's concern; long ones are told, but once in a while and not once for
    /// every connection. On a terminal the line tells how long it will still be.
    pub(crate) fn waiting(
        &self,
        why: impl Display,
        who: impl Display,
        delay: Duration,
        left: Option<Duration>,
    ) {
        let is_shown = self.progress.wait(who.to_string(), left);
        let every = match left {
            Some(_) if is_shown => Duration::MAX,
            Some(_) => TOLD_WAITING_EVERY,
            None => TOLD_EVERY,
        };
        let is_news = delay >= TOLD_DELAY_MIN
            && self.told.lock().is_ok_and(|mut told| {
                let is_news = told.is_none_or(|at: Instant| at.elapsed() >= every);
                if is_news {
                    *told = Some(Instant::now());
                }
                is_news
            });
        if !is_news && !self.voice.verbose {
            return;
        }
        let left = left.map(|left| format!(", for {} at most", words::rough_span(left)));
        self.note(format_args!(
            "{}; trying again in {}{}",
            words::without_numbers(&why.to_string()),
            words::span(delay),
            left.unwrap_or_default()
        ));
    }

    /// The server answers again.
    pub(crate) fn waited(&self) {
        self.progress.go_on();
    }

    /// Something that may be wrong.
    pub(crate) fn warn(&self, text: impl Display) {
        self.talk("warning", &words::without_numbers(&shown(&text)));
    }

    /// One failure of several: the others go on.
    pub(crate) fn set_aside(&self, error: &anyhow::Error) {
        match self.voice.json {
            true => self.error(error),
            false => self.warn(format_args!("{error:#}")),
        }
    }

    /// A failure, with everything known about it and what to do.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let text = words::without_numbers(&shown(&format_args!("{error:#}")));
        let hint = exit::hint_of(error);
        if self.voice.json {
            let (code, path) = (exit::code_of(error), exit::path_of(error));
            return self.error_object(code, path, &text, hint, Exit::of(error));
        }
        let mut text = format!("{}: {text}\n", self.painted("error", 31));
        if let Some(hint) = hint {
            text.push_str(&format!("{}: {hint}\n", self.painted("hint", 36)));
        }
        self.write_err(&text);
    }

    /// A failure, for scripts.
    pub(crate) fn error_object(
        &self,
        code: &str,
        path: Option<&str>,
        message: &str,
        hint: Option<&str>,
        exit: Exit,
    ) {
        let object = serde_json::json!({
            "code": code,
            "path": path,
            "message": message,
            "hint": hint,
            "exit": exit as u8,
        });
        self.write_err(&format!("{object}\n"));
    }

    /// What to do next.
    pub(crate) fn hint(&self, text: impl Display) {
        if !self.voice.quiet {
            self.talk("hint", &shown(&text));
        }
    }

    /// A line on stderr; for scripts an object with one member of this name.
    fn talk(&self, kind: &str, text: &str) {
        let line = match kind {
            _ if self.voice.json => serde_json::json!({ kind: text }).to_string(),
            "warning" => format!("{}: {text}", self.painted(kind, 33)),
            "hint" => format!("{}: {text}", self.painted(kind, 36)),
            _ => text.to_owned(),
        };
        self.write_err(&format!("{line}\n"));
    }

    fn painted(&self, word: &str, colour: u8) -> String {
        if self.colour {
            format!("\u{1b}[1;{colour}m{word}\u{1b}[0m")
        } else {
            word.to_owned()
        }
    }

    fn write_out(&self, text: &str) -> std::io::Result<()> {
        self.progress.aside(|| {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map_err(not_written)
        })
    }

    fn write_err(&self, text: &str) {
        self.progress.aside(|| {
            // Nobody to hear it, and nothing to be done about that.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        });
    }
}

/// A failure that is stdout's: nothing else is full or forbidden. A reader that has gone keeps its own kind.
fn not_written(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => error,
        _ => std::io::Error::other(format!("cannot write to stdout: {error}")),
    }
}

/// Bytes of data on stdout, as they are. Blocks as long as nobody reads.
pub(crate) fn raw(bytes: &[u8]) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(bytes)
}

/// Ends raw output.
pub(crate) fn flush() -> std::io::Result<()> {
    std::io::stdout().lock().flush()
}

/// Names may hold anything; shown to people they must not act.
fn shown(text: &impl Display) -> String {
    words::printable(&text.to_string())
}
