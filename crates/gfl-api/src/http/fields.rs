//! Single values in header fields: structured-field items (RFC 9651), HTTP dates (RFC 9110 section 5.6.7), and
//! the metadata of files.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};
use std::fmt;

/// The largest number of digits in a structured-field integer.
const INTEGER_DIGITS_MAX: usize = 15;

/// Reads a non-negative structured-field integer, as in `Upload-Offset` and `Upload-Length`. Parameters are
/// ignored. None for a sign, more than 15 digits, or anything else: such a field counts as absent.
pub fn parse_integer(field: &str) -> Option<u64> {
    let item = bare_item(field)?;
    let plain = !item.is_empty() && item.len() <= INTEGER_DIGITS_MAX;
    if !plain || !item.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    item.parse().ok()
}

/// Reads a structured-field boolean, `?1` or `?0`, as in `Upload-Complete`. Parameters are ignored.
pub fn parse_boolean(field: &str) -> Option<bool> {
    match bare_item(field)? {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// The structured-field form of a boolean.
pub const fn format_boolean(value: bool) -> &'static str {
    if value { "?1" } else { "?0" }
}

/// The item without spaces around it and without parameters; none if the parameters are malformed.
fn bare_item(field: &str) -> Option<&str> {
    let field = field.trim_matches(' ');
    let Some((item, parameters)) = field.split_once(';') else {
        return Some(field);
    };
    // Their values are of no interest, their names must at least be names.
    let name = parameters.trim_start_matches(' ');
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
        .then_some(item)
}

/// An HTTP date: Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpDate(pub i64);

impl HttpDate {
    /// The date of a time in Unix nanoseconds, cut to whole seconds downwards.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns.div_euclid(1_000_000_000))
    }

    /// Reads any of the three forms a recipient must accept; none if malformed or not a real date.
    pub fn parse(field: &str) -> Option<Self> {
        let field = field.trim();
        // RFC 9110 section 5.6.7: the preferred form, that of RFC 850, and that of asctime().
        let forms = [
            "%a, %d %b %Y %H:%M:%S GMT",
            "%A, %d-%b-%y %H:%M:%S GMT",
            "%a %b %e %H:%M:%S %Y",
        ];
        let date: DateTime = forms
            .iter()
            .find_map(|form| strtime::parse(form, field).ok()?.to_datetime().ok())?;
        Some(Self(
            date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second(),
        ))
    }
}

impl fmt::Display for HttpDate {
    /// The preferred form, such as `Sun, 06 Nov 1994 08:49:37 GMT`; times out of the calendar show as the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_second(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let text = strtime::format("%a, %d %b %Y %H:%M:%S GMT", &time.to_zoned(TimeZone::UTC));
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

/// A time in Unix nanoseconds as RFC 3339 in UTC, with as many digits of a second as it needs.
pub fn format_mtime(ns: i64) -> String {
    // Every 64-bit count of nanoseconds is a year between 1677 and 2262, which the calendar holds.
    Timestamp::from_nanosecond(i128::from(ns))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// Reads an RFC 3339 time of any offset as Unix nanoseconds; none if malformed or outside 1677 to 2262.
pub fn parse_mtime(text: &str) -> Option<i64> {
    let text = text.trim();
    // The parser knows more forms than RFC 3339; what we promise to read is only that.
    let shape = text.len() <= 64
        && !text.contains('[')
        && text.as_bytes().get(10).is_some_and(|b| b"Tt ".contains(b));
    if !shape {
        return None;
    }
    i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}

/// Permission bits as four octal digits; only the lowest twelve bits are shown.
pub fn format_mode(mode: u32) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// Reads permission bits: three or four octal digits, one more leading zero allowed.
pub fn parse_mode(text: &str) -> Option<u32> {
    let text = text.trim();
    let shape = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u32::from_str_radix(text, 8).ok()?;
    (shape && mode <= 0o7777).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers() {
        for (text, want) in [
            ("5", Some(5)),
            ("0", Some(0)),
            ("007", Some(7)),
            (" 5 ", Some(5)),
            ("5;x=1", Some(5)),
            ("5; x", Some(5)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("1000000000000000", None),
            ("-1", None),
            ("+5", None),
            ("1e3", None),
            ("5.0", None),
            ("5, 5", None),
            ("5;", None),
            ("5;=1", None),
            ("", None),
            ("٣", None),
        ] {
            assert_eq!(parse_integer(text), want, "{text:?}");
        }
    }

    #[test]
    fn booleans() {
        for (text, want) in [
            ("?1", Some(true)),
            ("?0;a=b", Some(false)),
            ("1", None),
            ("true", None),
            ("?2", None),
            ("", None),
        ] {
            assert_eq!(parse_boolean(text), want, "{text:?}");
        }
        assert_eq!(parse_boolean(format_boolean(true)), Some(true));
        assert_eq!(parse_boolean(format_boolean(false)), Some(false));
    }

    #[test]
    fn dates() {
        let want = HttpDate(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(HttpDate::parse(text), Some(want), "{text}");
        }
        assert_eq!(want.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        for bad in [
            "",
            "now",
            "0",
            "-1",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
        ] {
            assert_eq!(HttpDate::parse(bad), None, "{bad}");
        }
        assert_eq!(HttpDate::from_ns(-1), HttpDate(-1));
        assert!(!HttpDate(i64::MAX).to_string().is_empty());
    }

    #[test]
    fn mtimes() {
        assert_eq!(format_mtime(0), "1970-01-01T00:00:00Z");
        assert_eq!(
            format_mtime(1_700_000_000_123_456_789),
            "2023-11-14T22:13:20.123456789Z"
        );
        assert_eq!(
            parse_mtime("2023-11-14T23:13:20.5+01:00"),
            Some(1_700_000_000_500_000_000)
        );
        assert_eq!(parse_mtime("1969-12-31T23:59:59.999999999Z"), Some(-1));
        for bad in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20Z[UTC]",
            "9999-01-01T00:00:00Z",
            "x",
        ] {
            assert_eq!(parse_mtime(bad), None, "{bad}");
        }
    }

    #[test]
    fn modes() {
        for (text, want) in [
            ("0644", Some(0o644)),
            ("644", Some(0o644)),
            ("04755", Some(0o4755)),
            ("7777", Some(0o7777)),
            ("17777", None),
            ("0o644", None),
            ("0688", None),
            ("+644", None),
            ("", None),
            ("44", None),
        ] {
            assert_eq!(parse_mode(text), want, "{text:?}");
        }
        assert_eq!(format_mode(0o100_644), "0644");
    }

    proptest! {
        #[test]
        fn times_come_back(ns: i64) {
            prop_assert_eq!(parse_mtime(&format_mtime(ns)), Some(ns));
            let date = HttpDate::from_ns(ns);
            prop_assert_eq!(HttpDate::parse(&date.to_string()), Some(date));
        }

        #[test]
        fn modes_come_back(mode in 0u32..0o10000) {
            prop_assert_eq!(parse_mode(&format_mode(mode)), Some(mode));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = (parse_integer(&text), parse_boolean(&text), HttpDate::parse(&text));
            let _ = (parse_mtime(&text), parse_mode(&text));
        }
    }
}
