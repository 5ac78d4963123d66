//! The first start in a folder: writes a configuration that is safe, makes the first token, and says how to use it.

use crate::start::Plan;
use anyhow::{Context, Result};
use gfl_api::config::Config;
use gfl_api::gojson::Node;
use gfl_api::tokens::{TokenFile, TokenRecord, hash_token, new_id, new_token};
use jiff::{Span, Zoned};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Who owns the first token.
const FIRST_USER: &str = "admin";
/// How long it is valid. `gfl-admin create` makes others.
const FIRST_TOKEN_DAYS: i64 = 365;

/// Writes what is missing and returns what to tell on stdout. The token is told now or never: it is not kept.
pub fn prepare(plan: &Plan) -> Result<String> {
    let token = match &plan.settings.tokens_file {
        Some(file) if !file.exists() => Some((make_token(file)?, file.display().to_string())),
        _ => None,
    };
    let path = &plan.config_path;
    write_new(path, config_text(plan)?.as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut told = format!("Created default configuration at: {}\n", path.display());
    if let Some((token, file)) = token {
        told += &format!(
            "Created the first token in: {file} (user {FIRST_USER}, valid for {FIRST_TOKEN_DAYS} days)\n\
             It is shown only once. Try it:\n\n    \
             GOFLUX_TOKEN_LITE={token} gfl -config {} ls /\n\n",
            quoted(&path.to_string_lossy())
        );
    }
    Ok(told)
}

/// v0.1's file, with what this start decided in it.
fn config_text(plan: &Plan) -> Result<String> {
    let mut root = Node::parse(&Config::default_text(&plan.address))?;
    let server = root.slot("server");
    server.set("storage_dir", Node::from(plan.folders.storage_dir.as_str()));
    server.set("meta_dir", Node::from(plan.folders.meta_dir.as_str()));
    server.set("tokens_file", Node::from(plan.folders.tokens_file.as_str()));
    let own = plan.tls.self_signed();
    if own.is_some() {
        // What was asked for on the command line must hold at the next start without it.
        server.set("tls_self_signed", Node::Bool(true));
        let plain = if plan.tls.plain { "allow" } else { "refuse" };
        server.set("plain_http", Node::from(plain));
    }
    let client = root.slot("client");
    let url = client_url(&plan.address, own.is_some());
    client.set("server_url", Node::from(url.as_str()));
    if let Some(own) = own {
        // The file holds both sides: its client trusts its server.
        let fingerprint = own.ensure()?.fingerprint()?.to_string();
        client.set("tls_fingerprint", Node::from(fingerprint.as_str()));
    }
    Ok(root.to_text())
}

/// Where a client on this machine finds the server.
fn client_url(address: &str, encrypted: bool) -> String {
    let scheme = if encrypted { "https" } else { "http" };
    match address.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("{scheme}://localhost:{port}"),
        _ => format!("{scheme}://{address}"),
    }
}

fn make_token(file: &Path) -> Result<String> {
    let (mut secret, mut id) = ([0; 32], [0; 6]);
    getrandom::fill(&mut secret).context("the system gives no random bytes")?;
    getrandom::fill(&mut id).context("the system gives no random bytes")?;
    let token = new_token(secret);
    let now = Zoned::now();
    let expires = now
        .checked_add(Span::new().days(FIRST_TOKEN_DAYS))
        .context("the clock is wrong")?;
    let record = TokenRecord {
        id: new_id(id),
        token_hash: hash_token(&token),
        user: FIRST_USER.to_owned(),
        permissions: vec!["*".to_owned()],
        created_at: now.timestamp().to_string(),
        expires_at: expires.timestamp().to_string(),
        ..TokenRecord::default()
    };
    let tokens = TokenFile {
        tokens: vec![record],
        ..TokenFile::default()
    };
    write_new(file, tokens.to_text().as_bytes(), 0o600)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(token)
}

/// Writes a file that must not be there yet, durably: a token that was shown must still be valid after a crash.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

/// Fit to be pasted into a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use crate::start;

    #[test]
    fn makes_what_the_next_start_reads() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir
            .path()
            .join("new/goflux.json")
            .to_string_lossy()
            .into_owned();
        let args = Args {
            config: config.clone(),
            listen: Some("0.0.0.0:9".into()),
            ..Args::default()
        };
        let plan = start::plan(&args, start::read_config(&args).unwrap()).unwrap();
        let told = prepare(&plan).unwrap();
        let token = told
            .split("GOFLUX_TOKEN_LITE=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();

        let again = start::plan(
            &Args {
                listen: None,
                ..args.clone()
            },
            start::read_config(&args).unwrap(),
        );
        let again = again.unwrap();
        assert!(!again.first_start);
        assert_eq!(
            (again.address.as_str(), again.warnings.len()),
            ("0.0.0.0:9", 0)
        );
        let file = again.settings.tokens_file.unwrap();
        let tokens = TokenFile::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let record = tokens.find_hash(&hash_token(token)).unwrap();
        assert_eq!(
            (record.user.as_str(), &record.permissions[..]),
            ("admin", &["*".to_owned()][..])
        );
        assert_eq!(
            Config::parse(&std::fs::read_to_string(config).unwrap())
                .unwrap()
                .0
                .client
                .server_url,
            "http://localhost:9"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(prepare(&plan).is_err(), "nothing is overwritten");
    }

    #[test]
    fn a_public_first_start_is_encrypted_and_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let args = Args {
            config: path("goflux.json"),
            meta_dir: Some(path("meta")),
            public: true,
            ..Args::default()
        };
        let plan = start::plan(&args, start::read_config(&args).unwrap()).unwrap();
        prepare(&plan).unwrap();
        let text = std::fs::read_to_string(&args.config).unwrap();
        let (config, warnings) = Config::parse(&text).unwrap();
        assert_eq!(
            (config.client.server_url.as_str(), warnings),
            ("https://localhost:8080", vec![])
        );

        let again = Args {
            public: false,
            ..args
        };
        let plan = start::plan(&again, start::read_config(&again).unwrap()).unwrap();
        assert!(!plan.tls.plain);
        let files = plan.tls.self_signed().unwrap().existing().unwrap();
        let fingerprint = files.fingerprint().unwrap().to_string();
        assert_eq!(fingerprint, config.client.tls_fingerprint);
    }

    #[test]
    fn shell_words() {
        assert_eq!(quoted("a/b.json"), "a/b.json");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
