//! What is told about a plan: at the start, and to `-check`.

use super::folders::shown;
use super::{HOUR_MS, Plan, tokens};
use crate::tls::Tls;
use crate::ui;
use gfl_api::config::DatabasePlace;
use gfl_core::limits::FILE_BYTES_MAX;
use std::fmt::Write;
use std::net::SocketAddr;

impl Plan {
    /// v0.1's lines on stdout, with whole paths; the last one says that connections are accepted, and where.
    pub fn started(&self, address: SocketAddr, tls: Option<&Tls>) -> String {
        let mut lines = String::new();
        let auth = match &self.settings.tokens_file {
            Some(file) => {
                let _ = writeln!(lines, "Authentication enabled: {}", shown(file));
                ui::green("Authentication enabled (challenge-response supported)")
            }
            None => ui::red(
                "WARNING: authentication is DISABLED\n\
                 WARNING: everybody who can connect may read, write and delete all files\n\
                 WARNING: set server.tokens_file and make a token with gfl-admin create",
            ),
        };
        let settings = &self.settings;
        let _ = writeln!(lines, "Starting goflux-lite server on {}", self.address);
        let _ = writeln!(lines, "Storage directory: {}", shown(&settings.storage_dir));
        let _ = writeln!(lines, "Metadata directory: {}", shown(&settings.meta_dir));
        if let Some(url) = &settings.database {
            let _ = writeln!(lines, "Database: {url}");
        }
        let _ = writeln!(lines, "Configuration: {}", shown(&self.config_path));
        let _ = writeln!(lines, "{auth}");
        lines.push_str(&tls.map(Tls::told).unwrap_or_default());
        let _ = writeln!(lines, "goflux server listening on {address}");
        lines
    }

    /// The settings in force and what is doubtful about them, for `-check`. There are no secrets in it.
    pub fn describe(&self) -> String {
        let mut text = self.values();
        let mut errors = 0;
        for finding in &self.findings {
            let kind = if finding.fatal { "error" } else { "warning" };
            errors += usize::from(finding.fatal);
            let _ = writeln!(text, "{kind}: {finding}");
        }
        let warnings = self.findings.len() - errors;
        text += &match (errors, warnings) {
            (0, 0) => "nothing is doubtful about this\n".to_owned(),
            (0, n) => format!("warnings: {n}; the server starts\n"),
            (e, n) => format!("errors: {e}, warnings: {n}; the server does not start\n"),
        };
        text
    }

    fn values(&self) -> String {
        let settings = &self.settings;
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name:<27} {value}");
        };
        let note = if self.first_start {
            " (missing: will be made)"
        } else {
            ""
        };
        line(
            "configuration",
            &format!("{}{note}", shown(&self.config_path)),
        );
        line("address", &self.address);
        line("storage_dir", &shown(&settings.storage_dir));
        line("meta_dir", &shown(&settings.meta_dir));
        line("tokens_file", &tokens::describe(self));
        let database = &self.server.database.place;
        match &settings.database {
            Some(url) => line("database", &url),
            None => line("database", database),
        }
        if *database != DatabasePlace::MetaDir {
            let most = &settings.database_connections_max;
            line("database_connections_max", most);
        }
        for (name, value) in self.tls.describe() {
            line(name, &value);
        }
        line(
            "durability",
            &format!("{:?}", settings.durability).to_lowercase(),
        );
        let undo_days = settings.undo_ms / (24 * HOUR_MS);
        line(
            "undo_days",
            &match undo_days {
                0 => "0 (nothing can be brought back)".to_owned(),
                days => days.to_string(),
            },
        );
        line("undo_free_percent_min", &settings.undo_free_percent_min);
        line("event_days", &(settings.events_ms / (24 * HOUR_MS)));
        line("event_rows_max", &settings.events_rows_max);
        line(
            "access_log_days",
            &(settings.access_log_ms / (24 * HOUR_MS)),
        );
        line(
            "upload_expiry_hours",
            &(settings.upload_expiry_ms / HOUR_MS),
        );
        line(
            "max_file_size",
            &match settings.max_file_bytes {
                FILE_BYTES_MAX => "0 (no limit)".to_owned(),
                bytes => bytes.to_string(),
            },
        );
        line("log", &format!("{:?}", self.log).to_lowercase());
        line("log_level", &self.log_level);
        let discovery = match self.discovery.wanted {
            None => "unless only this machine can connect",
            Some(true) => "on",
            Some(false) => "off",
        };
        line(
            "discovery",
            &format!("{discovery}, as {:?}", self.discovery.name),
        );
        let updates = self.about.updates_file.as_deref();
        let updates = updates.map_or_else(|| "(none)".into(), shown);
        line("updates_file", &updates);
        let server = &self.server;
        line("connections_max", &server.connections_max);
        line(
            "connections_per_address_max",
            &server.connections_per_address_max,
        );
        line("trusted_proxies", &server.trusted_proxies.join(" "));
        line("drain_seconds", &server.drain_seconds);
        line("drain_notice_seconds", &server.drain_notice_seconds);
        line("metrics", &format!("{:?}", server.metrics).to_lowercase());
        line("show_paths_in_config", &self.show_paths);
        text
    }
}
