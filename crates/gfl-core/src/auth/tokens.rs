//! tokens.json, read live: a token that is made or revoked counts within a fraction of a second.

use super::challenge::{Challenge, Challenges};
use super::{Caller, Credential, Rule, Standing};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::gauges::TokenCounts;
use gfl_api::path::FilePath;
use gfl_api::tokens::{TokenFile, TokenRecord, TokenStatus, challenge_response, ct_eq, hash_token};
use parking_lot::Mutex;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The file is looked at again after this long.
const RECHECK_MS: i64 = 200;
/// How long the last good content counts while the file cannot be read: v0.1's tool rewrites it in place.
const GRACE_MS: i64 = 2_000;
/// A stamp this young says nothing yet: the file is read whatever it is.
const STAMP_SETTLES_MS: i64 = 2_000;
/// Larger files are refused.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Identifies a file's content without reading it.
type FileStamp = (u64, u64, i64, i64);

struct Loaded {
    stamp: Option<FileStamp>,
    /// When it was looked at last; `None` before the first time.
    checked_ms: Option<i64>,
    /// Since when it cannot be read, and why.
    broken: Option<Broken>,
    file: Arc<TokenFile>,
}

struct Broken {
    since_ms: i64,
    /// The last good content does not count any more, or there never was one.
    closed: bool,
}

/// Who has which token.
pub(crate) struct Tokens {
    path: Option<PathBuf>,
    loaded: Mutex<Loaded>,
    challenges: Challenges,
}

impl Tokens {
    pub(crate) fn new(path: Option<PathBuf>, clock: &dyn Clock) -> Tokens {
        Tokens {
            path,
            loaded: Mutex::new(Loaded {
                stamp: None,
                checked_ms: None,
                broken: None,
                file: Arc::new(TokenFile::default()),
            }),
            challenges: Challenges::new(clock),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.path.is_some()
    }

    pub(crate) fn challenge(&self, clock: &dyn Clock) -> Result<Challenge> {
        self.challenges.issue(clock)
    }

    /// How many there are; none when authentication is off or the file cannot be read.
    pub(crate) fn counts(&self, now_ms: i64) -> Option<TokenCounts> {
        let file = self.current(self.path.as_ref()?, now_ms).ok()?;
        let mut counts = TokenCounts::default();
        for record in &file.tokens {
            counts.add(record.status(now_ms));
        }
        Some(counts)
    }

    /// What has become of the token with this id. A file that cannot be read for a while changes nothing for whoever
    /// is in.
    pub(crate) fn standing(&self, id: &str, now_ms: i64) -> Standing {
        let Some(Ok(file)) = self.path.as_ref().map(|path| self.current(path, now_ms)) else {
            return Standing::Good;
        };
        match file.find_id(id) {
            None => Standing::Unknown,
            Some(record) if record.revoked => Standing::Revoked,
            Some(_) => Standing::Good,
        }
    }

    /// Who this is.
    pub(crate) fn authenticate(
        &self,
        credential: &Credential,
        peer: &str,
        now_ms: i64,
    ) -> Result<Caller> {
        let Some(path) = &self.path else {
            let all = Rule {
                prefix: FilePath::root(),
                allow: true,
                permissions: vec!["*".to_owned()],
            };
            return Ok(Caller::new("anonymous", None, peer, None, vec![all]));
        };
        let file = self.current(path, now_ms)?;
        let record = match credential {
            Credential::None => return Err(unauthenticated("Authorization header required")),
            Credential::Token(token) => by_token(&file, token, now_ms)?,
            Credential::Challenge {
                response,
                nonce,
                token_id,
            } => self.by_challenge(&file, response, nonce, token_id, now_ms)?,
        };
        let rule = Rule {
            prefix: FilePath::root(),
            allow: true,
            permissions: record.permissions.clone(),
        };
        let caller = Caller::new(
            &record.user,
            Some(&record.id),
            peer,
            record.expires_ms(),
            vec![rule],
        );
        Ok(caller)
    }

    fn by_challenge<'f>(
        &self,
        file: &'f TokenFile,
        response: &str,
        nonce: &str,
        token_id: &str,
        now_ms: i64,
    ) -> Result<&'f TokenRecord> {
        let record = file
            .find_id(token_id)
            .filter(|record| record.status(now_ms) == TokenStatus::Active)
            .ok_or_else(|| unauthenticated("Invalid token ID"))?;
        self.challenges.consume(nonce, now_ms)?;
        let expected = challenge_response(&record.token_hash, nonce);
        if ct_eq(expected.as_bytes(), response.as_bytes()) {
            return Ok(record);
        }
        Err(unauthenticated("Invalid challenge response"))
    }

    /// The file's content, read again when it has changed.
    fn current(&self, path: &std::path::Path, now_ms: i64) -> Result<Arc<TokenFile>> {
        let mut loaded = self.loaded.lock();
        let fresh = loaded
            .checked_ms
            .is_some_and(|at| (at..at.saturating_add(RECHECK_MS)).contains(&now_ms));
        if !fresh {
            loaded.checked_ms = Some(now_ms);
            loaded.read_again(path, now_ms);
        }
        if loaded.broken.as_ref().is_some_and(|broken| broken.closed) {
            return Err(unreadable());
        }
        Ok(loaded.file.clone())
    }
}

impl Loaded {
    fn read_again(&mut self, path: &std::path::Path, now_ms: i64) {
        match read(path, self.stamp, now_ms) {
            Ok(None) => self.broken = None,
            Ok(Some((stamp, file))) => {
                self.stamp = stamp;
                self.file = Arc::new(file);
                self.broken = None;
            }
            Err(error) => {
                let since_ms = self
                    .broken
                    .as_ref()
                    .map_or(now_ms, |broken| broken.since_ms);
                let closed = now_ms - since_ms >= GRACE_MS || self.stamp.is_none();
                if closed && !self.broken.as_ref().is_some_and(|broken| broken.closed) {
                    tracing::error!(error = ?error, "the token file cannot be read: nobody is let in");
                }
                self.broken = Some(Broken { since_ms, closed });
            }
        }
    }
}

fn unreadable() -> Error {
    Error::new(
        Kind::Unavailable,
        "the token file cannot be read; see the server's log",
    )
}

fn unauthenticated(message: &str) -> Error {
    Error::new(Kind::Unauthenticated, message)
}

fn by_token<'f>(file: &'f TokenFile, token: &str, now_ms: i64) -> Result<&'f TokenRecord> {
    // Looked up by hash: the comparison of hashes tells nothing about the token.
    let record = file
        .find_hash(&hash_token(token))
        .ok_or_else(|| unauthenticated("auth error: invalid token"))?;
    match record.status(now_ms) {
        TokenStatus::Active => Ok(record),
        TokenStatus::Revoked => Err(unauthenticated("auth error: token has been revoked")),
        TokenStatus::Expired => Err(unauthenticated("auth error: token has expired")),
    }
}

/// Reads the file if its stamp is another one. A missing file is an empty one, as in v0.1.
fn read(
    path: &std::path::Path,
    known: Option<FileStamp>,
    now_ms: i64,
) -> Result<Option<(Option<FileStamp>, TokenFile)>> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| unreadable().caused_by(e);
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Ok(Some((None, TokenFile::default())));
        }
        Err(e) => return Err(failed(e.into())),
    };
    let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
    let changed_ns = ns(meta.ctime(), meta.ctime_nsec());
    let stamp = (
        meta.ino(),
        meta.len(),
        ns(meta.mtime(), meta.mtime_nsec()),
        changed_ns,
    );
    // Two writes within one tick of the file system's clock leave the same stamp.
    let settled = now_ms - changed_ns / 1_000_000 >= STAMP_SETTLES_MS;
    if known == Some(stamp) && settled {
        return Ok(None);
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(failed("larger than 64 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.into()))?;
    let file = TokenFile::parse(&text).map_err(|e| failed(e.into()))?;
    Ok(Some((Some(stamp), file)))
}
