//! `gfl-admin list`: all tokens as a table, never their secrets.

use crate::{Failure, Result, file, ui};
use gfl_api::goflags::{self, Known};
use gfl_api::tokens::{TokenRecord, TokenStatus};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::path::Path;

const USAGE: &str = "Usage of list:\n  -file string\n    \tToken file (default \"tokens.json\")";
/// Longer lists of permissions are cut.
const PERMISSIONS_BYTES_MAX: usize = 28;

/// Shows tokens.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, &[Known::value("file")])
        .map_err(|error| Failure::Flags(error, USAGE))?;
    let path = Path::new(flags.value("file").unwrap_or("tokens.json"));
    let tokens = file::read(path)?.tokens;
    if tokens.is_empty() {
        if !path.exists() {
            ui::err(format_args!(
                "note: there is no {}; name the server's tokens_file with -file",
                path.display()
            ));
        }
        ui::out("No tokens found.");
        return Ok(());
    }
    let now = Zoned::now();
    ui::out(row("ID", "User", "Permissions", "Status", "Expires"));
    ui::out("─".repeat(95));
    for token in &tokens {
        ui::out(line(token, &now));
    }
    Ok(())
}

fn line(token: &TokenRecord, now: &Zoned) -> String {
    let status = match token.status(now.timestamp().as_millisecond()) {
        TokenStatus::Active => "active",
        TokenStatus::Revoked => "revoked",
        TokenStatus::Expired => "expired",
    };
    let permissions = cut(&token.permissions.join(","));
    row(
        &token.id,
        &token.user,
        &permissions,
        status,
        &expires(token, now.time_zone()),
    )
}

fn row(id: &str, user: &str, permissions: &str, status: &str, expires: &str) -> String {
    format!("{id:<16} {user:<15} {permissions:<30} {status:<10} {expires:<20}")
}

fn cut(permissions: &str) -> String {
    if permissions.len() <= PERMISSIONS_BYTES_MAX {
        return permissions.to_owned();
    }
    format!("{}...", &permissions[..permissions.floor_char_boundary(25)])
}

/// To the minute, in the offset of this machine.
fn expires(token: &TokenRecord, zone: &TimeZone) -> String {
    match token.expires_at.parse::<Timestamp>() {
        Ok(time) => time
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        Err(_) => "never valid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_v01() {
        let now: Zoned = "2026-11-22T12:00:00+00:00[+00:00]".parse().unwrap();
        let mut token = TokenRecord {
            id: "tok_0123456789ab".into(),
            user: "alice".into(),
            permissions: vec!["upload".into(), "download".into()],
            expires_at: "2026-12-22T12:34:56.789+00:00".into(),
            ..TokenRecord::default()
        };
        assert_eq!(
            line(&token, &now),
            "tok_0123456789ab alice           upload,download                active     2026-12-22 12:34    "
        );
        token.expires_at = "2026-01-01T00:00:00Z".into();
        assert!(line(&token, &now).contains(" expired "));
        token.revoked = true;
        assert!(line(&token, &now).contains(" revoked "));
        token.expires_at = String::new();
        assert!(line(&token, &now).contains("never valid"));
        assert_eq!(
            cut("upload,download,list,delete"),
            "upload,download,list,delete"
        );
        assert_eq!(
            cut("upload,download,list,delete,mkdir"),
            "upload,download,list,dele..."
        );
    }
}
