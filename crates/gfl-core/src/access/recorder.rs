//! The queue between requests and the catalog, and the task that empties it.

use super::limits::{
    ACCESS_BATCH_ROWS, ACCESS_DENIED_ROWS_MAX, ACCESS_FLUSH_MS, ACCESS_PRUNE_ROWS,
    ACCESS_QUEUE_BYTES_MAX, ACCESS_TEXT_BYTES_MAX, USAGE_DAYS_MAX, USAGE_KEYS_MAX,
};
use super::{Access, Action, Usage, UsageRow, day_of};
use crate::catalog::Tx;
use crate::catalog::access;
use crate::error::Result;
use crate::files::Shared;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How often old rows are looked for.
const PRUNE_EVERY_MS: i64 = 60_000;
/// Steps of one look; the rest waits for the next.
const PRUNE_STEPS_MAX: usize = 50;

/// What happened and is not in the catalog yet.
#[derive(Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    /// Enough for a batch has come.
    full: Notify,
    /// One batch at a time, so that rows stay in order.
    writing: tokio::sync::Mutex<()>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    rows: VecDeque<Access>,
    rows_bytes: usize,
    /// Rows of callers nobody knows since the last batch: anybody can make any number of those.
    strangers: usize,
    usage: HashMap<Key, Usage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    day: i64,
    who: String,
    action: Action,
}

/// What one transaction writes.
#[derive(Clone)]
struct Batch {
    rows: Vec<Access>,
    usage: Vec<UsageRow>,
}

impl Recorder {
    /// Takes it down. Never waits for the catalog.
    pub(crate) fn record(&self, mut access: Access, keep_rows: bool) {
        clean(&mut access);
        let mut state = self.state.lock();
        state.add_usage(&access.who, access.day(), access.action, access.usage());
        if !keep_rows || !access.is_kept() {
            return;
        }
        let stranger = access.who.is_empty() && access.is_denied();
        if (stranger && state.strangers >= ACCESS_DENIED_ROWS_MAX) || !state.has_room(&access) {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.strangers += usize::from(stranger);
        state.rows_bytes += bytes(&access);
        state.rows.push_back(access);
        if state.rows.len() == ACCESS_BATCH_ROWS {
            drop(state);
            self.full.notify_one();
        }
    }

    /// Rows that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().rows.len()
    }

    /// Rows that were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        if state.rows.is_empty() && state.usage.is_empty() {
            return None;
        }
        let count = state.rows.len().min(ACCESS_BATCH_ROWS);
        let rows: Vec<Access> = state.rows.drain(..count).collect();
        state.rows_bytes -= rows.iter().map(bytes).sum::<usize>();
        state.strangers = 0;
        let usage = std::mem::take(&mut state.usage);
        let usage = usage.into_iter().map(|(key, usage)| UsageRow {
            day: key.day,
            who: key.who,
            action: key.action,
            usage,
        });
        Some(Batch {
            rows,
            usage: usage.collect(),
        })
    }

    /// Back to where it was: the catalog did not take it.
    fn put_back(&self, batch: Batch) {
        let mut state = self.state.lock();
        for row in batch.usage {
            state.add_usage(&row.who, row.day, row.action, row.usage);
        }
        let mut dropped = 0;
        for row in batch.rows.into_iter().rev() {
            if state.has_room(&row) {
                state.rows_bytes += bytes(&row);
                state.rows.push_front(row);
            } else {
                dropped += 1;
            }
        }
        drop(state);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

impl State {
    fn add_usage(&mut self, who: &str, day: i64, action: Action, usage: Usage) {
        let mut key = Key {
            day,
            who: who.to_owned(),
            action,
        };
        if self.usage.len() >= USAGE_KEYS_MAX && !self.usage.contains_key(&key) {
            // So many users within a batch are none of ours: their sums go to nobody.
            key.who.clear();
        }
        self.usage.entry(key).or_default().add(usage);
    }

    fn has_room(&self, access: &Access) -> bool {
        self.rows_bytes + bytes(access) <= ACCESS_QUEUE_BYTES_MAX
    }
}

/// Memory of a row, about.
fn bytes(access: &Access) -> usize {
    let texts = [&access.who, &access.peer, &access.request];
    let optional = [&access.token, &access.path];
    size_of::<Access>()
        + texts.iter().map(|text| text.len()).sum::<usize>()
        + optional
            .iter()
            .map(|text| text.as_ref().map_or(0, String::len))
            .sum::<usize>()
}

/// Makes texts fit for a row: not longer than allowed, and without NUL, which one of the engines cannot store.
fn clean(access: &mut Access) {
    let optional = [&mut access.token, &mut access.path];
    let texts = [&mut access.who, &mut access.peer, &mut access.request];
    for text in texts
        .into_iter()
        .chain(optional.into_iter().filter_map(|text| text.as_mut()))
    {
        text.truncate(text.floor_char_boundary(ACCESS_TEXT_BYTES_MAX));
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
}

impl Shared {
    /// Writes everything that waits.
    pub(crate) async fn flush_access(&self) -> Result<()> {
        let _one = self.access.writing.lock().await;
        while let Some(batch) = self.access.take() {
            let kept = batch.clone();
            let written = self
                .db
                .write("access", batch, |tx, batch| {
                    Box::pin(write_batch(tx, batch))
                })
                .await;
            if let Err(error) = written {
                self.access.put_back(kept);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes what is too old, in bounded steps.
    pub(crate) async fn prune_access(&self) -> Result<()> {
        let now_ms = self.clock.now_ms();
        for _ in 0..PRUNE_STEPS_MAX {
            let old = (
                now_ms.saturating_sub(self.settings.access_log_ms),
                self.settings.access_rows_max,
            );
            let removed = self
                .db
                .write("prune access", old, |tx, (before_ms, rows_max)| {
                    Box::pin(access::forget(tx, *before_ms, *rows_max, ACCESS_PRUNE_ROWS))
                })
                .await?;
            if removed < ACCESS_PRUNE_ROWS {
                break;
            }
        }
        let before_day = day_of(now_ms) - USAGE_DAYS_MAX;
        self.db
            .write("prune usage", before_day, |tx, day| {
                Box::pin(async move { access::remove_usage(tx, *day).await.map(drop) })
            })
            .await
    }
}

async fn write_batch(tx: &mut Tx<'_>, batch: &Batch) -> Result<()> {
    for row in &batch.rows {
        access::insert(tx, row).await?;
    }
    for row in &batch.usage {
        access::add_usage(tx, row).await?;
    }
    Ok(())
}

/// Empties the queue every second, or when a batch is there, until it is told to stop; then once more.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut pruned_ms = 0;
    let mut failing = false;
    loop {
        let stop = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => true,
            () = shared.access.full.notified(), if !failing => false,
            () = tokio::time::sleep(Duration::from_millis(ACCESS_FLUSH_MS)) => false,
        };
        let flushed = shared.flush_access().await;
        if let Err(error) = &flushed
            && !failing
            && !error.is_away()
        {
            tracing::warn!(error = ?error, "the access log cannot be written, trying again every second");
        }
        if flushed.is_ok() && failing {
            tracing::info!(
                dropped = shared.access.dropped(),
                "the access log is written again"
            );
        }
        failing = flushed.is_err();
        if stop {
            return;
        }
        let now_ms = shared.clock.now_ms();
        if (pruned_ms..pruned_ms + PRUNE_EVERY_MS).contains(&now_ms) || failing {
            continue;
        }
        pruned_ms = now_ms;
        if let Err(error) = shared.prune_access().await {
            tracing::warn!(error = ?error, "old rows of the access log could not be removed");
        }
    }
}
