//! Whether a file must be sent at all: one rule for files named by themselves and for those of folders.
//!
//! What a listing tells decides at a glance where it can; where it cannot, the content decides.

use super::{Options, Sent, Transfer};
use crate::local::{OWNER_FILE_BITS, Source, Stamp};
use crate::remote::{Error, FileMeta, Naming};
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::http::{parse_mode, parse_mtime};
use gfl_api::v1::{Entry, EntryType};
use std::sync::Arc;

/// What can be said of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// It differs, or is to be sent whatever is there.
    Send,
    /// Some file is there that is not to be touched.
    Existing,
    /// Size and time are the same.
    Same,
    /// Size and time are the same, the permission bits are not.
    Mode,
    /// The size is the same; only the content can tell.
    Unsure,
}

/// Looks at a file and at what the server has.
pub(super) fn glance(options: &Options, stamp: &Stamp, there: Option<&Entry>) -> Glance {
    let Some(there) = there.filter(|there| there.kind == EntryType::File) else {
        return Glance::Send;
    };
    if options.no_clobber {
        return Glance::Existing;
    }
    if options.force || there.size != stamp.size {
        return Glance::Send;
    }
    if !options.checksum && has_time(there, stamp.mtime_ns) {
        return match changes(stamp, there).mode {
            None => Glance::Same,
            Some(_) => Glance::Mode,
        };
    }
    match there.b3 {
        Some(_) => Glance::Unsure,
        None => Glance::Send,
    }
}

fn has_time(there: &Entry, mtime_ns: i64) -> bool {
    let theirs = there.mtime.as_deref().and_then(parse_mtime);
    theirs.is_some_and(|theirs| is_same_time(theirs, mtime_ns))
}

impl Transfer<'_> {
    /// What the server has at the target of one file, as far as we need to know and may ask.
    pub(crate) async fn there(&self, remote: &FilePath) -> Result<Option<Entry>, Error> {
        if self.options.force && !self.options.no_clobber {
            return Ok(None);
        }
        match self.v1.entry_if_any(remote).await {
            // A token that may only store: whatever is there, it gets the file.
            Err(error) if error.status == 403 => Ok(None),
            other => other,
        }
    }

    /// What became of the file if the server has this very content: it has its time and mode too then.
    pub(super) async fn has_same(
        &self,
        source: &Arc<Source>,
        remote: &FilePath,
        there: &Entry,
    ) -> Result<Option<Sent>> {
        let theirs = there.b3.as_deref().and_then(|text| text.parse().ok());
        let is_candidate =
            there.kind == EntryType::File && there.size == source.stamp.size && !self.options.force;
        let (true, Some(theirs)) = (is_candidate, theirs) else {
            return Ok(None);
        };
        let progress = self.ui.progress();
        progress.say(format!("comparing {remote}"));
        let ours = self.hash(source).await?;
        progress.say(remote.as_str());
        if ours != theirs || source.has_changed()? {
            return Ok(None);
        }
        let size = source.stamp.size;
        let meta = changes(&source.stamp, there);
        if meta.mtime_ns.is_none() && meta.mode.is_none() {
            return Ok(Some(Sent::Unchanged(size)));
        }
        match self.v1.set_meta(remote, meta).await {
            // Somebody may have replaced it since we looked.
            Ok(now) => {
                Ok((now.b3.as_deref() == there.b3.as_deref()).then_some(Sent::Updated(size)))
            }
            Err(error) => {
                self.ui.warn(format_args!(
                    "{remote} on the server has the content, but not its time and mode: {}",
                    error.naming(remote)
                ));
                Ok(Some(Sent::Unchanged(size)))
            }
        }
    }
}

/// What is to be changed of time and mode.
pub(super) fn changes(stamp: &Stamp, there: &Entry) -> FileMeta {
    let mode = there.mode.as_deref().and_then(parse_mode);
    FileMeta {
        mtime_ns: Some(stamp.mtime_ns).filter(|ours| !has_time(there, *ours)),
        // A server keeps the bits it needs itself.
        mode: stamp
            .mode
            .filter(|ours| Some(ours | OWNER_FILE_BITS) != mode.map(|mode| mode & 0o777)),
    }
}

/// Whether two times are the same, where one side may keep only whole seconds.
pub(super) fn is_same_time(a: i64, b: i64) -> bool {
    const SECOND: i64 = 1_000_000_000;
    let is_whole = a.rem_euclid(SECOND) == 0 || b.rem_euclid(SECOND) == 0;
    a == b || (is_whole && a.div_euclid(SECOND) == b.div_euclid(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (a, b, same) in [
            (5, 5, true),
            (5, 6, false),
            (1_000_000_000, 1_999_999_999, true),
            (1_000_000_001, 1_999_999_999, false),
            (-1, -1_000_000_000, true),
            (0, 1_000_000_000, false),
        ] {
            assert_eq!(is_same_time(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn what_a_glance_tells() {
        let stamp = Stamp {
            size: 5,
            mtime_ns: 7_000_000_000,
            mode: Some(0o644),
        };
        let there = Entry {
            size: 5,
            mtime: Some("1970-01-01T00:00:07Z".into()),
            mode: Some("0644".into()),
            b3: Some("b".into()),
            ..Entry::default()
        };
        let plain = Options {
            parallel: 1,
            no_clobber: false,
            checksum: false,
            force: false,
            follow: false,
        };
        let [force, checksum, no_clobber] = [
            Options {
                force: true,
                ..plain
            },
            Options {
                checksum: true,
                ..plain
            },
            Options {
                no_clobber: true,
                force: true,
                ..plain
            },
        ];
        let touched = Entry {
            mtime: None,
            ..there.clone()
        };
        let unhashed = Entry {
            b3: None,
            ..touched.clone()
        };
        let longer = Entry {
            size: 6,
            ..there.clone()
        };
        let closed = Entry {
            mode: Some("0600".into()),
            ..there.clone()
        };
        let folder = Entry {
            kind: EntryType::Dir,
            ..there.clone()
        };
        for (options, there, want) in [
            (plain, &there, Glance::Same),
            (plain, &closed, Glance::Mode),
            (plain, &touched, Glance::Unsure),
            (plain, &unhashed, Glance::Send),
            (plain, &longer, Glance::Send),
            (plain, &folder, Glance::Send),
            (checksum, &there, Glance::Unsure),
            (force, &there, Glance::Send),
            (no_clobber, &longer, Glance::Existing),
            (no_clobber, &folder, Glance::Send),
        ] {
            assert_eq!(
                glance(&options, &stamp, Some(there)),
                want,
                "{options:?} {there:?}"
            );
        }
        assert_eq!(glance(&no_clobber, &stamp, None), Glance::Send);
        let meta = changes(&stamp, &touched);
        assert_eq!((meta.mtime_ns, meta.mode), (Some(7_000_000_000), None));
    }
}
