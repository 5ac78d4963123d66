//! What the system says about this process: CPU, memory, file descriptors. Empty where there is no `/proc`.

/// The numbers of the `process_*` metrics; those that are not known are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// User and system time, seconds.
    pub cpu_s: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Virtual memory.
    pub virtual_bytes: Option<u64>,
    /// Since 1970, seconds.
    pub start_s: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// File descriptors.
    pub fds_open: Option<u64>,
    /// … allowed.
    pub fds_max: Option<u64>,
}

impl Process {
    /// Asks the kernel.
    #[cfg(target_os = "linux")]
    pub fn now() -> Process {
        use rustix::param::{clock_ticks_per_second, page_size};
        use rustix::process::{Resource, getrlimit};
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut process = parse(
            &read("/proc/self/stat"),
            clock_ticks_per_second(),
            page_size() as u64,
            boot_s(&read("/proc/stat")),
        );
        process.fds_open = std::fs::read_dir("/proc/self/fd")
            .ok()
            // One of them is the look itself.
            .map(|entries| (entries.count() as u64).saturating_sub(1));
        process.fds_max = getrlimit(Resource::Nofile).current;
        process
    }

    /// Nobody to ask.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Process {
        Process::default()
    }
}

/// When the machine started, from `/proc/stat`.
#[cfg(target_os = "linux")]
fn boot_s(stat: &str) -> Option<f64> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))
        .and_then(|text| text.trim().parse().ok())
}

/// Reads `/proc/self/stat` (proc(5)). The second field is a name in brackets that may hold anything.
#[cfg(target_os = "linux")]
fn parse(stat: &str, ticks_per_s: u64, page_bytes: u64, boot_s: Option<f64>) -> Process {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Process::default();
    };
    // The first of these is field 3.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| {
        fields
            .get(field - 3)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = |ticks: u64| ticks as f64 / ticks_per_s as f64;
    Process {
        cpu_s: number(14)
            .zip(number(15))
            .map(|(user, system)| seconds(user + system)),
        threads: number(20),
        start_s: number(22)
            .zip(boot_s)
            .map(|(ticks, boot_s)| boot_s + seconds(ticks)),
        virtual_bytes: number(23),
        resident_bytes: number(24).map(|pages| pages * page_bytes),
        fds_open: None,
        fds_max: None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_line() {
        let stat = "4242 (gfl) x (y) S 1 2 3 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 8192000 512 1844 1";
        let process = parse(stat, 100, 4096, boot_s("cpu 1 2\nbtime 1700000000\n"));
        assert_eq!(
            process,
            Process {
                cpu_s: Some(3.0),
                resident_bytes: Some(512 * 4096),
                virtual_bytes: Some(8_192_000),
                start_s: Some(1_700_000_010.0),
                threads: Some(9),
                fds_open: None,
                fds_max: None,
            }
        );
        assert_eq!(parse("nonsense", 100, 4096, None), Process::default());
    }

    #[test]
    fn this_process_is_plausible() {
        let now = Process::now();
        assert!(now.resident_bytes.unwrap() > 100_000 && now.threads.unwrap() > 0);
        assert!((3..100_000).contains(&now.fds_open.unwrap()));
        assert!(now.start_s.unwrap() > 1.6e9, "{now:?}");
    }
}
