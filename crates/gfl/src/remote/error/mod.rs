//! What can go wrong between us and a server, sorted by what the caller can do about it.
//!
//! Knows nothing of printing; [`crate::ui`] shows the message and the hint, [`crate::exit`] the number.

mod naming;

pub(crate) use naming::{Naming, OnServer};

use super::retry::GivenUp;
use super::url::Origin;
use crate::ui::words;
use gfl_api::FilePath;
use gfl_api::problem::{Code, Problem};
use std::fmt;
use std::time::Duration;

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Get a token, or a better one.
    Auth,
    /// Name something that is there.
    NotFound,
    /// Look what is there now and decide.
    Conflict,
    /// Try again later.
    Network,
    /// Trust nothing; transfer again.
    Integrity,
    /// Make room.
    Limit,
    /// Ask differently.
    Usage,
    /// Nothing in general; the message says what.
    Refused,
}

/// A failed request, or an answer that cannot be used.
#[derive(Debug)]
pub(crate) struct Error {
    /// What can be done about it.
    pub(crate) kind: Kind,
    /// HTTP status, 0 if there was no answer.
    pub(crate) status: u16,
    /// Problem code, [`Code::Unknown`] if there was none.
    pub(crate) code: Code,
    /// The problem as received, for its members.
    pub(crate) problem: Option<Box<Problem>>,
    /// When the server wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// Whether the request may have reached the server.
    is_sent: bool,
    /// Whether the caller knows that it may be different the next time.
    is_passing: bool,
    /// Whether a transfer was on its way that goes on where it stopped.
    is_broken_off: bool,
    message: String,
    hint: Option<&'static str>,
    path: Option<String>,
}

impl Error {
    /// For names that cannot be given to anything.
    pub(crate) const ANOTHER_NAME: &'static str = "choose another name";

    /// An error without an answer.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: 0,
            code: Code::Unknown,
            problem: None,
            retry_after: None,
            is_sent: true,
            is_passing: false,
            is_broken_off: false,
            message: message.into(),
            hint: None,
            path: None,
        }
    }

    /// The connection failed: the same request may succeed on a new one.
    pub(crate) fn network(message: impl Into<String>) -> Self {
        Self::new(Kind::Network, message)
    }

    /// An answer that breaks the protocol.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
            .with_hint("is this a GoFlux Lite server? `gfl version` shows what answers")
    }

    /// Something else answers at this address.
    pub(crate) fn no_server(origin: &Origin) -> Self {
        Self::new(
            Kind::Usage,
            format!("{} is no GoFlux Lite server", origin.to_url()),
        )
        .with_hint(
            "is the address right, and the path it has behind a proxy? `gfl config` shows it",
        )
    }

    /// A GoFlux server that answers requests with TLS only.
    pub(crate) fn wants_tls(origin: &Origin) -> Self {
        let message = format!("{} speaks TLS now, and nothing else", origin.to_url());
        Self::new(Kind::Usage, message)
            .with_hint("`gfl config HOST:PORT` takes up its certificate, and keeps the token")
    }

    /// Adds what to do about it.
    pub(crate) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Says what to do about it.
    pub(crate) fn set_hint(&mut self, hint: &'static str) {
        self.hint = Some(hint);
    }

    /// For requests that make nothing: no other name would help.
    pub(crate) fn of_reading(mut self) -> Self {
        self.hint = self.hint.filter(|hint| *hint != Self::ANOTHER_NAME);
        self
    }

    /// Replaces what to do when something is there already, for requests that `--overwrite` does not help.
    pub(crate) fn hint_if_there(mut self, hint: &'static str) -> Self {
        if matches!(self.code, Code::PreconditionFailed | Code::AlreadyExists) {
            self.hint = Some(hint);
        }
        self
    }

    /// An answer of 400 or above: problem details where the server sent some, else its text.
    pub(crate) fn from_answer(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let problem =
            Problem::parse(body).filter(|p| p.code != Code::Unknown || p.detail.is_some());
        let message = match &problem {
            Some(p) => match &p.request_id {
                Some(id) if status >= 500 => format!("{p} (status {status}, request {id})"),
                _ => p.to_string(),
            },
            None => plain_text(status, body),
        };
        let code = problem.as_ref().map_or(Code::Unknown, |p| p.code);
        let kind = kind_of(status, code);
        Self {
            kind,
            status,
            code,
            problem: problem.map(Box::new),
            retry_after,
            is_sent: true,
            is_passing: false,
            is_broken_off: false,
            message,
            hint: hint_of(status, code),
            path: None,
        }
    }

    /// As [`Error::from_answer`], for a problem inside a larger answer.
    pub(crate) fn from_problem(status: u16, problem: Option<&Problem>) -> Self {
        let body = problem.map(Problem::to_json).unwrap_or_default();
        Self::from_answer(status, body.as_bytes(), None)
    }

    /// Says that a conflict passes by itself: another request, perhaps an older one of our own, got in between. For
    /// callers that look at what is there before they try again.
    pub(crate) fn passing(mut self) -> Self {
        self.is_passing |= self.code == Code::Conflict;
        self
    }

    /// Whether the same request may succeed when repeated: lost connections, 408, 429 and 5xx, but not a full disk,
    /// not a storage that takes no writes, and not a change that may have been made.
    pub(crate) fn is_transient(&self) -> bool {
        match self.status {
            _ if self.is_passing => true,
            0 => self.kind == Kind::Network,
            408 | 429 => true,
            507 => false,
            500..=599 => !matches!(self.code, Code::ReadOnlyStorage | Code::OutcomeUnknown),
            _ => false,
        }
    }

    /// Whether the server seems to be gone: not reached, or somebody in front of it says so, or it begins or ends just
    /// now.
    pub(crate) fn is_absence(&self) -> bool {
        self.is_transient() && matches!(self.status, 0 | 502..=504)
    }

    /// Nobody tries again. Says how long that was done, and when the server wants to be asked again.
    pub(crate) fn given_up(mut self, why: GivenUp, is_resumed: bool) -> Self {
        // Whole seconds: a moment more than five minutes are five.
        let after = why.after.map(|after| Duration::from_secs(after.as_secs()));
        if let Some(after) = after.filter(|after| !after.is_zero()) {
            let text = format!("; it was waited for {}", words::rough_span(after));
            self.message.push_str(&text);
        }
        if let Some(wanted) = why.not_before {
            let text = format!(
                "; the server asks to try again in {}",
                words::rough_span(wanted)
            );
            self.message.push_str(&text);
        }
        self.is_broken_off = is_resumed && self.is_absence();
        self
    }

    /// Whether the server was there and is gone, and a transfer goes on where it stopped.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.is_broken_off
    }

    /// The connection was never made.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            is_sent: false,
            ..Self::network(message)
        }
    }

    /// Whether the request surely had no effect and may be sent again, even one that must not take effect twice.
    pub(crate) fn was_not_done(&self) -> bool {
        !self.is_sent || matches!(self.status, 429 | 503)
    }

    /// Whether the token is at fault, whatever it was to be good for.
    pub(crate) fn is_of_token(&self) -> bool {
        self.status == 401
    }

    /// Whether the message is about this path.
    pub(crate) fn is_about(&self, path: &FilePath) -> bool {
        self.why(path).is_some()
    }

    /// What the message says of this path, if it is about it.
    fn why(&self, path: &FilePath) -> Option<&str> {
        self.message
            .strip_prefix(&path.to_string())?
            .strip_prefix(": ")
    }

    /// Says which path on the server it is about.
    pub(crate) fn at(mut self, path: &FilePath) -> Self {
        self.path = Some(path.as_str().to_owned());
        self
    }

    /// The path on the server it is about, if that is known.
    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// What to do about it, if that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

fn kind_of(status: u16, code: Code) -> Kind {
    match (status, code) {
        (_, Code::DigestMismatch | Code::LengthMismatch) => Kind::Integrity,
        (_, Code::Quota | Code::TooLarge | Code::StorageFull) => Kind::Limit,
        // Refused by the server's disk, not by its tokens.
        (_, Code::StoragePermission) => Kind::Refused,
        (401 | 403, _) => Kind::Auth,
        (404 | 410, _) => Kind::NotFound,
        (409 | 412, _) => Kind::Conflict,
        (413 | 429 | 507, _) => Kind::Limit,
        (408 | 502 | 503 | 504, _) => Kind::Network,
        _ => Kind::Refused,
    }
}

fn hint_of(status: u16, code: Code) -> Option<&'static str> {
    Some(match (status, code) {
        (401, _) => {
            "set GOFLUX_TOKEN_LITE or run `gfl config HOST:PORT TOKEN`; `gfl-admin create` makes tokens"
        }
        (_, Code::StoragePermission) => return None,
        (403, _) => {
            "the token lacks a permission; `gfl-admin create -permissions` makes one that has it"
        }
        (_, Code::PreconditionFailed | Code::AlreadyExists) => {
            "something is there already; `--overwrite` replaces it"
        }
        (_, Code::IsADirectory) => {
            "a folder has that name; write it with a / at the end to put something into it"
        }
        (_, Code::Conflict) => "somebody else changes the same thing at this moment; try again",
        (_, Code::Quota) => "delete something, or ask the server's owner for more room",
        (_, Code::StorageFull) => {
            "the server's disk is full; nothing was lost, run the same command again later"
        }
        (_, Code::OutcomeUnknown) => {
            "look what is there now (`gfl stat`, `gfl ls`) before you run the same command again"
        }
        (_, Code::RateLimited) => "wait a little, or use fewer connections with `--parallel 1`",
        (_, Code::ReadOnlyStorage) => "the server takes no writes at the moment",
        (_, Code::NameNotStorable | Code::ReservedPath | Code::InvalidPath) => Error::ANOTHER_NAME,
        _ => return None,
    })
}

/// What a server without problem details had to say: its first line, without control characters.
fn plain_text(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') {
        return format!("the server answered {status}");
    }
    let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{line} (status {status})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: Code) -> Error {
        let problem = Problem::new(code);
        Error::from_answer(problem.status, problem.to_json().as_bytes(), None)
    }

    #[test]
    fn what_is_retried() {
        let retried = [
            Code::Timeout,
            Code::RateLimited,
            Code::Internal,
            Code::Busy,
            Code::Unavailable,
        ];
        for code in Code::ALL {
            assert_eq!(
                answer(*code).is_transient(),
                retried.contains(code),
                "{code}"
            );
        }
        for (status, want) in [
            (408, true),
            (429, true),
            (500, true),
            (502, true),
            (504, true),
            (507, false),
            (400, false),
            (404, false),
            (409, false),
            (413, false),
        ] {
            assert_eq!(
                Error::from_answer(status, b"", None).is_transient(),
                want,
                "{status}"
            );
        }
        assert!(Error::network("connection reset").is_transient());
        assert!(!Error::new(Kind::Integrity, "differs").is_transient());
    }

    #[test]
    fn only_conflicts_pass_and_only_where_the_caller_says_so() {
        assert!(!answer(Code::Conflict).is_transient());
        assert!(answer(Code::Conflict).passing().is_transient());
        assert!(!answer(Code::AlreadyExists).passing().is_transient());
    }

    #[test]
    fn overwrite_is_hinted_only_where_it_helps() {
        let exists = || answer(Code::AlreadyExists);
        assert!(exists().hint().is_some_and(|h| h.contains("--overwrite")));
        assert_eq!(exists().hint_if_there("move it").hint(), Some("move it"));
        let other = answer(Code::Quota).hint_if_there("move it");
        assert_ne!(other.hint(), Some("move it"));
    }

    #[test]
    fn a_path_is_named_once() {
        let path = FilePath::parse("docs/a").unwrap();
        let error = || Error::new(Kind::NotFound, "docs/a: no such file or directory");
        assert_eq!(
            error().naming(&path).to_string(),
            "no such file or directory"
        );
        assert_eq!(
            error().placing(&path).to_string(),
            "docs/a on the server: no such file or directory"
        );
        let parent = Error::new(Kind::Conflict, "docs: is a file").placing(&path);
        assert_eq!(parent.to_string(), "docs on the server: is a file");
        let other = Error::new(Kind::NotFound, "docs/a b: no such file").naming(&path);
        assert_eq!(other.to_string(), "docs/a b: no such file");
        let said = Err::<(), _>(error()).on_server("list", &path).unwrap_err();
        assert_eq!(
            format!("{said:#}"),
            "cannot list docs/a on the server: no such file or directory"
        );
        let inside = anyhow::Error::from(error()).context("outer").naming(&path);
        assert_eq!(format!("{inside:#}"), "outer: no such file or directory");
    }

    #[test]
    fn kinds_of_answers() {
        for (code, want) in [
            (Code::Unauthenticated, Kind::Auth),
            (Code::Forbidden, Kind::Auth),
            (Code::NotFound, Kind::NotFound),
            (Code::PreconditionFailed, Kind::Conflict),
            (Code::IsADirectory, Kind::Conflict),
            (Code::DigestMismatch, Kind::Integrity),
            (Code::StorageFull, Kind::Limit),
            (Code::Quota, Kind::Limit),
            (Code::Unavailable, Kind::Network),
            (Code::InvalidPath, Kind::Refused),
        ] {
            assert_eq!(answer(code).kind, want, "{code}");
        }
    }

    #[test]
    fn texts_of_old_servers_and_proxies() {
        let text = |body: &str| Error::from_answer(500, body.as_bytes(), None).to_string();
        assert_eq!(text("delete failed: x\n"), "delete failed: x (status 500)");
        assert_eq!(text("<html>bad gateway"), "the server answered 500");
        assert_eq!(text("a\u{1b}[31mb"), "a[31mb (status 500)");
    }
}
