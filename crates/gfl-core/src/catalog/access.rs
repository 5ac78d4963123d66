//! Tables `access_log` and `usage_day`: who did what, row by row for some weeks and as daily sums for years.

use super::{Row, Tx, Value};
use crate::access::{Access, AccessQuery, Action, StatsQuery, Usage, UsageRow};
use crate::error::Result;

/// Adds a row.
pub async fn insert(tx: &mut Tx<'_>, a: &Access) -> Result<()> {
    tx.exec(
        "INSERT INTO access_log \
         (at_ms, who, token, peer, action, path, status, complete, files, failed, bytes, size, ms, request) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            a.at_ms.into(),
            a.who.as_str().into(),
            a.token.as_deref().into(),
            a.peer.as_str().into(),
            a.action.name().into(),
            a.path.as_deref().into(),
            u32::from(a.status).into(),
            a.complete.into(),
            Value::u64(a.files)?,
            Value::u64(a.failed)?,
            Value::u64(a.bytes)?,
            a.size.map(Value::u64).transpose()?.unwrap_or(Value::Null),
            Value::u64(a.ms)?,
            a.request.as_str().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Adds to the sums of a day.
pub async fn add_usage(tx: &mut Tx<'_>, row: &UsageRow) -> Result<()> {
    tx.exec(
        "INSERT INTO usage_day (day, who, action, requests, files, bytes, errors) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (day, who, action) DO UPDATE SET \
         requests = usage_day.requests + excluded.requests, files = usage_day.files + excluded.files, \
         bytes = usage_day.bytes + excluded.bytes, errors = usage_day.errors + excluded.errors",
        &[
            row.day.into(),
            row.who.as_str().into(),
            row.action.name().into(),
            Value::u64(row.usage.requests)?,
            Value::u64(row.usage.files)?,
            Value::u64(row.usage.bytes)?,
            Value::u64(row.usage.errors)?,
        ],
    )
    .await?;
    Ok(())
}

/// The sums of the days asked for, in the order of (day, user, action).
pub async fn usage(tx: &mut Tx<'_>, query: &StatsQuery) -> Result<Vec<UsageRow>> {
    let (day, who, action) = match &query.after {
        Some(after) => (after.day, after.who.as_str(), after.action.name()),
        None => (i64::MIN, "", ""),
    };
    let rows = tx
        .rows(
            "SELECT day, who, action, requests, files, bytes, errors FROM usage_day \
             WHERE day >= $1 AND day <= $2 AND (CAST($3 AS BIGINT) = 0 OR who = $4) \
             AND (day, who, action) > ($5, $6, $7) ORDER BY day, who, action LIMIT $8",
            &[
                query.from_day.into(),
                query.to_day.into(),
                query.who.is_some().into(),
                query.who.as_deref().unwrap_or_default().into(),
                day.into(),
                who.into(),
                action.into(),
                limit(query.limit),
            ],
        )
        .await?;
    rows.iter().map(usage_row).collect()
}

fn usage_row(row: &Row) -> Result<UsageRow> {
    Ok(UsageRow {
        day: row.int(0)?,
        who: row.text(1)?,
        action: Action::parse(&row.text(2)?),
        usage: Usage {
            requests: row.u64(3)?,
            files: row.u64(4)?,
            bytes: row.u64(5)?,
            errors: row.u64(6)?,
        },
    })
}

/// Rows of the access log, newest first.
pub async fn entries(tx: &mut Tx<'_>, query: &AccessQuery) -> Result<Vec<(i64, Access)>> {
    let rows = tx
        .rows(
            "SELECT id, at_ms, who, token, peer, action, path, status, complete, files, failed, bytes, size, ms, \
             request \
             FROM access_log WHERE at_ms >= $1 AND at_ms < $2 AND (CAST($3 AS BIGINT) = 0 OR who = $4) \
             AND id < $5 ORDER BY id DESC LIMIT $6",
            &[
                query.from_ms.into(),
                query.to_ms.into(),
                query.who.is_some().into(),
                query.who.as_deref().unwrap_or_default().into(),
                query.before.unwrap_or(i64::MAX).into(),
                limit(query.limit),
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<(i64, Access)> {
    let access = Access {
        at_ms: row.int(1)?,
        who: row.text(2)?,
        token: row.opt_text(3)?,
        peer: row.text(4)?,
        action: Action::parse(&row.text(5)?),
        path: row.opt_text(6)?,
        status: u16::try_from(row.int(7)?).unwrap_or(0),
        complete: row.bool(8)?,
        files: row.u64(9)?,
        failed: row.u64(10)?,
        bytes: row.u64(11)?,
        size: row.opt_u64(12)?,
        ms: row.u64(13)?,
        request: row.text(14)?,
    };
    Ok((row.int(0)?, access))
}

/// Removes the oldest rows that are from before this time or that `rows_max` others came after, at most `limit`;
/// says how many.
pub async fn forget(tx: &mut Tx<'_>, before_ms: i64, rows_max: i64, limit: i64) -> Result<i64> {
    let newest = tx
        .row(
            "SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) FROM access_log",
            &[],
        )
        .await?
        .map_or(Ok(0), |row| row.int(0))?;
    let surplus = newest.saturating_sub(rows_max);
    let oldest = tx
        .rows(
            "SELECT id, at_ms FROM access_log ORDER BY id LIMIT $1",
            &[limit.into()],
        )
        .await?;
    // In the order of ids, without an index of times. One that a clock gone wrong dated into the future goes with
    // those after it.
    let mut count = 0;
    let mut last = None;
    for (n, row) in (1..).zip(&oldest) {
        let id = row.int(0)?;
        if id <= surplus || row.int(1)? < before_ms {
            (count, last) = (n, Some(id));
        }
    }
    if let Some(last) = last {
        tx.exec("DELETE FROM access_log WHERE id <= $1", &[last.into()])
            .await?;
    }
    Ok(count)
}

/// Removes the sums of days before this one.
pub async fn remove_usage(tx: &mut Tx<'_>, before_day: i64) -> Result<u64> {
    let removed = tx
        .exec("DELETE FROM usage_day WHERE day < $1", &[before_day.into()])
        .await?;
    Ok(removed)
}

fn limit(rows: usize) -> Value {
    Value::Int(i64::try_from(rows).unwrap_or(i64::MAX))
}
