//! A remote folder, entry by entry in the server's order, fetched a page at a time.
//!
//! Pages and not one long stream: a transfer may take hours between two entries, and a page can be asked for again.
//! Names are parsed here; nothing behind this file sees a name that is not a valid path.

use super::{Error, Result, V1};
use crate::ui::words::count;
use gfl_api::FilePath;
use gfl_api::v1::{Entry, EntryType};
use std::collections::VecDeque;

/// Entries per page: some hundred kilobytes of JSON.
const PAGE_ENTRIES: usize = 2_000;

/// One entry with its parsed path.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// The whole path.
    pub(crate) path: FilePath,
    /// What the server told.
    pub(crate) entry: Entry,
}

impl Listed {
    /// Whether it is a folder.
    pub(crate) fn is_dir(&self) -> bool {
        self.entry.kind == EntryType::Dir
    }

    /// Time of the last change, if the server told one that can be read.
    pub(crate) fn mtime_ns(&self) -> Option<i64> {
        gfl_api::http::parse_mtime(self.entry.mtime.as_deref()?)
    }
}

/// A listing on its way.
pub(crate) struct Listing<'a> {
    v1: &'a V1,
    dir: FilePath,
    recursive: bool,
    page: VecDeque<Entry>,
    cursor: Option<String>,
    is_last: bool,
    /// Names the server sent that are not valid paths, to be reported and never used.
    refused: u64,
    /// What the server says it cannot show: special files, links that lead nowhere, names that are not UTF-8.
    pub(crate) skipped: u64,
    /// Folders that the server may not read.
    unreadable: u64,
}

impl<'a> Listing<'a> {
    /// Begins; nothing is asked for yet.
    pub(crate) fn new(v1: &'a V1, dir: FilePath, recursive: bool) -> Self {
        Self {
            v1,
            dir,
            recursive,
            page: VecDeque::new(),
            cursor: None,
            is_last: false,
            refused: 0,
            skipped: 0,
            unreadable: 0,
        }
    }

    /// A listing without entries.
    pub(crate) fn empty(v1: &'a V1, dir: FilePath) -> Self {
        Self {
            is_last: true,
            ..Self::new(v1, dir, true)
        }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &FilePath {
        &self.dir
    }

    /// How many things a copy lacks that should be in it: folders that the server may not read, names that are no
    /// valid paths.
    pub(crate) fn lacks(&self) -> u64 {
        self.refused + self.unreadable
    }

    /// What was not shown, a sentence for each reason.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.unreadable > 0 {
            texts.push(format!(
                "left out what is in {} the server may not read; its log names them",
                count(self.unreadable, "folder that", "folders that")
            ));
        }
        if self.refused > 0 {
            texts.push(format!(
                "left out {} from the server that are no valid paths",
                count(self.refused, "name", "names")
            ));
        }
        if self.skipped > 0 {
            texts.push(format!(
                "left out {} in the server's folder (pipes, devices, links that lead nowhere or outside, names that \
                 are not UTF-8)",
                count(self.skipped, "thing that is no file", "things that are no files")
            ));
        }
        texts
    }

    /// The next entry.
    pub(crate) async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            match self.page.pop_front() {
                Some(entry) => match self.parse(&entry) {
                    Some(path) => return Ok(Some(Listed { path, entry })),
                    None => self.refused += 1,
                },
                None if self.is_last => return Ok(None),
                None => self.fetch().await?,
            }
        }
    }

    async fn fetch(&mut self) -> Result<()> {
        let page = self
            .v1
            .list_page(
                &self.dir,
                self.recursive,
                self.cursor.as_deref(),
                PAGE_ENTRIES,
            )
            .await?;
        if page.entries.is_empty() && page.next.is_some() && page.next == self.cursor {
            return Err(Error::protocol(format!(
                "the listing of {} does not come forward",
                self.dir
            )));
        }
        self.unreadable += page.unreadable;
        self.skipped += page.skipped.saturating_sub(page.unreadable);
        self.is_last = page.next.is_none();
        self.cursor = page.next;
        self.page = page.entries.into();
        Ok(())
    }

    /// The entry's path: valid, below the folder, and directly in it unless everything below was asked for.
    fn parse(&self, entry: &Entry) -> Option<FilePath> {
        match &entry.path {
            Some(path) if self.recursive => {
                let path = FilePath::parse(path).ok()?;
                (path.starts_with(&self.dir) && path != self.dir).then_some(path)
            }
            _ if self.recursive => None,
            _ => self.dir.join(&entry.name).ok(),
        }
    }
}
