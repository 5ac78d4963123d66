//! Who did what: one row for each download, upload, login and denial, kept for some weeks, and daily sums of all
//! requests, kept for years.
//!
//! Nobody waits for it: protocols hand over what happened, a task writes it in batches. When the catalog is away,
//! rows beyond the queue's limits are dropped and counted; sums are kept. A crash may lose the last second.
//! Must not know how a request was made or answered.

pub mod limits;
mod query;
mod recorder;

pub use query::{AccessQuery, StatsQuery};
pub(crate) use query::{read_access, read_stats};
pub(crate) use recorder::{Recorder, run};

const DAY_MS: i64 = 24 * 3_600_000;

/// What a request was for. The names are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Getting content.
    Download,
    /// Sending content.
    Upload,
    /// Changing something without content: delete, move, make a directory, metadata, undo.
    Change,
    /// Looking: lists, metadata, state of uploads.
    Look,
    /// Showing who one is, and asking for a challenge.
    Login,
    /// Anything else.
    Other,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 6] = [
        Action::Download,
        Action::Upload,
        Action::Change,
        Action::Look,
        Action::Login,
        Action::Other,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Action::Download => "download",
            Action::Upload => "upload",
            Action::Change => "change",
            Action::Look => "look",
            Action::Login => "login",
            Action::Other => "other",
        }
    }

    /// By name; one that this version does not know is [`Action::Other`].
    pub fn parse(name: &str) -> Action {
        Action::ALL
            .into_iter()
            .find(|action| action.name() == name)
            .unwrap_or(Action::Other)
    }
}

/// One request as it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// When it ended, unix ms.
    pub at_ms: i64,
    /// The user; empty when nobody was recognised.
    pub who: String,
    /// The token's id.
    pub token: Option<String>,
    /// The peer's address.
    pub peer: String,
    /// What it was for.
    pub action: Action,
    /// The file or folder.
    pub path: Option<String>,
    /// The HTTP status, or its like.
    pub status: u16,
    /// The answer went out whole.
    pub complete: bool,
    /// Files that were moved whole.
    pub files: u64,
    /// Files of a larger request that failed.
    pub failed: u64,
    /// Bytes of content moved, as they went over the wire.
    pub bytes: u64,
    /// The size of the file that was stored, perhaps with the bytes of requests before.
    pub size: Option<u64>,
    /// Duration.
    pub ms: u64,
    /// The request's id.
    pub request: String,
}

impl Access {
    /// What it adds to the sums of its day.
    pub fn usage(&self) -> Usage {
        // That nothing is there is an answer to who looks.
        let found = self.status < 400 || (self.action == Action::Look && self.status == 404);
        Usage {
            requests: 1,
            files: self.files,
            bytes: self.bytes,
            errors: self.failed + u64::from(!(found && self.complete)),
        }
    }

    /// The day, counted from 1970 in UTC.
    pub fn day(&self) -> i64 {
        day_of(self.at_ms)
    }

    fn is_denied(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// Whether it gets a row: what nothing else remembers, and uploads.
    fn is_kept(&self) -> bool {
        let ended = self.files > 0 || self.usage().errors > 0;
        match self.action {
            Action::Download => ended || self.bytes > 0,
            // A part that arrived is one of many.
            Action::Upload => ended,
            Action::Login => true,
            Action::Change | Action::Look | Action::Other => self.is_denied(),
        }
    }
}

/// The day of a time, counted from 1970 in UTC.
pub fn day_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

/// When a day begins, unix ms.
pub fn day_start_ms(day: i64) -> i64 {
    day.saturating_mul(DAY_MS)
}

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests.
    pub requests: u64,
    /// Files moved whole.
    pub files: u64,
    /// Bytes of content moved, those of broken transfers included.
    pub bytes: u64,
    /// Requests refused, failed or cut off (not those that looked for what is not there), and files of larger requests
    /// that failed.
    pub errors: u64,
}

impl Usage {
    /// Adds.
    pub fn add(&mut self, other: Usage) {
        self.requests = self.requests.saturating_add(other.requests);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// Sums of one user's one action on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// See [`day_of`].
    pub day: i64,
    /// The user; empty for nobody.
    pub who: String,
    /// The action.
    pub action: Action,
    /// The sums.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), action);
        }
        assert_eq!(Action::parse("from the future"), Action::Other);
    }

    #[test]
    fn days_begin_at_midnight_utc() {
        assert_eq!((day_of(0), day_of(DAY_MS - 1), day_of(DAY_MS)), (0, 0, 1));
        assert_eq!(day_of(-1), -1);
    }
}
