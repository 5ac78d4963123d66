//! What the log line of a request tells beyond its status: who asked, and which files it was about. Filled in on
//! the way by whoever knows it; read once, at the end.

use crate::tell::classify::Transfer;
use crate::tell::meters::{Meters, Running};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Characters of a path in the log.
const LOGGED_CHARS_MAX: usize = 512;

/// The facts of one request.
#[derive(Debug, Default)]
pub struct Facts {
    /// `X-Request-Id`.
    pub id: String,
    /// The authenticated user.
    pub who: OnceLock<String>,
    /// The route, without anything of the caller's in it.
    pub route: OnceLock<&'static str>,
    /// The id of the token.
    pub token: OnceLock<String>,
    /// The token was revoked while the request ran.
    pub is_revoked: AtomicBool,
    stored: OnceLock<Stored>,
    running: OnceLock<Running>,
    file: OnceLock<String>,
    many: OnceLock<Many>,
}

/// A file that was stored, at last or at once.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Its size.
    pub bytes: u64,
    /// When its first byte was announced, unix ms; none when it came in this request.
    pub began_ms: Option<i64>,
}

/// Of a request about many files: how many, and the first that failed.
#[derive(Debug, Default)]
pub struct Many {
    done: AtomicU64,
    failed: AtomicU64,
    first_failed: OnceLock<(String, String)>,
}

impl Facts {
    /// Of the request with this id nothing is known yet.
    pub fn new(id: String) -> Facts {
        Facts {
            id,
            ..Facts::default()
        }
    }

    /// Names the file (or folder) that the request is about. What is said first stays.
    pub fn names(&self, path: &str) {
        self.file
            .get_or_init(|| if path.is_empty() { "/" } else { path }.to_owned());
    }

    /// The file, fit for the log.
    pub fn file(&self) -> Option<String> {
        self.file.get().map(|path| logged(path))
    }

    /// What the request is about, as it was said.
    pub fn named(&self) -> Option<&str> {
        self.file.get().map(String::as_str)
    }

    /// The route, `-` while there is none.
    pub fn route_or_none(&self) -> &'static str {
        self.route.get().copied().unwrap_or("-")
    }

    /// A file has been stored by this request, perhaps with the bytes of others before it.
    pub fn stores(&self, bytes: u64, began_ms: Option<i64>) {
        let _ = self.stored.set(Stored { bytes, began_ms });
    }

    /// The file that was stored.
    pub fn stored(&self) -> Option<Stored> {
        self.stored.get().copied()
    }

    /// Content begins to move, until nobody knows of this request any more.
    pub fn moves(&self, meters: &Arc<Meters>, transfer: Transfer) {
        self.running
            .get_or_init(|| meters.begin(transfer.direction));
    }

    /// Whether content has begun to move.
    pub fn has_begun(&self) -> bool {
        self.running.get().is_some()
    }

    /// The request is about many files.
    pub fn many(&self) -> &Many {
        self.many.get_or_init(Many::default)
    }

    /// Whether and how many.
    pub fn counted(&self) -> Option<&Many> {
        self.many.get()
    }
}

impl Many {
    /// One went well.
    pub fn done(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// One failed, with this problem code.
    pub fn failed(&self, path: &str, code: &str) {
        self.failed.fetch_add(1, Relaxed);
        self.first_failed
            .get_or_init(|| (path.to_owned(), code.to_owned()));
    }

    /// How many went well or failed.
    pub fn files(&self) -> u64 {
        self.done.load(Relaxed) + self.failures()
    }

    /// How many went well.
    pub fn successes(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// How many failed.
    pub fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// The first that failed, fit for the log, and why.
    pub fn first_failed(&self) -> Option<(String, &str)> {
        let (path, code) = self.first_failed.get()?;
        Some((logged(path), code))
    }
}

/// A text of the client's, fit for one line of a log that people read in a terminal: control characters and what
/// turns the direction of writing are escaped; names with quotes or blanks stay as they are.
pub fn logged(text: &str) -> String {
    let mut logged = String::with_capacity(text.len().min(LOGGED_CHARS_MAX));
    for (index, c) in text.chars().enumerate() {
        if index == LOGGED_CHARS_MAX {
            logged.push('…');
            break;
        }
        match c {
            '"' | '\'' => logged.push(c),
            c => logged.extend(c.escape_debug()),
        }
    }
    logged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_log_lines() {
        assert_eq!(
            logged("/a\nb\u{1b}[0m\u{9b}\u{202e}\\"),
            "/a\\nb\\u{1b}[0m\\u{9b}\\u{202e}\\\\"
        );
        assert_eq!(logged("it's \"ü\" 漢"), "it's \"ü\" 漢");
        let long = logged(&"x".repeat(9999));
        assert_eq!(long.chars().count(), LOGGED_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn the_first_word_stays() {
        let facts = Facts::default();
        assert_eq!((facts.file(), facts.counted().is_none()), (None, true));
        facts.names("");
        facts.names("b");
        assert_eq!(facts.file().as_deref(), Some("/"));
        let many = facts.many();
        many.done();
        many.failed("x\r", "not-found");
        many.failed("y", "forbidden");
        let many = facts.counted().unwrap();
        assert_eq!((many.files(), many.failures()), (3, 2));
        assert_eq!(many.first_failed(), Some(("x\\r".into(), "not-found")));
    }
}
