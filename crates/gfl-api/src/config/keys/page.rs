//! docs/config.md, made from the table. Knows Markdown.

use super::{KEYS, Kind, TakesEffect, Unset};
use Kind::{Boolean, Choice, Number, Text, Texts};
use TakesEffect::{AtStart, EachRun, Live};
use Unset::{Depends, Json};
use std::fmt::Write;

/// docs/config.md.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for (section, heading) in [("server", SERVER), ("client", CLIENT)] {
        text.push_str(heading);
        text.push_str("| key | type | default | takes effect | meaning |\n|---|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                key.name,
                key.kind.shown(),
                key.default.shown(),
                key.takes_effect.shown(),
                key.meaning
            );
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration

Made by `cargo xtask docs` from the table in `crates/gfl-api/src/config/keys`; change it there.

Server and client read `goflux.json`: one JSON file with the sections `server` and `client`, either of which may be \
missing. Every key is optional, and may be written in any letter case; of a key written twice the last counts; `null` \
and an empty text stand for the default. An unknown key is reported with the known one that looks most like it, and \
otherwise ignored. A value of the wrong type is an error that names the key. `gfl-server -check` prints what is in \
force. Options of the command line go before the file.
";

const SERVER: &str = "
## `server`
The file is `goflux.json` in the current folder, or what `-config` names. If it is missing, it is made with safe \
defaults. \"At start\" means that a change counts after a restart, \"live\" that a running server takes it up.

";

const CLIENT: &str = "
## `client`
The first of these that is there: what `-config` names (and then nothing else); `goflux.json` and `config.json` beside \
the program; `config.json` in the current folder; `$XDG_CONFIG_HOME/gfl/config.json` (usually \
`~/.config/gfl/config.json`, which `gfl config` writes); `/etc/gfl/config.json`.

";

impl Kind {
    /// In words.
    pub fn shown(self) -> String {
        match self {
            Text => "text".into(),
            Number => "whole number".into(),
            Boolean => "`true` or `false`".into(),
            Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                quoted.join(", ")
            }
            Texts => "list of texts".into(),
        }
    }
}

impl Unset {
    /// In words.
    pub fn shown(self) -> String {
        match self {
            Json(r#""""#) => "none".into(),
            Json(value) => format!("`{}`", value.trim_matches('"')),
            Depends(words) => words.into(),
        }
    }
}

impl TakesEffect {
    /// In words.
    pub fn shown(self) -> &'static str {
        match self {
            AtStart => "at start",
            Live => "live",
            EachRun => "each run",
        }
    }
}
