//! What was done, in numbers.
//!
//! Counts; knows nothing of what it counts.

use crate::exit::Exit;
use crate::ui::words;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The counters of one command.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    /// Files transferred.
    pub(crate) files: AtomicU64,
    /// Bytes of content of those files.
    pub(crate) bytes: AtomicU64,
    /// Bytes of content that crossed the wire, however often.
    pub(crate) moved_bytes: AtomicU64,
    /// Bytes that crossed it more than once.
    pub(crate) resent_bytes: AtomicU64,
    /// Bytes that an earlier run had transferred already.
    pub(crate) resumed_bytes: AtomicU64,
    /// Files left alone because the other side has the same.
    pub(crate) unchanged: AtomicU64,
    /// Files that the other side has, and that got their time and mode.
    pub(crate) updated: AtomicU64,
    /// Files left alone because something is there that was not to be touched.
    pub(crate) existing: AtomicU64,
    /// What is neither file nor folder, and was not sent.
    pub(crate) left_out: AtomicU64,
    /// Files that arrived, but with nothing to compare them with.
    pub(crate) unverified: AtomicU64,
    /// Files that failed.
    pub(crate) failed: AtomicU64,
    /// Files of folders on their way: done or failed takes one off. Must come out at nothing.
    pub(crate) open: AtomicI64,
    exit: Mutex<Exit>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            files: AtomicU64::default(),
            bytes: AtomicU64::default(),
            moved_bytes: AtomicU64::default(),
            resent_bytes: AtomicU64::default(),
            resumed_bytes: AtomicU64::default(),
            unchanged: AtomicU64::default(),
            updated: AtomicU64::default(),
            existing: AtomicU64::default(),
            left_out: AtomicU64::default(),
            unverified: AtomicU64::default(),
            failed: AtomicU64::default(),
            open: AtomicI64::default(),
            exit: Mutex::new(Exit::Ok),
        }
    }
}

impl Tally {
    /// A file of a folder is on its way.
    pub(crate) fn set_out(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// A file that was on its way has come to an end.
    pub(crate) fn settle(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// A file of `bytes` is done.
    pub(crate) fn done(&self, bytes: u64) {
        self.settle();
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Files that the other side has.
    pub(crate) fn unchanged(&self, files: u64) {
        self.unchanged.fetch_add(files, Relaxed);
    }

    /// Files that the other side has, but for time and mode, which it has now.
    pub(crate) fn updated(&self, files: u64) {
        self.updated.fetch_add(files, Relaxed);
    }

    /// Files that were not to be replaced.
    pub(crate) fn existing(&self, files: u64) {
        self.existing.fetch_add(files, Relaxed);
    }

    /// Something that is not sent, a symlink say. Tells how many there were before.
    pub(crate) fn leave_out(&self) -> u64 {
        self.left_out.fetch_add(1, Relaxed)
    }

    /// As many things that the other side cannot send.
    pub(crate) fn leave_out_many(&self, things: u64) {
        self.left_out.fetch_add(things, Relaxed);
    }

    /// A file arrived with nothing to compare it with. Tells how many there were before.
    pub(crate) fn leave_unverified(&self) -> u64 {
        self.unverified.fetch_add(1, Relaxed)
    }

    /// A file failed.
    pub(crate) fn fail(&self, exit: Exit) {
        self.failed.fetch_add(1, Relaxed);
        if let Ok(mut so_far) = self.exit.lock() {
            *so_far = so_far.and(exit);
        }
    }

    /// Files that failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Files that are now on both sides.
    pub(crate) fn held(&self) -> u64 {
        self.files.load(Relaxed) + self.unchanged.load(Relaxed) + self.updated.load(Relaxed)
    }

    /// Whether anything came of it.
    pub(crate) fn has_news(&self) -> bool {
        [
            &self.files,
            &self.unchanged,
            &self.updated,
            &self.existing,
            &self.left_out,
            &self.failed,
            &self.moved_bytes,
        ]
        .iter()
        .any(|counter| counter.load(Relaxed) > 0)
    }

    /// The exit code of the failures so far.
    pub(crate) fn exit(&self) -> Exit {
        self.exit.lock().map_or(Exit::Failure, |exit| *exit)
    }

    /// The counters for scripts.
    pub(crate) fn to_json(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        json!({
            "files": get(&self.files),
            "bytes": get(&self.bytes),
            "seconds": (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            "moved_bytes": get(&self.moved_bytes),
            "resent_bytes": get(&self.resent_bytes),
            "resumed_bytes": get(&self.resumed_bytes),
            "unchanged": get(&self.unchanged),
            "updated": get(&self.updated),
            "existing": get(&self.existing),
            "left_out": get(&self.left_out),
            "unverified": get(&self.unverified),
            "failed": get(&self.failed),
        })
        .to_string()
    }

    /// The counters for people: `3 files, 1.2 GiB in 4.2 s (300.0 MiB/s), 5 unchanged`.
    pub(crate) fn to_words(&self) -> String {
        self.words_after(self.began.elapsed())
    }

    fn words_after(&self, time: Duration) -> String {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        let mut text = format!(
            "{}, {} in {}",
            words::count(get(&self.files), "file", "files"),
            words::bytes(get(&self.bytes)),
            words::span(time),
        );
        // Of what was gained, not of what crossed the wire.
        let gained = get(&self.bytes).saturating_sub(get(&self.resumed_bytes));
        if gained > 0 {
            text.push_str(&format!(" ({})", words::rate(gained, time)));
        }
        for (count, what) in [
            (&self.resumed_bytes, "were there already"),
            (&self.resent_bytes, "sent twice"),
        ] {
            if get(count) > 0 {
                text.push_str(&format!(", {} {what}", words::bytes(get(count))));
            }
        }
        for (count, before, what) in [
            (&self.updated, "", "updated (time and mode)"),
            (&self.unchanged, "", "unchanged"),
            (&self.existing, "skipped ", "existing"),
            (&self.left_out, "", "left out"),
            (&self.unverified, "", "not verified"),
            (&self.failed, "", "failed"),
        ] {
            if get(count) > 0 {
                text.push_str(&format!(", {before}{} {what}", get(count)));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_json() {
        let tally = Tally::default();
        assert_eq!(
            tally.words_after(Duration::from_secs(2)),
            "0 files, 0 B in 2.0 s",
            "no rate of nothing"
        );
        tally.done(3 << 20);
        tally.moved_bytes.store(20 << 20, Relaxed);
        tally.resumed_bytes.store(1 << 20, Relaxed);
        tally.unchanged(4);
        tally.existing(2);
        assert_eq!(
            tally.words_after(Duration::from_secs(2)),
            "1 file, 3.0 MiB in 2.0 s (1.0 MiB/s), 1.0 MiB were there already, 4 unchanged, skipped 2 existing"
        );
        let json: serde_json::Value = serde_json::from_str(&tally.to_json()).unwrap();
        assert_eq!(
            (&json["files"], &json["bytes"], &json["failed"]),
            (&1.into(), &(3 << 20).into(), &0.into())
        );
        assert_eq!(
            (&json["unchanged"], &json["existing"]),
            (&4.into(), &2.into())
        );
        assert_eq!(tally.exit(), Exit::Ok);
        tally.fail(Exit::Auth);
        assert_eq!(tally.exit(), Exit::Auth);
    }
}
