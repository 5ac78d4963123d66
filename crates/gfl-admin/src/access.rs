//! `gfl-admin access`: the last downloads, uploads, logins and denials, one line each, newest first.

use crate::asked::{Asked, number};
use crate::table::{self, Align};
use crate::{Failure, Result, socket, ui};
use anyhow::Context;
use gfl_api::goflags::{self, Known};
use gfl_api::v1::{AccessEntry, AccessPage};
use gfl_core::access::limits::STATS_PAGE_ROWS_MAX;
use gfl_core::access::{AccessQuery, day_start_ms};
use gfl_server::v1::access_entry;

const FLAGS: &[Known] = &[
    Known::value("days"),
    Known::value("limit"),
    Known::value("user"),
    Known::value("config"),
    Known::value("meta-dir"),
    Known::switch("json"),
];
const USAGE: &str = "\
Usage of access:
  -config string
    \tThe server's configuration (default \"goflux.json\")
  -days int
    \tHow many days back, today included (default 30)
  -json
    \tPrint JSON: one object with the entries
  -limit int
    \tHow many lines (default 100)
  -meta-dir string
    \tThe server's meta_dir, instead of -config
  -user string
    \tOnly this user";
const DAYS_DEFAULT: i64 = 30;
const LINES_DEFAULT: i64 = 100;

/// Shows them.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let flags = goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))?;
    let lines_max = i64::try_from(STATS_PAGE_ROWS_MAX).unwrap_or(i64::MAX);
    let limit = number(&flags, "limit", LINES_DEFAULT, lines_max, USAGE)?;
    let limit = usize::try_from(limit).unwrap_or(STATS_PAGE_ROWS_MAX);
    let asked = Asked::read(&flags, USAGE, DAYS_DEFAULT)?;
    let target = asked.target("/v1/access", limit);
    let page = match socket::get::<AccessPage>(&asked.settings.meta_dir, &target)? {
        Some(page) => page,
        None => offline(&asked, limit)?,
    };
    if flags.is_on("json") {
        ui::out(serde_json::to_string(&page).context("cannot write JSON")?);
    } else {
        show(&page);
    }
    Ok(())
}

fn offline(asked: &Asked, limit: usize) -> anyhow::Result<AccessPage> {
    let query = AccessQuery {
        from_ms: day_start_ms(asked.from),
        to_ms: day_start_ms(asked.to + 1),
        who: asked.user.clone(),
        before: None,
        limit,
    };
    let rows = asked
        .offline(async |catalog, administrator| catalog.access(administrator, &query).await)?;
    let entries = rows.into_iter().map(|(_, row)| access_entry(row));
    Ok(AccessPage {
        entries: entries.collect(),
        next: None,
    })
}

fn show(page: &AccessPage) {
    if page.entries.is_empty() {
        ui::out("Nothing.");
        return;
    }
    let header = [
        "Time (UTC)",
        "User",
        "From",
        "Action",
        "Path",
        "Status",
        "Files",
        "Bytes",
        "ms",
    ];
    let rows: Vec<Vec<String>> = page.entries.iter().map(cells).collect();
    for line in table::lines(&header, &rows, &[Align::Left; 5]) {
        ui::out(line);
    }
}

fn cells(entry: &AccessEntry) -> Vec<String> {
    let shown = |text: &Option<String>| match text {
        Some(text) => text.escape_debug().to_string(),
        None => "-".to_owned(),
    };
    let time = entry.time.get(..19).unwrap_or(&entry.time);
    let cut = if entry.complete { "" } else { " cut" };
    let failed = match entry.failed {
        0 => String::new(),
        failed => format!(" ({failed} failed)"),
    };
    vec![
        time.replace('T', " "),
        shown(&entry.user),
        entry.peer.escape_debug().to_string(),
        entry.action.clone(),
        shown(&entry.path),
        format!("{}{cut}", entry.status),
        format!("{}{failed}", entry.files),
        ui::bytes(entry.size.unwrap_or(entry.bytes)),
        entry.ms.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let entry = AccessEntry {
            time: "2026-11-22T19:04:27.932Z".into(),
            user: None,
            peer: "127.0.0.1".into(),
            action: "upload".into(),
            path: Some("a\n".into()),
            status: 200,
            complete: false,
            files: 3,
            failed: 1,
            bytes: 2048,
            ms: 7,
            ..AccessEntry::default()
        };
        assert_eq!(
            cells(&entry),
            [
                "2026-11-22 19:04:27",
                "-",
                "127.0.0.1",
                "upload",
                "a\\n",
                "200 cut",
                "3 (1 failed)",
                "2.0 KiB",
                "7"
            ]
        );
    }
}
