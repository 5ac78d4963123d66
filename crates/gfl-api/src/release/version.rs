//! Versions and their order: that of semantic versioning, with v0.1's `-lite` taken for what it is, the name of
//! the edition and no mark of a pre-release.

use std::cmp::Ordering;
use std::fmt;

/// The suffix all releases of this edition carry or have carried.
const EDITION: &str = "lite";

/// A version, such as `0.10.0`, `v0.2.0-lite` or `1.0.0-rc.2`.
///
/// Equal and ordered by meaning: `0.2.0-lite` is `0.2.0`, build metadata counts for nothing.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: [u64; 3],
    pre: Vec<Part>,
    shown: String,
}

/// One identifier of a pre-release. Numbers come before words, says the standard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// Reads a version; a leading `v` may stand before it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (bare, _build) = bare.split_once('+').unwrap_or((bare, ""));
        let (core, pre) = bare.split_once('-').unwrap_or((bare, ""));
        let mut numbers = core.split('.').map(number);
        let three = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() || bare.ends_with('-') {
            return None;
        }
        let pre = match pre.strip_suffix(EDITION) {
            Some("") => "",
            Some(rest) => rest.strip_suffix(['-', '.']).unwrap_or(pre),
            None => pre,
        };
        let pre = match pre {
            "" => Vec::new(),
            pre => pre.split('.').map(part).collect::<Option<_>>()?,
        };
        Some(Self {
            numbers: three,
            pre,
            shown: text.to_owned(),
        })
    }

    /// Whether it came out before the version it is named after.
    pub fn is_pre_release(&self) -> bool {
        !self.pre.is_empty()
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn part(text: &str) -> Option<Part> {
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match number(text) {
        Some(number) => Some(Part::Number(number)),
        None if !text.is_empty() && is_word(text) => Some(Part::Word(text.to_owned())),
        None => None,
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (false, false) => self.pre.cmp(&other.pre),
            // The finished version comes after all that led to it.
            (mine, others) => mine.cmp(&others),
        };
        self.numbers.cmp(&other.numbers).then_with(by_pre)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_order_of_releases() {
        let ascending = [
            "0.1.0-lite",
            "0.1.1",
            "0.2.0-alpha-lite",
            "0.2.0-rc.2",
            "0.2.0-rc.10-lite",
            "0.2.0-lite",
            "0.10.0",
            "1.0.0-1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(version(a).cmp(&version(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_edition_is_no_pre_release() {
        for same in ["0.2.0", "v0.2.0", "0.2.0-lite", "0.2.0+lite.7", " 0.2.0 "] {
            assert_eq!(version(same), version("0.2.0"), "{same}");
        }
        assert_eq!(version("0.2.0-rc.1-lite"), version("0.2.0-rc.1"));
        assert!(version("0.2.0-elite").is_pre_release(), "another word");
        assert_eq!(version("v0.2.0-lite").to_string(), "v0.2.0-lite");
    }

    #[test]
    fn what_is_no_version() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "1..3",
            "+1.2.3",
            "1.2.3-",
            "1.2.3-a..b",
            "latest",
            "1.2.99999999999999999999",
            "1.2.3-ü",
            "1. 2.3",
        ] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[v0-9a-z.+-]{0,16}") {
            if let Some(version) = Version::parse(&text) {
                prop_assert_eq!(&version, &version.clone());
            }
        }
    }
}
