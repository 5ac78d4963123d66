//! The two files of an unfinished download, and how those of an earlier run are known to be ours.

use super::partial::Content;
use crate::local::dest::{Place, Temp, Use};
use gfl_api::RangeSet;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};

/// How many tags there are for one target whose names may be taken by others.
const TAGS: u32 = 8;
/// Notes longer than this are none of ours.
const NOTES_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Files up to this size leave nothing behind when they fail: asking again costs less than the notes.
pub(super) const NOTED_BYTES_MIN: u64 = 1024 * 1024;

/// The two files.
pub(super) struct Pair {
    pub(super) part: Temp,
    /// None where resuming is not possible or not worth it.
    pub(super) note: Option<Temp>,
}

/// What notes say.
pub(super) struct Noted {
    pub(super) content: Content,
    pub(super) have: RangeSet,
    /// The files they speak of.
    ids: [u64; 2],
}

impl Pair {
    /// The files of an earlier run at the same place with what they say of themselves, or new ones.
    pub(super) fn of(place: &Place, content: &Content) -> io::Result<(Self, Option<Noted>)> {
        // Without notes nobody could tell later that it is ours.
        let is_noted = content.len >= NOTED_BYTES_MIN && content.etag.is_some();
        for tag in (0..TAGS).map(|n| place.tag(n)) {
            if let Some((pair, noted)) = Self::take_up(place, &tag)? {
                return Ok((pair, Some(noted)));
            }
            if !is_noted {
                break;
            }
            if let Some(pair) = Self::create(place, &tag)? {
                return Ok((pair, None));
            }
        }
        let part = place.temp()?;
        Ok((Self { part, note: None }, None))
    }

    /// Only what is surely ours.
    fn take_up(place: &Place, tag: &str) -> io::Result<Option<(Self, Noted)>> {
        let Some(note) = place.temp_existing(tag, Use::Note)? else {
            return Ok(None);
        };
        let Some(noted) = read_notes(note.file()).filter(|noted| noted.ids[1] == note.id()) else {
            return Ok(None);
        };
        let Some(part) = place.temp_existing(tag, Use::Part)? else {
            // The bytes are gone, or have got their name.
            note.remove()?;
            return Ok(None);
        };
        if noted.ids[0] != part.id() {
            return Ok(None);
        }
        lock(part.file())?;
        // The other download may have ended before we held the lock.
        let is_there = part.is_there()?;
        let note = Some(note);
        Ok(is_there.then_some((Self { part, note }, noted)))
    }

    fn create(place: &Place, tag: &str) -> io::Result<Option<Self>> {
        let Some(part) = place.temp_claim(tag, Use::Part)? else {
            return Ok(None);
        };
        lock(part.file())?;
        // The other download may have begun to write before we held the lock.
        if !part.is_empty()? || !part.is_there()? {
            return Ok(None);
        }
        let note = place.temp_claim(tag, Use::Note).ok().flatten();
        Ok(Some(Self { part, note }))
    }

    /// Removes the notes of a download whose bytes have got their name: the program was killed between the two.
    pub(super) fn tidy(place: &Place) -> io::Result<()> {
        for tag in (0..TAGS).map(|n| place.tag(n)) {
            let note = place.temp_existing(&tag, Use::Note)?;
            let part = place.temp_existing(&tag, Use::Part)?;
            match (note, part) {
                // Only a name that is taken sends us to the next one.
                (None, None) => return Ok(()),
                (Some(note), None) if is_ours(&note) => note.remove()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The part first: notes without bytes are known to be ours, bytes without notes are not.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.part.remove()?;
        self.note.as_ref().map_or(Ok(()), Temp::remove)
    }
}

/// Names this run of the machine, where the system tells; elsewhere every run counts as another.
pub(super) fn boot() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Whether a file holds notes that were written into this very file.
fn is_ours(note: &Temp) -> bool {
    read_notes(note.file()).is_some_and(|noted| noted.ids[1] == note.id())
}

/// Notes that cannot be read are as good as none.
fn read_notes(file: &File) -> Option<Noted> {
    let mut text = String::new();
    file.take(NOTES_BYTES_MAX).read_to_string(&mut text).ok()?;
    parse_notes(&text, boot().as_deref())
}

fn parse_notes(text: &str, boot: Option<&str>) -> Option<Noted> {
    let value: Value = serde_json::from_str(text.lines().next()?).ok()?;
    let etag = value.get("etag")?.as_str()?.to_owned();
    let len = value.get("length")?.as_u64()?;
    let ids = serde_json::from_value(value.get("files")?.clone()).ok()?;
    let is_same_run = boot.is_some() && value.get("boot")?.as_str() == boot;
    let list = value.get(if is_same_run { "received" } else { "synced" })?;
    let pairs: Vec<[u64; 2]> = serde_json::from_value(list.clone()).ok()?;
    let have = RangeSet::from_pairs(pairs.into_iter().map(|pair| (pair[0], pair[1]))).ok()?;
    let is_ours = value.get("gfl")?.as_u64() == Some(2) && have.end() <= len;
    let content = Content {
        etag: Some(etag),
        len,
    };
    is_ours.then_some(Noted { content, have, ids })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_not_believed_blindly() {
        let good = r#"{"gfl":2,"files":[7,8],"etag":"\"a\"","length":10,"received":[[0,5],[7,10]],"synced":[[0,2]],"boot":"b"}"#;
        let have = |boot| parse_notes(good, boot).map(|noted| noted.have.to_pairs());
        assert_eq!(have(Some("b")).unwrap(), [[0, 5], [7, 10]]);
        assert_eq!(have(Some("c")).unwrap(), [[0, 2]], "after a reboot");
        assert_eq!(have(None).unwrap(), [[0, 2]]);
        let bad = [
            ("2,", "1,"),
            ("[7,8]", "[7]"),
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
    }
}
