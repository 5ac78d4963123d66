//! Where the server's folders are: told by its configuration, or on the command line.

use anyhow::{Context, Result, bail};
use gfl_api::config::Config;
use gfl_api::goflags::Parsed;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The default of `-config`, as the server's.
pub(crate) const CONFIG_DEFAULT: &str = "goflux.json";

/// The folder with catalog, lock and socket.
pub(crate) fn meta_dir(flags: &Parsed) -> Result<PathBuf> {
    if let Some(folder) = flags.value("meta-dir").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
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
    Ok(PathBuf::from(config.server.meta_dir))
}

/// With its whole path: a relative folder may be looked for in another place than the server has it.
pub(crate) fn shown(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.to_string_lossy().escape_debug().to_string()
}
