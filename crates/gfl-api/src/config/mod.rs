//! `goflux.json`: settings of server and client in one file, read as v0.1 read it, with the keys added since.
//!
//! Knows no file, no environment and no command line; where the file lies and what overrules it is decided by
//! the programs.

mod database;
mod edit;
mod error;
pub mod keys;
mod metrics;
mod nearest;
mod tls;
mod value;

use crate::{
    gojson::{Node, same_key},
    path::Shown,
};
pub use database::{DatabaseConfig, DatabasePlace};
pub use edit::{normalize_server_url, set_client_server, set_client_text};
pub use error::ConfigError;
pub use metrics::MetricsAccess;
pub use nearest::nearest;
pub use tls::{AcmeConfig, CertificateSource, PlainHttp, TlsConfig};

use std::fmt;
use value::Value;

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
    /// Where the catalog is.
    pub database: DatabaseConfig,
    /// How connections are encrypted.
    pub tls: TlsConfig,
    /// When a change is acknowledged.
    pub durability: Durability,
    /// Days for which replaced and deleted files are kept. Default 7; 0 keeps nothing.
    pub undo_days: u32,
    /// Percent of the disk to keep free: below it, kept files go earlier. Default 10.
    pub undo_free_percent_min: u32,
    /// Days for which the record of changes is kept. Default 90.
    pub event_days: u32,
    /// Changes recorded at most; the oldest go first. Default 10000000.
    pub event_rows_max: u32,
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
    /// Connections at once; 0 for as many as there are file descriptors. Default 4096.
    pub connections_max: u32,
    /// Connections from one address (IPv6: from one /64); 0 for any number. Default 1024.
    pub connections_per_address_max: u32,
    /// Proxies whose word about a client's address counts: addresses and networks. Default none.
    pub trusted_proxies: Vec<String>,
    /// Seconds in which running requests may finish when the server ends. Default 30.
    pub drain_seconds: u32,
    /// Seconds before that in which it says that it is not ready and still accepts. Default 0.
    pub drain_notice_seconds: u32,
    /// Whether clients find the server in their network. None: if others than this machine can connect at all.
    pub discovery: Option<bool>,
    /// The name it is found under.
    pub discovery_name: String,
    /// The `version.json` it serves; empty for none.
    pub updates_file: String,
    /// Who may read `/metrics`. Default local.
    pub metrics: MetricsAccess,
    /// Days for which the access log is kept; 0 for none. Default 30.
    pub access_log_days: u32,
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
            database: DatabaseConfig::default(),
            tls: TlsConfig::default(),
            durability: Durability::Batch,
            undo_days: 7,
            undo_free_percent_min: 10,
            event_days: 90,
            event_rows_max: 10_000_000,
            upload_expiry_hours: 24,
            max_file_size: 0,
            log: LogFormat::Text,
            log_level: "info".into(),
            show_paths_in_config: false,
            connections_max: 4096,
            connections_per_address_max: 1024,
            trusted_proxies: Vec::new(),
            drain_seconds: 30,
            drain_notice_seconds: 0,
            discovery: None,
            discovery_name: crate::discovery::NAME_DEFAULT.into(),
            updates_file: String::new(),
            metrics: MetricsAccess::Local,
            access_log_days: 30,
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
    /// The known key that was probably meant: with its section where that is another one.
    pub nearest: Option<String>,
}

impl Warning {
    /// An unknown key of the section that has `names`. One that is known in another section was put into the
    /// wrong one.
    fn unknown(section: &str, key: &str, names: &[&'static str]) -> Warning {
        let elsewhere = [("server", SERVER_KEYS), ("client", CLIENT_KEYS)]
            .into_iter()
            .find_map(|(section, names)| Some(format!("{section}.{}", known(key, names)?)));
        Warning {
            key: format!("{section}{key}"),
            nearest: elsewhere.or_else(|| nearest(key, names).map(str::to_owned)),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown setting {:?} is ignored", Shown::new(&self.key))?;
        match &self.nearest {
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
    "database",
    "database_ca_file",
    "database_connections_max",
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
    "event_days",
    "event_rows_max",
    "upload_expiry_hours",
    "max_file_size",
    "log",
    "log_level",
    "show_paths_in_config",
    "connections_max",
    "connections_per_address_max",
    "trusted_proxies",
    "drain_seconds",
    "drain_notice_seconds",
    "discovery",
    "discovery_name",
    "updates_file",
    "metrics",
    "access_log_days",
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
                _ => warnings.push(Warning::unknown("", key, SECTIONS)),
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
                warnings.push(Warning::unknown("server.", key, SERVER_KEYS));
                continue;
            };
            let value = Value {
                key: format!("server.{name}"),
                node,
            };
            if self.tls.read(name, &value)? || self.database.read(name, &value)? {
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
                "event_days" => self.event_days = value.number(u32::MAX)?,
                "event_rows_max" => self.event_rows_max = value.number(u32::MAX)?,
                "upload_expiry_hours" => self.upload_expiry_hours = value.number(u32::MAX)?,
                "max_file_size" => self.max_file_size = value.number(u64::MAX)?,
                "log" => {
                    self.log =
                        value.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)])?
                }
                "log_level" => self.log_level = value.text_or(&default.log_level)?,
                "connections_max" => self.connections_max = value.number(u32::MAX)?,
                "connections_per_address_max" => {
                    self.connections_per_address_max = value.number(u32::MAX)?
                }
                "trusted_proxies" => self.trusted_proxies = value.texts()?,
                "drain_seconds" => self.drain_seconds = value.number(u32::MAX)?,
                "drain_notice_seconds" => self.drain_notice_seconds = value.number(u32::MAX)?,
                "discovery" => self.discovery = Some(value.boolean()?),
                "discovery_name" => self.discovery_name = value.text_or(&default.discovery_name)?,
                "updates_file" => self.updates_file = value.text_or("")?,
                "metrics" => self.metrics = value.choice(MetricsAccess::CHOICES)?,
                "access_log_days" => self.access_log_days = value.number(u32::MAX)?,
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
                warnings.push(Warning::unknown("client.", key, CLIENT_KEYS));
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
