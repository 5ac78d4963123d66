//! `goflux.json`: settings of server and client in one file, read as v0.1 read it, with the keys added since.
//!
//! Knows no file, no environment and no command line; where the file lies and what overrules it is decided by
//! the programs.

mod edit;
mod error;
mod nearest;
mod tls;

use crate::{
    gojson::{Node, same_key},
    path::Shown,
};
pub use edit::{normalize_server_url, set_client_server, set_client_text};
pub use error::ConfigError;
pub use tls::{AcmeConfig, CertificateSource, PlainHttp, TlsConfig};

use nearest::nearest;
use std::fmt;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Settings of the server.
    pub server: ServerConfig,
    /// Settings of the client.
    pub client: ClientConfig,
}

/// The section `server`. An empty text or a missing key stands for the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen, `host:port`. Default `127.0.0.1:8080`.
    pub address: String,
    /// The folder with the files. Default `./data`.
    pub storage_dir: String,
    /// The folder with the catalog. Default `./.goflux-meta`.
    pub meta_dir: String,
    /// The file with the tokens; empty switches authentication off.
    pub tokens_file: String,
    /// How connections are encrypted.
    pub tls: TlsConfig,
    /// When a change is acknowledged.
    pub durability: Durability,
    /// Days for which replaced and deleted files are kept. Default 7; 0 keeps nothing.
    pub undo_days: u32,
    /// Percent of the disk to keep free: below it, kept files go earlier. Default 10.
    pub undo_free_percent_min: u32,
    /// Hours without activity after which an upload expires. Default 24.
    pub upload_expiry_hours: u32,
    /// Bytes of the largest file; 0 for no limit. Default 0.
    pub max_file_size: u64,
    /// The form of the log. Default text.
    pub log: LogFormat,
    /// The least severe level logged. Default `info`.
    pub log_level: String,
    /// Whether `GET /config` shows the server's paths, as v0.1 did. Default false.
    pub show_paths_in_config: bool,
}

/// The section `client`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The server. Default `http://localhost`; see [`normalize_server_url`].
    pub server_url: String,
    /// Bytes of a chunk. Default 1048576.
    pub chunk_size: u64,
    /// The token; empty for none.
    pub token: String,
    /// The fingerprint of the server's certificate, the only one accepted then; empty for none.
    pub tls_fingerprint: String,
    /// Authorities trusted besides those of the system, PEM; empty for none.
    pub ca_file: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            // A file that names no address must not open one to the world.
            address: "127.0.0.1:8080".into(),
            storage_dir: "./data".into(),
            meta_dir: "./.goflux-meta".into(),
            tokens_file: String::new(),
            tls: TlsConfig::default(),
            durability: Durability::Batch,
            undo_days: 7,
            undo_free_percent_min: 10,
            upload_expiry_hours: 24,
            max_file_size: 0,
            log: LogFormat::Text,
            log_level: "info".into(),
            show_paths_in_config: false,
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            server_url: "http://localhost".into(),
            chunk_size: 1_048_576,
            token: String::new(),
            tls_fingerprint: String::new(),
            ca_file: String::new(),
        }
    }
}

/// When a change is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When durable, several changes together (`batch`).
    #[default]
    Batch,
    /// When durable, each change by itself (`strict`).
    Strict,
    /// At once, without syncing (`none`): for scratch data.
    None,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people (`text`).
    #[default]
    Text,
    /// One JSON object a line (`json`).
    Json,
}

/// A key that is not known and was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key with its section, such as `server.adress`.
    pub key: String,
    /// The known key that looks most like it.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown setting {:?} is ignored", Shown::new(&self.key))?;
        match self.nearest {
            Some(name) => write!(f, "; did you mean {name:?}"),
            None => Ok(()),
        }
    }
}

const SECTIONS: &[&str] = &["server", "client"];
const CLIENT_KEYS: &[&str] = &[
    "server_url",
    "chunk_size",
    "token",
    "tls_fingerprint",
    "ca_file",
];
const SERVER_KEYS: &[&str] = &[
    "address",
    "storage_dir",
    "meta_dir",
    "tokens_file",
    "tls_cert",
    "tls_key",
    "tls_self_signed",
    "plain_http",
    "acme_domains",
    "acme_email",
    "acme_directory",
    "acme_address",
    "acme_accept_terms",
    "acme_ca_file",
    "durability",
    "undo_days",
    "undo_free_percent_min",
    "upload_expiry_hours",
    "max_file_size",
    "log",
    "log_level",
    "show_paths_in_config",
];

impl Config {
    /// Reads the file. Keys match in any letter case, of a repeated key the last holds, `null` and a missing key
    /// give the default, unknown keys come back as warnings. A byte order mark, trailing data, a value of another
    /// type and a word that is none of the choices are errors.
    pub fn parse(text: &str) -> Result<(Self, Vec<Warning>), ConfigError> {
        let root = Node::parse(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let mut config = Self::default();
        let mut warnings = Vec::new();
        for (key, node) in object(&root, "the file")? {
            match known(key, SECTIONS) {
                Some("server") => config.server.read(object(node, "server")?, &mut warnings)?,
                Some("client") => config.client.read(object(node, "client")?, &mut warnings)?,
                _ => warnings.push(Warning {
                    key: key.clone(),
                    nearest: nearest(key, SECTIONS),
                }),
            }
        }
        Ok((config, warnings))
    }

    /// The file that v0.1 writes when there is none, with this address.
    pub fn default_text(address: &str) -> String {
        let (server, client) = (ServerConfig::default(), ClientConfig::default());
        let text = |value: &str| Node::from(value);
        let object = |members: Vec<(&str, Node)>| {
            Node::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            )
        };
        object(vec![
            (
                "server",
                object(vec![
                    ("address", text(address)),
                    ("storage_dir", text(&server.storage_dir)),
                    ("meta_dir", text(&server.meta_dir)),
                    ("tokens_file", text("")),
                    ("tls_cert", text("")),
                    ("tls_key", text("")),
                ]),
            ),
            (
                "client",
                object(vec![
                    ("server_url", text(&client.server_url)),
                    ("chunk_size", Node::Number(client.chunk_size.into())),
                    ("token", text("")),
                ]),
            ),
        ])
        .to_text()
    }
}

impl ServerConfig {
    fn read(
        &mut self,
        members: &[(String, Node)],
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        let default = Self::default();
        for (key, node) in members.iter().filter(|(_, node)| *node != Node::Null) {
            let Some(name) = known(key, SERVER_KEYS) else {
                warnings.push(Warning {
                    key: format!("server.{key}"),
                    nearest: nearest(key, SERVER_KEYS),
                });
                continue;
            };
            let value = Value {
                key: format!("server.{name}"),
                node,
            };
            if self.tls.read(name, &value)? {
                continue;
            }
            match name {
                "address" => self.address = value.text_or(&default.address)?,
                "storage_dir" => self.storage_dir = value.text_or(&default.storage_dir)?,
                "meta_dir" => self.meta_dir = value.text_or(&default.meta_dir)?,
                "tokens_file" => self.tokens_file = value.text_or("")?,
                "durability" => {
                    let choices = [
                        ("batch", Durability::Batch),
                        ("strict", Durability::Strict),
                        ("none", Durability::None),
                    ];
                    self.durability = value.choice(&choices)?;
                }
                "undo_days" => self.undo_days = value.number(u32::MAX)?,
                "undo_free_percent_min" => self.undo_free_percent_min = value.number(100)?,
                "upload_expiry_hours" => self.upload_expiry_hours = value.number(u32::MAX)?,
                "max_file_size" => self.max_file_size = value.number(u64::MAX)?,
                "log" => {
                    self.log =
                        value.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])?
                }
                "log_level" => self.log_level = value.text_or(&default.log_level)?,
                _ => self.show_paths_in_config = value.boolean()?,
            }
        }
        Ok(())
    }
}

impl ClientConfig {
    fn read(
        &mut self,
        members: &[(String, Node)],
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ConfigError> {
        let default = Self::default();
        for (key, node) in members.iter().filter(|(_, node)| *node != Node::Null) {
            let Some(name) = known(key, CLIENT_KEYS) else {
                warnings.push(Warning {
                    key: format!("client.{key}"),
                    nearest: nearest(key, CLIENT_KEYS),
                });
                continue;
            };
            let value = Value {
                key: format!("client.{name}"),
                node,
            };
            match name {
                "server_url" => self.server_url = value.text_or(&default.server_url)?,
                "token" => self.token = value.text_or("")?,
                "tls_fingerprint" => self.tls_fingerprint = value.text_or("")?,
                "ca_file" => self.ca_file = value.text_or("")?,
                // v0.1 wrote 0 for a size it had never been told.
                _ => {
                    self.chunk_size = Some(value.number(u64::MAX)?)
                        .filter(|n| *n > 0)
                        .unwrap_or(default.chunk_size)
                }
            }
        }
        Ok(())
    }
}

/// A value with the name of its key for messages.
struct Value<'a> {
    key: String,
    node: &'a Node,
}

impl Value<'_> {
    fn wrong<T>(&self, expected: &'static str) -> Result<T, ConfigError> {
        Err(ConfigError::WrongType {
            key: self.key.clone(),
            expected,
            found: self.node.kind(),
        })
    }

    /// A text, or the default for an empty one.
    fn text_or(&self, default: &str) -> Result<String, ConfigError> {
        match self.node {
            Node::Text(text) if text.is_empty() => Ok(default.to_owned()),
            Node::Text(text) => Ok(text.clone()),
            _ => self.wrong("a string"),
        }
    }

    fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let expected = "an array of strings";
        let Node::List(nodes) = self.node else {
            return self.wrong(expected);
        };
        let text = |node: &Node| match node {
            Node::Text(text) => Ok(text.clone()),
            _ => self.wrong(expected),
        };
        nodes.iter().map(text).collect()
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        match self.node {
            Node::Bool(value) => Ok(*value),
            _ => self.wrong("true or false"),
        }
    }

    fn number<T: TryFrom<u64> + Into<u64>>(&self, max: T) -> Result<T, ConfigError> {
        let max: u64 = max.into();
        match self.node {
            Node::Number(n) => {
                let fits = n
                    .as_u64()
                    .filter(|n| *n <= max)
                    .and_then(|n| T::try_from(n).ok());
                fits.ok_or_else(|| ConfigError::OutOfRange {
                    key: self.key.clone(),
                    max,
                })
            }
            _ => self.wrong("a whole number"),
        }
    }

    fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T, ConfigError> {
        let Node::Text(text) = self.node else {
            return self.wrong("a string");
        };
        let found = choices.iter().find(|(name, _)| same_key(text, name));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| ConfigError::NoSuchChoice {
                key: self.key.clone(),
                value: Shown::new(text),
                choices: choices.iter().map(|(name, _)| *name).collect(),
            })
    }
}

/// The members of an object; `null` has none.
fn object<'a>(node: &'a Node, name: &str) -> Result<&'a [(String, Node)], ConfigError> {
    match node {
        Node::Object(members) => Ok(members),
        Node::Null => Ok(&[]),
        _ => Err(ConfigError::WrongType {
            key: name.to_owned(),
            expected: "an object",
            found: node.kind(),
        }),
    }
}

fn known(key: &str, names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| same_key(key, name))
}

#[cfg(test)]
mod tests;
