//! What the process tells its caller. Scripts depend on these numbers; they are never given another meaning.
//!
//! Knows nothing of commands: an error carries its own kind, and this file turns kinds into numbers.

use crate::remote::{Error, Kind};
use gfl_api::problem::Code;
use std::process::ExitCode;

/// The exit codes. 0, 1 and 2 mean what they meant in v0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// Something failed that has no number of its own.
    Failure = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// No token, a wrong one, or one that may not do this.
    Auth = 3,
    /// The file or folder is not there.
    NotFound = 4,
    /// Something is in the way, or changed in the meantime.
    Conflict = 5,
    /// The server cannot be reached, or stopped answering.
    Network = 6,
    /// Bytes arrived that are not the bytes that were sent.
    Integrity = 7,
    /// A quota, a size limit or a full disk.
    Limit = 8,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// An error of the command line itself: the words, not the work.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An error that says which exit code it wants, for failures found on this side of the wire.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The code.
    pub(crate) exit: Exit,
    /// The message.
    pub(crate) message: String,
    /// The local path it is about.
    pub(crate) path: Option<String>,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
}

impl Failed {
    /// An error of this kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            path: None,
            hint: None,
        }
    }

    /// Names the path it is about.
    pub(crate) fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Says what to do about it.
    pub(crate) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

impl Exit {
    /// The code of an error: the innermost cause that knows its kind decides.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(failed) = cause.downcast_ref::<Failed>() {
                return failed.exit;
            }
            if let Some(remote) = cause.downcast_ref::<Error>() {
                return remote.kind.into();
            }
            if cause.is::<UsageError>() {
                return Self::Usage;
            }
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return match io.kind() {
                    // A reader that has seen enough (`gfl ls | head`) is no failure.
                    std::io::ErrorKind::BrokenPipe => Self::Ok,
                    std::io::ErrorKind::NotFound => Self::NotFound,
                    std::io::ErrorKind::StorageFull => Self::Limit,
                    _ => Self::Failure,
                };
            }
        }
        Self::Failure
    }

    /// What `--json` calls it where the server has no code of its own.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failure => "failed",
            Self::Usage => "usage",
            Self::Auth => "not-allowed",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Network => "network",
            Self::Integrity => "damaged",
            Self::Limit => "limit",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// The code of a batch that already has `self`: agreeing failures keep their code, others share the general one.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ok, code) | (code, Self::Ok) => code,
            (a, b) if a == b => a,
            _ => Self::Failure,
        }
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auth => Self::Auth,
            Kind::NotFound => Self::NotFound,
            Kind::Conflict => Self::Conflict,
            Kind::Network => Self::Network,
            Kind::Integrity => Self::Integrity,
            Kind::Limit => Self::Limit,
            Kind::Usage => Self::Usage,
            Kind::Refused => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What to do about an error, if that is known.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        let failed = cause
            .downcast_ref::<Failed>()
            .and_then(|failed| failed.hint);
        failed.or_else(|| cause.downcast_ref::<Error>().and_then(Error::hint))
    })
}

/// What to do when a server went away for longer than it was waited for, with a transfer half done.
pub(crate) fn hint_at_continuing(error: &mut anyhow::Error) {
    if let Some(error) = error.downcast_mut::<Error>()
        && error.is_broken_off()
    {
        error.set_hint(
            "when the server is back, run the same command again to continue where it stopped",
        );
    }
}

/// The path an error is about, if that is known: the server's for what the server said, else a local one.
pub(crate) fn path_of(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| {
        let failed = cause.downcast_ref::<Failed>();
        let failed = failed.and_then(|failed| failed.path.as_deref());
        failed.or_else(|| cause.downcast_ref::<Error>().and_then(Error::path))
    })
}

/// What `--json` calls an error: by the server's code, where it sent one.
pub(crate) fn code_of(error: &anyhow::Error) -> &'static str {
    let of_server = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>())
        .filter(|error| error.code != Code::Unknown);
    of_server.map_or_else(|| Exit::of(error).code(), |error| error.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_cause_decides() {
        let io = |kind| anyhow::Error::from(std::io::Error::from(kind));
        let cases = [
            (Error::new(Kind::Auth, "no").into(), Exit::Auth),
            (
                Failed::new(Exit::Integrity, "bytes differ").into(),
                Exit::Integrity,
            ),
            (UsageError("what".into()).into(), Exit::Usage),
            (io(std::io::ErrorKind::NotFound), Exit::NotFound),
            (io(std::io::ErrorKind::BrokenPipe), Exit::Ok),
            (anyhow::anyhow!("plain"), Exit::Failure),
        ];
        for (error, want) in cases {
            assert_eq!(Exit::of(&error), want, "{error}");
            assert_eq!(
                Exit::of(&Err::<(), _>(error).context("outer").unwrap_err()),
                want
            );
        }
    }

    #[test]
    fn batches_agree_or_fail_generally() {
        assert_eq!(Exit::Ok.and(Exit::Auth), Exit::Auth);
        assert_eq!(Exit::Auth.and(Exit::Auth), Exit::Auth);
        assert_eq!(Exit::Auth.and(Exit::Limit), Exit::Failure);
    }
}
