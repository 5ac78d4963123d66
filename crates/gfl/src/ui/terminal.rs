//! The terminal behind stderr as the progress line wants it.
//!
//! Its width is asked for each time something is drawn, since it changes; and a terminal that knows its columns but not
//! its rows counts as one, which is not so by default.

use indicatif::ProgressDrawTarget;

/// Where the terminal does not tell.
const COLUMNS_DEFAULT: u16 = 80;
/// Pictures a second.
const HZ: u8 = 10;

/// Where the line is drawn.
#[cfg(unix)]
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::<unix::Stderr>::default(), HZ)
}

/// Where the line is drawn.
#[cfg(not(unix))]
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(HZ)
}

/// How wide the terminal is now.
#[cfg(unix)]
pub(super) fn columns() -> u16 {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => COLUMNS_DEFAULT,
    }
}

/// How wide terminals are.
#[cfg(not(unix))]
pub(super) fn columns() -> u16 {
    COLUMNS_DEFAULT
}

#[cfg(unix)]
mod unix {
    use indicatif::TermLike;
    use std::io::{self, Write};
    use std::sync::Mutex;

    /// stderr, written to in whole pictures.
    #[derive(Debug, Default)]
    pub(super) struct Stderr(Mutex<String>);

    impl Stderr {
        fn push(&self, text: &str) -> io::Result<()> {
            if let Ok(mut drawn) = self.0.lock() {
                drawn.push_str(text);
            }
            Ok(())
        }

        fn go(&self, steps: usize, direction: char) -> io::Result<()> {
            match steps {
                0 => Ok(()),
                _ => self.push(&format!("\u{1b}[{steps}{direction}")),
            }
        }
    }

    impl TermLike for Stderr {
        fn width(&self) -> u16 {
            super::columns()
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.go(n, 'A')
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.go(n, 'B')
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.go(n, 'C')
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.go(n, 'D')
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.push(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.push(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.push("\r\u{1b}[2K")
        }

        fn flush(&self) -> io::Result<()> {
            let drawn = self.0.lock().map(|mut drawn| std::mem::take(&mut *drawn));
            io::stderr()
                .lock()
                .write_all(drawn.unwrap_or_default().as_bytes())
        }
    }
}
