//! Command-line options as Go's flag package takes them, which scripts written for v0.1 rely on, and the bridge
//! from there to an ordinary option parser.
//!
//! Knows neither the programs' options nor what they mean.

use std::{
    ffi::{OsStr, OsString},
    fmt,
};

/// An option a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name without dashes.
    pub name: &'static str,
    /// Whether a value follows; otherwise it is a switch.
    pub takes_value: bool,
}

impl Known {
    /// An option with a value.
    pub const fn value(name: &'static str) -> Self {
        Self {
            name,
            takes_value: true,
        }
    }

    /// A switch.
    pub const fn switch(name: &'static str) -> Self {
        Self {
            name,
            takes_value: false,
        }
    }
}

/// What [`parse`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Options in the order given; a switch has the value `true` or `false`.
    pub values: Vec<(&'static str, String)>,
    /// Everything from the first argument that is no option.
    pub rest: Vec<String>,
}

impl Parsed {
    /// The value of an option, the last if it was given several times.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rfind(|(n, _)| *n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }
}

/// Splits arguments (without the program's name) exactly as Go does: one dash or two, `-x=v` or `-x v`, a switch
/// only as `-x` or `-x=true`; the first argument that is no option, or what follows `--`, begins the rest.
pub fn parse(args: &[String], known: &[Known]) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed::default();
    let mut args = args.iter();
    while let Some(arg) = args.as_slice().first() {
        let Some(dashed) = arg.strip_prefix('-').filter(|name| !name.is_empty()) else {
            break;
        };
        args.next();
        if dashed == "-" {
            break;
        }
        let body = dashed.strip_prefix('-').unwrap_or(dashed);
        if body.starts_with(['-', '=']) {
            return Err(FlagError::BadSyntax(arg.clone()));
        }
        let (name, given) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(option) = known.iter().find(|k| k.name == name) else {
            let help = name == "h" || name == "help";
            return Err(if help {
                FlagError::Help
            } else {
                FlagError::NotDefined(name.to_owned())
            });
        };
        let value = match (option.takes_value, given) {
            (true, Some(value)) => value.to_owned(),
            (true, None) => args
                .next()
                .ok_or_else(|| FlagError::NeedsArgument(name.to_owned()))?
                .clone(),
            (false, None) => "true".to_owned(),
            (false, Some(value)) => match parse_bool(value) {
                Some(on) => on.to_string(),
                None => {
                    return Err(FlagError::BadBool {
                        name: name.to_owned(),
                        value: value.to_owned(),
                    });
                }
            },
        };
        parsed.values.push((option.name, value));
    }
    parsed.rest = args.cloned().collect();
    Ok(parsed)
}

/// A switch's value as Go reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number as Go reads it: a sign, the prefixes `0x`, `0b`, `0o` and `0`, and single underscores between
/// digits or behind a prefix. The error is the text Go gives behind the option's name.
pub fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, body) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // A prefix counts as a digit before an underscore.
    let prefixed = body.len() < lower.len();
    let plain = body.strip_prefix('_').filter(|_| prefixed).unwrap_or(body);
    if plain
        .split('_')
        .any(|run| run.is_empty() || !run.chars().all(|c| c.is_digit(base)))
    {
        return Err("parse error");
    }
    let value =
        i128::from_str_radix(&plain.replace('_', ""), base).map_err(|_| "value out of range")?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| "value out of range")
}

/// Turns the options named in `known` from Go's spelling into `--name=value` and `--name`, wherever they stand
/// before a `--`; everything else stays as it is, in its place: what is unknown, what has a one-letter name, and
/// all that follows `--`. To be applied to the arguments before an ordinary parser sees them; the program's name
/// may be among them.
///
/// A switch given as `-x=false` is left out; one with a value that is no boolean stays for the parser to refuse.
pub fn rewrite(args: impl IntoIterator<Item = OsString>, known: &[Known]) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            break;
        }
        let Some((option, given)) = recognise(&arg, known) else {
            out.push(arg);
            continue;
        };
        match (option.takes_value, given) {
            (true, Some(value)) => out.push(long(option.name, Some(&value))),
            (true, None) => out.push(long(option.name, args.next().as_deref())),
            (false, None) => out.push(long(option.name, None)),
            (false, Some(value)) => match value.to_str().and_then(parse_bool) {
                Some(true) => out.push(long(option.name, None)),
                Some(false) => {}
                None => out.push(long(option.name, Some(&value))),
            },
        }
    }
    out.extend(args);
    out
}

/// The known option an argument names, and its value if that is part of the argument.
fn recognise(arg: &OsStr, known: &[Known]) -> Option<(Known, Option<OsString>)> {
    let bytes = arg.as_encoded_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let end = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
    let option = known
        .iter()
        .find(|k| k.name.len() > 1 && k.name.as_bytes() == &bytes[..end])?;
    if end == bytes.len() {
        return Some((*option, None));
    }
    let value = match arg.to_str() {
        Some(text) => text.split_once('=').map(|(_, value)| OsString::from(value)),
        None => cut_value(arg, arg.as_encoded_bytes().len() - (bytes.len() - end - 1)),
    };
    value.map(|value| (*option, Some(value)))
}

/// The rest of an argument that is not Unicode.
#[cfg(unix)]
fn cut_value(arg: &OsStr, from: usize) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    arg.as_bytes()
        .get(from..)
        .map(|value| OsString::from_vec(value.to_vec()))
}

/// Elsewhere such an argument stays as it is, for the parser to refuse.
#[cfg(not(unix))]
fn cut_value(_: &OsStr, _: usize) -> Option<OsString> {
    None
}

fn long(name: &str, value: Option<&OsStr>) -> OsString {
    let mut arg = OsString::from("--");
    arg.push(name);
    if let Some(value) = value {
        arg.push("=");
        arg.push(value);
    }
    arg
}

/// Why arguments cannot be split; the texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// `-h` or `-help`: print the usage to stderr and exit with 0. All others exit with 2.
    Help,
    /// No such option.
    NotDefined(String),
    /// The value is missing.
    NeedsArgument(String),
    /// Too many dashes, or no name.
    BadSyntax(String),
    /// A switch with a value that is no boolean.
    BadBool {
        /// The switch.
        name: String,
        /// Its value.
        value: String,
    },
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("flag: help requested"),
            Self::NotDefined(name) => write!(f, "flag provided but not defined: -{name}"),
            Self::NeedsArgument(name) => write!(f, "flag needs an argument: -{name}"),
            Self::BadSyntax(arg) => write!(f, "bad flag syntax: {arg}"),
            Self::BadBool { name, value } => {
                write!(
                    f,
                    "invalid boolean value {value:?} for -{name}: parse error"
                )
            }
        }
    }
}

impl std::error::Error for FlagError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[Known] = &[
        Known::value("config"),
        Known::switch("version"),
        Known::value("n"),
        Known::switch("l"),
    ];

    fn split(line: &str) -> Result<(String, String), String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let parsed = parse(&args, KNOWN).map_err(|e| e.to_string())?;
        let values: Vec<String> = parsed
            .values
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        Ok((values.join(" "), parsed.rest.join(" ")))
    }

    #[test]
    fn as_go_splits() {
        for (line, values, rest) in [
            ("", "", ""),
            ("-config a --config=b put x", "config=a config=b", "put x"),
            ("put -config a", "", "put -config a"),
            ("-version -- -config", "version=true", "-config"),
            ("-version=F - -config", "version=false", "- -config"),
            ("-config -version x", "config=-version", "x"),
            ("--config= x", "config=", "x"),
            ("-config a=b=c", "config=a=b=c", ""),
            ("-l false", "l=true", "false"),
        ] {
            assert_eq!(
                split(line),
                Ok((values.to_owned(), rest.to_owned())),
                "{line}"
            );
        }
        for (line, want) in [
            ("-x", "flag provided but not defined: -x"),
            ("--x=1", "flag provided but not defined: -x"),
            ("-config", "flag needs an argument: -config"),
            ("---config", "bad flag syntax: ---config"),
            ("-=a", "bad flag syntax: -=a"),
            (
                "-version=maybe",
                "invalid boolean value \"maybe\" for -version: parse error",
            ),
            ("-h", "flag: help requested"),
            ("--help", "flag: help requested"),
        ] {
            assert_eq!(split(line), Err(want.to_owned()), "{line}");
        }
        let args = ["-n=1", "-n=2", "-l"].map(str::to_owned);
        let parsed = parse(&args, KNOWN).unwrap();
        assert_eq!(
            (
                parsed.value("n"),
                parsed.is_on("l"),
                parsed.is_on("version")
            ),
            (Some("2"), true, false)
        );
    }

    #[test]
    fn whole_numbers() {
        for (text, want) in [
            ("30", Ok(30)),
            ("-5", Ok(-5)),
            ("+5", Ok(5)),
            ("0", Ok(0)),
            ("0x10", Ok(16)),
            ("0X_fF", Ok(255)),
            ("0b101", Ok(5)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            (
                "99999999999999999999999999999999999999999999",
                Err("value out of range"),
            ),
            ("", Err("parse error")),
            ("-", Err("parse error")),
            ("0x", Err("parse error")),
            ("08", Err("parse error")),
            ("1__0", Err("parse error")),
            ("_1", Err("parse error")),
            ("1_", Err("parse error")),
            ("1.5", Err("parse error")),
            ("--5", Err("parse error")),
            ("ten", Err("parse error")),
            ("é1", Err("parse error")),
        ] {
            assert_eq!(parse_int(text), want, "{text}");
        }
    }

    fn rewritten(line: &str) -> String {
        let args = rewrite(line.split_whitespace().map(OsString::from), KNOWN);
        args.iter()
            .map(|a| a.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn rewriting() {
        for (line, want) in [
            ("gfl -config x put a b", "gfl --config=x put a b"),
            ("gfl put a b -config=x", "gfl put a b --config=x"),
            ("gfl --config x --version", "gfl --config=x --version"),
            ("gfl -version=true", "gfl --version"),
            ("gfl -version=0 ls", "gfl ls"),
            ("gfl -version=maybe", "gfl --version=maybe"),
            ("gfl put -- -config x", "gfl put -- -config x"),
            ("gfl -config -- x", "gfl --config=-- x"),
            ("gfl -config", "gfl --config"),
            (
                "gfl -l -n 5 -unknown --other=1 - -configx",
                "gfl -l -n 5 -unknown --other=1 - -configx",
            ),
            ("gfl ---config x", "gfl ---config x"),
        ] {
            assert_eq!(rewritten(line), want, "{line}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_pass_through() {
        use std::os::unix::ffi::OsStringExt;
        let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let args = rewrite(
            [
                raw(b"-config=a\xff=b"),
                raw(b"\xff"),
                raw(b"-config"),
                raw(b"\xfe"),
            ],
            KNOWN,
        );
        assert_eq!(
            args,
            [
                raw(b"--config=a\xff=b"),
                raw(b"\xff"),
                raw(b"--config=\xfe")
            ]
        );
    }

    proptest! {
        #[test]
        fn rewriting_loses_nothing_and_is_stable(line in "(-{0,3}(config|version|n|x)(=[a-z]{0,2})? |[a-z-]{1,3} ){0,6}") {
            let once = rewritten(&line);
            prop_assert_eq!(&rewritten(&once), &once);
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let _ = parse(&args, KNOWN);
        }

        #[test]
        fn numbers_come_back(n: i64) {
            prop_assert_eq!(parse_int(&n.to_string()), Ok(n));
        }
    }
}
