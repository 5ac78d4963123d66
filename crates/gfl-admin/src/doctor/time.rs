//! Whether the clock can be trusted: tokens expire by it, and history goes by it.

use super::disk::{probe, probe_path};
use super::report::Check;
use crate::place::shown;
use gfl_server::start::Plan;
use jiff::Timestamp;
use std::path::Path;

const NAME: &str = "clock";
/// This program was not written before.
const EARLIEST: &str = "2026-11-01T00:00:00Z";
/// A file system's clock may differ from the machine's by this.
const SKEW_S_MAX: i64 = 5;

/// Compares the clock with what is known.
pub(super) fn look(plan: &Plan, now: Timestamp) -> Vec<Check> {
    let meta_dir = &plan.settings.meta_dir;
    let mut found = Vec::new();
    found.extend(too_early(now));
    found.extend(runs_back(&meta_dir.join("catalog.db"), now));
    found.extend(differs(meta_dir));
    if found.is_empty() {
        let text = format!("{} UTC", now.strftime("%Y-%m-%d %H:%M:%S"));
        found.push(Check::ok(NAME, text));
    }
    found
}

fn too_early(now: Timestamp) -> Option<Check> {
    let earliest: Timestamp = EARLIEST.parse().ok()?;
    (now < earliest).then(|| {
        Check::fail(
            NAME,
            format!("it is {now} by this machine's clock, which cannot be"),
        )
        .remedy("set the clock, and let NTP keep it right: timedatectl set-ntp true")
    })
}

/// A catalog from the future was written before the clock was set back.
fn runs_back(catalog: &Path, now: Timestamp) -> Option<Check> {
    let written = modified(catalog)?;
    (written.as_second() - now.as_second() > SKEW_S_MAX).then(|| {
        let text = format!(
            "{} was written at {written}, which is still to come",
            shown(catalog)
        );
        Check::warn(NAME, text).remedy(
            "check the clock: what was deleted meanwhile is kept longer, and tokens live longer, than they should",
        )
    })
}

/// A folder on another machine has that machine's clock.
fn differs(folder: &Path) -> Option<Check> {
    let path = probe_path(folder).with_extension("clock");
    let written = probe(&path).ok().and_then(|_| modified(&path));
    let now = Timestamp::now();
    let _ = std::fs::remove_file(&path);
    let skew = now.as_second() - written?.as_second();
    (skew.abs() > SKEW_S_MAX).then(|| {
        let folder = shown(folder);
        Check::warn(
            NAME,
            format!("files in {folder} get times that are {skew} s off"),
        )
        .remedy("set the clocks of this machine and of the one that serves the folder by NTP")
    })
}

fn modified(path: &Path) -> Option<Timestamp> {
    let time = std::fs::metadata(path).ok()?.modified().ok()?;
    Timestamp::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn clocks() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(too_early(at("1970-01-01T00:00:10Z")).is_some());
        assert!(too_early(at("2027-01-01T00:00:00Z")).is_none());

        let dir = tempfile::tempdir().unwrap();
        let catalog = dir.path().join("catalog.db");
        std::fs::write(&catalog, "").unwrap();
        assert!(runs_back(&catalog, Timestamp::now()).is_none());
        let file = std::fs::File::options().write(true).open(&catalog).unwrap();
        let later = SystemTime::now() + Duration::from_secs(3600);
        file.set_modified(later).unwrap();
        let told = runs_back(&catalog, Timestamp::now()).unwrap().brief();
        assert!(told.contains("still to come"), "{told}");
        assert!(differs(dir.path()).is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
