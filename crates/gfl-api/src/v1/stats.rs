//! Who did what: `GET /v1/stats` and `GET /v1/access`.

use jiff::civil::Date;
use jiff::{Span, Unit};
use serde::{Deserialize, Serialize};

const FIRST_DAY: Date = Date::constant(1970, 1, 1);

/// A day counted from 1970 as it stands in these bodies, `2026-11-22`.
pub fn day_text(day: i64) -> String {
    let date = Span::new()
        .try_days(day)
        .and_then(|days| FIRST_DAY.checked_add(days));
    date.map_or_else(|_| String::new(), |date| date.to_string())
}

/// The other way round; none for anything else than a day.
pub fn day_number(text: &str) -> Option<i64> {
    let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
    let span = FIRST_DAY.until((Unit::Day, date)).ok()?;
    Some(i64::from(span.get_days()))
}

/// Sums of one user's one action on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageEntry {
    /// The day in UTC, `2026-11-22`.
    pub day: String,
    /// The user; none for callers without a valid token.
    pub user: Option<String>,
    /// `download`, `upload`, `change`, `look`, `login` or `other`.
    pub action: String,
    /// Requests.
    pub requests: u64,
    /// Files moved whole.
    pub files: u64,
    /// Bytes of content as they went over the wire, those of broken transfers included.
    pub bytes: u64,
    /// Requests refused, failed or cut off (not those that looked for what is not there), and files of larger requests
    /// that failed.
    pub errors: u64,
}

/// The answer of `GET /v1/stats`, in the order of day, user and action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsagePage {
    /// The first day asked for.
    pub from: String,
    /// The last day asked for.
    pub to: String,
    /// The sums.
    pub usage: Vec<UsageEntry>,
    /// The cursor of the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One row of the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessEntry {
    /// When it ended.
    pub time: String,
    /// The user; none for callers without a valid token.
    pub user: Option<String>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The address it came from.
    pub peer: String,
    /// See [`UsageEntry::action`].
    pub action: String,
    /// The file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The HTTP status; 499 when the client left before there was one.
    pub status: u16,
    /// Whether the answer went out whole.
    pub complete: bool,
    /// Files moved whole.
    pub files: u64,
    /// Files of a larger request that failed.
    pub failed: u64,
    /// Bytes of content as they went over the wire.
    pub bytes: u64,
    /// The size of the file that was stored, perhaps with the bytes of requests before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Duration.
    pub ms: u64,
    /// The request's id, as in the log.
    pub request_id: String,
}

/// The answer of `GET /v1/access`, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessPage {
    /// The rows.
    pub entries: Vec<AccessEntry>,
    /// The cursor of the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_there_and_back() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("2026-11-22", 20_779),
            ("1969-12-31", -1),
        ] {
            assert_eq!(day_number(text), Some(number));
            assert_eq!(day_text(number), text);
        }
        for bad in ["", "2026-13-01", "yesterday", "2026-11-22T00:00:00"] {
            assert_eq!(day_number(bad), None, "{bad}");
        }
        assert_eq!(day_text(i64::MAX), "");
    }
}
