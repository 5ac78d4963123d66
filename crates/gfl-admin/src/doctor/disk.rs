//! Room on the disks, what unfinished and deleted things take of it, and whether it can be written at all.

use super::report::Check;
use crate::place::shown;
use crate::ui;
use gfl_server::start::Plan;
use rustix::fs::{StatVfs, statvfs};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "disk";
/// Below this nothing can be relied upon.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Below this share, in percent, one should do something.
const FREE_PERCENT_LOW: u64 = 5;
/// Files looked at when the history is measured.
const MEASURED_FILES_MAX: u64 = 200_000;
/// File descriptors below which a busy server runs short: each connection takes one and each transfer another.
const FILES_MIN: u64 = 8_192;

/// Looks at both folders.
pub(super) fn look(plan: &Plan) -> Vec<Check> {
    let (storage, meta) = (&plan.settings.storage_dir, &plan.settings.meta_dir);
    let percent_min = plan.settings.undo_free_percent_min.max(FREE_PERCENT_LOW);
    let mut found = Vec::new();
    found.extend(room("storage_dir", storage, percent_min));
    let device = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
    if device(storage) != device(meta) {
        found.extend(room("meta_dir", meta, FREE_PERCENT_LOW));
    }
    let own = storage.join(".gfl");
    found.extend(writable("storage_dir", &own));
    found.extend(writable("meta_dir", meta));
    if own.is_dir() {
        found.push(history(&own));
    }
    found
}

/// Free room of the disk with this folder; nothing when the folder is not there yet.
fn room(what: &str, folder: &Path, percent_min: u64) -> Option<Check> {
    let vfs = statvfs(folder).ok()?;
    Some(judge(what, folder, &vfs, percent_min))
}

fn judge(what: &str, folder: &Path, vfs: &StatVfs, percent_min: u64) -> Check {
    let free = vfs.f_bavail.saturating_mul(vfs.f_frsize);
    let total = vfs.f_blocks.saturating_mul(vfs.f_frsize);
    let percent = percent_of(free, total);
    let text = format!(
        "{what}: {} of {} free ({percent} %)",
        ui::bytes(free),
        ui::bytes(total)
    );
    let remedy = format!("make room on the disk with {}", shown(folder));
    if free < FREE_BYTES_MIN {
        return Check::fail(NAME, text).remedy(remedy);
    }
    if percent < percent_min {
        return Check::warn(NAME, text).remedy(format!(
            "{remedy}; meanwhile what can be brought back goes early"
        ));
    }
    // File systems without a fixed number of inodes say that they have none.
    let inodes = percent_of(vfs.f_favail, vfs.f_files);
    if vfs.f_files > 0 && inodes < FREE_PERCENT_LOW {
        let text = format!("{what}: {inodes} % of the disk's inodes are free");
        return Check::warn(NAME, text)
            .remedy("remove small files, or use a disk made for many of them");
    }
    Check::ok(NAME, text)
}

fn percent_of(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(100)
}

/// Writes, syncs and removes a file there.
fn writable(what: &str, folder: &Path) -> Option<Check> {
    if !folder.is_dir() {
        return None;
    }
    let path = probe_path(folder);
    let outcome = probe(&path);
    let removed = std::fs::remove_file(&path);
    Some(match outcome.and(removed) {
        Ok(()) => Check::ok(NAME, format!("{what}: a file can be written and synced")),
        Err(error) => Check::fail(
            NAME,
            format!(
                "{what}: no file can be written in {}: {error}",
                shown(folder)
            ),
        )
        .remedy("check the owner and the mode of the folder, and how its disk is mounted"),
    })
}

/// A name that no other look has.
pub(super) fn probe_path(folder: &Path) -> PathBuf {
    folder.join(format!(".doctor-{}", std::process::id()))
}

/// Writes a file of that name, and leaves it.
pub(super) fn probe(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(b"gfl-admin doctor\n")?;
    file.sync_all()?;
    Ok(file)
}

/// What uploads under way and the history take.
fn history(own: &Path) -> Check {
    let mut left = MEASURED_FILES_MAX;
    let drafts = measure(&own.join("drafts"), &mut left);
    let kept = measure(&own.join("kept"), &mut left);
    let more = if left == 0 { "more than " } else { "" };
    Check::ok(
        NAME,
        format!(
            "{more}{} in unfinished uploads, {} kept to be brought back",
            ui::bytes(drafts),
            ui::bytes(kept)
        ),
    )
}

/// Bytes that a folder takes on the disk, files below it included, as far as `left` goes.
fn measure(folder: &Path, left: &mut u64) -> u64 {
    let mut bytes = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Some(now_left) = left.checked_sub(1) else {
                return bytes;
            };
            *left = now_left;
            // A link is not followed: what it leads to is not ours.
            match entry.path().symlink_metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => bytes += meta.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Whether so many file descriptors are enough.
pub(super) fn descriptors(open: Option<u64>, max: u64) -> Check {
    let used = open.map_or_else(String::new, |open| format!("{open} in use of "));
    let text = format!("file descriptors: {used}{max}");
    let short = open.is_some_and(|open| percent_of(open, max) > 80);
    if max < FILES_MIN || short {
        return Check::warn("limits", text).remedy(format!(
            "allow more: LimitNOFILE={} in the unit, or ulimit -n",
            4 * FILES_MIN
        ));
    }
    Check::ok("limits", text)
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn room_is_judged_by_bytes_share_and_inodes() {
        let folder = tempfile::tempdir().unwrap();
        let mut vfs = statvfs(folder.path()).unwrap();
        vfs.f_frsize = 1024 * 1024;
        let mut state = |blocks, free, files, files_free| {
            (vfs.f_blocks, vfs.f_bavail) = (blocks, free);
            (vfs.f_files, vfs.f_favail) = (files, files_free);
            judge("x", folder.path(), &vfs, 10).state()
        };
        assert_eq!(state(10_000, 5_000, 1000, 500), State::Ok);
        assert_eq!(state(10_000, 999, 1000, 500), State::Warn);
        assert_eq!(state(10_000, 63, 1000, 500), State::Fail);
        assert_eq!(state(10_000, 5_000, 1000, 40), State::Warn);
        assert_eq!(state(10_000, 5_000, 0, 0), State::Ok, "no fixed inodes");
    }

    #[test]
    fn the_history_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("f"), vec![7; 100_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let mut left = 100;
        let bytes = measure(dir.path(), &mut left);
        assert!(
            (98_304..200_000).contains(&bytes) && left == 96,
            "{bytes} {left}"
        );
        let mut left = 1;
        measure(dir.path(), &mut left);
        assert_eq!(left, 0);
    }

    #[test]
    fn probes_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writable("x", dir.path()).unwrap().state(), State::Ok);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(writable("x", &dir.path().join("none")).is_none());
    }

    #[test]
    fn descriptors_must_be_many() {
        assert_eq!(descriptors(Some(100), 20_000).state(), State::Ok);
        assert_eq!(descriptors(None, 1_024).state(), State::Warn);
        assert_eq!(descriptors(Some(19_000), 20_000).state(), State::Warn);
    }
}
