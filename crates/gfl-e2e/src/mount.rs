//! Small file systems for the tests that fill, freeze or cut the power of a disk. Needs root.

use rustix::process::{Pid, Signal, kill_process};
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

    /// The power goes, for the disk and for the processes that write to it: nothing that is not on the medium
    /// gets there any more (`EXT4_IOC_SHUTDOWN` with NOLOGFLUSH), and nobody says anything any more.
    ///
    /// The processes are stopped first. An `fsync` that runs while ext4 is being shut down may answer "done"
    /// although its part of the journal was thrown away; a machine without power could tell nobody.
    /// Perl is part of every Debian and can call an ioctl without unsafe code of ours.
    pub fn cut_power(&self, writers: &[u32]) -> Result<(), String> {
        for pid in writers {
            freeze(*pid)?;
        }
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

/// Stops a process; when this returns it runs no instruction of its own any more. What its threads wait for
/// inside the kernel goes on there, and is not heard of.
fn freeze(pid: u32) -> Result<(), String> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| format!("{pid} is no process"))?;
    kill_process(process, Signal::STOP).map_err(|e| format!("process {pid}: {e}"))?;
    crate::wait::until("a stopped process stops", 30, || {
        is_frozen(pid).then_some(())
    });
    Ok(())
}

/// Every thread is stopped (T), waits in the kernel and will stop on its way out of there (D), or is gone (Z, X).
fn is_frozen(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().all(|thread| {
        // A thread that has just ended has no file.
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_none_or(|state| "TtDZX".contains(state))
    })
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
        mount.cut_power(&[]).unwrap();
        assert!(fs::write(mount.dir().join("later"), "x").is_err());
        mount.unmount().unwrap();
        mount.mount().unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "synced");
        assert!(
            !lost.exists(),
            "the cut lost nothing: the power tests would prove nothing"
        );
    }

    const WRITERS: usize = 4;
    const CUTS: u64 = 20;

    /// Appends lines for ever and tells the number of each that is synced.
    const APPEND: &str = "use IO::Handle; open(my $f, '>', $ARGV[0]) or die $!; $f->autoflush(1); $| = 1; \
                          for (my $n = 1; print $f ('x' x 4095) . \"\\n\"; $n++) \
                          { $f->sync or last; print \"$n\\n\"; }";

    #[test]
    fn what_a_process_called_synced_before_a_cut_is_there_after_it() {
        let mut mount = match Mount::ext4(64) {
            Ok(mount) => mount,
            Err(why) => return crate::skip::skip("the promise of fsync before a power cut", &why),
        };
        let mut rng = crate::data::Rng::new(crate::data::Rng::seed_of_run());
        let mut synced = 0;
        for cut in 0..CUTS {
            let files: Vec<PathBuf> = (0..WRITERS)
                .map(|n| mount.dir().join(format!("{cut}-{n}")))
                .collect();
            let mut writers: Vec<_> = files.iter().map(|file| append(file)).collect();
            let pids: Vec<u32> = writers.iter().map(std::process::Child::id).collect();
            // Not a wait for anything: the moment is random.
            std::thread::sleep(std::time::Duration::from_millis(rng.between(10, 60)));
            mount.cut_power(&pids).unwrap();
            let told: Vec<u64> = writers.iter_mut().map(last_word).collect();
            mount.unmount().unwrap();
            mount.mount().unwrap();
            for (file, told) in files.iter().zip(&told) {
                let there = fs::metadata(file).map_or(0, |m| m.len()) / 4096;
                assert!(
                    there >= *told,
                    "cut {cut}: {told} lines synced, {there} are there"
                );
            }
            synced += told.iter().sum::<u64>();
        }
        assert!(synced > CUTS, "next to nothing was synced: {synced} lines");
    }

    fn append(file: &Path) -> std::process::Child {
        Command::new("perl")
            .args(["-e", APPEND])
            .arg(file)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Ends a writer; the last line that it called synced.
    fn last_word(writer: &mut std::process::Child) -> u64 {
        writer.kill().unwrap();
        let mut told = String::new();
        std::io::Read::read_to_string(&mut writer.stdout.take().unwrap(), &mut told).unwrap();
        writer.wait().unwrap();
        // The last line may be cut off.
        let whole = told.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().last().map_or(0, |line| line.parse().unwrap())
    }
}
