//! The command line: words in, an [`Invocation`] out. First what was typed, then what is meant.
//!
//! Two rules. Known options are recognised anywhere until `--`; what else begins with a dash is refused. All other words
//! are what they were in v0.1: the command, its first argument, and the rest joined by single spaces; where there is a
//! `--`, which v0.1 did not know, every word is a name of its own. Reads no file and asks no server.

mod options;
mod usage;

pub(crate) use usage::of as usage_of;

use crate::remote::Retries;
use crate::transfer;
use crate::ui::Voice;
use gfl_api::certificate::Fingerprint;
use gfl_api::goflags::parse_int;
use options::Given;
use std::fmt;

/// Connections at once for one large file, unless told otherwise.
const PARALLEL_DEFAULT: usize = 4;
const PARALLEL_MAX: usize = 64;
const RETRIES_DEFAULT: u32 = 8;
/// … of a command that somebody waits for.
const RETRIES_SHORT: u32 = 3;

const TIMEOUT_S_DEFAULT: u64 = 30;

/// What the user wants.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// `-config`.
    pub(crate) config: Option<String>,
    /// `-server`.
    pub(crate) server: Option<String>,
    /// `--fingerprint`: the only certificate that is good.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// How often to try again.
    pub(crate) retries: Retries,
    /// Seconds without a byte after which a connection counts as dead.
    pub(crate) timeout_s: u64,
    /// How much to say.
    pub(crate) voice: Voice,
    /// What to do.
    pub(crate) command: Command,
}

/// A command with its arguments.
#[derive(Debug)]
pub(crate) enum Command {
    /// The words behind `put`, whether each is a name of its own, and the wishes.
    Put {
        words: Vec<String>,
        is_exact: bool,
        options: transfer::Options,
    },
    /// The remote paths and where to.
    Get {
        remotes: Vec<String>,
        local: Option<String>,
        /// The target was put together from several words.
        is_joined: bool,
        options: transfer::Options,
    },
    /// Folders.
    Ls {
        names: Names,
        long: bool,
        recursive: bool,
    },
    /// What to delete.
    Rm { names: Names },
    /// What to make.
    Mkdir { names: Names },
    /// From, to.
    Mv {
        from: String,
        to: String,
        overwrite: bool,
    },
    /// From, to.
    Cp {
        from: String,
        to: String,
        overwrite: bool,
    },
    /// Of what.
    Stat { names: Names },
    /// Of what, which version, or only a list.
    Restore {
        names: Names,
        version: Option<String>,
        list: bool,
    },
    /// Address and token.
    Config {
        address: Option<String>,
        token: Option<String>,
        force: bool,
        trust: bool,
    },
    /// Servers near by; also those that only speak every 30 seconds.
    Discover { wait: bool },
    /// This program, by a newer one.
    Update(Update),
    /// Ours and the server's.
    Version { ask_server: bool },
    /// Of a command, or of all.
    Help { topic: Option<String> },
}

/// How to update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    /// Ask the configured server for the manifest first.
    pub(crate) local: bool,
    /// Only look.
    pub(crate) check: bool,
    /// Do not ask.
    pub(crate) yes: bool,
    /// Take what is offered even if it is older, or the same.
    pub(crate) downgrade: bool,
}

/// Names on the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The names.
    pub(crate) paths: Vec<String>,
    /// There is one, and it was put together from several words.
    pub(crate) is_joined: bool,
}

/// Why there is no invocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArgsError {
    /// `-h`: usage on stdout, exit 0.
    Help,
    /// No command: usage on stderr, exit 1.
    NoCommand,
    /// Unknown command: the same.
    Unknown(String),
    /// Too few words for a command: its usage on stderr, exit 1.
    Missing(&'static str),
    /// An option that cannot be understood: exit 2, as Go does it.
    Flag(String),
    /// The same, where something can be said about what to write instead.
    Word {
        /// What is wrong.
        text: String,
        /// What to do about it.
        hint: String,
    },
    /// Help for something that there is no help for.
    Topic(String),
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("help was asked for"),
            Self::NoCommand => f.write_str("a command is missing"),
            Self::Missing(command) => write!(f, "{command}: arguments are missing"),
            Self::Unknown(command) | Self::Topic(command) => {
                write!(f, "Unknown command: {command}")
            }
            Self::Flag(text) | Self::Word { text, .. } => f.write_str(text),
        }
    }
}

/// Reads the words behind the program's name. `is_here` tells whether a word is the name of a local file.
pub(crate) fn parse(
    words: &[String],
    is_here: impl Fn(&str) -> bool,
) -> Result<Invocation, ArgsError> {
    let (mut given, rest) = options::in_front(words)?;
    if given.is_on("version") {
        return invocation(&given, Command::Version { ask_server: false });
    }
    let Some((name, rest)) = rest.split_first() else {
        return Err(ArgsError::NoCommand);
    };
    let Some(known) = options::of(name) else {
        return Err(ArgsError::Unknown(name.clone()));
    };
    given.refuse_unless(known)?;
    // Only these two name local files.
    let is_here = |word: &str| matches!(name.as_str(), "put" | "get") && is_here(word);
    let words = given.take(rest, known, is_here)?;
    if given.is_on("help") {
        return invocation(
            &given,
            Command::Help {
                topic: Some(name.clone()),
            },
        );
    }
    let command = command(name, words, &given)?;
    invocation(&given, command)
}

/// Whether answers are wanted as JSON, asked of words that cannot be understood.
pub(crate) fn is_json(words: &[String]) -> bool {
    let mut options = words.iter().take_while(|word| *word != "--");
    options.any(|word| word == "--json" || word == "-json")
}

fn invocation(given: &Given, command: Command) -> Result<Invocation, ArgsError> {
    let usual = match command {
        Command::Put { .. } | Command::Get { .. } => RETRIES_DEFAULT,
        _ => RETRIES_SHORT,
    };
    let retries = match given.value("retries") {
        Some(_) => Retries::exactly(number(given, "retries", 0, 0..=1_000_000)? as u32),
        None => Retries::patient(usual),
    };
    Ok(Invocation {
        config: given.value("config").map(str::to_owned),
        server: given.value("server").map(str::to_owned),
        fingerprint: fingerprint(given)?,
        retries,
        timeout_s: number(given, "timeout", TIMEOUT_S_DEFAULT, 1..=86_400)?,
        voice: Voice {
            quiet: given.is_on("quiet"),
            json: given.is_on("json"),
            verbose: given.is_on("verbose"),
        },
        command,
    })
}

fn command(name: &str, words: Vec<String>, given: &Given) -> Result<Command, ArgsError> {
    let first = words.first().cloned();
    Ok(match name {
        "put" if words.len() < 2 => return Err(ArgsError::Missing("put")),
        "put" => Command::Put {
            options: transfer_options(given)?,
            is_exact: given.is_exact,
            words,
        },
        "get" => get(words, given)?,
        "ls" => Command::Ls {
            names: match words.iter().all(|word| word.trim().is_empty()) {
                true => Names::one("/"),
                false => names("ls", words, given)?,
            },
            long: given.is_on("long"),
            recursive: given.is_on("recursive"),
        },
        "rm" => Command::Rm {
            names: names("rm", words, given)?,
        },
        "mkdir" => Command::Mkdir {
            names: names("mkdir", words, given)?,
        },
        "stat" => Command::Stat {
            names: names("stat", words, given)?,
        },
        "restore" => restore(words, given)?,
        "mv" | "cp" => {
            // New commands take exactly two words: nothing is guessed about names with spaces.
            let [from, to] = <[String; 2]>::try_from(words)
                .map_err(|_| ArgsError::Missing(if name == "mv" { "mv" } else { "cp" }))?;
            let overwrite = given.is_on("overwrite");
            if name == "mv" {
                Command::Mv {
                    from,
                    to,
                    overwrite,
                }
            } else {
                Command::Cp {
                    from,
                    to,
                    overwrite,
                }
            }
        }
        "config" => Command::Config {
            address: first,
            token: words.get(1).cloned(),
            force: given.is_on("force"),
            trust: given.is_on("trust"),
        },
        "discover" => Command::Discover {
            wait: given.is_on("wait"),
        },
        "update" => Command::Update(Update {
            // `-l` is v0.1's; everywhere else it is `--long`.
            local: given.is_on("local") || given.is_on("long"),
            check: given.is_on("check"),
            yes: given.is_on("yes"),
            downgrade: given.is_on("downgrade"),
        }),
        "version" => Command::Version { ask_server: true },
        _ => match first {
            Some(topic) if options::of(&topic).is_none() => return Err(ArgsError::Topic(topic)),
            topic => Command::Help { topic },
        },
    })
}

impl Names {
    fn one(path: &str) -> Self {
        Self {
            paths: vec![path.to_owned()],
            is_joined: false,
        }
    }
}

/// v0.1's rule, or each word by itself.
fn names(command: &'static str, words: Vec<String>, given: &Given) -> Result<Names, ArgsError> {
    let is_joined = words.len() > 1 && !given.is_exact;
    let mut paths = words;
    if !given.is_exact {
        paths = vec![paths.join(" ").trim().to_owned()];
    }
    // An empty word would be the root.
    if paths.is_empty() || paths.iter().any(String::is_empty) {
        return Err(ArgsError::Missing(command));
    }
    Ok(Names { paths, is_joined })
}

/// One source and the words behind it as its target; behind `--` several sources, then a folder.
fn get(mut words: Vec<String>, given: &Given) -> Result<Command, ArgsError> {
    let options = transfer_options(given)?;
    let is_joined = words.len() > 2 && !given.is_exact;
    let local = if words.len() < 2 {
        None
    } else if given.is_exact {
        words.pop()
    } else {
        Some(words.split_off(1).join(" ").trim().to_owned())
    };
    if !given.is_exact {
        words
            .iter_mut()
            .for_each(|word| *word = word.trim().to_owned());
    }
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(ArgsError::Missing("get"));
    }
    Ok(Command::Get {
        remotes: words,
        local: local.filter(|local| !local.is_empty()),
        is_joined,
        options,
    })
}

fn restore(words: Vec<String>, given: &Given) -> Result<Command, ArgsError> {
    let names = names("restore", words, given)?;
    let version = given.value("version").map(str::to_owned);
    if version.is_some() && names.paths.len() > 1 {
        return Err(ArgsError::Flag(
            "--version names a version of one path; give one path".into(),
        ));
    }
    Ok(Command::Restore {
        names,
        version,
        list: given.is_on("list"),
    })
}

fn transfer_options(given: &Given) -> Result<transfer::Options, ArgsError> {
    if given.is_on("overwrite") && given.is_on("no-clobber") {
        return Err(ArgsError::Flag(
            "--overwrite and --no-clobber exclude each other".into(),
        ));
    }
    Ok(transfer::Options {
        parallel: number(
            given,
            "parallel",
            PARALLEL_DEFAULT as u64,
            1..=PARALLEL_MAX as u64,
        )? as usize,
        no_clobber: given.is_on("no-clobber"),
        checksum: given.is_on("checksum"),
        force: given.is_on("force"),
        follow: given.is_on("follow"),
    })
}

fn fingerprint(given: &Given) -> Result<Option<Fingerprint>, ArgsError> {
    let Some(text) = given.value("fingerprint") else {
        return Ok(None);
    };
    let wrong = || {
        ArgsError::Flag(format!(
            "invalid value {text:?} for flag -fingerprint: give the 64 hex digits that gfl-server -check prints"
        ))
    };
    Fingerprint::parse(text).map(Some).ok_or_else(wrong)
}

fn number(
    given: &Given,
    name: &str,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<u64, ArgsError> {
    let Some(text) = given.value(name) else {
        return Ok(default);
    };
    let wrong =
        |why: &str| ArgsError::Flag(format!("invalid value {text:?} for flag -{name}: {why}"));
    let number = parse_int(text).map_err(wrong)?;
    match u64::try_from(number) {
        Ok(number) if allowed.contains(&number) => Ok(number),
        _ => Err(wrong(&format!(
            "give a number from {} to {}",
            allowed.start(),
            allowed.end()
        ))),
    }
}

#[cfg(test)]
mod tests;
