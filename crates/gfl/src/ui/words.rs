//! Numbers and names as people read them.
//!
//! Pure functions; where the words go is not known here.

pub(crate) use gfl_api::units::bytes;
use std::time::Duration;

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

/// A time in the local zone, to the minute; `-` if it is none.
pub(crate) fn short_time(text: &str) -> String {
    time(text, "%Y-%m-%d %H:%M")
}

/// A time in the local zone, to the second; `-` if it is none.
pub(crate) fn full_time(text: &str) -> String {
    time(text, "%Y-%m-%d %H:%M:%S")
}

fn time(text: &str, format: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime(format)
            .to_string(),
        Err(_) => "-".to_owned(),
    }
}

/// A time to wait, in whole units: `6 s`, `2 min`, `3 h`.
pub(crate) fn rough_span(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

/// A time that runs off: `4:32`.
pub(crate) fn countdown(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Columns that a text takes on a terminal, never too few: letters outside of the west may take two.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    // Latin, Greek and Cyrillic letters, and what bars and arrows are made of.
    match u32::from(c) {
        0..=0x052f | 0x2010..=0x25ff => 1,
        _ => 2,
    }
}

/// As much of a name as fits: its end, which tells files of one folder apart.
pub(crate) fn shortened(name: &str, columns_max: usize) -> String {
    if columns(name) <= columns_max {
        return name.to_owned();
    }
    let mut room = columns_max.saturating_sub(1);
    let fits = |c: &char| {
        let width = columns_of(*c);
        let does_fit = width <= room;
        room = room.saturating_sub(width);
        does_fit
    };
    let end: Vec<char> = name.chars().rev().take_while(fits).collect();
    match end.is_empty() {
        true => String::new(),
        false => std::iter::once('…').chain(end.into_iter().rev()).collect(),
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

/// An error text without the numbers that the system's errors end in: `No such file or directory (os error 2)`.
pub(crate) fn without_numbers(text: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut parts = text.split(BEFORE);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => shown.push_str(rest),
            _ => shown.push_str(&format!("{BEFORE}{part}")),
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
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (u64::MAX, "16.0 EiB"),
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
    fn times_to_wait() {
        for (ms, want) in [
            (0, "0 s"),
            (1, "1 s"),
            (61_000, "61 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(rough_span(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn names_are_shortened_to_their_end() {
        for (name, room, want) in [
            ("photo.jpg", 9, "photo.jpg"),
            ("photo.jpg", 8, "…oto.jpg"),
            ("日本", 4, "日本"),
            ("日本", 3, "…本"),
            ("日本", 2, ""),
            ("photo", 0, ""),
        ] {
            assert_eq!(shortened(name, room), want);
        }
    }

    #[test]
    fn the_systems_words_without_its_numbers() {
        for (text, want) in [
            (
                "cannot read a: Permission denied (os error 13)",
                "cannot read a: Permission denied",
            ),
            ("a (os error 2): b (os error 3)", "a: b"),
            ("a (os error x) b", "a (os error x) b"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_numbers(text), want);
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
