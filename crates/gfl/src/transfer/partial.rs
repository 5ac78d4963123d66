//! A download that is not finished: `.NAME.TAG.gfl-part` with the bytes, `.NAME.TAG.gfl-note` beside it with what they
//! are.
//!
//! The notes say which content (entity tag, length) and which of its bytes were written. Bytes written outlive the
//! program but not the machine, so the notes also say which of them were synced, and in which run of the machine they
//! were taken: after a reboot only the synced ones count. What counts is hashed again before use.
//!
//! A name proves nothing: servers and users may have files that are called like this. So the notes also say which two
//! files they speak of. Copies of them are other files, and what is not surely ours is left alone for another tag.

use super::pair::{Pair, boot};
use crate::local::dest::{Place, apply_meta};
use crate::local::write_all_at;
use gfl_api::RangeSet;
use serde_json::json;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the notes are brought up to date. At most this much is lost when the program is killed.
const NOTE_EVERY: Duration = Duration::from_millis(100);
/// How often bytes are synced. At most this much is lost with the power.
const SYNC_EVERY: Duration = Duration::from_secs(5);
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
    pair: Pair,
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
        let (pair, noted) = Pair::of(place, &content)?;
        let file = pair.part.file();
        let mut have = match noted {
            Some(noted) if noted.content == content => noted.have,
            _ => RangeSet::new(),
        };
        // Bytes the notes speak of but the file has not: somebody cut it.
        have.remove(file.metadata()?.len()..u64::MAX);
        if have.is_empty() {
            file.set_len(0)?;
        }
        // One size from the start: parts are written anywhere, and a full disk shows early where it can.
        file.set_len(content.len)?;
        let notes = Arc::new(Notes {
            place: place.clone(),
            pair,
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
        // From now on the two are known to be ours, and of this content. A disk too full for that shows soon enough.
        let _ = notes.write_text(&have, &RangeSet::new());
        let partial = Self {
            notes,
            is_finished: false,
        };
        Ok((partial, have))
    }

    /// Where the file goes, as the user would write it.
    pub(crate) fn shown(&self) -> std::path::PathBuf {
        self.notes.place.shown()
    }

    /// The file, for writing parts.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(self.notes.pair.part.file())
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
    /// caller makes many files durable at once. False if somebody took the file away under its temporary name.
    pub(crate) fn publish(
        mut self,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
        durable: bool,
    ) -> io::Result<bool> {
        self.end();
        let Notes { place, pair, .. } = &*self.notes;
        let file = pair.part.file();
        // Time and permissions that this disk cannot hold are no reason to throw the bytes away.
        let _ = apply_meta(file, mtime_ns, mode);
        if durable {
            file.sync_all()?;
        }
        let is_published = pair.part.publish(place)?;
        pair.remove()?;
        if durable {
            place.sync_folder()?;
        }
        Ok(is_published)
    }

    /// The bytes are of no use.
    pub(crate) fn discard(mut self) -> io::Result<()> {
        self.end();
        self.notes.pair.remove()
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
            let _ = self.notes.pair.remove();
        }
    }
}

impl Notes {
    /// Whether there are any.
    fn is_wanted(&self) -> bool {
        self.pair.note.is_some()
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
            self.pair.part.file().sync_data()?;
            (last.synced_at, last.synced) = (Instant::now(), have.clone());
        }
        self.write_text(&have, &last.synced)?;
        (last.at, last.bytes) = (Instant::now(), have.total());
        Ok(last.bytes)
    }

    fn write_text(&self, have: &RangeSet, synced: &RangeSet) -> io::Result<()> {
        let Some(note) = &self.pair.note else {
            return Ok(());
        };
        let notes = json!({
            "gfl": 2,
            "files": [self.pair.part.id(), note.id()],
            "etag": self.content.etag,
            "length": self.content.len,
            "received": have.to_pairs(),
            "synced": synced.to_pairs(),
            "boot": boot(),
        });
        // One line in place of the one before. Nothing is renamed, so nobody's file can be in the way; torn by a power
        // cut it means nothing, or what the hash of the whole will not confirm.
        let line = format!("{notes}\n");
        write_all_at(note.file(), line.as_bytes(), 0)?;
        note.file().set_len(line.len() as u64)
    }
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

    fn names(dir: &std::path::Path) -> Vec<String> {
        let list = std::fs::read_dir(dir).unwrap();
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

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
        assert_eq!(names(dir.path()).len(), 2);
        let (partial, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert_eq!(have.to_pairs(), [[0, MIB], [2 * MIB, 3 * MIB]]);
        drop(partial);
        let (partial, have) = Partial::open(&place, content("\"b\"", 3 * MIB)).unwrap();
        assert!(have.is_empty(), "another content begins anew");
        mark(&partial.written(), 0..5);
        let published = partial.publish(Some(1_000_000_000), Some(0o600), true);
        assert!(published.unwrap());
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn notes_of_a_download_that_has_its_name_are_tidied_away() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let begin = || {
            let (partial, _) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
            mark(&partial.written(), 0..MIB);
            drop(partial);
        };
        begin();
        Pair::tidy(&place).unwrap();
        assert_eq!(names(dir.path()).len(), 2, "what can be continued stays");
        // Killed behind the renaming.
        std::fs::rename(left(dir.path(), "-part"), dir.path().join("f")).unwrap();
        let note = left(dir.path(), "-note");
        let (text, copy) = (std::fs::read(&note).unwrap(), dir.path().join("g"));
        std::fs::write(&copy, &text).unwrap();
        Pair::tidy(&place).unwrap();
        assert!(!note.exists());
        // The same text in somebody's file of that name.
        std::fs::rename(copy, &note).unwrap();
        Pair::tidy(&place).unwrap();
        assert_eq!(std::fs::read(&note).unwrap(), text);
    }

    /// What `f` is downloaded to, and its notes.
    fn left(dir: &std::path::Path, end: &str) -> std::path::PathBuf {
        let names = names(dir);
        dir.join(names.iter().find(|name| name.ends_with(end)).unwrap())
    }

    #[test]
    fn files_that_are_called_like_ours_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let (partial, _) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        mark(&partial.written(), 0..MIB);
        drop(partial);
        // Copies: the same names and the same text, but other files.
        let (part, note) = (left(dir.path(), "-part"), left(dir.path(), "-note"));
        for path in [&part, &note] {
            let copy = dir.path().join("copy");
            std::fs::copy(path, &copy).unwrap();
            std::fs::rename(copy, path).unwrap();
        }
        let before = (std::fs::read(&part).unwrap(), std::fs::read(&note).unwrap());
        let (partial, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert!(have.is_empty());
        mark(&partial.written(), 0..MIB);
        drop(partial);
        let (partial, have) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        assert_eq!(have.total(), MIB, "what is ours is found beside them");
        assert!(partial.publish(None, None, false).unwrap());
        assert!(before == (std::fs::read(&part).unwrap(), std::fs::read(&note).unwrap()));
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn another_file_under_the_temporary_name_never_becomes_the_target() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let (partial, _) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        for end in ["-part", "-note"] {
            let path = left(dir.path(), end);
            std::fs::write(dir.path().join("theirs"), end).unwrap();
            std::fs::rename(dir.path().join("theirs"), path).unwrap();
        }
        mark(&partial.written(), 0..MIB);
        partial.notes.write(true).unwrap();
        assert!(!partial.publish(None, None, false).unwrap());
        assert!(!dir.path().join("f").exists());
        for end in ["-part", "-note"] {
            let kept = std::fs::read_to_string(left(dir.path(), end)).unwrap();
            assert_eq!(kept, end);
        }
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
    fn bytes_that_were_cut_off_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let (partial, _) = Partial::open(&place, content("\"a\"", 3 * MIB)).unwrap();
        mark(&partial.written(), 0..2 * MIB);
        drop(partial);
        std::fs::OpenOptions::new()
            .write(true)
            .open(left(dir.path(), "-part"))
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
