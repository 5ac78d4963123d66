//! Which server and which token: settings files in v0.1's order, the environment, and `.netrc`.
//!
//! Reads the environment and files once, at the start. Never shows a token.

mod netrc;
pub(crate) mod write;

use crate::exit::{Exit, Failed};
use crate::remote::url::Origin;
use anyhow::{Context, Result};
use gfl_api::config::Config;
use std::path::{Path, PathBuf};

/// What a v0.1 client talks to when nothing is configured.
const SERVER_DEFAULT: &str = "http://localhost:8080";
/// The variable that holds a token, as in v0.1.
pub(crate) const TOKEN_VAR: &str = "GOFLUX_TOKEN_LITE";
/// Where a setting is from, in words.
const FROM_FILE: &str = "from the file";
const FROM_NOWHERE: &str = "the default";
/// In the current folder, as v0.1 looked for it. Whoever can write there can name the server.
const HERE: &str = "config.json";
/// Bytes of a settings file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What was found.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The server.
    pub(crate) origin: Origin,
    /// Where its address is from, in words.
    pub(crate) origin_source: &'static str,
    /// The token, if there is one.
    pub(crate) token: Option<String>,
    /// Where the token is from, in words.
    pub(crate) token_source: &'static str,
    /// The settings file has a token, which another one stands in front of.
    pub(crate) is_file_token_unused: bool,
    /// The settings file in use.
    pub(crate) file: Option<PathBuf>,
    /// Things in it that look wrong.
    pub(crate) warnings: Vec<String>,
}

/// Where files are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The folder of the program.
    pub(crate) exe_dir: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `~/.config`.
    pub(crate) config_home: Option<PathBuf>,
    /// `$NETRC`, or `~/.netrc`.
    pub(crate) netrc: Option<PathBuf>,
}

impl Places {
    /// As the environment has it.
    pub(crate) fn from_env() -> Self {
        let var = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = var("HOME").or_else(|| var("USERPROFILE"));
        Self {
            exe_dir: std::env::current_exe()
                .ok()
                .and_then(|exe| exe.parent().map(Path::to_owned)),
            // A relative value is to be ignored, says the standard.
            config_home: var("XDG_CONFIG_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| home.as_ref().map(|home| home.join(".config"))),
            netrc: var("NETRC").or_else(|| home.map(|home| home.join(".netrc"))),
        }
    }

    /// The user's own file.
    pub(crate) fn own_file(&self) -> Option<PathBuf> {
        self.config_home
            .as_ref()
            .map(|dir| dir.join("gfl").join("config.json"))
    }

    /// The files to look at, first one wins.
    fn candidates(&self, named: Option<&str>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let beside = |name: &str| self.exe_dir.as_ref().map(|dir| dir.join(name));
        if let Some(named) = named {
            files.push(PathBuf::from(named));
            if Path::new(named).is_relative() {
                files.extend(beside(named));
            }
            return files;
        }
        files.extend(beside("goflux.json"));
        files.extend(beside("config.json"));
        files.push(PathBuf::from(HERE));
        files.extend(self.own_file());
        files.push(PathBuf::from("/etc/gfl/config.json"));
        files
    }

    /// The settings file in use and its text.
    pub(crate) fn find(&self, named: Option<&str>) -> Result<Option<(PathBuf, String)>> {
        for path in self.candidates(named) {
            let Ok(meta) = std::fs::metadata(&path) else {
                continue;
            };
            if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
                continue;
            }
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            // Many programs have a `config.json`; one that is none of ours is no settings file.
            if named.is_none()
                && path.ends_with("config.json")
                && !text.to_lowercase().contains("server_url")
            {
                continue;
            }
            return Ok(Some((path, text)));
        }
        match named {
            Some(named) => {
                let what = match Path::new(named).exists() {
                    true => "is no settings file",
                    false => "is not there",
                };
                let message =
                    format!("settings file {named} {what}; name another one with -config");
                Err(Failed::new(Exit::NotFound, message).into())
            }
            None => Ok(None),
        }
    }
}

/// The token of the environment, which goes before all others.
pub(crate) fn env_token() -> Option<String> {
    let token = std::env::var(TOKEN_VAR).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Finds server and token. `server` from the command line overrules the file.
pub(crate) fn load(places: &Places, named: Option<&str>, server: Option<&str>) -> Result<Settings> {
    let found = places.find(named)?;
    let (client, mut warnings) = match &found {
        None => (None, Vec::new()),
        Some((path, text)) => {
            let (config, warnings) =
                Config::parse(text).with_context(|| path.display().to_string())?;
            let warnings = warnings
                .iter()
                .map(|warning| format!("{}: {warning}", path.display()))
                .collect();
            (Some(config.client), warnings)
        }
    };
    let (configured, origin_source) = match &client {
        Some(client) => (client.server_url.as_str(), FROM_FILE),
        None => (SERVER_DEFAULT, FROM_NOWHERE),
    };
    let is_in_file = |(_, text): &(_, String)| text.to_lowercase().contains("server_url");
    let origin_source = match found.as_ref().is_some_and(is_in_file) {
        true => origin_source,
        false => FROM_NOWHERE,
    };
    let origin_source = server.map_or(origin_source, |_| "from --server");
    let origin = Origin::parse(server.unwrap_or(configured)).with_context(|| match &found {
        Some((path, _)) if server.is_none() => path.display().to_string(),
        _ => "--server".to_owned(),
    })?;
    let is_configured_one =
        server.is_none() || Origin::parse(configured).is_ok_and(|other| other == origin);
    // A token from the file belongs to the server in the file, and is shown to no other.
    let from_file = client
        .map(|client| client.token.trim().to_owned())
        .filter(|token| !token.is_empty() && is_configured_one);
    let from_netrc = || {
        let text = std::fs::read_to_string(places.netrc.as_ref()?).ok()?;
        netrc::password(&text, &origin.host)
    };
    let has_file_token = from_file.is_some();
    let (token, token_source) = if let Some(token) = env_token() {
        (Some(token), "from the environment (GOFLUX_TOKEN_LITE)")
    } else if let Some(token) = from_file {
        (Some(token), FROM_FILE)
    } else if let Some(token) = from_netrc() {
        (Some(token.trim().to_owned()), "from .netrc")
    } else {
        (None, "none")
    };
    let is_here = named.is_none()
        && server.is_none()
        && found
            .as_ref()
            .is_some_and(|(path, _)| path == Path::new(HERE));
    if is_here {
        let mut text = format!(
            "using the server {} from ./{HERE} in this folder",
            origin.to_url()
        );
        if token.is_some() {
            text.push_str("; the token goes there");
        }
        warnings.insert(0, text);
    }
    Ok(Settings {
        origin,
        origin_source,
        is_file_token_unused: has_file_token && token_source != FROM_FILE,
        token,
        token_source,
        file: found.map(|(path, _)| path),
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dir: &Path) -> Places {
        Places {
            exe_dir: Some(dir.join("bin")),
            config_home: Some(dir.join("home/.config")),
            netrc: Some(dir.join("netrc")),
        }
    }

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_order_of_v01_then_the_users_own() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let server = |named| load(&places, named, None).map(|s| s.origin.to_url());
        assert_eq!(server(None).unwrap(), SERVER_DEFAULT);
        write(
            places.own_file().unwrap(),
            r#"{"client":{"server_url":"own:1"}}"#,
        );
        assert_eq!(server(None).unwrap(), "http://own:1");
        write(
            dir.path().join("bin/config.json"),
            r#"{"compilerOptions":{}}"#,
        );
        assert_eq!(
            server(None).unwrap(),
            "http://own:1",
            "another program's file"
        );
        write(
            dir.path().join("bin/config.json"),
            r#"{"client":{"Server_URL":"beside:2"}}"#,
        );
        assert_eq!(server(None).unwrap(), "http://beside:2");
        write(
            dir.path().join("bin/goflux.json"),
            r#"{"CLIENT":{"server_url":"http://first:3"}}"#,
        );
        assert_eq!(server(None).unwrap(), "http://first:3");
        write(
            dir.path().join("bin/other.json"),
            r#"{"client":{"server_url":"other:4"}}"#,
        );
        assert_eq!(server(Some("other.json")).unwrap(), "http://other:4");
        let named = dir.path().join("bin/other.json");
        assert_eq!(
            server(Some(named.to_str().unwrap())).unwrap(),
            "http://other:4"
        );
        let error = server(Some("missing.json")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::NotFound);
        write(dir.path().join("bin/goflux.json"), "{");
        assert!(server(None).is_err());
    }

    #[test]
    fn a_stored_token_goes_only_to_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        write(
            dir.path().join("bin/goflux.json"),
            r#"{"client":{"server_url":"nas:1","token":" t "}}"#,
        );
        write(
            dir.path().join("netrc"),
            "machine other login x password n\n",
        );
        let token = |server| load(&places, None, server).unwrap().token;
        assert_eq!(token(None).as_deref(), Some("t"));
        assert_eq!(token(Some("http://nas:1/")).as_deref(), Some("t"));
        assert_eq!(token(Some("evil:1")), None);
        assert_eq!(token(Some("other:9")).as_deref(), Some("n"));
    }
}
