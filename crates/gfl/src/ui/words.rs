//! Numbers and names as people read them.
//!
//! Pure functions; where the words go is not known here.

use std::time::Duration;

/// Bytes in units of 1024, as v0.1 wrote them: `512 B`, `1.5 KB`, `10.0 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes per second.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let per_second = count as f64 / time.as_secs_f64().max(0.001);
    format!("{}/s", bytes(per_second as u64))
}

/// A time span: `0.12 s`, `5.3 s`, `2 min 05 s`, `3 h 02 min`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{:.2} s", time.as_secs_f64()),
        1..=59 => format!("{:.1} s", time.as_secs_f64()),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One line in which control characters stand as `\n` or `\x1b`: names must not steer a terminal, nor look like two.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (1536, "1.5 KB"),
            (10 << 20, "10.0 MB"),
            (u64::MAX, "16.0 EB"),
        ];
        for (count, want) in cases {
            assert_eq!(bytes(count), want);
        }
    }

    #[test]
    fn spans() {
        for (ms, want) in [
            (120, "0.12 s"),
            (5_300, "5.3 s"),
            (125_000, "2 min 05 s"),
            (10_920_000, "3 h 02 min"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn names_do_not_act() {
        assert_eq!(
            printable("ä\u{1b}[2Jb\tc\nd\u{9b}\u{7f}"),
            r"ä\x1b[2Jb\tc\nd\x9b\x7f"
        );
    }
}
