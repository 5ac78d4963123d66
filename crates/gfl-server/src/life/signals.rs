//! Which signals mean what.

use std::io;

/// A wish of whoever runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// To end, and with which exit code when it is asked for twice.
    Stop {
        /// The signal.
        name: &'static str,
        /// 128 and its number.
        exit_code: i32,
    },
    /// To read the configuration again.
    Reload,
}

#[cfg(unix)]
pub use unix::Signals;

#[cfg(unix)]
mod unix {
    use super::{Signal, io};
    use std::io::IsTerminal;
    use tokio::signal::unix::{self, SignalKind, signal};

    const TERM: Signal = Signal::Stop {
        name: "SIGTERM",
        exit_code: 143,
    };
    const INT: Signal = Signal::Stop {
        name: "SIGINT",
        exit_code: 130,
    };
    const TERMINAL_GONE: Signal = Signal::Stop {
        name: "SIGHUP",
        exit_code: 129,
    };

    /// From its making on no signal ends the process by itself.
    pub struct Signals {
        term: unix::Signal,
        int: unix::Signal,
        hup: unix::Signal,
        /// Started by somebody who sees it.
        on_terminal: bool,
    }

    impl Signals {
        /// Starts to listen.
        pub fn listen() -> io::Result<Signals> {
            Ok(Signals {
                term: signal(SignalKind::terminate())?,
                int: signal(SignalKind::interrupt())?,
                hup: signal(SignalKind::hangup())?,
                on_terminal: has_terminal(),
            })
        }

        /// The next one.
        pub async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.term.recv() => TERM,
                _ = self.int.recv() => INT,
                // Somebody closed the window it ran in. A service has none, there it is the old word for a reload.
                _ = self.hup.recv() => if self.on_terminal && is_terminal_gone() { TERMINAL_GONE } else { Signal::Reload },
            }
        }
    }

    /// nohup leaves none of the two.
    fn has_terminal() -> bool {
        std::io::stderr().is_terminal() || std::io::stdin().is_terminal()
    }

    /// Closed, or no longer the one of this session.
    fn is_terminal_gone() -> bool {
        !has_terminal() || std::fs::File::open("/dev/tty").is_err()
    }
}

/// Elsewhere there is only Ctrl-C.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Starts to listen.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals)
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        let _ = tokio::signal::ctrl_c().await;
        Signal::Stop {
            name: "Ctrl-C",
            exit_code: 130,
        }
    }
}
