//! Small file systems for the tests that fill, freeze or cut the power of a disk. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub struct Mount {
    temp: tempfile::TempDir,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Mount {
    /// A RAM disk of `mib` MiB. The error is the reason why not.
    pub fn tmpfs(mib: u64) -> Result<Mount, String> {
        let mut mount = Mount::prepare()?;
        let size = format!("size={mib}m");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "tmpfs", &mount.dir_text()],
        )?;
        mount.mounted = true;
        Ok(mount)
    }

    /// An ext4 of `mib` MiB in a file, over a loop device. The error is the reason why not.
    pub fn ext4(mib: u64) -> Result<Mount, String> {
        let mut mount = Mount::prepare()?;
        let image = mount.temp.path().join("disk.img");
        let file = fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(mib << 20).map_err(|e| e.to_string())?;
        run(
            "mkfs.ext4",
            &["-q", "-F", "-m", "0", &image.to_string_lossy()],
        )?;
        mount.image = Some(image);
        mount.mount()?;
        Ok(mount)
    }

    fn prepare() -> Result<Mount, String> {
        if !crate::skip::is_root() {
            return Err("needs root to mount a file system".into());
        }
        let temp = tempfile::tempdir().map_err(|e| e.to_string())?;
        fs::create_dir(temp.path().join("mnt")).map_err(|e| e.to_string())?;
        Ok(Mount {
            temp,
            image: None,
            mounted: false,
        })
    }

    /// Where it is mounted.
    pub fn dir(&self) -> PathBuf {
        self.temp.path().join("mnt")
    }

    fn dir_text(&self) -> String {
        self.dir().to_string_lossy().into_owned()
    }

    /// Mounts the image (again): the journal is replayed, as after a power cut.
    pub fn mount(&mut self) -> Result<(), String> {
        let image = self
            .image
            .as_ref()
            .ok_or("a RAM disk is not mounted again")?;
        run(
            "mount",
            &["-o", "loop", &image.to_string_lossy(), &self.dir_text()],
        )?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts; every process that used it must be gone.
    pub fn unmount(&mut self) -> Result<(), String> {
        let dir = self.dir_text();
        // A process just killed may still be giving up its files.
        let last = (0..200).find_map(|_| {
            let done = run("umount", &[&dir]);
            if done.is_err() {
                std::thread::sleep(std::time::Duration::from_millis(25));
            }
            done.ok()
        });
        last.ok_or_else(|| format!("{dir} stays busy"))?;
        self.mounted = false;
        Ok(())
    }

    /// The power goes: nothing that is not on the medium gets there any more (`EXT4_IOC_SHUTDOWN` with
    /// NOLOGFLUSH). Perl is part of every Debian and can call an ioctl without unsafe code of ours.
    pub fn cut_power(&self) -> Result<(), String> {
        const CALL: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $f = pack('L', 2); \
                            ioctl($d, 0x8004587d, $f) or die $!;";
        run("perl", &["-e", CALL, &self.dir_text()])
    }

    /// Remounts read-only or writable.
    pub fn set_read_only(&self, read_only: bool) -> Result<(), String> {
        let mode = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        run("mount", &["-o", mode, &self.dir_text()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // The folder goes with `temp`; a lazy unmount keeps that from deleting into a live mount.
            let _best_effort = run("umount", &["-l", &self.dir_text()]);
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// Free bytes of the file system that holds `dir`.
pub fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_loses_what_was_not_synced() {
        let mut mount = match Mount::ext4(64) {
            Ok(mount) => mount,
            Err(why) => return crate::skip::skip("the power cut itself", &why),
        };
        let (kept, lost) = (mount.dir().join("kept"), mount.dir().join("lost"));
        fs::write(&kept, "synced").unwrap();
        fs::File::open(&kept).unwrap().sync_all().unwrap();
        fs::File::open(mount.dir()).unwrap().sync_all().unwrap();
        fs::write(&lost, "in the cache only").unwrap();
        mount.cut_power().unwrap();
        assert!(fs::write(mount.dir().join("later"), "x").is_err());
        mount.unmount().unwrap();
        mount.mount().unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "synced");
        assert!(
            !lost.exists(),
            "the cut lost nothing: the power tests would prove nothing"
        );
    }
}
