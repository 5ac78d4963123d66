//! `gfl-admin stats`: how much every user moved on every day. Asks the server that runs, or reads the catalog of one
//! that does not.

use crate::table::{self, Align};
use crate::{Failure, Result, place, socket, ui};
use anyhow::Context;
use gfl_api::goflags::{self, Known, parse_int};
use gfl_api::v1::{UsageEntry, UsagePage, day_number, day_text};
use gfl_core::Kind;
use gfl_core::access::limits::STATS_PAGE_ROWS_MAX;
use gfl_core::access::{StatsQuery, UsageRow};
use gfl_core::auth::Caller;
use gfl_core::offline::Offline;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::Path;

const FLAGS: &[Known] = &[
    Known::value("days"),
    Known::value("user"),
    Known::value("config"),
    Known::value("meta-dir"),
    Known::switch("json"),
];
const USAGE: &str = "\
Usage of stats:
  -config string
    \tThe server's configuration (default \"goflux.json\")
  -days int
    \tHow many days back, today included (default 30)
  -json
    \tPrint JSON: one object with the sums by day, user and action
  -meta-dir string
    \tThe server's meta_dir, instead of -config
  -user string
    \tOnly this user";
const DAYS_DEFAULT: i64 = 30;
/// The server keeps no more.
const DAYS_MAX: i64 = 3 * 366;

/// Shows them.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let days = match flags.value("days").map(|text| (text, parse_int(text))) {
        None => DAYS_DEFAULT,
        Some((_, Ok(days))) if (1..=DAYS_MAX).contains(&days) => days,
        Some((text, _)) => {
            let text = format!("invalid value {text:?} for flag -days: 1 to {DAYS_MAX}");
            return Err(Failure::Value(text, USAGE));
        }
    };
    let user = flags.value("user").filter(|user| !user.is_empty());
    let meta_dir = place::meta_dir(&flags)?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let to = day_number(&today.to_string()).context("the clock is wrong")?;
    let asked = Asked {
        from: to - days + 1,
        to,
        user,
    };
    let page = match online(&meta_dir, &asked)? {
        Some(page) => page,
        None => offline(&meta_dir, &asked)?,
    };
    if flags.is_on("json") {
        ui::out(serde_json::to_string(&page).context("cannot write JSON")?);
    } else {
        show(&page);
    }
    Ok(())
}

struct Asked<'a> {
    /// Days counted from 1970, both included.
    from: i64,
    to: i64,
    user: Option<&'a str>,
}

/// From the running server, page by page; none when there is none.
fn online(meta_dir: &Path, asked: &Asked<'_>) -> anyhow::Result<Option<UsagePage>> {
    let mut target = format!(
        "/v1/stats?limit={STATS_PAGE_ROWS_MAX}&from={}&to={}",
        day_text(asked.from),
        day_text(asked.to)
    );
    if let Some(user) = asked.user {
        target += &format!("&user={}", escaped(user));
    }
    let Some(mut whole) = socket::get::<UsagePage>(meta_dir, &target)? else {
        return Ok(None);
    };
    while let Some(cursor) = whole.next.take() {
        let next = format!("{target}&cursor={}", escaped(&cursor));
        let page: UsagePage = socket::get(meta_dir, &next)?.context("the server ended")?;
        whole.usage.extend(page.usage);
        whole.next = page.next;
    }
    Ok(Some(whole))
}

/// From the catalog itself.
fn offline(meta_dir: &Path, asked: &Asked<'_>) -> anyhow::Result<UsagePage> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let rows = runtime.block_on(read(meta_dir, asked));
    let rows = rows.map_err(|error| explained(error, meta_dir))?;
    ui::err(format_args!(
        "note: no server runs; read from its catalog in {}",
        place::shown(meta_dir)
    ));
    let entry = |row: UsageRow| UsageEntry {
        day: day_text(row.day),
        user: Some(row.who).filter(|who| !who.is_empty()),
        action: row.action.name().to_owned(),
        requests: row.usage.requests,
        files: row.usage.files,
        bytes: row.usage.bytes,
        errors: row.usage.errors,
    };
    Ok(UsagePage {
        from: day_text(asked.from),
        to: day_text(asked.to),
        usage: rows.into_iter().map(entry).collect(),
        next: None,
    })
}

async fn read(meta_dir: &Path, asked: &Asked<'_>) -> gfl_core::Result<Vec<UsageRow>> {
    let catalog = Offline::open(meta_dir).await?;
    let administrator = Caller::administrator();
    let mut query = StatsQuery {
        from_day: asked.from,
        to_day: asked.to,
        who: asked.user.map(str::to_owned),
        after: None,
        limit: STATS_PAGE_ROWS_MAX,
    };
    let mut rows = Vec::new();
    let outcome = loop {
        match catalog.stats(&administrator, &query).await {
            Ok(page) => {
                query.after = page.last().cloned();
                let more = page.len() == query.limit;
                rows.extend(page);
                if !more {
                    break Ok(rows);
                }
            }
            Err(error) => break Err(error),
        }
    };
    catalog.close().await;
    outcome
}

/// What to do about a catalog that cannot be read.
pub(crate) fn explained(error: gfl_core::Error, meta_dir: &Path) -> anyhow::Error {
    let folder = place::shown(meta_dir);
    let kind = error.kind();
    let error = anyhow::Error::new(error);
    match kind {
        Kind::Busy => error.context(format!(
            "the server with {folder} runs, but its socket cannot be asked; its log tells why"
        )),
        Kind::NotFound => error.context(format!(
            "{folder}: name the server's configuration with -config, or its meta_dir with -meta-dir"
        )),
        _ => error.context(folder),
    }
}

/// Fit for a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |b: u8| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

/// One user's one day, whatever he did.
#[derive(Debug, Default)]
struct Day {
    requests: u64,
    up: (u64, u64),
    down: (u64, u64),
    errors: u64,
}

impl Day {
    fn add(&mut self, entry: &UsageEntry) {
        self.requests += entry.requests;
        self.errors += entry.errors;
        let moved = match entry.action.as_str() {
            "upload" => &mut self.up,
            "download" => &mut self.down,
            _ => return,
        };
        moved.0 += entry.files;
        moved.1 += entry.bytes;
    }

    fn cells(&self, day: &str, user: &str) -> Vec<String> {
        vec![
            day.to_owned(),
            user.to_owned(),
            self.requests.to_string(),
            self.up.0.to_string(),
            ui::bytes(self.up.1),
            self.down.0.to_string(),
            ui::bytes(self.down.1),
            self.errors.to_string(),
        ]
    }
}

fn show(page: &UsagePage) {
    let mut days: BTreeMap<(&str, &str), Day> = BTreeMap::new();
    let mut total = Day::default();
    for entry in &page.usage {
        let user = entry.user.as_deref().unwrap_or("-");
        days.entry((&entry.day, user)).or_default().add(entry);
        total.add(entry);
    }
    if days.is_empty() {
        ui::out(format_args!("Nothing from {} to {}.", page.from, page.to));
        return;
    }
    let header = [
        "Day (UTC)",
        "User",
        "Requests",
        "Files up",
        "Bytes up",
        "Files down",
        "Bytes down",
        "Errors",
    ];
    let mut rows: Vec<Vec<String>> = days
        .iter()
        .map(|((day, user), sums)| sums.cells(day, &user.escape_debug().to_string()))
        .collect();
    rows.push(total.cells("Total", ""));
    let align = [Align::Left, Align::Left];
    for line in table::lines(&header, &rows, &align) {
        ui::out(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(day: &str, user: Option<&str>, action: &str, bytes: u64) -> UsageEntry {
        UsageEntry {
            day: day.into(),
            user: user.map(str::to_owned),
            action: action.into(),
            requests: 1,
            files: 1,
            bytes,
            errors: 0,
        }
    }

    #[test]
    fn a_day_is_one_line() {
        let mut day = Day::default();
        day.add(&entry("d", Some("a"), "upload", 2048));
        day.add(&entry("d", Some("a"), "download", 1));
        day.add(&entry("d", Some("a"), "look", 9));
        assert_eq!(
            day.cells("d", "a"),
            ["d", "a", "3", "1", "2.0 KB", "1", "1 B", "0"]
        );
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("a b/ü&"), "a%20b%2F%C3%BC%26");
    }
}
