//! What names name: states, space, metadata, and whether the folder can be written.

use super::Inner;
use super::errno::{self, About};
use super::root::{Lost, Spot, file_type};
use crate::error::{Error, Kind, Result};
use crate::id::Key;
use crate::settings::Durability;
use crate::store::{Found, Link, Place, Space, Stamp, dir_mode, file_mode};
use gfl_api::path::FilePath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::fs::{fchmod, fstat, fstatvfs, fsync, futimens, openat, readlinkat, unlinkat};
use rustix::io::Errno;
use std::sync::Arc;

const NS: i64 = 1_000_000_000;

fn ns(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(NS).saturating_add(nanos)
}

/// The stamp of a `stat`.
pub(super) fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: ns(
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        ino: stat.st_ino,
        ctime_ns: ns(
            stat.st_ctime,
            i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
        ),
    }
}

/// The permission bits of a `stat`.
pub(super) fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

/// A `stat` as the store tells it.
pub(super) fn found(stat: &Stat) -> Found {
    let stamp = stamp(stat);
    match file_type(stat) {
        FileType::RegularFile => Found::File {
            stamp,
            mode: mode(stat),
        },
        FileType::Directory => Found::Dir {
            mtime_ns: stamp.mtime_ns,
            mode: mode(stat),
            ino: stamp.ino,
        },
        _ => Found::Other,
    }
}

/// Times for `futimens` that set the mtime only.
pub(super) fn mtime(ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: ns.div_euclid(NS),
            // Below 10^9, which fits every type this field has.
            tv_nsec: ns.rem_euclid(NS) as _,
        },
    }
}

impl Inner {
    /// See [`crate::store::Store::link`].
    pub(super) fn link(&self, place: &Place, at: &FilePath) -> Result<Option<Link>> {
        let spot = match place {
            Place::Visible(path) => match self.root.spot(path, false)? {
                Some(spot) => spot,
                None => return Ok(None),
            },
            Place::Kept(key) => Spot {
                dir: Arc::clone(&self.kept),
                name: key.as_str().into(),
            },
        };
        let fail = |errno: Errno| errno::error(errno, "look at", About::Path(at));
        let text = match readlinkat(&spot.dir, &*spot.name, Vec::new()) {
            Ok(text) => text.into_bytes(),
            // No link, or gone.
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {
                return Ok(None);
            }
            Err(errno) => return Err(fail(errno)),
        };
        let Some(own) = spot.look().map_err(fail)? else {
            return Ok(None);
        };
        let dir = at.parent().unwrap_or_else(FilePath::root);
        let leads_to = match self.root.open_from(&dir, &text, OFlags::PATH) {
            Ok(fd) => found(&fstat(&fd).map_err(fail)?),
            Err(lost) if lost.is_missing() => Found::Nothing,
            Err(_) => Found::Other,
        };
        Ok(Some(Link {
            stamp: stamp(&own),
            leads_to,
        }))
    }

    /// See [`crate::store::Store::stat`]. A path below a file, or with a name too long, names nothing.
    pub(super) fn stat(&self, path: &FilePath) -> Result<Found> {
        match self.root.open(path, OFlags::PATH) {
            Ok(fd) => {
                Ok(found(&fstat(&fd).map_err(|e| {
                    errno::error(e, "look at", About::Path(path))
                })?))
            }
            Err(lost) if lost.is_missing() => Ok(Found::Nothing),
            Err(Lost::Os(errno)) if errno != Errno::LOOP => {
                Err(errno::error(errno, "look at", About::Path(path)))
            }
            Err(_) => Ok(Found::Other),
        }
    }

    /// See [`crate::store::Store::stat_kept`]. A kept link is `Other`.
    pub(super) fn stat_kept(&self, key: &Key) -> Result<Found> {
        let stat = super::root::look(
            rustix::fd::AsFd::as_fd(&*self.kept),
            key.as_str().as_bytes(),
        )
        .map_err(|e| errno::error(e, "look at", About::Kept))?;
        Ok(stat.as_ref().map_or(Found::Nothing, found))
    }

    /// See [`crate::store::Store::set_meta`]. Synced here, because syncing a folder does not cover it.
    pub(super) fn set_meta(
        &self,
        path: &FilePath,
        mtime_ns: Option<i64>,
        mode: Option<u32>,
    ) -> Result<Found> {
        let doing = "change the attributes of";
        let fail = |errno: Errno| errno::error(errno, doing, About::Path(path));
        // First without opening: a device may act on being opened.
        if self.stat(path)? == Found::Other {
            return Err(Error::new(
                Kind::NotFound,
                format!("{path} is neither a file nor a folder that is served"),
            ));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self
            .root
            .open(path, flags)
            .map_err(|lost| lost.error(doing, path))?;
        if let Some(mode) = mode {
            let mode = wanted_mode(mode, &fstat(&file).map_err(fail)?);
            fchmod(&file, mode).map_err(fail)?;
        }
        if let Some(ns) = mtime_ns {
            futimens(&file, &mtime(ns)).map_err(fail)?;
        }
        if self.durability != Durability::None {
            fsync(&file).map_err(fail)?;
        }
        Ok(found(&fstat(&file).map_err(fail)?))
    }

    /// See [`crate::store::Store::make_dir`].
    pub(super) fn make_dir(&self, path: &FilePath) -> Result<bool> {
        self.root.make_dirs(path).map(|(_, new)| new)
    }

    /// See [`crate::store::Store::space`].
    pub(super) fn space(&self) -> Result<Space> {
        let stat = fstatvfs(&*self.own).map_err(|e| errno::error(e, "measure", About::Storage))?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            // What is left for us, not for root.
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// See [`crate::store::Store::probe`].
    pub(super) fn probe(&self) -> Result<()> {
        const NAME: &str = "probe";
        let fail = |errno: Errno| errno::error(errno, "write to", About::Storage);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&*self.own, NAME, flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
        let written = rustix::io::pwrite(&file, b"probe", 0);
        // Two probes at once may both remove it.
        let removed = match unlinkat(&*self.own, NAME, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        };
        written.and(removed).map_err(fail)
    }
}

/// The mode to set.
fn wanted_mode(mode: u32, stat: &Stat) -> Mode {
    Mode::from_raw_mode(match file_type(stat) {
        FileType::Directory => dir_mode(mode),
        _ => file_mode(mode),
    })
}
