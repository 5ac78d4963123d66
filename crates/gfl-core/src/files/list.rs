//! Listings: the tree's names in byte order, with what the catalog knows of each. Bounded memory
//! whatever the directory's size.

use super::finish::ino_of;
use super::look::file_stat;
use super::shared::Shared;
use super::{ListPage, ListQuery, Node, Stat};
use crate::auth::{Caller, Verb};
use crate::catalog::entries;
use crate::catalog::versions::{Fit, VersionRow};
use crate::error::{Error, Kind, Result};
use crate::limits::LIST_CHUNK_NAMES;
use crate::store::{Found, Names};
use gfl_api::path::FilePath;
use std::collections::{HashMap, VecDeque};

/// Adopting everything a listing shows would read whole disks; a few at a time get there too.
const NOTICED_PER_PAGE_MAX: usize = 256;

impl Shared {
    /// A page of a directory, or of everything below it.
    pub(crate) async fn list(&self, caller: &Caller, query: &ListQuery) -> Result<ListPage> {
        caller.may(Verb::List, &query.dir)?;
        self.check_dir(&query.dir).await?;
        let limit = query.limit.clamp(1, LIST_CHUNK_NAMES);
        if !query.recursive {
            let after = match &query.after {
                None => None,
                Some(after) => Some(child_name(&query.dir, after)?),
            };
            let mut page = self.list_one(&query.dir, after, limit).await?;
            if after.is_some() {
                // Counted with the first page.
                page.skipped = 0;
            }
            return Ok(page);
        }
        self.list_below(caller, &query.dir, query.after.as_ref(), limit)
            .await
    }

    async fn check_dir(&self, dir: &FilePath) -> Result<()> {
        if dir.is_root() {
            return Ok(());
        }
        match self.store.stat(dir).await? {
            Found::Dir { .. } => Ok(()),
            // Looked at once more for its row: that it is gone is recorded.
            Found::Nothing => self.look(dir).await?.stat(dir).map(|_| ()),
            Found::File { .. } | Found::Other => Err(Error::new(
                Kind::NotADirectory,
                format!("{dir}: is not a directory"),
            )),
        }
    }

    /// One directory.
    async fn list_one(
        &self,
        dir: &FilePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListPage> {
        let began_ms = self.clock.now_ms();
        let mut names = self.store.list(dir, after, limit).await?;
        // Names that no request could name (too deep or too long below this folder) are passed over here, so
        // that a page full of them does not look like the end.
        while names.more
            && names
                .names
                .iter()
                .all(|named| dir.join(&named.name).is_err())
        {
            let Some(last) = names.names.last().map(|named| named.name.clone()) else {
                break;
            };
            names = self.store.list(dir, Some(&last), limit).await?;
        }
        let mut known = self.known(dir, after, &names).await?;
        let mut entries = Vec::with_capacity(names.names.len());
        let mut noticed = 0;
        for named in &names.names {
            let Ok(path) = dir.join(&named.name) else {
                continue;
            };
            match &named.found {
                Found::Dir { mtime_ns, mode, .. } => {
                    known.remove(named.name.as_bytes());
                    entries.push(Stat {
                        path,
                        node: Node::Dir,
                        mtime_ns: *mtime_ns,
                        mode: *mode,
                    });
                }
                Found::File { stamp, mode } => {
                    let version = known.remove(named.name.as_bytes()).flatten();
                    let fit = version.as_ref().map_or(Fit::Edited, |v| v.fit(stamp));
                    if fit != Fit::Exact && noticed < NOTICED_PER_PAGE_MAX {
                        self.noticed.push(path.clone());
                        noticed += 1;
                    }
                    let version = version.filter(|_| fit != Fit::Edited);
                    let mut stat = file_stat(&path, stamp, *mode, version.as_ref());
                    if fit == Fit::Plausible {
                        stat.distrust(stamp);
                    }
                    entries.push(stat);
                }
                Found::Nothing | Found::Other => {}
            }
        }
        // What was stored since the names were read is not missing.
        known.retain(|_, version| version.as_ref().is_none_or(|v| v.uploaded_ms <= began_ms));
        self.notice_missing(dir, known.into_keys(), noticed);
        Ok(ListPage {
            entries,
            more: names.more,
            skipped: names.skipped,
            unreadable: 0,
        })
    }

    /// The rows that lie between the first and the last of these names, those of names that are missing too.
    async fn known(
        &self,
        dir: &FilePath,
        after: Option<&str>,
        names: &Names,
    ) -> Result<HashMap<Vec<u8>, Option<VersionRow>>> {
        let last = names.names.last().map(|named| named.name.clone());
        if names.more && last.is_none() {
            return Ok(HashMap::new());
        }
        let after = after.unwrap_or_default().to_owned();
        let args = (dir.clone(), after, last.filter(|_| names.more));
        self.db
            .read("list", args, |tx, (dir, after, last)| {
                Box::pin(async move {
                    let Some(parent) = entries::find(tx, dir).await? else {
                        return Ok::<_, Error>(HashMap::new());
                    };
                    // Rows of names that a person removed may lie between: then some b3 stay unknown.
                    let limit = LIST_CHUNK_NAMES * 2;
                    let rows =
                        entries::between(tx, parent.id, after, last.as_deref(), limit).await?;
                    Ok(rows.into_iter().collect())
                })
            })
            .await
    }

    /// Has what has a row and is missing in the tree recorded; a look under the lock decides whether it is.
    fn notice_missing(
        &self,
        dir: &FilePath,
        missing: impl Iterator<Item = Vec<u8>>,
        noticed: usize,
    ) {
        let paths = missing
            .filter_map(|name| String::from_utf8(name).ok())
            .filter_map(|name| dir.join(&name).ok());
        for path in paths.take(NOTICED_PER_PAGE_MAX.saturating_sub(noticed)) {
            self.noticed.push(path);
        }
    }

    /// Everything below `dir` after `after`, depth first, a directory before its content.
    ///
    /// The walk needs no state but the last path: for `dir/a/b/f` it goes on after `f` in `dir/a/b`,
    /// then after `b` in `dir/a`, then after `a` in `dir`.
    async fn list_below(
        &self,
        caller: &Caller,
        dir: &FilePath,
        after: Option<&FilePath>,
        limit: usize,
    ) -> Result<ListPage> {
        let mut page = ListPage {
            entries: Vec::new(),
            more: false,
            skipped: 0,
            unreadable: 0,
        };
        let mut stack = start_of_walk(dir, after)?;
        for frame in &mut stack {
            frame.ino = ino_of(&self.stat_in_walk(&frame.dir).await?);
        }
        // A directory named by the cursor was already shown; what is in it comes next.
        if let Some(after) = after {
            self.enter(&mut stack, after).await?;
        }
        while let Some(frame) = stack.last_mut() {
            if page.entries.len() == limit {
                page.more = true;
                return Ok(page);
            }
            frame.want = (limit - page.entries.len()).clamp(WALK_STEP_NAMES, LIST_CHUNK_NAMES);
            let Some(entry) = frame.pending.pop_front() else {
                if frame.more && caller.may(Verb::List, &frame.dir).is_ok() {
                    self.refill(frame, dir, &mut page).await?;
                } else {
                    stack.pop();
                }
                continue;
            };
            if matches!(entry.node, Node::Dir) {
                forget_pending(&mut stack, &entry.path);
                self.enter(&mut stack, &entry.path).await?;
            }
            page.entries.push(entry);
        }
        Ok(page)
    }

    /// Goes on with what is in `path`, if it is a directory. One that the walk is in already is shown and not
    /// entered: a link leads back to it, and the walk would never end.
    async fn enter(&self, stack: &mut Vec<Frame>, path: &FilePath) -> Result<()> {
        let found = self.stat_in_walk(path).await?;
        let ino = ino_of(&found);
        let inside = stack.iter().any(|frame| frame.ino == ino);
        if matches!(found, Found::Dir { .. }) && !inside {
            let mut frame = Frame::new(path.clone(), None);
            frame.ino = ino;
            stack.push(frame);
        }
        Ok(())
    }

    /// What is where the server may not look is none of a walk's directories.
    async fn stat_in_walk(&self, path: &FilePath) -> Result<Found> {
        match self.store.stat(path).await {
            Err(e) if e.kind() == Kind::StoragePermission => Ok(Found::Other),
            found => found,
        }
    }

    /// Fetches the next names of one directory of a walk from `top`; `page` counts what cannot be shown.
    async fn refill(&self, frame: &mut Frame, top: &FilePath, page: &mut ListPage) -> Result<()> {
        let first = frame.last.is_none();
        let step = match self
            .list_one(&frame.dir, frame.last.as_deref(), frame.want)
            .await
        {
            Ok(step) => step,
            // Removed or replaced while we walk.
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::NotADirectory) => {
                frame.more = false;
                return Ok(());
            }
            // One folder that the server may not read must not hide all others. It counts as one thing that
            // cannot be shown; who asks for it itself gets the error.
            Err(e) if e.kind() == Kind::StoragePermission && frame.dir != *top => {
                tracing::warn!(path = %frame.dir, error = ?e, "a folder is left out of a listing");
                frame.more = false;
                page.skipped += u64::from(first);
                page.unreadable += u64::from(first);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        frame.last = step
            .entries
            .last()
            .and_then(|e| e.path.name())
            .map(str::to_owned);
        frame.more = step.more && frame.last.is_some();
        frame.pending = step.entries.into();
        if first {
            page.skipped += step.skipped;
        }
        Ok(())
    }
}

/// Names fetched of a directory at once, at least: each time costs a look at all its names.
const WALK_STEP_NAMES: usize = 256;

/// One directory of a walk and where the walk stands in it.
struct Frame {
    dir: FilePath,
    ino: Option<u64>,
    pending: VecDeque<Stat>,
    /// Names up to this one were fetched.
    last: Option<String>,
    more: bool,
    /// Names to fetch at once.
    want: usize,
}

impl Frame {
    fn new(dir: FilePath, last: Option<String>) -> Frame {
        Frame {
            dir,
            ino: None,
            pending: VecDeque::new(),
            last,
            more: true,
            want: WALK_STEP_NAMES,
        }
    }
}

/// When much is pending in the directories above `entered`, which is entered now, it is fetched again
/// later instead of being held: a deep tree of wide directories must not need more memory than one.
fn forget_pending(stack: &mut [Frame], entered: &FilePath) {
    let pending: usize = stack.iter().map(|frame| frame.pending.len()).sum();
    if pending <= LIST_CHUNK_NAMES {
        return;
    }
    let mut below = entered.clone();
    for frame in stack.iter_mut().rev() {
        if !frame.pending.is_empty() {
            frame.pending = VecDeque::new();
            frame.last = below.name().map(str::to_owned);
            frame.more = true;
        }
        below = frame.dir.clone();
    }
}

fn child_name<'a>(dir: &FilePath, after: &'a FilePath) -> Result<&'a str> {
    match (after.parent(), after.name()) {
        (Some(parent), Some(name)) if parent == *dir => Ok(name),
        _ => Err(Error::new(
            Kind::Invalid,
            "the cursor does not belong to this listing",
        )),
    }
}

fn start_of_walk(dir: &FilePath, after: Option<&FilePath>) -> Result<Vec<Frame>> {
    let Some(after) = after else {
        return Ok(vec![Frame::new(dir.clone(), None)]);
    };
    if after == dir || !after.starts_with(dir) {
        return Err(Error::new(
            Kind::Invalid,
            "the cursor does not belong to this listing",
        ));
    }
    let mut stack = Vec::new();
    let mut chain: Vec<FilePath> = after.ancestors().filter(|p| p.starts_with(dir)).collect();
    if dir.is_root() || chain.first() != Some(dir) {
        chain.insert(0, dir.clone());
    }
    chain.push(after.clone());
    for pair in chain.windows(2) {
        if let [parent, child] = pair {
            stack.push(Frame::new(parent.clone(), child.name().map(str::to_owned)));
        }
    }
    Ok(stack)
}
