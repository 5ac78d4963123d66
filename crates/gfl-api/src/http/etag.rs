//! Entity tags and the conditions made of them (RFC 9110 sections 8.8.3 and 13).

use super::HttpDate;
use crate::limits::ETAGS_PER_REQUEST_MAX;

/// One entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag {
    /// Whether it is marked `W/`.
    pub weak: bool,
    /// The text between the quotes.
    pub tag: String,
}

impl Etag {
    /// Reads one tag with its quotes; none if malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (tag, rest) = Self::take(text.trim_matches([' ', '\t']))?;
        rest.is_empty().then_some(tag)
    }

    /// Whether both tags are strong and equal: the comparison for writes and ranges.
    pub fn equals_strong(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.tag == other.tag
    }

    /// Whether the tags are equal, weak or not: the comparison for caches.
    pub fn equals_weak(&self, other: &Self) -> bool {
        self.tag == other.tag
    }

    /// Reads a tag off the front.
    fn take(text: &str) -> Option<(Self, &str)> {
        let (weak, text) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (tag, rest) = text.strip_prefix('"')?.split_once('"')?;
        let allowed = |c: char| c == '!' || ('\u{23}'..='\u{7e}').contains(&c) || c > '\u{7f}';
        tag.chars().all(allowed).then(|| {
            (
                Self {
                    weak,
                    tag: tag.to_owned(),
                },
                rest,
            )
        })
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagList {
    /// `*`: anything that exists.
    Any,
    /// Any of these tags.
    Tags(Vec<Etag>),
}

impl EtagList {
    /// Reads the field, several lines joined by `, `; none if malformed or longer than
    /// [`ETAGS_PER_REQUEST_MAX`] tags.
    pub fn parse(field: &str) -> Option<Self> {
        let mut rest = field.trim_matches([' ', '\t']);
        if rest == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            let (tag, after) = Etag::take(rest)?;
            let after = after.trim_start_matches([' ', '\t']);
            if tags.len() == ETAGS_PER_REQUEST_MAX || !(after.is_empty() || after.starts_with(','))
            {
                return None;
            }
            tags.push(tag);
            rest = after.trim_start_matches([' ', '\t', ',']);
        }
        (!tags.is_empty()).then_some(Self::Tags(tags))
    }

    /// Whether the current tag (with its quotes; none if nothing exists) is in the list, strongly compared: for
    /// `If-Match`.
    pub fn matches_strong(&self, current: Option<&str>) -> bool {
        self.matches(current, Etag::equals_strong)
    }

    /// Whether the current tag (with its quotes; none if nothing exists) is in the list, weakly compared: for
    /// `If-None-Match`.
    pub fn matches_weak(&self, current: Option<&str>) -> bool {
        self.matches(current, Etag::equals_weak)
    }

    fn matches(&self, current: Option<&str>, equals: fn(&Etag, &Etag) -> bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Tags(tags), Some(current)) => Etag::parse(current)
                .is_some_and(|current| tags.iter().any(|tag| equals(tag, &current))),
        }
    }
}

/// The condition fields of a request, as received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preconditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a str>,
}

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    Failed,
}

impl Preconditions<'_> {
    /// Whether the request has no condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Evaluates the conditions in the order of RFC 9110 section 13.2.2.
    ///
    /// `reading` is true for GET and HEAD; `etag` is the current tag with its quotes, none if nothing exists;
    /// `mtime_s` the current time of change in Unix seconds. A malformed `If-Match` fails and a malformed
    /// `If-None-Match` fails a write, since carrying on could overwrite what the caller meant to protect;
    /// malformed dates are ignored as the standard demands.
    pub fn evaluate(&self, reading: bool, etag: Option<&str>, mtime_s: Option<i64>) -> Verdict {
        if let Some(field) = self.if_match {
            if !EtagList::parse(field).is_some_and(|list| list.matches_strong(etag)) {
                return Verdict::Failed;
            }
        } else if let (Some(HttpDate(since)), Some(mtime)) =
            (date(self.if_unmodified_since), mtime_s)
            && mtime > since
        {
            return Verdict::Failed;
        }
        if let Some(field) = self.if_none_match {
            match (
                EtagList::parse(field).map(|list| list.matches_weak(etag)),
                reading,
            ) {
                (Some(false), _) | (None, true) => {}
                (Some(true), true) => return Verdict::NotModified,
                (Some(true) | None, false) => return Verdict::Failed,
            }
        } else if let (true, Some(HttpDate(since)), Some(mtime)) =
            (reading, date(self.if_modified_since), mtime_s)
            && mtime <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }
}

fn date(field: Option<&str>) -> Option<HttpDate> {
    field.and_then(HttpDate::parse)
}

/// Whether an `If-Range` condition holds, so that `Range` is to be obeyed: a strong tag equal to the current one,
/// or a date equal to the time of change to the second.
pub fn if_range_holds(field: &str, etag: Option<&str>, mtime_s: Option<i64>) -> bool {
    match Etag::parse(field) {
        Some(tag) => etag
            .and_then(Etag::parse)
            .is_some_and(|current| tag.equals_strong(&current)),
        None => HttpDate::parse(field).is_some_and(|HttpDate(date)| mtime_s == Some(date)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists() {
        let list = EtagList::parse(r#" "a" ,W/"b,c",, "d""#).unwrap();
        for (current, strong, weak) in [
            (r#""a""#, true, true),
            (r#"W/"a""#, false, true),
            (r#""b,c""#, false, true),
            (r#""x""#, false, false),
        ] {
            assert_eq!(list.matches_strong(Some(current)), strong, "{current}");
            assert_eq!(list.matches_weak(Some(current)), weak, "{current}");
        }
        assert!(!list.matches_weak(None));
        assert!(EtagList::Any.matches_strong(Some("\"x\"")) && !EtagList::Any.matches_strong(None));
        for bad in [
            "",
            ",",
            "a",
            "\"a",
            "\"a\" \"b\"",
            "w/\"a\"",
            "\"a b\"",
            "*,\"a\"",
            "\"a\"x",
        ] {
            assert_eq!(EtagList::parse(bad), None, "{bad}");
        }
        assert!(EtagList::parse(&vec!["\"a\""; 65].join(",")).is_none());
    }

    #[test]
    fn order_of_conditions() {
        use Verdict::{Failed, NotModified, Proceed};
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = Some(784_111_777);
        let p = Preconditions::default();
        let tag = Some("\"x\"");
        let if_match = |f| Preconditions {
            if_match: Some(f),
            ..p
        };
        let none_match = |f| Preconditions {
            if_none_match: Some(f),
            ..p
        };
        let modified = Preconditions {
            if_modified_since: Some(old),
            ..p
        };
        let unmodified = Preconditions {
            if_unmodified_since: Some(old),
            ..p
        };
        let both = Preconditions {
            if_none_match: Some("\"y\""),
            if_modified_since: Some(old),
            ..p
        };
        let late = at.map(|s: i64| s + 1);
        for (conditions, reading, etag, mtime, want) in [
            (p, true, None, None, Proceed),
            (if_match("\"x\""), false, tag, None, Proceed),
            (if_match("\"y\""), true, tag, None, Failed),
            (if_match("*"), false, None, None, Failed),
            (if_match("broken"), false, tag, None, Failed),
            (none_match("*"), false, tag, None, Failed),
            (none_match("*"), false, None, None, Proceed),
            (none_match("\"x\""), true, tag, None, NotModified),
            (none_match("W/\"x\""), true, tag, None, NotModified),
            (none_match("broken"), true, tag, None, Proceed),
            (none_match("broken"), false, tag, None, Failed),
            (modified, true, tag, at, NotModified),
            (modified, true, tag, late, Proceed),
            (modified, false, tag, at, Proceed),
            (both, true, tag, at, Proceed),
            (unmodified, false, tag, at, Proceed),
            (unmodified, false, tag, late, Failed),
        ] {
            assert_eq!(
                conditions.evaluate(reading, etag, mtime),
                want,
                "{conditions:?} {reading}"
            );
        }
    }

    #[test]
    fn if_range() {
        assert!(if_range_holds("\"x\"", Some("\"x\""), None));
        assert!(!if_range_holds("W/\"x\"", Some("\"x\""), None));
        assert!(!if_range_holds("W/\"x\"", Some("W/\"x\""), None));
        assert!(!if_range_holds("\"x\"", None, None));
        assert!(if_range_holds(
            "Sun, 06 Nov 1994 08:49:37 GMT",
            None,
            Some(784_111_777)
        ));
        assert!(!if_range_holds(
            "Sun, 06 Nov 1994 08:49:37 GMT",
            None,
            Some(784_111_776)
        ));
        assert!(!if_range_holds("garbage", Some("\"x\""), Some(0)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC|[\"W/,* ]){0,40}") {
            let _ = EtagList::parse(&text).map(|list| list.matches_weak(Some(&text)));
            let _ = if_range_holds(&text, Some(&text), None);
        }
    }
}
