//! The keys of the section `server` about the database: where the catalog is, if it is no file in `meta_dir`.

use super::{ConfigError, Value};
use std::fmt;

/// How many connections a server keeps at most unless configured otherwise.
const CONNECTIONS_MAX: u32 = 10;

/// The catalog's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// Where it is; empty for a file in `meta_dir`.
    pub place: DatabasePlace,
    /// Authorities that vouch for it, PEM; empty for those of the system.
    pub ca_file: String,
    /// Connections at once. Default 10.
    pub connections_max: u32,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            place: DatabasePlace::default(),
            ca_file: String::new(),
            connections_max: CONNECTIONS_MAX,
        }
    }
}

/// `server.database`: a URL, which may hold a password, or where the URL is found.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum DatabasePlace {
    /// A file in `meta_dir`.
    #[default]
    MetaDir,
    /// This URL.
    Url(String),
    /// What this variable of the environment holds (`env:NAME`).
    Env(String),
    /// What this file holds (`file:PATH`).
    File(String),
}

impl DatabasePlace {
    /// Reads it.
    pub fn parse(text: &str) -> DatabasePlace {
        match (text, text.split_once(':')) {
            ("", _) => DatabasePlace::MetaDir,
            (_, Some(("env", name))) => DatabasePlace::Env(name.to_owned()),
            (_, Some(("file", path))) => DatabasePlace::File(path.to_owned()),
            _ => DatabasePlace::Url(text.to_owned()),
        }
    }
}

/// Without the password that a URL may hold.
impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabasePlace::MetaDir => f.write_str("a file in meta_dir"),
            DatabasePlace::Url(_) => f.write_str("(a URL, not shown)"),
            DatabasePlace::Env(name) => write!(f, "env:{name}"),
            DatabasePlace::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl fmt::Debug for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl DatabaseConfig {
    /// Takes one key; false if it is none of these.
    pub(super) fn read(&mut self, name: &str, value: &Value<'_>) -> Result<bool, ConfigError> {
        match name {
            "database" => self.place = DatabasePlace::parse(&value.text_or("")?),
            "database_ca_file" => self.ca_file = value.text_or("")?,
            "database_connections_max" => self.connections_max = value.number(u32::MAX)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_not_shown() {
        let config = DatabaseConfig {
            place: DatabasePlace::parse("postgres://gfl:hunter2@h/d"),
            ..DatabaseConfig::default()
        };
        assert!(!format!("{config:?} {}", config.place).contains("hunter2"));
        let file = DatabasePlace::parse("file:/run/a:b");
        assert_eq!(file, DatabasePlace::File("/run/a:b".into()));
        assert_eq!(DatabasePlace::parse("env:X").to_string(), "env:X");
        assert_eq!(DatabasePlace::parse(""), DatabasePlace::MetaDir);
    }
}
