//! `GET /v1/stats` and `GET /v1/access`: who did what. Everybody sees his own; others' take `admin`.

use super::answers::{json, time_ms};
use super::fields;
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::query::Query;
use crate::server::Call;
use gfl_api::v1::{AccessEntry, AccessPage, UsageEntry, UsagePage, day_number, day_text};
use gfl_core::access::limits::STATS_PAGE_ROWS_MAX;
use gfl_core::access::{
    Access, AccessQuery, Action, StatsQuery, Usage, UsageRow, day_of, day_start_ms,
};
use http::{Method, StatusCode};

/// Days shown when none are named.
const DAYS_DEFAULT: i64 = 30;
/// Rows of a page when no number is given.
const ROWS_DEFAULT: usize = 1_000;

/// `/v1/stats`.
pub(super) async fn stats(call: Call) -> Outcome {
    call.route("/v1/stats");
    let caller = caller::for_v1(&call).await?;
    only_get(&call)?;
    let query = fields::query(&call)?;
    let days = Days::asked(&call, &query)?;
    let limit = fields::limit(&query, ROWS_DEFAULT, STATS_PAGE_ROWS_MAX)?;
    let wanted = StatsQuery {
        from_day: days.from,
        to_day: days.to,
        who: query.get("user").map(str::to_owned),
        after: query.get("cursor").map(cursor).transpose()?,
        limit,
    };
    let rows = call.app().stats(&caller, &wanted).await?;
    let next = rows.last().filter(|_| rows.len() == limit);
    let page = UsagePage {
        from: day_text(days.from),
        to: day_text(days.to),
        next: next.map(|row| format!("{}/{}/{}", row.day, row.action.name(), row.who)),
        usage: rows.into_iter().map(usage_entry).collect(),
    };
    Ok(json(StatusCode::OK, &page))
}

/// `/v1/access`.
pub(super) async fn access(call: Call) -> Outcome {
    call.route("/v1/access");
    let caller = caller::for_v1(&call).await?;
    only_get(&call)?;
    let query = fields::query(&call)?;
    let days = Days::asked(&call, &query)?;
    let limit = fields::limit(&query, ROWS_DEFAULT, STATS_PAGE_ROWS_MAX)?;
    let before = query.get("cursor").map(|text| {
        text.parse()
            .map_err(|_| Failure::invalid("cursor is none of an earlier page"))
    });
    let wanted = AccessQuery {
        from_ms: day_start_ms(days.from),
        to_ms: day_start_ms(days.to + 1),
        who: query.get("user").map(str::to_owned),
        before: before.transpose()?,
        limit,
    };
    let rows = call.app().access(&caller, &wanted).await?;
    let next = rows.last().filter(|_| rows.len() == limit);
    let page = AccessPage {
        next: next.map(|(id, _)| id.to_string()),
        entries: rows.into_iter().map(|(_, row)| access_entry(row)).collect(),
    };
    Ok(json(StatusCode::OK, &page))
}

fn only_get(call: &Call) -> Outcome<()> {
    match call.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Failure::method("GET, HEAD")),
    }
}

/// The days asked for, counted from 1970, both included.
struct Days {
    from: i64,
    to: i64,
}

impl Days {
    fn asked(call: &Call, query: &Query) -> Outcome<Days> {
        let today = day_of(call.app().now_ms());
        let to = query.get("to").map(|text| day("to", text)).transpose()?;
        let from = query
            .get("from")
            .map(|text| day("from", text))
            .transpose()?;
        let to = to.unwrap_or(today.max(from.unwrap_or(today)));
        let from = from.unwrap_or(to - DAYS_DEFAULT + 1);
        if from > to {
            return Err(Failure::invalid("from is later than to"));
        }
        Ok(Days { from, to })
    }
}

fn day(name: &str, text: &str) -> Outcome<i64> {
    day_number(text)
        .ok_or_else(|| Failure::invalid(format!("{name} is no day, write it as 2026-11-22")))
}

/// Where a page ended: `day/action/user`.
fn cursor(text: &str) -> Outcome<UsageRow> {
    let wrong = || Failure::invalid("cursor is none of an earlier page");
    let mut parts = text.splitn(3, '/');
    let mut part = || parts.next().ok_or_else(wrong);
    Ok(UsageRow {
        day: part()?.parse().map_err(|_| wrong())?,
        action: Action::parse(part()?),
        who: part()?.to_owned(),
        usage: Usage::default(),
    })
}

fn user(who: String) -> Option<String> {
    Some(who).filter(|who| !who.is_empty())
}

/// A row of the sums as v1 writes it.
pub fn usage_entry(row: UsageRow) -> UsageEntry {
    UsageEntry {
        day: day_text(row.day),
        user: user(row.who),
        action: row.action.name().to_owned(),
        requests: row.usage.requests,
        files: row.usage.files,
        bytes: row.usage.bytes,
        errors: row.usage.errors,
    }
}

/// A row of the access log as v1 writes it.
pub fn access_entry(row: Access) -> AccessEntry {
    AccessEntry {
        time: time_ms(row.at_ms),
        user: user(row.who),
        token: row.token,
        peer: row.peer,
        action: row.action.name().to_owned(),
        path: row.path,
        status: row.status,
        complete: row.complete,
        files: row.files,
        failed: row.failed,
        bytes: row.bytes,
        size: row.size,
        ms: row.ms,
        request_id: row.request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let row = cursor("20779/upload/a/b").unwrap();
        assert_eq!(
            (row.day, row.action, row.who.as_str()),
            (20_779, Action::Upload, "a/b")
        );
        assert!(cursor("x/upload/a").is_err() && cursor("1/upload").is_err());
    }
}
