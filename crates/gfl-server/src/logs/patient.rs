//! Where log lines go: a terminal that is paused, a pipe that nobody reads or a stuck log daemon must not stop the
//! server. A line waits a moment for its reader; after that, lines are dropped and counted until there is room.

use gfl_api::config::LogFormat;
use jiff::Timestamp;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The first line that finds no room waits so long for it; a busy reader needs less. The lines behind it do not wait
/// before the reader has moved again: each of them would hold up a worker.
const PATIENCE_MS: u32 = 250;
/// What a pipe that says it has room takes at least (`PIPE_BUF` of Linux; POSIX promises less, others have more).
const PIECE_BYTES: usize = 4096;

/// A sink that can say whether it would block.
pub(super) trait Sink: Write + Send + 'static {
    /// Whether [`PIECE_BYTES`] fit, waiting for at most so long until they do.
    fn has_room(&mut self, wait_ms: u32) -> bool;
}

/// The standard error.
pub(super) struct Stderr;

impl Sink for Stderr {
    #[cfg(unix)]
    fn has_room(&mut self, wait_ms: u32) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stderr = io::stderr();
        let mut one = [PollFd::new(&stderr, PollFlags::OUT)];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait_ms) * 1_000_000,
        };
        // An error, or a reader that has gone, is for the write to find out.
        !matches!(poll(&mut one, Some(&wait)), Ok(0))
    }

    #[cfg(not(unix))]
    fn has_room(&mut self, _: u32) -> bool {
        true
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes whole lines to a sink, or drops them.
pub(super) struct Patient<S> {
    format: LogFormat,
    state: Mutex<State<S>>,
}

struct State<S> {
    sink: S,
    /// Lines since the sink had room.
    dropped: u64,
    /// The first of them was cut off in the middle.
    is_torn: bool,
}

impl<S: Sink> State<S> {
    /// Writes as much as there is room for; whether that is all of it.
    fn put(&mut self, line: &[u8], mut wait_ms: u32) -> io::Result<bool> {
        for (at, piece) in line.chunks(PIECE_BYTES).enumerate() {
            if !self.sink.has_room(wait_ms) {
                self.is_torn |= at > 0;
                return Ok(false);
            }
            self.sink.write_all(piece)?;
            wait_ms = PATIENCE_MS;
        }
        Ok(true)
    }
}

/// One line's turn at the sink.
pub(super) struct Turn<'a, S> {
    format: LogFormat,
    state: MutexGuard<'a, State<S>>,
}

impl<S: Sink> Patient<S> {
    pub(super) fn new(format: LogFormat, sink: S) -> Patient<S> {
        Patient {
            format,
            state: Mutex::new(State {
                sink,
                dropped: 0,
                is_torn: false,
            }),
        }
    }
}

impl<'a, S: Sink> MakeWriter<'a> for Patient<S> {
    type Writer = Turn<'a, S>;

    fn make_writer(&'a self) -> Turn<'a, S> {
        Turn {
            format: self.format,
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl<S: Sink> Write for Turn<'_, S> {
    /// Takes a whole line, which is how events are formatted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let state = &mut *self.state;
        let dropped = state.dropped;
        let is_told = dropped == 0 || {
            let end = if state.is_torn { "\n" } else { "" };
            let told = format!("{end}{}", confession(self.format, dropped));
            state.put(told.as_bytes(), 0)?
        };
        if !is_told {
            state.dropped += 1;
            return Ok(line.len());
        }
        (state.dropped, state.is_torn) = (0, false);
        if !state.put(line, PATIENCE_MS)? {
            state.dropped = 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state.sink.flush()
    }
}

/// The line about lines that are missing.
fn confession(format: LogFormat, dropped: u64) -> String {
    let message = "log lines were dropped here: whoever reads the log took them too slowly";
    let at = Timestamp::now();
    match format {
        LogFormat::Text => format!("{at}  WARN {message} dropped={dropped}\n"),
        LogFormat::Json => {
            let at = at.to_string();
            let line = serde_json::json!({
                "timestamp": at, "level": "WARN", "message": message, "dropped": dropped,
                "target": module_path!(),
            });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has room for so many pieces.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        waits_ms: Vec<u32>,
        text: String,
    }

    impl Sink for Narrow {
        fn has_room(&mut self, wait_ms: u32) -> bool {
            self.waits_ms.push(wait_ms);
            self.room > 0
        }
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.room = self.room.saturating_sub(1);
            self.text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_twice_and_what_is_missing_is_told() {
        let log = Patient::new(LogFormat::Json, Narrow::default());
        let say = |line: &[u8]| log.make_writer().write_all(line).unwrap();
        log.make_writer().state.sink.room = 1;
        for line in [&b"one\n"[..], b"two\n", b"three\n"] {
            say(line);
        }
        log.make_writer().state.sink.room = 9;
        say(b"four\n");
        say(b"five\n");
        let turn = log.make_writer();
        let sink = &turn.state.sink;
        assert_eq!(sink.waits_ms, [250, 250, 0, 0, 250, 250]);
        let lines: Vec<&str> = sink.text.lines().collect();
        let [one, told, four, five] = lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!([one, four, five], ["one", "four", "five"]);
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["dropped"], 2);
    }

    #[test]
    fn a_line_that_does_not_fit_whole_is_ended() {
        let log = Patient::new(LogFormat::Text, Narrow::default());
        log.make_writer().state.sink.room = 1;
        let mut long = vec![b'x'; PIECE_BYTES + 1];
        long.push(b'\n');
        log.make_writer().write_all(&long).unwrap();
        log.make_writer().state.sink.room = 9;
        log.make_writer().write_all(b"next\n").unwrap();
        let turn = log.make_writer();
        let lines: Vec<&str> = turn.state.sink.text.lines().collect();
        let [torn, told, next] = lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((torn.len(), next), (PIECE_BYTES, "next"));
        assert!(told.ends_with("dropped=1"), "{told}");
    }
}
