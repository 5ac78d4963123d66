//! The table of all keys of `goflux.json`: what docs/config.md is made of ([`page`]). Its tests hold it against the
//! parser, so that it can neither miss a key nor name a wrong default.

mod page;

pub use page::markdown;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `server` or `client`.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// What is written there.
    pub kind: Kind,
    /// What holds without it.
    pub default: Unset,
    /// What it does, in a sentence or two.
    pub meaning: &'static str,
    /// When a change counts.
    pub takes_effect: TakesEffect,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number that is not negative.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of strings.
    Texts,
}

/// The value of a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// This JSON value.
    Json(&'static str),
    /// It depends; in words.
    Depends(&'static str),
}

/// When a change of the file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// At the next start.
    AtStart,
    /// While the server runs.
    Live,
    /// Each time the client is run.
    EachRun,
}

use Kind::{Boolean, Choice, Number, Text, Texts};
use TakesEffect::{AtStart, EachRun, Live};
use Unset::{Depends, Json};

/// A key of the section `server`.
const fn server(
    name: &'static str,
    kind: Kind,
    default: Unset,
    takes_effect: TakesEffect,
    meaning: &'static str,
) -> Key {
    Key {
        section: "server",
        name,
        kind,
        default,
        meaning,
        takes_effect,
    }
}

/// A key of the section `client`.
const fn client(name: &'static str, kind: Kind, default: Unset, meaning: &'static str) -> Key {
    Key {
        section: "client",
        name,
        kind,
        default,
        meaning,
        takes_effect: EachRun,
    }
}

/// All keys, in the order they are shown.
pub const KEYS: &[Key] = &[
    server(
        "address",
        Text,
        Json(r#""127.0.0.1:8080""#),
        AtStart,
        "Where to listen, `host:port`. What is written is what is bound: `0.0.0.0:8080` is all IPv4 interfaces, \
         `:8080` all of both kinds.",
    ),
    server(
        "storage_dir",
        Text,
        Json(r#""./data""#),
        AtStart,
        "The folder with the files. A relative one counts from where the server is started.",
    ),
    server(
        "meta_dir",
        Text,
        Json(r#""./.goflux-meta""#),
        AtStart,
        "The folder with the catalog and the lock, mode 0700. On another disk than `storage_dir` if that one may run \
         completely full.",
    ),
    server(
        "tokens_file",
        Text,
        Depends(
            "none: authentication is off. The first start without a configuration \
         makes `tokens.json` and names it here",
        ),
        AtStart,
        "The file with the tokens. Its content is read live: what `gfl-admin` changes counts within a second.",
    ),
    server(
        "database",
        Text,
        Json(r#""""#),
        AtStart,
        "A PostgreSQL for the catalog, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`, or where \
         that URL is found: `env:NAME` a variable of the environment, `file:PATH` a file. Empty for a file in \
         `meta_dir`. See [postgres.md](postgres.md).",
    ),
    server(
        "database_ca_file",
        Text,
        Json(r#""""#),
        AtStart,
        "Who vouches for the PostgreSQL, PEM, where the URL has no `sslrootcert`; empty for those this machine trusts.",
    ),
    server(
        "database_connections_max",
        Number,
        Json("10"),
        AtStart,
        "Connections to the PostgreSQL at once, from 2; one more keeps other servers off it.",
    ),
    server(
        "tls_cert",
        Text,
        Json(r#""""#),
        AtStart,
        "The certificate chain, PEM, the server's own certificate first. Needs `tls_key` too. Files that change are \
         read again within seconds, and at SIGHUP.",
    ),
    server(
        "tls_key",
        Text,
        Json(r#""""#),
        AtStart,
        "The key of the certificate, PEM, without a passphrase.",
    ),
    server(
        "tls_self_signed",
        Boolean,
        Json("false"),
        AtStart,
        "Whether the server makes a certificate of its own, in `meta_dir/tls`, which clients remember by its \
         fingerprint. `-public` without any certificate does the same.",
    ),
    server(
        "plain_http",
        Choice(&["refuse", "allow"]),
        Depends("`refuse` with a certificate, `allow` without one"),
        AtStart,
        "Whether requests without TLS are answered on the same port.",
    ),
    server(
        "acme_domains",
        Texts,
        Json("[]"),
        AtStart,
        "The names for which an authority is to give a certificate (ACME); empty for none.",
    ),
    server(
        "acme_email",
        Text,
        Json(r#""""#),
        AtStart,
        "Whom the authority may write to.",
    ),
    server(
        "acme_directory",
        Text,
        Json(r#""https://acme-v02.api.letsencrypt.org/directory""#),
        AtStart,
        "The authority's directory.",
    ),
    server(
        "acme_address",
        Text,
        Json(r#"":80""#),
        AtStart,
        "Where the authority's challenges are answered, `host:port`.",
    ),
    server(
        "acme_accept_terms",
        Boolean,
        Json("false"),
        AtStart,
        "Whether you agree to the authority's terms.",
    ),
    server(
        "acme_ca_file",
        Text,
        Json(r#""""#),
        AtStart,
        "Who vouches for the authority's directory itself, PEM; empty for those this machine trusts.",
    ),
    server(
        "durability",
        Choice(&["batch", "strict", "none"]),
        Json(r#""batch""#),
        AtStart,
        "When a change is acknowledged: `batch` when it is durable together with others, `strict` when it is durable \
         by itself, `none` at once and without syncing, for scratch data.",
    ),
    server(
        "undo_days",
        Number,
        Json("7"),
        AtStart,
        "Days for which replaced and deleted files can be brought back; 0 keeps nothing.",
    ),
    server(
        "undo_free_percent_min",
        Number,
        Json("10"),
        AtStart,
        "Percent of the disk to keep free. Below it, kept files go earlier (a minute of undo stays), and at once, the oldest first, when a write finds no room.",
    ),
    server(
        "event_days",
        Number,
        Json("90"),
        AtStart,
        "Days for which recorded changes (events) are kept in the catalog.",
    ),
    server(
        "event_rows_max",
        Number,
        Json("10000000"),
        AtStart,
        "How many recorded changes are kept at most; the oldest go first.",
    ),
    server(
        "metrics",
        Choice(&["local", "public", "permission"]),
        Json(r#""local""#),
        Live,
        "Who may read `/metrics` without a token: `local` this machine (not what a proxy on it passes on), `public` \
         everybody, `permission` nobody. A token with the permission `metrics` always may; `*` is none.",
    ),
    server(
        "access_log_days",
        Number,
        Json("30"),
        AtStart,
        "Days for which downloads, uploads, logins and denials are kept one by one for `gfl-admin access` and \
         `/v1/access`; 0 for none. The daily sums of `gfl-admin stats` stay for three years in any case.",
    ),
    server(
        "connections_max",
        Number,
        Json("4096"),
        Live,
        "Connections at once; more wait, and idle ones make place for them. 0 for as many as the open files allow.",
    ),
    server(
        "connections_per_address_max",
        Number,
        Json("1024"),
        Live,
        "Connections from one address (IPv6: from one /64); 0 for any number. This machine and `trusted_proxies` are \
         not counted.",
    ),
    server(
        "trusted_proxies",
        Texts,
        Json("[]"),
        Live,
        "Addresses and networks of proxies whose `X-Forwarded-For` or `Forwarded` is believed.",
    ),
    server(
        "drain_seconds",
        Number,
        Json("30"),
        Live,
        "Seconds in which running requests may finish when the server ends.",
    ),
    server(
        "drain_notice_seconds",
        Number,
        Json("0"),
        Live,
        "Seconds before that in which it says that it is not ready and still accepts, for load balancers.",
    ),
    server(
        "upload_expiry_hours",
        Number,
        Json("24"),
        AtStart,
        "Hours without activity after which an unfinished upload ends.",
    ),
    server(
        "max_file_size",
        Number,
        Json("0"),
        AtStart,
        "Bytes of the largest file; 0 for no limit.",
    ),
    server(
        "log",
        Choice(&["text", "json"]),
        Json(r#""text""#),
        AtStart,
        "The form of the log on stderr: lines for people, or one JSON object a line.",
    ),
    server(
        "log_level",
        Text,
        Json(r#""info""#),
        Live,
        "The least severe level logged: `error`, `warn`, `info`, `debug` or `trace`, and `off`. Modules may have levels \
         of their own: `info,gfl_server::request=off,gfl_core=debug`; docs/observe.md names them.",
    ),
    server(
        "show_paths_in_config",
        Boolean,
        Json("false"),
        AtStart,
        "Whether `GET /config` shows the server's paths to everybody, as v0.1 did.",
    ),
    server(
        "discovery",
        Boolean,
        Depends("`true` if other machines can connect, `false` on loopback"),
        AtStart,
        "Whether `gfl discover` finds the server: it announces itself every 30 s by UDP broadcast from port 8081, as \
         v0.1 did, and answers those in its own networks who ask. On loopback it only answers this machine.",
    ),
    server(
        "discovery_name",
        Text,
        Json(r#""GoFlux Lite Server""#),
        AtStart,
        "The name it is found under, at most 128 bytes.",
    ),
    server(
        "updates_file",
        Text,
        Json(r#""""#),
        AtStart,
        "A `version.json` to serve to everybody at `/version.json`, for `gfl update --local`; its signature is the \
         file beside it with `.minisig` added. Empty for none. The files are read at each request.",
    ),
    client(
        "server_url",
        Text,
        Json(r#""http://localhost""#),
        "The server, `https://` or `http://`; without either it is `http://`. Without any settings file it is `http://localhost:8080`.",
    ),
    client(
        "chunk_size",
        Number,
        Json("1048576"),
        "Read for the sake of v0.1's files, and not used: the sizes of parts are decided by gfl.",
    ),
    client(
        "token",
        Text,
        Json(r#""""#),
        "The token. `GOFLUX_TOKEN_LITE` in the environment goes first, then this one, then `.netrc`.",
    ),
    client(
        "tls_fingerprint",
        Text,
        Json(r#""""#),
        "The SHA-256 fingerprint of the server's certificate: the only one that is accepted then. `gfl config` \
         writes it.",
    ),
    client(
        "ca_file",
        Text,
        Json(r#""""#),
        "Authorities trusted for the server's certificate beside those of the system, PEM. A relative name counts \
         from the settings file.",
    ),
];

#[cfg(test)]
mod tests;
