//! Who can log in, and for how long still.

use super::report::Check;
use crate::file;
use crate::place::shown;
use gfl_api::tokens::{TokenRecord, TokenStatus};
use gfl_server::start::Plan;
use jiff::Timestamp;

const NAME: &str = "tokens";
/// A token that ends within so many days is told.
const SOON_DAYS: i64 = 14;
/// More are counted only.
const TOLD_MAX: usize = 5;
const DAY_MS: i64 = 24 * 3_600_000;

/// Looks at the tokens. That there is no file, or one that others can read, `gfl-server -check` has told.
pub(super) fn look(plan: &Plan, now: Timestamp) -> Vec<Check> {
    let Some(path) = &plan.settings.tokens_file else {
        return Vec::new();
    };
    match file::read(path) {
        Ok(tokens) => judge(&tokens.tokens, &shown(path), now.as_millisecond()),
        Err(error) => vec![
            Check::fail(NAME, format!("{error:#}"))
                .remedy("nobody is let in until the file can be read; restore it from a backup"),
        ],
    }
}

fn judge(tokens: &[TokenRecord], file: &str, now_ms: i64) -> Vec<Check> {
    let of = |status| {
        let same = tokens
            .iter()
            .filter(move |token| token.status(now_ms) == status);
        same.collect::<Vec<_>>()
    };
    let active = of(TokenStatus::Active);
    let text = format!(
        "{} active, {} expired, {} revoked",
        active.len(),
        of(TokenStatus::Expired).len(),
        of(TokenStatus::Revoked).len()
    );
    if active.is_empty() {
        let remedy = format!("gfl-admin create -user NAME -file {file}");
        return vec![Check::warn(NAME, format!("{text}: nobody can log in")).remedy(remedy)];
    }
    let mut found = vec![Check::ok(NAME, text)];
    let ends = |token: &&&TokenRecord| token.expires_ms().unwrap_or(i64::MAX);
    let mut soon: Vec<_> = active
        .iter()
        .filter(|token| ends(token) - now_ms <= SOON_DAYS * DAY_MS)
        .collect();
    soon.sort_by_key(ends);
    let more = soon.len().saturating_sub(TOLD_MAX);
    for token in soon.into_iter().take(TOLD_MAX) {
        found.push(ending(token, file, ends(&token) - now_ms));
    }
    if more > 0 {
        found.push(Check::warn(NAME, format!("and {more} more end soon")));
    }
    found
}

fn ending(token: &TokenRecord, file: &str, left_ms: i64) -> Check {
    let when = match left_ms / DAY_MS {
        0 => "today or tomorrow".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    let (id, user) = (token.id.escape_debug(), token.user.escape_debug());
    let permissions = token.permissions.join(",");
    Check::warn(NAME, format!("{id} of {user} ends {when}")).remedy(format!(
        "gfl-admin create -user '{user}' -permissions '{}' -file {file}",
        permissions.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, expires: &str, revoked: bool) -> TokenRecord {
        TokenRecord {
            id: id.into(),
            user: "al\x1bice".into(),
            permissions: vec!["list".into(), "download".into()],
            expires_at: expires.into(),
            revoked,
            ..TokenRecord::default()
        }
    }

    #[test]
    fn what_ends_soon_is_told() {
        let now = "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap();
        let brief = |tokens: &[TokenRecord]| -> Vec<String> {
            let found = judge(tokens, "t.json", now.as_millisecond());
            found.iter().map(Check::brief).collect()
        };
        let tokens = [
            token("c", "2026-12-06T12:00:01Z", false),
            token("b", "2026-11-30T12:00:00Z", false),
            token("a", "2026-11-22T13:00:00Z", false),
            token("old", "2026-11-21T00:00:00Z", false),
            token("gone", "2026-11-23T00:00:00Z", true),
        ];
        assert_eq!(
            brief(&tokens),
            [
                "Ok tokens: 3 active, 1 expired, 1 revoked",
                "Warn tokens: a of al\\u{1b}ice ends today or tomorrow",
                "Warn tokens: b of al\\u{1b}ice ends in 8 days",
            ]
        );
        assert_eq!(
            brief(&tokens[3..]),
            ["Warn tokens: 0 active, 1 expired, 1 revoked: nobody can log in"]
        );
        let many: Vec<_> = (0..9)
            .map(|n| token(&n.to_string(), "2026-11-24T00:00:00Z", false))
            .collect();
        assert_eq!(brief(&many).len(), 7);
        assert_eq!(brief(&many)[6], "Warn tokens: and 4 more end soon");
    }
}
