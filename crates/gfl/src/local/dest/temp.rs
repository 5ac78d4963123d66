//! Files of ours beside the one they become: under names of their own, which are never taken from anybody and never
//! believed. Whatever happens to a name meanwhile, only the very file that was opened is renamed or removed.

use super::{Folder, Place};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a name that nobody can foresee may prove taken.
const TRIES_MAX: u32 = 8;
/// Hex digits in a name.
const DIGITS: usize = 16;
/// Whoever looks at a name in order to rename or remove it holds this, so that no other download of this program gives
/// the name to another file in between.
static NAMES: Mutex<()> = Mutex::new(());

/// What a file beside the target is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The bytes that came so far.
    Part,
    /// What they are.
    Note,
}

/// An open file of ours.
pub(crate) struct Temp {
    folder: Arc<Folder>,
    name: String,
    file: Arc<File>,
    id: u64,
    /// Nobody could find it again: it goes when we let go of it.
    is_fleeting: bool,
}

impl Place {
    /// A new file beside the target, without a name where there is such a thing, otherwise under one that nobody can
    /// foresee. Gone when dropped, unless published.
    pub(crate) fn temp(&self) -> io::Result<Temp> {
        match self.folder.handle.create_nameless()? {
            Some(file) => self.temp_of(String::new(), file),
            None => self.temp_named(),
        }
    }

    fn temp_named(&self) -> io::Result<Temp> {
        for _ in 0..TRIES_MAX {
            if let Some(mut temp) = self.temp_create(&random_tag()?, Use::Part)? {
                temp.is_fleeting = true;
                return Ok(temp);
            }
        }
        Err(no_free_name())
    }

    /// The `n`th tag for what is to be found again later, one for each target.
    pub(crate) fn tag(&self, n: u32) -> String {
        let hash = blake3::hash(format!("{n} {}", self.name).as_bytes()).to_hex();
        hash[..DIGITS].to_owned()
    }

    /// A new file beside the target; none if something has that name.
    pub(crate) fn temp_create(&self, tag: &str, what: Use) -> io::Result<Option<Temp>> {
        let name = temp_name(&self.name, tag, what);
        match self.folder.handle.create_new(&name) {
            Ok(file) => self.temp_of(name, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file that has such a name already, whosesoever it is; none if it is not one that can be read and written.
    pub(crate) fn temp_existing(&self, tag: &str, what: Use) -> io::Result<Option<Temp>> {
        let name = temp_name(&self.name, tag, what);
        match self.folder.handle.open(&name) {
            Ok(file) if file.metadata()?.is_file() => self.temp_of(name, file).map(Some),
            _ => Ok(None),
        }
    }

    /// As [`Place::temp_create`], or an empty file that has such a name: what a program leaves that is killed before it
    /// wrote anything, and nothing that anybody could miss.
    pub(crate) fn temp_claim(&self, tag: &str, what: Use) -> io::Result<Option<Temp>> {
        match self.temp_create(tag, what)? {
            Some(temp) => Ok(Some(temp)),
            None => match self.temp_existing(tag, what)? {
                Some(temp) if temp.is_empty()? => Ok(Some(temp)),
                _ => Ok(None),
            },
        }
    }

    fn temp_of(&self, name: String, file: File) -> io::Result<Temp> {
        Ok(Temp {
            folder: Arc::clone(&self.folder),
            id: super::id_of(&file)?,
            file: Arc::new(file),
            name,
            is_fleeting: false,
        })
    }
}

impl Temp {
    /// The file.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What tells it from every other file in its folder as long as it is there.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether nothing was written yet.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == 0)
    }

    /// Whether its name still is its own.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        self.has(&self.name)
    }

    /// Gives it the target's name, replacing a file that is there. False if somebody took its name away: then nothing
    /// was done.
    pub(crate) fn publish(&self, place: &Place) -> io::Result<bool> {
        let _alone = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if self.name.is_empty() {
            return self.publish_nameless(place);
        }
        if !self.is_there()? {
            return Ok(false);
        }
        self.folder.handle.rename(&self.name, &place.name)?;
        // Another program may have come between the look and the renaming.
        self.has(&place.name)
    }

    /// A name that is free is taken; for one that is not, another is needed for a moment.
    fn publish_nameless(&self, place: &Place) -> io::Result<bool> {
        let handle = &self.folder.handle;
        if handle.link(&self.file, &place.name)? {
            return self.has(&place.name);
        }
        for _ in 0..TRIES_MAX {
            let name = temp_name(&place.name, &random_tag()?, Use::Part);
            if handle.link(&self.file, &name)? {
                return match handle.rename(&name, &place.name) {
                    Ok(()) => self.has(&place.name),
                    Err(error) => {
                        let _ = handle.remove(&name);
                        Err(error)
                    }
                };
            }
        }
        Err(no_free_name())
    }

    /// Removes it, but nothing that has its name meanwhile.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let _alone = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_there()? {
            return Ok(());
        }
        match self.folder.handle.remove(&self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whether a name is this file's. Both are asked now: not every file system keeps its numbers.
    fn has(&self, name: &str) -> io::Result<bool> {
        if name.is_empty() {
            return Ok(false);
        }
        Ok(self.folder.handle.id(name)? == Some(super::id_of(&self.file)?))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.is_fleeting {
            let _ = self.remove();
        }
    }
}

fn random_tag() -> io::Result<String> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_le_bytes(random)))
}

fn no_free_name() -> io::Error {
    io::Error::other("there is no free name beside it")
}

/// `.NAME.TAG.gfl-part`, as much of the name as there is room for. The tag keeps targets apart, the name is for people.
fn temp_name(target: &str, tag: &str, what: Use) -> String {
    let end = match what {
        Use::Part => "gfl-part",
        Use::Note => "gfl-note",
    };
    let room = gfl_api::limits::NAME_BYTES_MAX - tag.len() - end.len() - 3;
    let shown = &target[..target.floor_char_boundary(room)];
    format!(".{shown}.{tag}.{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let list = fs::read_dir(dir).unwrap();
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_name_that_went_to_another_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let temp = place.temp_named().unwrap();
        temp.file().as_ref().write_all(b"ours").unwrap();
        let name = dir.path().join(names(dir.path()).remove(0));
        fs::write(dir.path().join("other"), "theirs").unwrap();
        fs::rename(dir.path().join("other"), &name).unwrap();
        assert!(!temp.publish(&place).unwrap());
        temp.remove().unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"theirs");
        assert!(!dir.path().join("f").exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_no_name_leaves_nothing_and_takes_any() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        for content in ["new", "newer"] {
            let temp = place.temp().unwrap();
            temp.file().as_ref().write_all(content.as_bytes()).unwrap();
            // What a program that is killed leaves behind.
            assert_eq!(names(dir.path()).len(), usize::from(content == "newer"));
            assert!(temp.publish(&place).unwrap());
            assert_eq!(names(dir.path()), ["f"]);
            let there = fs::read_to_string(dir.path().join("f")).unwrap();
            assert_eq!(there, content);
        }
        drop(place.temp().unwrap());
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn a_name_that_is_taken_is_not_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::named(&dir.path().join("f")).unwrap();
        let tag = place.tag(0);
        let first = place.temp_create(&tag, Use::Part).unwrap().unwrap();
        assert!(place.temp_create(&tag, Use::Part).unwrap().is_none());
        let again = place.temp_existing(&tag, Use::Part).unwrap().unwrap();
        assert_eq!(first.id(), again.id());
        assert!(place.temp_existing(&tag, Use::Note).unwrap().is_none());
        // Unless nothing is in it: then a program died over it.
        let claimed = place.temp_claim(&tag, Use::Part).unwrap().unwrap();
        assert_eq!(first.id(), claimed.id());
        first.file().as_ref().write_all(b"x").unwrap();
        assert!(place.temp_claim(&tag, Use::Part).unwrap().is_none());
        assert!(first.publish(&place).unwrap());
        assert!(!again.publish(&place).unwrap(), "it has its name already");
        drop((place.temp().unwrap(), first, again));
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn the_longest_names_have_room() {
        let dir = tempfile::tempdir().unwrap();
        for long in ["ä".repeat(127), "x".repeat(255)] {
            let place = Place::named(&dir.path().join(&long)).unwrap();
            let temp = place.temp_create(&place.tag(0), Use::Part).unwrap();
            assert!(temp.unwrap().publish(&place).unwrap());
        }
        assert_eq!(names(dir.path()).len(), 2);
    }
}
