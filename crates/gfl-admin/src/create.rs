//! `gfl-admin create`: makes a token and shows it once.

use crate::{Failure, Result, file, permissions, ui};
use anyhow::{Context, anyhow};
use gfl_api::goflags::{self, Known, parse_int};
use gfl_api::tokens::{TokenRecord, hash_token, new_id, new_token};
use jiff::{Span, Zoned};
use std::path::Path;

const FLAGS: &[Known] = &[
    Known::value("user"),
    Known::value("permissions"),
    Known::value("days"),
    Known::value("file"),
];

const USAGE: &str = "\
Usage of create:
  -days int
    \tToken validity in days (default 30)
  -file string
    \tToken file (default \"tokens.json\")
  -permissions string
    \tPermissions, separated by commas (default \"*\")
  -user string
    \tUser the token is for (required)";

/// Makes a token.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let days = match flags.value("days").map(|text| (text, parse_int(text))) {
        None => 30,
        Some((_, Ok(days))) => days,
        Some((text, Err(why))) => {
            let text = format!("invalid value {text:?} for flag -days: {why}");
            return Err(Failure::Value(text, USAGE));
        }
    };
    let Some(user) = flags.value("user").filter(|user| !user.is_empty()) else {
        ui::err("Error: -user is required");
        ui::err(USAGE);
        return Err(Failure::Said);
    };
    if user.chars().any(char::is_control) {
        ui::err("Error: -user must not contain control characters");
        return Err(Failure::Said);
    }
    let (permissions, remarks) = permissions::parse(flags.value("permissions").unwrap_or("*"));
    remarks.iter().for_each(ui::err);
    let now = Zoned::now();
    let expires = expiry(&now, days)?;
    let token = new_token(random()?);
    let path = Path::new(flags.value("file").unwrap_or("tokens.json"));
    let id = file::change(path, |file| {
        let mut id = new_id(random()?);
        while file.find_id(&id).is_some() {
            id = new_id(random()?);
        }
        file.tokens.push(TokenRecord {
            id: id.clone(),
            token_hash: hash_token(&token),
            user: user.to_owned(),
            permissions: permissions.clone(),
            created_at: rfc3339(&now),
            expires_at: rfc3339(&expires),
            ..TokenRecord::default()
        });
        Ok(id)
    })?;
    show(&id, &token, user, &permissions, &expires);
    ui::err(format_args!("written to {}", path.display()));
    if days <= 0 {
        ui::err(format_args!(
            "WARNING: -days {days} makes a token that is expired already; no server will take it"
        ));
    }
    Ok(())
}

fn show(id: &str, token: &str, user: &str, permissions: &[String], expires: &Zoned) {
    ui::out("Token created successfully!");
    ui::out("");
    ui::out(format_args!("Token ID:     {id}"));
    ui::out(format_args!("Token:        {token}"));
    ui::out(format_args!("User:         {user}"));
    ui::out(format_args!("Permissions:  [{}]", permissions.join(" ")));
    ui::out(format_args!(
        "Expires:      {}",
        expires.strftime("%Y-%m-%d %H:%M:%S")
    ));
    ui::out("");
    ui::out("Save this token securely, it cannot be shown again.");
}

/// So many calendar days from now, in local time. Zero or fewer make a token that is expired already.
fn expiry(now: &Zoned, days: i64) -> anyhow::Result<Zoned> {
    let span = Span::new()
        .try_days(days)
        .map_err(|_| anyhow!("-days {days} is out of range"))?;
    now.checked_add(span)
        .with_context(|| format!("-days {days} is out of range"))
}

/// RFC 3339 with nanoseconds and the local offset.
fn rfc3339(time: &Zoned) -> String {
    time.timestamp()
        .display_with_offset(time.offset())
        .to_string()
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_calendar_days() {
        let now: Zoned = "2026-03-28T12:00:00.5+01:00[Europe/Paris]"
            .parse()
            .unwrap_or_else(|_| Zoned::now());
        let later = expiry(&now, 30).unwrap();
        assert_eq!(later.time(), now.time(), "also over a change of the clock");
        assert!(expiry(&now, -1).unwrap() < now);
        assert!(expiry(&now, i64::MAX).is_err() && expiry(&now, 10_000_000).is_err());
    }

    #[test]
    fn help_and_parser_know_the_same_options() {
        let told = USAGE.lines().filter_map(|line| line.strip_prefix("  -"));
        let mut told: Vec<&str> = told.map(|line| line.split(' ').next().unwrap()).collect();
        let mut known: Vec<&str> = FLAGS.iter().map(|option| option.name).collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }

    #[test]
    fn times_have_an_offset() {
        let time: Zoned = "2026-11-22T15:04:05.123456789+05:30[+05:30]"
            .parse()
            .unwrap();
        assert_eq!(rfc3339(&time), "2026-11-22T15:04:05.123456789+05:30");
    }
}
