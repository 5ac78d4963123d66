//! `Range` and `Content-Range` (RFC 9110 section 14), bytes only.

use crate::limits::RANGES_PER_REQUEST_MAX;
use std::{fmt, ops::Range};

/// What a `Range` header asks of content of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// Malformed, another unit, or more than [`RANGES_PER_REQUEST_MAX`] ranges: answer 200 with everything.
    Ignore,
    /// No byte of it exists: answer 416 with [`ContentRange::unsatisfied`].
    Unsatisfiable,
    /// Non-empty half-open ranges inside the content in the order asked for; those that overlapped or touched
    /// are merged, so none of them do.
    Ranges(Vec<Range<u64>>),
}

/// Reads a `Range` header for content of `size` bytes. Only a GET may have one.
pub fn parse_range(header: &str, size: u64) -> RangeRequest {
    let Some(specs) = specs(header) else {
        return RangeRequest::Ignore;
    };
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for spec in specs {
        let range = spec.within(size);
        if !range.is_empty() {
            merge(&mut ranges, range);
        }
    }
    if ranges.is_empty() {
        RangeRequest::Unsatisfiable
    } else {
        RangeRequest::Ranges(ranges)
    }
}

/// One range as written.
enum Spec {
    /// First and, if given, last byte.
    From(u64, Option<u64>),
    /// That many bytes at the end.
    Last(u64),
}

impl Spec {
    fn within(&self, size: u64) -> Range<u64> {
        match *self {
            Self::From(first, last) => {
                first.min(size)..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Self::Last(count) => size.saturating_sub(count)..size,
        }
    }
}

/// The ranges as written; none if the header is to be ignored.
fn specs(header: &str) -> Option<Vec<Spec>> {
    let (unit, list) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    // RFC 9110 section 5.6.1: empty list members are skipped.
    for item in list
        .split(',')
        .map(|item| item.trim_matches([' ', '\t']))
        .filter(|i| !i.is_empty())
    {
        if specs.len() == RANGES_PER_REQUEST_MAX {
            return None;
        }
        let (first, last) = item.split_once('-')?;
        specs.push(match (first, last) {
            ("", last) => Spec::Last(position(last)?),
            (first, "") => Spec::From(position(first)?, None),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                if last < first {
                    return None;
                }
                Spec::From(first, Some(last))
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// A run of digits; a number too large for the type is as good as the largest.
fn position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Adds a range, swallowing those it overlaps or touches, at the place of the first of them.
fn merge(ranges: &mut Vec<Range<u64>>, mut range: Range<u64>) {
    let mut place = ranges.len();
    let mut at = 0;
    // A merged range may reach one that stood before it in the list, so the walk begins again after each.
    while at < ranges.len() {
        let other = &ranges[at];
        if other.start <= range.end && range.start <= other.end {
            range = range.start.min(other.start)..range.end.max(other.end);
            ranges.remove(at);
            place = place.min(at);
            at = 0;
        } else {
            at += 1;
        }
    }
    ranges.insert(place.min(ranges.len()), range);
}

/// A `Content-Range` field: which bytes these are, of how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes, half-open and not empty; none in a 416 answer.
    pub range: Option<Range<u64>>,
    /// Bytes of the whole; none if the sender does not know yet. Never missing together with the range.
    pub total: Option<u64>,
}

impl ContentRange {
    /// The bytes `range` of `total`.
    pub fn of(range: Range<u64>, total: Option<u64>) -> Self {
        Self {
            range: Some(range),
            total,
        }
    }

    /// The field of a 416 answer.
    pub fn unsatisfied(total: u64) -> Self {
        Self {
            range: None,
            total: Some(total),
        }
    }

    /// Reads `bytes a-b/total`, `bytes a-b/*` or `bytes */total`; none if malformed, if `b` is before `a`, if `b`
    /// is not below `total`, or if a number does not fit.
    pub fn parse(field: &str) -> Option<Self> {
        let (unit, rest) = field.trim().split_once(' ')?;
        let (range, total) = rest.trim_start().split_once('/')?;
        let total = match total {
            "*" => None,
            digits => Some(exact(digits)?),
        };
        let range = match range {
            "*" => None,
            range => {
                let (first, last) = range.split_once('-')?;
                let (first, end) = (exact(first)?, exact(last)?.checked_add(1)?);
                if first >= end || total.is_some_and(|total| end > total) {
                    return None;
                }
                Some(first..end)
            }
        };
        let known = unit.eq_ignore_ascii_case("bytes") && (range.is_some() || total.is_some());
        known.then_some(Self { range, total })
    }
}

/// A run of digits whose number fits.
fn exact(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.range {
            Some(range) => write!(f, "bytes {}-{}/", range.start, range.end.saturating_sub(1))?,
            None => f.write_str("bytes */")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "lists of one range are meant"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_on_eleven_bytes() {
        use RangeRequest::{Ignore, Unsatisfiable};
        let some = |list: &[Range<u64>]| RangeRequest::Ranges(list.to_vec());
        for (header, want) in [
            ("bytes=0-0", some(&[0..1])),
            ("bytes=10-99", some(&[10..11])),
            ("bytes=11-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=-99", some(&[0..11])),
            ("bytes=5-2", Ignore),
            ("items=0-1", Ignore),
            ("Bytes=3-", some(&[3..11])),
            ("bytes=0-4,-5", some(&[0..5, 6..11])),
            ("bytes= 0-1 ,, 5-6", some(&[0..2, 5..7])),
            ("bytes=5-6,0-1", some(&[5..7, 0..2])),
            ("bytes=0-1,2-3", some(&[0..4])),
            ("bytes=6-7,0-1,2-6", some(&[0..8])),
            ("bytes=0-1,20-30", some(&[0..2])),
            ("bytes=20-30,40-", Unsatisfiable),
            ("bytes=3-99999999999999999999999", some(&[3..11])),
            ("bytes=99999999999999999999999-", Unsatisfiable),
        ] {
            assert_eq!(parse_range(header, 11), want, "{header}");
        }
        for bad in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes 0-1",
        ] {
            assert_eq!(parse_range(bad, 11), Ignore, "{bad}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Unsatisfiable);
        assert_eq!(parse_range("bytes=-5", 0), Unsatisfiable);
    }

    #[test]
    fn many_ranges_are_ignored() {
        let list = |n: u64| {
            format!(
                "bytes={}",
                (0..n)
                    .map(|i| format!("{0}-{0}", 2 * i))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        };
        assert!(matches!(parse_range(&list(16), 100), RangeRequest::Ranges(r) if r.len() == 16));
        assert_eq!(parse_range(&list(17), 100), RangeRequest::Ignore);
    }

    #[test]
    fn content_range() {
        for good in [
            "bytes 0-4/11",
            "bytes 5-10/*",
            "bytes */11",
            "bytes 0-0/1",
            "bytes */0",
        ] {
            assert_eq!(ContentRange::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(
            ContentRange::parse("bytes 0-4/11"),
            Some(ContentRange::of(0..5, Some(11)))
        );
        for bad in [
            "bytes */*",
            "bytes 5-4/11",
            "bytes 0-11/11",
            "items 0-1/2",
            "bytes 0-1",
            "bytes=0-1/2",
            "0-1/2",
            "",
            "bytes +0-1/2",
            "bytes 0-18446744073709551615/*",
            "bytes -1/2",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn ranges_lie_inside_and_apart(header in "bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,2}-[0-9]{0,2}){0,6}", size in 0u64..200) {
            if let RangeRequest::Ranges(ranges) = parse_range(&header, size) {
                for (i, a) in ranges.iter().enumerate() {
                    prop_assert!(a.start < a.end && a.end <= size);
                    prop_assert!(ranges[..i].iter().all(|b| a.end < b.start || b.end < a.start));
                }
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}", size: u64) {
            let _ = parse_range(&text, size);
            if let Some(range) = ContentRange::parse(&text) {
                prop_assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
            }
        }
    }
}
