//! Settings of the C library's allocator. Unsafe code, and nothing else here is.
//!
//! glibc makes up to eight arenas per core, and each keeps what its thread once needed: with 16 threads for file
//! operations that is a third of the server's memory, for nothing. Two arenas are enough for threads that wait for
//! disks, and the fixed thresholds keep one large body from raising what every arena may hold back for ever.

/// Arenas that all threads share.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 2;
/// Larger blocks are mapped one by one. Above the largest piece of a body, since mapping those costs half the speed
/// of a download.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAP_BYTES_MIN: libc::c_int = 1024 * 1024;
/// Free memory at the top of an arena beyond this goes back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_BYTES: libc::c_int = 1024 * 1024;

/// Sets them, before the first thread is started. What the administrator set in the environment counts more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe form")]
pub fn tune() {
    let settings = [
        ("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, ARENAS_MAX),
        (
            "MALLOC_MMAP_THRESHOLD_",
            libc::M_MMAP_THRESHOLD,
            MAP_BYTES_MIN,
        ),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, TRIM_BYTES),
    ];
    for (name, option, value) in settings {
        if std::env::var_os(name).is_none() {
            // SAFETY: mallopt takes two integers, touches nothing of ours and is documented to be callable at any
            // time by a process with one thread; `main` calls this first. A refused value (0) changes nothing.
            unsafe { libc::mallopt(option, value) };
        }
    }
}

/// Other allocators keep their own counsel.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn tune() {}
