//! The first start in a folder: writes a configuration that is safe, makes the first token, and says how to use it.

use crate::start::{Plan, absolute};
use anyhow::{Context, Result};
use gfl_api::config::Config;
use gfl_api::gojson::Node;
use gfl_api::tokens::{TokenFile, TokenRecord, hash_token, new_id, new_token};
use jiff::{Span, Zoned};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Who owns the first token.
const FIRST_USER: &str = "admin";
/// How long it is valid. `gfl-admin create` makes others.
const FIRST_TOKEN_DAYS: i64 = 365;

/// The file with the first token, where it could not be shown.
const SECRET_FILE: &str = "first-token";

/// Where it stands: beside the file of tokens.
pub fn secret_file(tokens_file: &Path) -> PathBuf {
    absolute(tokens_file).with_file_name(SECRET_FILE)
}

/// Where the first token may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// To whoever reads stdout now.
    Shown,
    /// In a file of its own: stdout may be kept in a log, where a secret must never stand.
    InFile,
}

/// Writes what is missing and returns what to tell on stdout. Called when the port is bound and the folders are
/// open, so that a start that fails leaves neither a configuration nor a token that nobody has seen.
pub fn prepare(plan: &Plan, bound: SocketAddr, tell: Tell) -> Result<String> {
    let path = absolute(&plan.config_path);
    let token = match &plan.settings.tokens_file {
        Some(file) if !file.exists() => Some(FirstToken::make(file, tell)?),
        _ => None,
    };
    let written = config_text(plan, bound).and_then(|text| {
        write_new(&path, text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))
    });
    if let Err(error) = written {
        // Otherwise the next start would find a token that nobody knows.
        token.iter().for_each(FirstToken::take_back);
        return Err(error);
    }
    let mut told = format!("Created default configuration at: {}\n", path.display());
    if let Some(token) = token {
        told += &token.told(&path);
    }
    Ok(told)
}

/// v0.1's file, with what this start decided in it.
fn config_text(plan: &Plan, bound: SocketAddr) -> Result<String> {
    // Port 0 was a wish for some free port: the one that was found stays, or no client would know where to go.
    let wanted = &plan.server.address;
    let address = match wanted.strip_suffix(":0") {
        Some(host) => format!("{host}:{}", bound.port()),
        None => wanted.clone(),
    };
    let mut root = Node::parse(&Config::default_text(&address))?;
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
    let url = client_url(&address, own.is_some());
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

/// A token that was just made, and the files that were.
struct FirstToken {
    token: String,
    file: PathBuf,
    /// Where its secret stands, unless it is shown.
    secret_file: Option<PathBuf>,
}

impl FirstToken {
    /// The secret is kept before the token counts: a crash in between leaves no token that nobody knows.
    fn make(file: &Path, tell: Tell) -> Result<FirstToken> {
        let file = absolute(file);
        let (token, tokens) = make_token()?;
        let secret_file = (tell == Tell::InFile).then(|| secret_file(&file));
        let cannot = |path: &Path| format!("cannot write {}", path.display());
        if let Some(path) = &secret_file {
            // Of an earlier start that did not come this far.
            let _ = std::fs::remove_file(path);
            write_new(path, format!("{token}\n").as_bytes(), 0o600)
                .with_context(|| cannot(path))?;
        }
        let made = FirstToken {
            token,
            file,
            secret_file,
        };
        if let Err(error) = write_new(&made.file, tokens.to_text().as_bytes(), 0o600) {
            made.take_back();
            return Err(error).with_context(|| cannot(&made.file));
        }
        Ok(made)
    }

    fn take_back(&self) {
        for path in self.secret_file.iter().chain([&self.file]) {
            // What stays is only confusing: the error that led here is what counts.
            let _ = std::fs::remove_file(path);
        }
    }

    fn told(&self, config: &Path) -> String {
        let file = self.file.display();
        let config = quoted(&config.to_string_lossy());
        let made = format!(
            "Created the first token in: {file} (user {FIRST_USER}, valid for {FIRST_TOKEN_DAYS} days)\n"
        );
        let how = match &self.secret_file {
            None => format!(
                "It is shown only once. Try it:\n\n    \
                 GOFLUX_TOKEN_LITE={} gfl -config {config} ls /\n\n",
                self.token
            ),
            Some(path) => format!(
                "It is not shown here, where it might be kept in a log: it stands in {}\n\
                 Only this user can read that file; delete it when the token is where it belongs. Try it:\n\n    \
                 GOFLUX_TOKEN_LITE=$(cat {}) gfl -config {config} ls /\n\n",
                path.display(),
                quoted(&path.to_string_lossy())
            ),
        };
        made + &how
    }
}

/// A new token, and the file that knows it.
fn make_token() -> Result<(String, TokenFile)> {
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
    Ok((token, tokens))
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
    use std::os::unix::fs::PermissionsExt;

    fn plan(config: &Path, listen: Option<&str>) -> Plan {
        let args = Args {
            config: config.to_string_lossy().into_owned(),
            listen: listen.map(str::to_owned),
            ..Args::default()
        };
        start::plan(&args, start::read_config(&args).unwrap())
    }

    fn bound() -> SocketAddr {
        "127.0.0.1:4711".parse().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    /// The token is known to the file of tokens, and may do everything with files.
    fn counts(token: &str, file: &Path) {
        let tokens = TokenFile::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
        let record = tokens.find_hash(&hash_token(token)).unwrap();
        assert_eq!(
            (record.user.as_str(), &record.permissions[..]),
            ("admin", &["*".to_owned()][..])
        );
        assert_eq!(mode(file), 0o600);
    }

    #[test]
    fn makes_what_the_next_start_reads() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("new/goflux.json");
        let first = plan(&config, Some("0.0.0.0:9"));
        let told = prepare(&first, bound(), Tell::Shown).unwrap();
        let token = told.split("GOFLUX_TOKEN_LITE=").nth(1).unwrap();
        let token = token.split(' ').next().unwrap();

        let again = plan(&config, None);
        assert!(!again.first_start);
        assert_eq!(
            (again.address.as_str(), again.findings.len()),
            ("0.0.0.0:9", 0)
        );
        counts(token, &again.settings.tokens_file.unwrap());
        let text = std::fs::read_to_string(&config).unwrap();
        let (read, _) = Config::parse(&text).unwrap();
        assert_eq!(read.client.server_url, "http://localhost:9");
        assert!(
            prepare(&first, bound(), Tell::Shown).is_err(),
            "nothing is overwritten"
        );
    }

    #[test]
    fn a_token_that_cannot_be_shown_stands_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("goflux.json");
        let secret_file = dir.path().join("first-token");
        std::fs::write(&secret_file, "of an earlier try").unwrap();
        let told = prepare(&plan(&config, Some("127.0.0.1:0")), bound(), Tell::InFile).unwrap();
        let secret = std::fs::read_to_string(&secret_file).unwrap();
        counts(secret.trim(), &dir.path().join("tokens.json"));
        assert_eq!(mode(&secret_file), 0o600);
        assert!(!told.contains(secret.trim()), "{told}");
        let way = format!("GOFLUX_TOKEN_LITE=$(cat {})", secret_file.display());
        assert!(told.contains(&way), "{told}");
        // The port that was found is kept: clients know no other.
        assert_eq!(plan(&config, None).address, "127.0.0.1:4711");
    }

    #[test]
    fn nothing_stays_of_a_start_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("goflux.json");
        let first = plan(&config, None);
        // In the way of the configuration, which is written last.
        std::fs::create_dir(&config).unwrap();
        let error = prepare(&first, bound(), Tell::InFile).unwrap_err();
        assert!(format!("{error:#}").contains("goflux.json"), "{error:#}");
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["goflux.json"]);
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
        let plan = start::plan(&args, start::read_config(&args).unwrap());
        prepare(&plan, bound(), Tell::Shown).unwrap();
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
        let plan = start::plan(&again, start::read_config(&again).unwrap());
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
