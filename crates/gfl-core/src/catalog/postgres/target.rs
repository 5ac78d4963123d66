//! Where a PostgreSQL is: a URL, parsed once. What it is shown as holds no password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::driver::Config;
use super::driver::config::{Host, SslMode};
use super::tls::Trust;

const CONNECT_TIMEOUT_S: u64 = 5;
/// Silence after which a peer is asked, and after which it is given up.
const KEEPALIVE_IDLE_S: u64 = 30;
const PEER_SILENT_S_MAX: u64 = 60;
const PORT_DEFAULT: u16 = 5432;
/// What the sessions are called in `pg_stat_activity`.
const APPLICATION: &str = "gfl-server";
const ESCAPE: &str =
    "is malformed; in user and password @ : / ? # % are written %40 %3A %2F %3F %23 %25";
/// Passed on to the driver as they are.
const OPTIONS: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// The address of a PostgreSQL with everything needed to connect. Shown without its password.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) trust: Trust,
    mode: &'static str,
}

/// What is wrong with the text. Repeats nothing of it but the name of an option: the password is a piece of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedUrl(String);

impl fmt::Display for MalformedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MalformedUrl {}

fn malformed(why: impl Into<String>) -> MalformedUrl {
    MalformedUrl(why.into())
}

impl FromStr for PostgresUrl {
    type Err = MalformedUrl;

    fn from_str(url: &str) -> Result<PostgresUrl, MalformedUrl> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(malformed(
                "is no URL of a PostgreSQL; write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            ));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut left = Vec::new();
        let (mut mode, mut ca_file) = ("prefer".to_owned(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => mode = value.to_owned(),
                "sslrootcert" => ca_file = Some(decoded(value)?).filter(|file| file != "system"),
                "sslcert" | "sslkey" => {
                    return Err(malformed(format!(
                        "{name} is not supported: give the role a password"
                    )));
                }
                // Writes are always needed, so that is always asked for.
                "target_session_attrs" if value == "read-write" || value == "any" => {}
                "target_session_attrs" => {
                    return Err(malformed(
                        "target_session_attrs can only be read-write: the catalog is written",
                    ));
                }
                known if OPTIONS.contains(&known) => left.push(pair),
                _ => {
                    return Err(malformed(
                        "has an option that is not known; docs/postgres.md names them",
                    ));
                }
            }
        }
        let whole = format!("{base}?{}", left.join("&"));
        // What a password with such a character leaves in the other parts would be shown with them.
        if base.matches('@').count() > 1 || base.matches('/').count() > 3 {
            return Err(malformed(ESCAPE));
        }
        // The parser's message may quote a piece of the URL, and the password is a piece of the URL.
        let mut config: Config = whole.parse().map_err(|_| malformed(ESCAPE))?;
        let (trust, name, ssl) = trust(&mode, ca_file.map(PathBuf::from))?;
        config.ssl_mode(ssl);
        defaults(&mut config)?;
        Ok(PostgresUrl {
            config,
            trust,
            mode: name,
        })
    }
}

fn defaults(config: &mut Config) -> Result<(), MalformedUrl> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(malformed("names no host"));
    }
    if config.get_user().is_none() {
        return Err(malformed("names no user"));
    }
    config.keepalives_idle(Duration::from_secs(KEEPALIVE_IDLE_S));
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(PEER_SILENT_S_MAX));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S));
    }
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION);
    }
    Ok(())
}

/// What `sslmode` means, as it does for libpq: below `verify-ca` nobody is verified, unless a file says by whom.
fn trust(
    mode: &str,
    ca_file: Option<PathBuf>,
) -> Result<(Trust, &'static str, SslMode), MalformedUrl> {
    let by_file = |otherwise: Trust| match &ca_file {
        Some(file) => Trust::Authority(Some(file.clone())),
        None => otherwise,
    };
    match mode {
        "disable" => Ok((Trust::Anybody, "disable", SslMode::Disable)),
        "prefer" => Ok((Trust::Anybody, "prefer", SslMode::Prefer)),
        "require" => Ok((by_file(Trust::Anybody), "require", SslMode::Require)),
        "verify-ca" => Ok((Trust::Authority(ca_file), "verify-ca", SslMode::Require)),
        "verify-full" => Ok((Trust::Name(ca_file), "verify-full", SslMode::Require)),
        _ => Err(malformed(
            "has an sslmode that is none of disable, prefer, require, verify-ca, verify-full",
        )),
    }
}

fn decoded(text: &str) -> Result<String, MalformedUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let pair = [rest.next().unwrap_or(0), rest.next().unwrap_or(0)];
        let mut one = [0];
        hex::decode_to_slice(pair, &mut one)
            .map_err(|_| malformed("has a % without two digits"))?;
        bytes.extend(one);
    }
    String::from_utf8(bytes).map_err(|_| malformed("is not UTF-8"))
}

impl PostgresUrl {
    /// The authorities that vouch for the server, PEM, where `sslrootcert` does not name them.
    pub fn set_ca_file(&mut self, file: PathBuf) {
        match &mut self.trust {
            Trust::Authority(place @ None) | Trust::Name(place @ None) => *place = Some(file),
            Trust::Anybody if self.mode == "require" => self.trust = Trust::Authority(Some(file)),
            _ => {}
        }
    }

    /// Whether whoever sits between here and there could read and change what is said.
    pub fn is_open_on_the_way(&self) -> bool {
        let local = |host: &Host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
            Host::Unix(_) => true,
        };
        let hosts = self.config.get_hosts();
        let far = hosts.is_empty() || !hosts.iter().all(local);
        far && !matches!(self.trust, Trust::Authority(_) | Trust::Name(_))
    }

    /// The role.
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The database.
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.user())
    }

    /// Whether a password is in it.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user())?;
        let ports = self.config.get_ports();
        let mut hosts: Vec<String> = Vec::new();
        for host in self.config.get_hosts() {
            hosts.push(match host {
                Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            });
        }
        if hosts.is_empty() {
            hosts.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        for (number, host) in hosts.iter().enumerate() {
            let port = ports.get(number).or(ports.first()).unwrap_or(&PORT_DEFAULT);
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{host}:{port}")?;
        }
        write!(f, "/{}?sslmode={}", self.database(), self.mode)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> PostgresUrl {
        url.parse().unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    #[test]
    fn what_is_shown_holds_no_password() {
        for url in [
            "postgres://gfl:hunter2@db.example/files",
            "postgresql://gfl@db.example/files?password=hunter2",
        ] {
            let url = parse(url);
            let shown = "postgres://gfl@db.example:5432/files?sslmode=prefer";
            assert_eq!(url.to_string(), shown);
            assert!(
                !format!("{url:?} {:?}", url.config).contains("hunter2"),
                "{url:?}"
            );
        }
        let several = parse("postgres://g@a:1,b:2/d?sslmode=verify-full");
        assert_eq!(
            several.to_string(),
            "postgres://g@a:1,b:2/d?sslmode=verify-full"
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_it() {
        for (url, part) in [
            ("mysql://gfl:hunter2@h/d", "no URL of a PostgreSQL"),
            ("host=h password=hunter2", "no URL of a PostgreSQL"),
            ("postgres://gfl:hunter2@h:port/d", "malformed"),
            ("postgres://gfl:hunter2@h/d?hunter2=1", "not known"),
            (
                "postgres://gfl:hunter2@h/d?sslmode=allow",
                "none of disable",
            ),
            (
                "postgres://gfl:hunter2@h/d?sslcert=hunter2",
                "sslcert is not",
            ),
            (
                "postgres://gfl:hunter2@h/d?sslrootcert=%zz",
                "without two digits",
            ),
            (
                "postgres://gfl:hunter2@h/d?target_session_attrs=read-only",
                "can only be",
            ),
            ("postgres://gfl:pass@hunter2@h/d", "%40"),
            ("postgres://gfl:pass@hunter2/x@h/d", "%40"),
            ("postgres://gfl:pass/hunter2@h/d", "%2F"),
            ("postgres://h/d", "names no user"),
        ] {
            let error = url.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let file = |name: &str| Some(PathBuf::from(name));
        for (query, trust, ssl) in [
            ("", Trust::Anybody, SslMode::Prefer),
            ("sslmode=disable", Trust::Anybody, SslMode::Disable),
            ("sslmode=require", Trust::Anybody, SslMode::Require),
            (
                "sslmode=require&sslrootcert=/a%20b",
                Trust::Authority(file("/a b")),
                SslMode::Require,
            ),
            (
                "sslmode=verify-ca",
                Trust::Authority(None),
                SslMode::Require,
            ),
            (
                "sslmode=verify-full&sslrootcert=system",
                Trust::Name(None),
                SslMode::Require,
            ),
        ] {
            let url = parse(&format!("postgres://g@h/d?{query}"));
            assert_eq!(
                (&url.trust, url.config.get_ssl_mode()),
                (&trust, ssl),
                "{query}"
            );
        }
        let mut url = parse("postgres://g@h/d?sslmode=verify-full");
        url.set_ca_file("x.pem".into());
        assert_eq!(url.trust, Trust::Name(file("x.pem")));
        url.set_ca_file("y.pem".into());
        assert_eq!(url.trust, Trust::Name(file("x.pem")), "the URL goes first");
    }

    #[test]
    fn only_a_verified_server_is_safe_far_away() {
        for (url, open) in [
            ("postgres://g@db.example/d?sslmode=require", true),
            ("postgres://g@db.example/d?sslmode=verify-full", false),
            ("postgres://g@127.0.0.1/d", false),
            ("postgres://g@%2Fvar%2Frun%2Fpostgresql/d", false),
            ("postgres://g@localhost,db.example/d", true),
        ] {
            assert_eq!(parse(url).is_open_on_the_way(), open, "{url}");
        }
    }
}
