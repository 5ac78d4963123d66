//! From what was typed and configured to what the server does: values in, values out. Reads the configuration and
//! touches nothing else.

use crate::args::Args;
use crate::server::About;
use crate::tls::Tls;
use crate::tls::plan::{Asked, TlsPlan};
use crate::ui;
use anyhow::{Context, Result, bail};
use gfl_api::config::{Config, Durability, LogFormat, ServerConfig};
use gfl_core::settings::{Durability as Durable, Settings};
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// All interfaces.
const PUBLIC_HOST: &str = "0.0.0.0";
const HOUR_MS: i64 = 3_600_000;

/// The configuration as it was found.
#[derive(Debug, Default)]
pub struct Found {
    config: Config,
    warnings: Vec<String>,
    missing: bool,
}

/// Everything `main` needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to listen.
    pub address: String,
    /// How connections are protected.
    pub tls: TlsPlan,
    /// For the application.
    pub settings: Settings,
    /// For v0's `/config`.
    pub about: About,
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
    /// For the log.
    pub warnings: Vec<String>,
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
    let (config, warnings) = Config::parse(&text).with_context(|| format!("cannot use {path}"))?;
    let warnings = warnings
        .iter()
        .map(|warning| format!("{path}: {warning}"))
        .collect();
    Ok(Found {
        config,
        warnings,
        missing: false,
    })
}

/// Decides.
pub fn plan(args: &Args, found: Found) -> Result<Plan> {
    let Found {
        config,
        warnings,
        missing,
    } = found;
    let mut server = config.server;
    if missing {
        server.tokens_file = beside(&args.config, "tokens.json");
    }
    let folders = Folders {
        storage_dir: args
            .storage_dir
            .clone()
            .unwrap_or(server.storage_dir.clone()),
        meta_dir: args.meta_dir.clone().unwrap_or(server.meta_dir.clone()),
        tokens_file: server.tokens_file.clone(),
    };
    let address = address(args, &server.address)?;
    let tls = TlsPlan::new(Asked {
        public: args.public,
        plain_http: args.plain_http,
        tls: &server.tls,
        address: &address,
        meta_dir: &folders.meta_dir,
    })?;
    let settings = settings(args, &server, &folders)?;
    Ok(Plan {
        about: about(&address, &server, &folders),
        address,
        tls,
        settings,
        log: server.log,
        log_level: server.log_level,
        first_start: missing,
        config_path: PathBuf::from(&args.config),
        folders,
        warnings,
    })
}

/// `name` in the folder of `file`.
fn beside(file: &str, name: &str) -> String {
    Path::new(file)
        .with_file_name(name)
        .to_string_lossy()
        .into_owned()
}

/// `-listen` replaces the configured address, `-port` its port and `-public` its host. (v0.1 threw the configured
/// host away with `-port`.)
fn address(args: &Args, configured: &str) -> Result<String> {
    let address = args.listen.as_deref().unwrap_or(configured);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let host = if args.public { PUBLIC_HOST } else { host };
    let port = args.port.as_deref().unwrap_or(port);
    if port.parse::<u16>().is_err() {
        bail!("{host}:{port} is no address to listen on, write host:port with a port up to 65535");
    }
    Ok(format!("{host}:{port}"))
}

fn settings(args: &Args, server: &ServerConfig, folders: &Folders) -> Result<Settings> {
    let durability = match args.durability.as_deref() {
        None => server.durability,
        Some("batch") => Durability::Batch,
        Some("strict") => Durability::Strict,
        Some("none") => Durability::None,
        Some(other) => bail!("-durability {other:?} is none of batch, strict, none"),
    };
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
    settings.upload_expiry_ms = i64::from(server.upload_expiry_hours).saturating_mul(HOUR_MS);
    if server.max_file_size > 0 {
        settings.max_file_bytes = server.max_file_size.min(settings.max_file_bytes);
    }
    Ok(settings)
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
    }
}

impl Plan {
    /// v0.1's lines on stdout; the last one says that connections are accepted, and where.
    pub fn started(&self, address: SocketAddr, tls: Option<&Tls>) -> String {
        let mut lines = String::new();
        let auth = match &self.settings.tokens_file {
            Some(file) => {
                let _ = writeln!(lines, "Authentication enabled: {}", file.display());
                ui::green("Authentication enabled (challenge-response supported)")
            }
            None => ui::red(
                "WARNING: authentication is DISABLED\n\
                 WARNING: everybody who can connect may read, write and delete all files\n\
                 WARNING: set server.tokens_file and make a token with gfl-admin create",
            ),
        };
        let _ = writeln!(lines, "Starting goflux-lite server on {}", self.address);
        let _ = writeln!(lines, "Storage directory: {}", self.folders.storage_dir);
        let _ = writeln!(lines, "Configuration: {}", self.config_path.display());
        let _ = writeln!(lines, "{auth}");
        lines.push_str(&tls.map(Tls::told).unwrap_or_default());
        let _ = writeln!(lines, "goflux server listening on {address}");
        lines
    }

    /// What is unsafe, for stderr, loud; empty when nothing is.
    pub fn unsafe_notes(&self, address: SocketAddr) -> String {
        let public = !address.ip().to_canonical().is_loopback();
        let mut notes = String::new();
        if self.settings.tokens_file.is_none() {
            let who = if public {
                "everybody in the network"
            } else {
                "every user of this machine"
            };
            let _ = writeln!(
                notes,
                "WARNING: no server.tokens_file: {who} may read, write and delete all files"
            );
        }
        if public && self.tls.plain {
            let how = match self.tls.source {
                None => "without TLS",
                Some(_) => "and answering plain HTTP too",
            };
            let _ = writeln!(
                notes,
                "WARNING: listening on {address} {how}: tokens and files can be read on the way"
            );
        }
        notes
    }

    /// The effective configuration, for `-check`. There are no secrets in it.
    pub fn describe(&self) -> Result<String> {
        let settings = &self.settings;
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<22} {value}");
        };
        let note = if self.first_start {
            " (missing: will be made)"
        } else {
            ""
        };
        line(
            "configuration",
            &format!("{}{note}", self.config_path.display()),
        );
        line("address", &self.address);
        for (name, value) in self.tls.describe()? {
            line(name, &value);
        }
        line("storage_dir", &self.folders.storage_dir);
        line("meta_dir", &self.folders.meta_dir);
        let tokens = Some(self.folders.tokens_file.as_str()).filter(|file| !file.is_empty());
        line(
            "tokens_file",
            &tokens.unwrap_or("(none: authentication is off)"),
        );
        line(
            "durability",
            &format!("{:?}", settings.durability).to_lowercase(),
        );
        line("undo_days", &(settings.undo_ms / (24 * HOUR_MS)));
        line("undo_free_percent_min", &settings.undo_free_percent_min);
        line(
            "upload_expiry_hours",
            &(settings.upload_expiry_ms / HOUR_MS),
        );
        line("max_file_size", &settings.max_file_bytes);
        line(
            "log",
            &format!("{:?} {}", self.log, self.log_level).to_lowercase(),
        );
        for warning in &self.warnings {
            line("warning", warning);
        }
        Ok(text)
    }
}

/// Why the application did not open, causes included: here the administrator reads, and nobody else.
pub fn open_failed(error: gfl_core::Error) -> anyhow::Error {
    anyhow::Error::new(error)
}

/// Each connection is a file descriptor and each transfer another: takes all that the system allows.
pub fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // Refused means it stays as it was; the listener waits when descriptors run out.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: &str) -> Args {
        Args {
            config: config.into(),
            ..Args::default()
        }
    }

    fn found(server: &str) -> Found {
        let (config, _) = Config::parse(&format!("{{\"server\":{server}}}")).unwrap();
        Found {
            config,
            ..Found::default()
        }
    }

    #[test]
    fn a_first_start_is_local_and_authenticated() {
        let missing = Found {
            missing: true,
            ..Found::default()
        };
        let plan = plan(&args("/etc/gfl/goflux.json"), missing).unwrap();
        assert_eq!(plan.address, "127.0.0.1:8080");
        assert_eq!(
            plan.settings.tokens_file.as_deref(),
            Some(Path::new("/etc/gfl/tokens.json"))
        );
        assert!(plan.first_start);
        assert_eq!(plan.unsafe_notes("127.0.0.1:1".parse().unwrap()), "");
        assert!(
            plan.started("[::1]:5".parse().unwrap(), None)
                .ends_with("listening on [::1]:5\n")
        );
    }

    #[test]
    fn an_old_configuration_is_obeyed_and_warned_about() {
        let plan = plan(&args("x"), found(r#"{"address":"192.0.2.1:80"}"#)).unwrap();
        assert_eq!(plan.address, "192.0.2.1:80");
        assert!(plan.settings.tokens_file.is_none());
        let notes = plan.unsafe_notes("192.0.2.1:80".parse().unwrap());
        assert!(notes.contains("everybody in the network") && notes.contains("without TLS"));
        assert!(
            plan.started("127.0.0.1:1".parse().unwrap(), None)
                .contains("DISABLED")
        );
    }

    #[test]
    fn addresses() {
        let address = |configured: &str, listen: Option<&str>, port: Option<&str>, public| {
            let args = Args {
                listen: listen.map(str::to_owned),
                port: port.map(str::to_owned),
                public,
                ..Args::default()
            };
            super::address(&args, configured).ok()
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(
            address("localhost:8080", None, None, false),
            is("localhost:8080")
        );
        assert_eq!(
            address("localhost:8080", None, Some("9"), false),
            is("localhost:9")
        );
        assert_eq!(address("[::1]:8080", None, Some("9"), false), is("[::1]:9"));
        assert_eq!(address("[::1]", None, Some("9"), false), is("[::1]:9"));
        assert_eq!(address(":8080", None, None, false), is(":8080"));
        assert_eq!(address("a:1", Some("b:2"), Some("3"), false), is("b:3"));
        assert_eq!(
            address("127.0.0.1:8080", None, None, true),
            is("0.0.0.0:8080")
        );
        assert_eq!(address("localhost", None, None, false), None);
        assert_eq!(address("a:1", None, Some("x"), false), None);
    }

    #[test]
    fn what_is_answered_in_the_open_is_told() {
        let notes = |args: Args, server: &str| {
            let plan = plan(&args, found(server)).unwrap();
            plan.unsafe_notes("192.0.2.1:80".parse().unwrap())
        };
        let tokens = r#"{"tokens_file":"t","address":"192.0.2.1:80"}"#;
        assert!(notes(args("x"), tokens).contains("without TLS"));
        let public = Args {
            public: true,
            ..args("x")
        };
        assert_eq!(notes(public.clone(), tokens), "");
        let both = Args {
            plain_http: true,
            ..public
        };
        assert!(notes(both, tokens).contains("plain HTTP too"));
        assert!(plan(&args("x"), found(r#"{"tls_cert":"c"}"#)).is_err());
    }

    #[test]
    fn values_arrive_in_their_units() {
        let config = r#"{"undo_days":1,"upload_expiry_hours":2,"max_file_size":5,"durability":"none",
                         "storage_dir":"s","show_paths_in_config":true}"#;
        let plan = plan(&args("x"), found(config)).unwrap();
        assert_eq!(plan.settings.undo_ms, 86_400_000);
        assert_eq!(plan.settings.upload_expiry_ms, 7_200_000);
        assert_eq!(plan.settings.max_file_bytes, 5);
        assert_eq!(plan.settings.durability, Durable::None);
        assert_eq!(plan.about.storage_dir, "s");
        let bad = Args {
            durability: Some("perhaps".into()),
            ..args("x")
        };
        assert!(super::plan(&bad, found("{}")).is_err());
    }
}
