//! From what was typed and configured to what the server does. [`plan`] decides over values and touches nothing;
//! [`Plan::look`] asks this machine whether that can work, and changes nothing. What is doubtful becomes a
//! [`Finding`]: `-check` tells them all, a start refuses those that are fatal with the same words.

mod address;
mod certificate;
mod database;
mod finding;
mod folders;
mod tokens;
mod told;

use crate::args::Args;
use crate::discovery::Wish;
use crate::limits::Limits;
use crate::logs;
use crate::server::About;
use crate::tls::plan::{Asked, TlsPlan};
use anyhow::{Context, Result};
pub use database::configured as database;
pub use finding::Finding;
pub use folders::absolute;
use gfl_api::config::{Config, Durability, LogFormat, MetricsAccess, ServerConfig, Warning};
use gfl_core::settings::{Durability as Durable, Settings};
use std::io;
use std::path::{Path, PathBuf};

const HOUR_MS: i64 = 3_600_000;

/// The configuration as it was found.
#[derive(Debug, Default)]
pub struct Found {
    config: Config,
    unknown: Vec<Warning>,
    missing: bool,
}

impl Found {
    /// There is no file.
    pub fn is_missing(&self) -> bool {
        self.missing
    }
}

/// Everything `main` needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to listen.
    pub address: String,
    /// How connections are protected.
    pub tls: TlsPlan,
    /// Who said so, for messages.
    pub origin: Origin,
    /// For the application.
    pub settings: Settings,
    /// For v0's `/config`.
    pub about: About,
    /// For `gfl discover`.
    pub discovery: Wish,
    /// The form of the log.
    pub log: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// There was no configuration: make one, and a token.
    pub first_start: bool,
    /// The configuration file.
    pub config_path: PathBuf,
    /// The folders as they are to stand in a new configuration.
    pub folders: Folders,
    /// Keys of the configuration that do not exist.
    pub unknown: Vec<Warning>,
    /// `GET /config` shows paths.
    pub show_paths: bool,
    /// The settings as configured.
    pub server: ServerConfig,
    /// What is doubtful.
    pub findings: Vec<Finding>,
}

/// The settings and options that decided.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The host of the address.
    pub host: &'static str,
    /// The storage folder.
    pub storage_dir: &'static str,
    /// The metadata folder.
    pub meta_dir: &'static str,
}

/// Paths as text.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    /// `server.storage_dir`.
    pub storage_dir: String,
    /// `server.meta_dir`.
    pub meta_dir: String,
    /// `server.tokens_file`; empty for none.
    pub tokens_file: String,
}

/// Reads the configuration file. A missing one is no error: it will be made.
pub fn read_config(args: &Args) -> Result<Found> {
    let path = &args.config;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found {
                missing: true,
                ..Found::default()
            });
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
    };
    let (config, unknown) = Config::parse(&text).with_context(|| format!("cannot use {path}"))?;
    Ok(Found {
        config,
        unknown,
        missing: false,
    })
}

/// Decides. What cannot be done as it was asked for is a fatal finding; the plan is there to be shown all the same.
pub fn plan(args: &Args, found: Found) -> Plan {
    let Found {
        config,
        unknown,
        missing,
    } = found;
    let mut server = config.server;
    if missing {
        server.tokens_file = beside(&args.config, "tokens.json");
    }
    let mut findings = Vec::new();
    let unknown_keys = unknown
        .iter()
        .map(|warning| Finding::warning(&args.config, "", warning.to_string()).without_value());
    findings.extend(unknown_keys);
    let address = address::decide(args, &server.address);
    findings.extend(address.wrong);
    findings.extend(check_values(&server));
    let folders = Folders {
        storage_dir: args
            .storage_dir
            .clone()
            .unwrap_or(server.storage_dir.clone()),
        meta_dir: args.meta_dir.clone().unwrap_or(server.meta_dir.clone()),
        tokens_file: server.tokens_file.clone(),
    };
    let settings = settings(args, &server, &folders, &mut findings);
    let asked = Asked {
        public: args.public,
        plain_http: args.plain_http,
        tls: &server.tls,
        address: &address.text,
        meta_dir: &folders.meta_dir,
    };
    let tls = TlsPlan::new(asked).unwrap_or_else(|finding| {
        findings.push(finding);
        TlsPlan::default()
    });
    if missing {
        // What will be written: a later look at the file is to find nothing new in it.
        // A socket is somebody else's to open again.
        if args.passed.is_none() {
            server.address = address.text.clone();
        }
        server.storage_dir = folders.storage_dir.clone();
        server.meta_dir = folders.meta_dir.clone();
        if tls.self_signed().is_some() {
            server.tls.self_signed = true;
            server.tls.plain_http = Some(tls.plain_http());
        }
    }
    let discovery = Wish::new(&server, &address.text, tls.source.is_some()).unwrap_or_else(|why| {
        let name = &server.discovery_name;
        findings.push(Finding::error(
            "server.discovery_name",
            name,
            why.to_string(),
        ));
        Wish::default()
    });
    Plan {
        discovery,
        about: about(&address.text, &server, &folders),
        address: address.text,
        tls,
        origin: Origin {
            host: address.host_from,
            storage_dir: args
                .storage_dir
                .as_ref()
                .map_or("server.storage_dir", |_| "-storage-dir"),
            meta_dir: args
                .meta_dir
                .as_ref()
                .map_or("server.meta_dir", |_| "-meta-dir"),
        },
        settings,
        log: server.log,
        log_level: server.log_level.clone(),
        first_start: missing,
        config_path: PathBuf::from(&args.config),
        folders,
        unknown,
        show_paths: server.show_paths_in_config,
        server,
        findings,
    }
}

/// `name` in the folder of `file`.
fn beside(file: &str, name: &str) -> String {
    Path::new(file)
        .with_file_name(name)
        .to_string_lossy()
        .into_owned()
}

/// Values that are allowed and yet may not be meant.
fn check_values(server: &ServerConfig) -> Vec<Finding> {
    let mut found = Vec::new();
    let level = &server.log_level;
    found.extend(
        logs::filter(level)
            .err()
            .map(|why| Finding::error("server.log_level", level, why)),
    );
    found.extend(Limits::new(server, None).err().map(|why| {
        let proxies = server.trusted_proxies.join(" ");
        Finding::error("server.trusted_proxies", &proxies, format!("{why:#}"))
    }));
    let metrics = "server.metrics";
    match server.metrics {
        MetricsAccess::Public => {
            let why = "everybody who can connect reads how much is moved and how full the disk is, without a token";
            found.push(Finding::warning(metrics, "public", why));
        }
        MetricsAccess::Permission if server.tokens_file.is_empty() => {
            let why = "without server.tokens_file nobody has the permission; gfl-admin alone can read them";
            found.push(Finding::warning(metrics, "permission", why));
        }
        MetricsAccess::Permission | MetricsAccess::Local => {}
    }
    if server.show_paths_in_config {
        let why = "GET /config tells everybody who asks the paths of this machine, without a token";
        found.push(Finding::warning("server.show_paths_in_config", "true", why));
    }
    found
}

fn settings(
    args: &Args,
    server: &ServerConfig,
    folders: &Folders,
    findings: &mut Vec<Finding>,
) -> Settings {
    let durability = match args.durability.as_deref() {
        None => server.durability,
        Some("batch") => Durability::Batch,
        Some("strict") => Durability::Strict,
        Some("none") => Durability::None,
        Some(other) => {
            let why = "is none of batch, strict, none";
            findings.push(Finding::error("-durability", other, why));
            server.durability
        }
    };
    if durability == Durability::None {
        let why = "what is acknowledged does not survive a power cut; for scratch data only";
        findings.push(Finding::warning("server.durability", "none", why));
    }
    let mut settings = Settings::new(&folders.storage_dir, &folders.meta_dir);
    settings.durability = match durability {
        Durability::Batch => Durable::Batch,
        Durability::Strict => Durable::Strict,
        Durability::None => Durable::None,
    };
    settings.tokens_file = Some(&folders.tokens_file)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    settings.undo_ms = i64::from(server.undo_days).saturating_mul(24 * HOUR_MS);
    settings.undo_free_percent_min = u64::from(server.undo_free_percent_min);
    settings.events_ms = i64::from(server.event_days).saturating_mul(24 * HOUR_MS);
    settings.events_rows_max = i64::from(server.event_rows_max);
    settings.access_log_ms = i64::from(server.access_log_days).saturating_mul(24 * HOUR_MS);
    settings.upload_expiry_ms = i64::from(server.upload_expiry_hours).saturating_mul(HOUR_MS);
    settings.database_connections_max = database::connections(server, findings);
    if server.max_file_size > 0 {
        settings.max_file_bytes = server.max_file_size.min(settings.max_file_bytes);
    }
    settings
}

fn about(address: &str, server: &ServerConfig, folders: &Folders) -> About {
    let shown = |text: &str| {
        if server.show_paths_in_config {
            text.to_owned()
        } else {
            String::new()
        }
    };
    About {
        address: address.to_owned(),
        storage_dir: shown(&folders.storage_dir),
        meta_dir: shown(&folders.meta_dir),
        tokens_file: shown(&folders.tokens_file),
        updates_file: Some(&server.updates_file)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    }
}

impl Plan {
    /// Asks this machine: the address, the folders, the token file. Looks only.
    pub fn look(&mut self) {
        let host = self.origin.host;
        let reach = match address::reach(host, &self.address) {
            Ok(reach) => {
                let how = match self.tls.source {
                    _ if !self.tls.plain => None,
                    None => Some(address::Open::Only),
                    Some(_) => Some(address::Open::Too),
                };
                let doubt = how.and_then(|how| address::doubts(host, &self.address, reach, how));
                self.findings.extend(doubt);
                reach
            }
            Err(finding) => {
                self.findings.push(finding);
                address::Reach::Network
            }
        };
        let mut found = folders::look(
            (self.origin.storage_dir, &self.settings.storage_dir),
            (self.origin.meta_dir, &self.settings.meta_dir),
        );
        found.extend(database::look(self));
        found.extend(certificate::look(self));
        found.extend(self.config_doubts());
        found.extend(tokens::look(self, reach));
        self.findings.extend(found);
    }

    fn config_doubts(&self) -> Option<Finding> {
        let (setting, path) = ("-config", &self.config_path);
        if self.first_start {
            let folder = folders::absolute(path);
            let why = folders::usable(folder.parent()?).err();
            if let Some(why) = why {
                let why = format!("cannot be made: its folder {why}");
                return Some(Finding::error(setting, &folders::shown(path), why));
            }
        }
        folders::is_served(path, &self.settings.storage_dir).then(|| {
            let why = "lies in the storage folder, where a token that may upload replaces it; move it out";
            Finding::warning(setting, &folders::shown(path), why)
        })
    }

    /// Whether the server must not start like this.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.fatal)
    }
}

/// Where the catalog is, without a password.
pub fn catalog_place(settings: &Settings) -> String {
    match &settings.database {
        Some(url) => url.to_string(),
        None => folders::shown(&settings.meta_dir.join("catalog.db")),
    }
}

/// Why the application did not open, causes included: here the administrator reads, and nobody else.
pub fn open_failed(error: gfl_core::Error) -> anyhow::Error {
    anyhow::Error::new(error)
}

#[cfg(test)]
mod tests;
