//! A download that is not finished: `NAME.part` with the bytes, `NAME.part.gfl` beside it with what they are.
//!
//! The notes say which content (entity tag, length) and which of its bytes were written. Bytes written outlive the
//! program but not the machine, so the notes also say which of them were synced, and in which run of the machine they
//! were taken: after a reboot only the synced ones count. What counts is hashed again before use.

use crate::local::dest::{Place, apply_meta};
use gfl_api::RangeSet;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PART: &str = ".part";
const NOTES: &str = ".part.gfl";
/// While the notes are rewritten.
const NOTES_NEW: &str = ".part.gfl~";
/// Notes longer than this are none of ours.
const NOTES_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How often the notes are brought up to date. At most this much is lost when the program is killed.
const NOTE_EVERY: Duration = Duration::from_millis(100);
/// How often bytes are synced. At most this much is lost with the power.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Files up to this size leave nothing behind when they fail: asking again costs less than the notes.
const NOTED_BYTES_MIN: u64 = 1024 * 1024;

/// The content a download is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Entity tag; none if the server has only a weak one, and then there is no resuming.
    pub(crate) etag: Option<String>,
    /// Bytes.
    pub(crate) len: u64,
}

/// An unfinished download, locked against other downloads to the same place.
pub(crate) struct Partial {
    notes: Arc<Notes>,
    is_finished: bool,
}

/// What is written down about it. Shared with the thread that brings it up to date.
pub(crate) struct Notes {
    place: Place,
    file: Arc<File>,
    content: Content,
    written: Arc<Mutex<RangeSet>>,
    last: Mutex<Last>,
}

/// The notes as they are on disk. Whoever writes them holds this.
struct Last {
    at: Instant,
    bytes: u64,
    synced_at: Instant,
    synced: RangeSet,
    /// The download is over: notes written now would speak of a file that is gone.
    is_over: bool,
}

impl Partial {
    /// Takes up the download of this content, or begins it. Says which bytes are there already.
    pub(crate) fn open(place: &Place, content: Content) -> io::Result<(Self, RangeSet)> {
        let file = place.open(PART)?;
        lock(&file)?;
        let have = match read_notes(place)? {
            Some((old, have)) if old == content && content.etag.is_some() => {
                // Bytes the notes speak of but the file has not: somebody cut it.
                let mut have = have;
                have.remove(file.metadata()?.len()..u64::MAX);
                have
            }
            _ => RangeSet::new(),
        };
        if have.is_empty() {
            place.remove(NOTES)?;
            file.set_len(0)?;
        }
        // One size from the start: parts are written anywhere, and a full disk shows early where it can.
        file.set_len(content.len)?;
        let notes = Arc::new(Notes {
            place: place.clone(),
            file: Arc::new(file),
            content,
            written: Arc::new(Mutex::new(have.clone())),
            last: Mutex::new(Last {
                at: Instant::now(),
                bytes: have.total(),
                synced_at: Instant::now(),
                synced: RangeSet::new(),
                is_over: false,
            }),
        });
        Ok((
            Self {
                notes,
                is_finished: false,
            },
            have,
        ))
    }

    /// Where the file goes, as the user would write it.
    pub(crate) fn shown(&self) -> std::path::PathBuf {
        self.notes.place.shown()
    }

    /// The file, for writing parts.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.notes.file)
    }

    /// The ranges on disk, to be added to by whoever writes.
    pub(crate) fn written(&self) -> Arc<Mutex<RangeSet>> {
        Arc::clone(&self.notes.written)
    }

    /// The notes, if it is time to bring them up to date and nobody is at it.
    pub(crate) fn due(&self) -> Option<Arc<Notes>> {
        let is_due = self.notes.is_wanted()
            && self
                .notes
                .last
                .try_lock()
                .is_ok_and(|last| last.at.elapsed() >= NOTE_EVERY);
        is_due.then(|| Arc::clone(&self.notes))
    }

    /// All bytes are there and are the right ones: gives the file its name. Durable when this returns, unless the
    /// caller makes many files durable at once.
    pub(crate) fn publish(
        mut self,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
        durable: bool,
    ) -> io::Result<()> {
        self.end();
        let Notes { place, file, .. } = &*self.notes;
        // Time and permissions that this disk cannot hold are no reason to throw the bytes away.
        let _ = apply_meta(file, mtime_ns, mode);
        if durable {
            file.sync_all()?;
        }
        place.publish(PART)?;
        place.remove(NOTES)?;
        if durable {
            place.sync_folder()?;
        }
        Ok(())
    }

    /// The bytes are of no use.
    pub(crate) fn discard(mut self) -> io::Result<()> {
        self.end();
        self.notes.place.remove(NOTES)?;
        self.notes.place.remove(PART)
    }

    fn end(&mut self) {
        self.is_finished = true;
        if let Ok(mut last) = self.notes.last.lock() {
            last.is_over = true;
        }
    }
}

impl Drop for Partial {
    /// Interrupted: what is there is written down, so that it counts next time.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let is_kept = self.notes.is_wanted() && self.notes.write(true).is_ok_and(|bytes| bytes > 0);
        self.end();
        if !is_kept {
            let _ = self.notes.place.remove(NOTES);
            let _ = self.notes.place.remove(PART);
        }
    }
}

impl Notes {
    /// Whether resuming is possible and worth it.
    fn is_wanted(&self) -> bool {
        self.content.len >= NOTED_BYTES_MIN && self.content.etag.is_some()
    }

    /// Brings the notes up to date and tells how many bytes they speak of. Blocking. Unless it is the `last` time, only
    /// if nobody did so a moment ago.
    pub(crate) fn write(&self, is_last: bool) -> io::Result<u64> {
        let Ok(mut last) = self.last.lock() else {
            return Ok(0);
        };
        // Taken before any sync: what is written meanwhile is for the next time.
        let have = self
            .written
            .lock()
            .map(|written| written.clone())
            .unwrap_or_default();
        let is_early = !is_last && last.at.elapsed() < NOTE_EVERY;
        if last.is_over || is_early || have.is_empty() {
            return Ok(last.bytes);
        }
        if !is_last && last.synced_at.elapsed() >= SYNC_EVERY {
            self.file.sync_data()?;
            (last.synced_at, last.synced) = (Instant::now(), have.clone());
        }
        self.write_text(&have, &last.synced)?;
        (last.at, last.bytes) = (Instant::now(), have.total());
        Ok(last.bytes)
    }

    fn write_text(&self, have: &RangeSet, synced: &RangeSet) -> io::Result<()> {
        let notes = json!({
            "gfl": 1,
            "etag": self.content.etag,
            "length": self.content.len,
            "received": have.to_pairs(),
            "synced": synced.to_pairs(),
            "boot": boot(),
        });
        let mut file = self.place.open(NOTES_NEW)?;
        file.set_len(0)?;
        file.write_all(notes.to_string().as_bytes())?;
        self.place.rename(NOTES_NEW, NOTES)
    }
}

/// Names this run of the machine, where the system tells; elsewhere every run counts as another.
fn boot() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Bytes of an unfinished download at this place, whatever it is of.
#[cfg(test)]
fn noted(place: &Place) -> Option<u64> {
    read_notes(place)
        .ok()
        .flatten()
        .map(|(_, have)| have.total())
}

fn read_notes(place: &Place) -> io::Result<Option<(Content, RangeSet)>> {
    let Some(file) = place.open_existing(NOTES)? else {
        return Ok(None);
    };
    let mut text = String::new();
    // Notes that cannot be read are as good as none.
    if file
        .take(NOTES_BYTES_MAX)
        .read_to_string(&mut text)
        .is_err()
    {
        return Ok(None);
    }
    Ok(parse_notes(&text, boot().as_deref()))
}

fn parse_notes(text: &str, boot: Option<&str>) -> Option<(Content, RangeSet)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let etag = value.get("etag")?.as_str()?.to_owned();
    let len = value.get("length")?.as_u64()?;
    let is_same_run = boot.is_some() && value.get("boot")?.as_str() == boot;
    let list = value.get(if is_same_run { "received" } else { "synced" })?;
    let pairs: Vec<[u64; 2]> = serde_json::from_value(list.clone()).ok()?;
    let have = RangeSet::from_pairs(pairs.into_iter().map(|pair| (pair[0], pair[1]))).ok()?;
    let is_ours = value.get("gfl")?.as_u64() == Some(1) && have.end() <= len;
    is_ours.then_some((
        Content {
            etag: Some(etag),
            len,
        },
        have,
    ))
}

#[cfg(unix)]
fn lock(file: &File) -> io::Result<()> {
    use rustix::fs::FlockOperation::NonBlockingLockExclusive;
    match rustix::fs::flock(file, NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another gfl is downloading to the same place",
        )),
        // A file system without locks.
        Err(_) => Ok(()),
    }
}

#[cfg(not(unix))]
fn lock(_: &File) -> io::Result<()> {
    Ok(())
}

/// Marks a range as written.
pub(crate) fn mark(written: &Mutex<RangeSet>, range: Range<u64>) {
    if let Ok(mut written) = written.lock() {
        written.insert(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(etag: &str, len: u64) -> Content {
        Content {
            etag: Some(etag.to_owned()),
            len,
        }
    }

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn an_interrupted_download_is_taken_up_only_for_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let (partial, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert!(have.is_empty());
        assert!(
            Partial::open(&place, content("\"a\"", 3 * MIB)).is_err(),
            "locked"
        );
        mark(&partial.written(), 0..MIB);
        mark(&partial.written(), 2 * MIB..3 * MIB);
        drop(partial);
        assert_eq!(noted(&place), Some(2 * MIB));
        let (partial, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert_eq!(have.to_pairs(), [[0, MIB], [2 * MIB, 3 * MIB]]);
        drop(partial);
        let (partial, have) = Partial::open(&place, content("\"b\"", 3 * MIB)).unwrap();
        assert!(have.is_empty(), "another content begins anew");
        mark(&partial.written(), 0..5);
        partial
            .publish(Some(1_000_000_000), Some(0o600), true)
            .unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["f"]);
    }

    #[test]
    fn small_weak_and_empty_ones_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        for (content, mark_to) in [
            (content("\"a\"", 10), 5),
            (content("\"a\"", 3 * MIB), 0),
            (
                Content {
                    etag: None,
                    len: 3 * MIB,
                },
                MIB,
            ),
        ] {
            let (partial, _) = Partial::open(&place, content).unwrap();
            mark(&partial.written(), 0..mark_to);
            drop(partial);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn notes_are_not_believed_blindly() {
        let good = r#"{"gfl":1,"etag":"\"a\"","length":10,"received":[[0,5],[7,10]],"synced":[[0,2]],"boot":"b"}"#;
        let have = |boot| parse_notes(good, boot).map(|(_, have)| have.to_pairs());
        assert_eq!(have(Some("b")).unwrap(), [[0, 5], [7, 10]]);
        assert_eq!(have(Some("c")).unwrap(), [[0, 2]], "after a reboot");
        assert_eq!(have(None).unwrap(), [[0, 2]]);
        let bad = [
            ("1,", "2,"),
            ("10,", "9,"),
            ("[0,5]", "[5,3]"),
            ("\"received\"", "\"other\""),
            ("}", ""),
        ];
        for (from, to) in bad {
            assert!(
                parse_notes(&good.replacen(from, to, 1), Some("b")).is_none(),
                "{from}"
            );
        }
        for bad in ["", "{}", "[]", "null"] {
            assert!(parse_notes(bad, Some("b")).is_none(), "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let (partial, _) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        mark(&partial.written(), 0..2 * MIB);
        drop(partial);
        std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("f.part"))
            .unwrap()
            .set_len(MIB)
            .unwrap();
        let (_, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert_eq!(
            have.to_pairs(),
            [[0, MIB]],
            "bytes that are gone do not count"
        );
    }
}
