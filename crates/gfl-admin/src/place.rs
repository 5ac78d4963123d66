//! Where the server's folders are: told by its configuration, or on the command line.

use anyhow::{Context, Result, anyhow, bail};
use gfl_api::config::{Config, ServerConfig};
use gfl_api::goflags::Parsed;
use gfl_core::settings::Settings;
use gfl_server::start;
use std::io::ErrorKind;
use std::path::Path;

/// The default of `-config`, as the server's.
pub(crate) const CONFIG_DEFAULT: &str = "goflux.json";

/// The folders and the database of the server.
pub(crate) fn settings(flags: &Parsed) -> Result<Settings> {
    if let Some(folder) = flags.value("meta-dir").filter(|folder| !folder.is_empty()) {
        return Ok(Settings::new("", folder));
    }
    let server = configured(flags)?;
    let mut settings = Settings::new(&server.storage_dir, &server.meta_dir);
    settings.database = start::database(&server).map_err(|finding| anyhow!("{finding}"))?;
    Ok(settings)
}

/// The section `server` of the configuration.
pub(crate) fn configured(flags: &Parsed) -> Result<ServerConfig> {
    let path = flags.value("config").unwrap_or(CONFIG_DEFAULT);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "there is no {path}; name the server's configuration with -config, or its meta_dir with -meta-dir"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
    };
    let (config, _) = Config::parse(&text).with_context(|| format!("cannot use {path}"))?;
    Ok(config.server)
}

/// With its whole path: a relative folder may be looked for in another place than the server has it.
pub(crate) fn shown(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.to_string_lossy().escape_debug().to_string()
}
