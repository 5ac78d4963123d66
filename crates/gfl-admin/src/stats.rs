//! `gfl-admin stats`: how much every user moved on every day. Asks the server that runs, or reads the catalog of one
//! that does not.

use crate::asked::{Asked, escaped};
use crate::table::{self, Align};
use crate::{Failure, Result, socket, ui};
use anyhow::Context;
use gfl_api::goflags::{self, Known};
use gfl_api::v1::{UsageEntry, UsagePage, day_text};
use gfl_core::access::StatsQuery;
use gfl_core::access::limits::STATS_PAGE_ROWS_MAX;
use gfl_server::v1::usage_entry;
use std::collections::BTreeMap;

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
/// Shows them.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let asked = Asked::read(&flags, USAGE, DAYS_DEFAULT)?;
    let page = match online(&asked)? {
        Some(page) => page,
        None => offline(&asked)?,
    };
    if flags.is_on("json") {
        ui::out(serde_json::to_string(&page).context("cannot write JSON")?);
    } else {
        show(&page);
    }
    Ok(())
}

/// From the running server, page by page; none when there is none.
fn online(asked: &Asked) -> anyhow::Result<Option<UsagePage>> {
    let target = asked.target("/v1/stats", STATS_PAGE_ROWS_MAX);
    let Some(mut whole) = socket::get::<UsagePage>(&asked.settings.meta_dir, &target)? else {
        return Ok(None);
    };
    while let Some(cursor) = whole.next.take() {
        let next = format!("{target}&cursor={}", escaped(&cursor));
        let page: Option<UsagePage> = socket::get(&asked.settings.meta_dir, &next)?;
        let page = page.context("the server ended")?;
        whole.usage.extend(page.usage);
        whole.next = page.next;
    }
    Ok(Some(whole))
}

/// From the catalog itself.
fn offline(asked: &Asked) -> anyhow::Result<UsagePage> {
    let mut query = StatsQuery {
        from_day: asked.from,
        to_day: asked.to,
        who: asked.user.clone(),
        after: None,
        limit: STATS_PAGE_ROWS_MAX,
    };
    let rows = asked.offline(async move |catalog, administrator| {
        let mut rows = Vec::new();
        loop {
            let page = catalog.stats(administrator, &query).await?;
            let more = page.len() == query.limit;
            query.after = page.last().cloned();
            rows.extend(page);
            if !more {
                return Ok(rows);
            }
        }
    })?;
    Ok(UsagePage {
        from: day_text(asked.from),
        to: day_text(asked.to),
        usage: rows.into_iter().map(usage_entry).collect(),
        next: None,
    })
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
            ["d", "a", "3", "1", "2.0 KiB", "1", "1 B", "0"]
        );
    }
}
