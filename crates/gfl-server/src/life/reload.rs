//! Reading the configuration again while the server runs. All or nothing: a file that cannot be used changes
//! nothing, and what cannot be changed without a restart is named.

use crate::args::Args;
use crate::limits::{Drain, Limits};
use crate::server::Server;
use crate::{logs, start};
use anyhow::{Result, bail};
use gfl_api::config::ServerConfig;
use std::path::PathBuf;
use std::sync::Arc;

/// Reads something again.
pub type ReadAgain = Box<dyn Fn(&ServerConfig) -> Result<()> + Send>;

/// Something else that is read again: a certificate.
pub struct Hook {
    /// For the log.
    pub name: &'static str,
    /// Files whose change is a reason to reload, too.
    pub files: Vec<PathBuf>,
    /// Reads it again. An error leaves what is in force in force.
    pub reload: ReadAgain,
}

/// What is in force, and how to find out what should be.
pub struct Reloader {
    args: Args,
    config: ServerConfig,
    server: Arc<Server>,
    descriptors: Option<u64>,
    hooks: Vec<Hook>,
}

impl Reloader {
    /// `config` is in force; the server has its limits already.
    pub fn new(
        args: Args,
        config: ServerConfig,
        server: Arc<Server>,
        descriptors: Option<u64>,
    ) -> Reloader {
        Reloader {
            args,
            config,
            server,
            descriptors,
            hooks: Vec::new(),
        }
    }

    /// Reloads this, too.
    pub fn add(&mut self, hook: Hook) {
        self.hooks.push(hook);
    }

    /// Everything whose change is a reason to reload.
    pub fn files(&self) -> Vec<PathBuf> {
        let config = PathBuf::from(&self.args.config);
        let others = self.hooks.iter().flat_map(|hook| hook.files.clone());
        std::iter::once(config).chain(others).collect()
    }

    /// How the server would end now.
    pub fn drain(&self) -> Drain {
        self.server.limits().drain
    }

    /// Reloads and tells the log.
    pub fn run(&mut self, why: &str) {
        let file = self.args.config.clone();
        match self.configuration() {
            Ok(changes) => changes.tell(why, &file),
            Err(error) => tracing::error!(
                "{why}: the configuration stays as it was, the new one cannot be used: {error:#}"
            ),
        }
        for hook in &self.hooks {
            match (hook.reload)(&self.config) {
                Ok(()) => tracing::info!("{why}: reloaded {}", hook.name),
                Err(error) => tracing::error!(
                    "{why}: {} stays as it was, the new one cannot be used: {error:#}",
                    hook.name
                ),
            }
        }
    }

    fn configuration(&mut self) -> Result<Changes> {
        let found = start::read_config(&self.args)?;
        if found.is_missing() {
            bail!("{} is gone", self.args.config);
        }
        let plan = start::plan(&self.args, found);
        let fatal = plan.findings.iter().find(|finding| finding.fatal);
        if let Some(finding) = fatal {
            bail!("{finding}");
        }
        let (limits, warning) = Limits::new(&plan.server, self.descriptors)?;
        // The last thing that can fail, so that nothing is left half done.
        logs::set_level(&plan.server.log_level)?;
        self.server.set_limits(limits);
        self.server.set_metrics_access(plan.server.metrics);
        let [live, fixed] = compare(&self.config, &plan.server);
        self.config = in_force(self.config.clone(), plan.server);
        Ok(Changes {
            live,
            fixed,
            warnings: plan
                .findings
                .iter()
                .map(ToString::to_string)
                .chain(warning)
                .collect(),
        })
    }
}

/// What another configuration changes.
struct Changes {
    /// Settings that hold now.
    live: Vec<&'static str>,
    /// Settings that will hold after a restart.
    fixed: Vec<&'static str>,
    warnings: Vec<String>,
}

impl Changes {
    fn tell(&self, why: &str, file: &str) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        if !self.fixed.is_empty() {
            tracing::warn!(
                "{file}: not in force before a restart: {}",
                self.fixed.join(", ")
            );
        }
        match self.live.join(", ").as_str() {
            "" => tracing::info!("{why}: read the configuration again, nothing changed"),
            live => tracing::info!("{why}: read the configuration again, now in force: {live}"),
        }
    }
}

/// Puts every setting on one of two lists; one that is on neither does not compile.
macro_rules! settings {
    (live: $($live:ident)+; fixed: $($fixed:ident)+) => {
        /// The names of those that differ, first of those that a reload carries out.
        fn compare(old: &ServerConfig, new: &ServerConfig) -> [Vec<&'static str>; 2] {
            let mut names = [Vec::new(), Vec::new()];
            $(if old.$live != new.$live { names[0].push(stringify!($live)); })+
            $(if old.$fixed != new.$fixed { names[1].push(stringify!($fixed)); })+
            names
        }

        /// What holds after a reload, and what the next one is compared with.
        fn in_force(old: ServerConfig, new: ServerConfig) -> ServerConfig {
            ServerConfig {
                $($live: new.$live,)+
                $($fixed: old.$fixed,)+
            }
        }
    };
}

settings! {
    live:
        log_level metrics connections_max connections_per_address_max trusted_proxies drain_seconds drain_notice_seconds;
    fixed:
        address storage_dir meta_dir tokens_file database tls durability undo_days undo_free_percent_min
        event_days event_rows_max discovery discovery_name updates_file access_log_days
        upload_expiry_hours max_file_size log show_paths_in_config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_settings_are_taken_over_and_fixed_ones_are_named() {
        let old = ServerConfig::default();
        let new = ServerConfig {
            log_level: "debug".into(),
            drain_seconds: 5,
            storage_dir: "elsewhere".into(),
            ..old.clone()
        };
        let [live, fixed] = compare(&old, &new);
        assert_eq!(live, ["log_level", "drain_seconds"]);
        assert_eq!(fixed, ["storage_dir"]);
        let now = in_force(old.clone(), new.clone());
        assert_eq!((now.drain_seconds, &now.storage_dir), (5, &old.storage_dir));
        // It is still not in force, so the next reload names it again.
        assert_eq!(compare(&now, &new), [vec![], vec!["storage_dir"]]);
    }
}
