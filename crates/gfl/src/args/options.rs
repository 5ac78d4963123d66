//! The options: which there are, which command knows which, and how they are found among the other words.

use super::ArgsError;
use gfl_api::goflags::{self, FlagError, Known, parse_bool};

/// Options every command knows.
pub(crate) const GLOBAL: &[Known] = &[
    Known::value("config"),
    Known::value("server"),
    Known::value("fingerprint"),
    Known::value("retries"),
    Known::value("timeout"),
    Known::switch("quiet"),
    Known::switch("q"),
    Known::switch("verbose"),
    Known::switch("v"),
    Known::switch("json"),
];

const PUT: &[Known] = &[
    Known::value("parallel"),
    Known::switch("overwrite"),
    Known::switch("no-clobber"),
    Known::switch("checksum"),
    Known::switch("force"),
    Known::switch("follow"),
    Known::switch("L"),
    Known::switch("recursive"),
    Known::switch("r"),
];
const GET: &[Known] = &[
    Known::value("parallel"),
    Known::switch("overwrite"),
    Known::switch("no-clobber"),
    Known::switch("checksum"),
    Known::switch("force"),
    Known::switch("recursive"),
    Known::switch("r"),
];
const LS: &[Known] = &[
    Known::switch("long"),
    Known::switch("l"),
    Known::switch("recursive"),
    Known::switch("r"),
];
// Always so; what fingers type anyway must not become part of a path.
const RM: &[Known] = &[
    Known::switch("recursive"),
    Known::switch("r"),
    Known::switch("R"),
    Known::switch("f"),
    Known::switch("rf"),
    Known::switch("fr"),
    Known::switch("force"),
];
const MKDIR: &[Known] = &[Known::switch("p"), Known::switch("parents")];
const MV: &[Known] = &[Known::switch("overwrite")];
const CP: &[Known] = &[
    Known::switch("overwrite"),
    Known::switch("recursive"),
    Known::switch("r"),
];
const RESTORE: &[Known] = &[Known::value("version"), Known::switch("list")];
const DISCOVER: &[Known] = &[Known::switch("wait")];
const UPDATE: &[Known] = &[
    Known::switch("local"),
    Known::switch("l"),
    Known::switch("check"),
    Known::switch("yes"),
    Known::switch("y"),
    Known::switch("downgrade"),
];
const CONFIG: &[Known] = &[Known::switch("force"), Known::switch("trust")];

/// Short names.
const ALIASES: &[(&str, &str)] = &[
    ("q", "quiet"),
    ("v", "verbose"),
    ("l", "long"),
    ("r", "recursive"),
    ("L", "follow"),
    ("h", "help"),
    ("y", "yes"),
];

/// Options known in front of the command.
pub(crate) fn front() -> Vec<Known> {
    let mut known = GLOBAL.to_vec();
    known.push(Known::switch("version"));
    known
}

/// Every command there is.
pub(crate) const COMMANDS: &[&str] = &[
    "put", "get", "ls", "rm", "mkdir", "mv", "cp", "stat", "restore", "config", "discover",
    "update", "version", "help",
];

/// The options in front of the command, those of any command among them, and the words from the command on. They are
/// Go's: the first word that is none ends them, and an unknown one is an error.
pub(crate) fn in_front(words: &[String]) -> Result<(Given, Vec<String>), ArgsError> {
    let mut known = front();
    for option in COMMANDS
        .iter()
        .flat_map(|name| of(name).unwrap_or_default())
    {
        // `-version` is v0.1's: it shows the version.
        if known.iter().all(|one| one.name != option.name) {
            known.push(*option);
        }
    }
    let parsed = goflags::parse(&apart(words, &known), &known).map_err(|error| match error {
        FlagError::Help => ArgsError::Help,
        other => ArgsError::Flag(other.to_string()),
    })?;
    let values = parsed.values.iter();
    let values = values.map(|(name, value)| (long_name(name), value.clone()));
    let given = Given {
        values: values.collect(),
        is_exact: false,
    };
    Ok((given, parsed.rest))
}

/// The words with short switches that stand together in front of the command taken apart.
fn apart(words: &[String], known: &[Known]) -> Vec<String> {
    let mut all = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.as_slice().first() {
        let Some((name, value)) = option_shape(word) else {
            break;
        };
        words.next();
        match known.iter().find(|option| option.name == name) {
            None => match bundle(word, known) {
                Some(switches) => all.extend(switches.iter().map(|name| format!("--{name}"))),
                None => all.push(word.clone()),
            },
            Some(option) => {
                all.push(word.clone());
                if option.takes_value && value.is_none() {
                    all.extend(words.next().cloned());
                }
            }
        }
    }
    all.extend(words.cloned());
    all
}

/// Options of a command besides the global ones; none if there is no such command.
pub(crate) fn of(command: &str) -> Option<&'static [Known]> {
    Some(match command {
        "put" => PUT,
        "get" => GET,
        "ls" => LS,
        "rm" => RM,
        "mkdir" => MKDIR,
        "mv" => MV,
        "cp" => CP,
        "restore" => RESTORE,
        "config" => CONFIG,
        "discover" => DISCOVER,
        "update" => UPDATE,
        "stat" | "version" | "help" => &[],
        _ => return None,
    })
}

/// The options that were given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    values: Vec<(&'static str, String)>,
    /// There was a `--`: every word is a name of its own.
    pub(crate) is_exact: bool,
}

impl Given {
    /// Refuses what a command does not know.
    pub(crate) fn refuse_unless(&self, known: &[Known]) -> Result<(), ArgsError> {
        let mut all: Vec<&str> = known.iter().map(|option| long_name(option.name)).collect();
        all.extend(front().iter().map(|option| long_name(option.name)));
        match self.values.iter().find(|(name, _)| !all.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(ArgsError::Flag(format!(
                "flag provided but not defined: -{name}"
            ))),
        }
    }

    /// The last value of an option.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rfind(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// Takes the known options out of the words behind a command; the other words come back in order.
    pub(crate) fn take(
        &mut self,
        words: &[String],
        known: &[Known],
        is_here: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, ArgsError> {
        let mut rest = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                self.is_exact = true;
                rest.extend(words.cloned());
                break;
            }
            let Some((name, value)) = option_shape(word) else {
                rest.push(word.clone());
                continue;
            };
            if matches!(name, "h" | "help") {
                self.values.push(("help", "true".into()));
                continue;
            }
            let Some(option) = known
                .iter()
                .chain(GLOBAL)
                .find(|option| option.name == name)
            else {
                if let Some(switches) = bundle(word, known) {
                    let on = switches.into_iter().map(|name| (name, "true".into()));
                    self.values.extend(on);
                    continue;
                }
                if !is_here(word) {
                    return Err(refused(word, name, known));
                }
                rest.push(word.clone());
                continue;
            };
            let value = match (option.takes_value, value) {
                (true, Some(value)) => value.to_owned(),
                (true, None) => words
                    .next()
                    .ok_or_else(|| ArgsError::Flag(format!("flag needs an argument: -{name}")))?
                    .clone(),
                (false, None) => "true".to_owned(),
                (false, Some(value)) => parse_bool(value)
                    .ok_or_else(|| {
                        ArgsError::Flag(format!(
                            "invalid boolean value {value:?} for -{name}: parse error"
                        ))
                    })?
                    .to_string(),
            };
            self.values.push((long_name(option.name), value));
        }
        Ok(rest)
    }
}

fn long_name(name: &'static str) -> &'static str {
    ALIASES
        .iter()
        .find(|(short, _)| *short == name)
        .map_or(name, |(_, long)| *long)
}

/// Name and value of a word that looks like an option.
fn option_shape(word: &str) -> Option<(&str, Option<&str>)> {
    let body = word.strip_prefix('-')?;
    let body = body.strip_prefix('-').unwrap_or(body);
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    (!name.is_empty()).then_some((name, value))
}

/// The long names of switches written together, as in `-lr`; none if one of the letters is no switch. A word that is an
/// option by itself never gets here, so v0.1's long options with one dash keep their meaning.
fn bundle(word: &str, known: &[Known]) -> Option<Vec<&'static str>> {
    let letters = word.strip_prefix('-')?;
    if letters.starts_with('-') || letters.len() < 2 {
        return None;
    }
    let switch = |letter: char| {
        let is_it = |option: &&Known| !option.takes_value && option.name.chars().eq([letter]);
        let option = known.iter().chain(GLOBAL).find(is_it)?;
        Some(long_name(option.name))
    };
    letters.chars().map(switch).collect()
}

/// v0.1 took every word behind the command as part of a name. But a mistyped option must not end up in one.
fn refused(word: &str, name: &str, known: &[Known]) -> ArgsError {
    let nearest = known
        .iter()
        .chain(GLOBAL)
        .filter(|option| option.name.len() >= 4)
        .map(|option| (distance(name, option.name), option.name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let meant = nearest
        .map(|(_, name)| format!("; did you mean --{name}?"))
        .unwrap_or_default();
    ArgsError::Word {
        text: format!("flag provided but not defined: -{name}{meant}"),
        hint: format!("there is no option {word}; a name that begins with - goes behind `--`"),
    }
}

/// Characters to insert, remove or replace to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
