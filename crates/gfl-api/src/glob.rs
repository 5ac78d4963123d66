//! Wildcards as the v0.1 client took them: the rules of Go's `filepath.Match`. No `**`, no braces.
//!
//! Knows no folder: the caller lists names and asks about each.

use std::fmt;

/// Whether the v0.1 client treated the text as a pattern.
pub fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

/// Whether the whole of `name` matches `pattern`: `*` is any run of characters and `?` any one character, neither
/// a `/`; `[a-z]` is one of a class and `[^a-z]` one not of it; `\` takes the next character as it is (not on
/// Windows, where it separates folders). A malformed pattern is an error whatever the name.
pub fn go_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    go_match_with(pattern, name, !cfg!(windows))
}

/// As [`go_match`], with the meaning of `\` given.
pub fn go_match_with(pattern: &str, name: &str, escapes: bool) -> Result<bool, BadPattern> {
    let items = compile(pattern, escapes)?;
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut item) = (0, 0);
    // Where to go on when a match fails: behind the last star, which then swallows one character more. An earlier
    // star never needs to be reconsidered.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match (items.get(item), name.get(at)) {
            (None, None) => return Ok(true),
            (Some(Item::Star), _) => {
                item += 1;
                retry = Some((item, at));
                continue;
            }
            (Some(one), Some(c)) => one.takes(*c),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if matched {
            (at, item) = (at + 1, item + 1);
            continue;
        }
        match retry {
            Some((behind, from)) if name.get(from).is_some_and(|c| *c != '/') => {
                retry = Some((behind, from + 1));
                (at, item) = (from + 1, behind);
            }
            _ => return Ok(false),
        }
    }
}

/// A piece of a pattern.
enum Item {
    Star,
    Any,
    One(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Item {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != '/',
            Self::One(one) => *one == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn compile(pattern: &str, escapes: bool) -> Result<Vec<Item>, BadPattern> {
    let mut rest = pattern.chars();
    let mut items = Vec::new();
    while let Some(c) = rest.next() {
        items.push(match c {
            '*' => Item::Star,
            '?' => Item::Any,
            '[' => class(&mut rest, escapes)?,
            '\\' if escapes => Item::One(rest.next().ok_or(BadPattern)?),
            c => Item::One(c),
        });
    }
    Ok(items)
}

/// Reads a class behind its bracket: at least one character or range, where `-` and `]` must be escaped.
fn class(rest: &mut std::str::Chars<'_>, escapes: bool) -> Result<Item, BadPattern> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.as_str().starts_with(']') {
            rest.next();
            return Ok(Item::Class { negated, ranges });
        }
        let low = class_char(rest, escapes)?;
        let high = if rest.as_str().starts_with('-') {
            rest.next();
            class_char(rest, escapes)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut std::str::Chars<'_>, escapes: bool) -> Result<char, BadPattern> {
    match rest.next().ok_or(BadPattern)? {
        '-' | ']' => Err(BadPattern),
        '\\' if escapes => rest.next().ok_or(BadPattern),
        c => Ok(c),
    }
}

/// The pattern is malformed; the text is Go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPattern;

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("syntax error in pattern")
    }
}

impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("", "", true),
            ("", "a", false),
            ("abc", "abc", true),
            ("*", "", true),
            ("*", "a.txt", true),
            ("*", "a/b", false),
            ("*.txt", ".txt", true),
            ("*.txt", "a.txt.bak", false),
            ("a*b*c", "axxbyybzzc", true),
            ("a*/b", "ax/b", true),
            ("a*/b", "a/x/b", false),
            ("**", "a/b", false),
            ("?", "ü", true),
            ("?", "/", false),
            ("a?b", "ab", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[abc^]", "^", true),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("[z-a]", "b", false),
            ("[日-本]", "日", true),
            ("]", "]", true),
            ("-", "-", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*x", "xxx", true),
            ("*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(
                go_match_with(pattern, name, true),
                Ok(want),
                "{pattern} {name}"
            );
        }
        for bad in [
            "[", "[a", "[]", "[]a]", "[^]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[a-]b]", "\\", "a[",
            "*[", "[\\",
        ] {
            assert_eq!(go_match_with(bad, "zzz", true), Err(BadPattern), "{bad}");
        }
        assert_eq!(go_match_with("a\\*", "a\\b", false), Ok(true));
        assert!(has_wildcard("a]") && !has_wildcard("a\\b"));
    }

    /// The rules written down without any care for speed.
    fn slow(items: &[Item], name: &[char]) -> bool {
        match (items.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some((Item::Star, rest)), None) => slow(rest, name),
            (Some((Item::Star, rest)), Some((c, tail))) => {
                slow(rest, name) || (*c != '/' && slow(items, tail))
            }
            (Some(_), None) => false,
            (Some((item, rest)), Some((c, tail))) => item.takes(*c) && slow(rest, tail),
        }
    }

    proptest! {
        #[test]
        fn equals_the_slow_rules(pattern in "[ab/*?\\[\\]^\\\\-]{0,8}", name in "[ab/]{0,8}") {
            if let Ok(items) = compile(&pattern, true) {
                let chars: Vec<char> = name.chars().collect();
                prop_assert_eq!(go_match_with(&pattern, &name, true), Ok(slow(&items, &chars)));
            }
        }

        #[test]
        fn a_name_matches_itself_escaped(name in "\\PC{0,12}") {
            let pattern: String = name.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert_eq!(go_match_with(&pattern, &name, true), Ok(true));
        }
    }
}
