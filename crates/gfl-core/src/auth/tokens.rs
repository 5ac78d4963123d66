//! tokens.json, read live: a token that is made or revoked counts within a fraction of a second.

use super::challenge::{Challenge, Challenges};
use super::{Caller, Credential, Rule};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
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
/// Larger files are refused.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Identifies a file's content without reading it.
type FileStamp = (u64, u64, i64, i64);

struct Loaded {
    stamp: Option<FileStamp>,
    checked_ms: i64,
    /// Since when it cannot be read.
    broken_since_ms: Option<i64>,
    file: Arc<TokenFile>,
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
                checked_ms: i64::MIN,
                broken_since_ms: None,
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
        let fresh = loaded.checked_ms <= now_ms && now_ms.saturating_sub(loaded.checked_ms) < RECHECK_MS;
        if fresh && loaded.broken_since_ms.is_none() {
            return Ok(loaded.file.clone());
        }
        loaded.checked_ms = now_ms;
        match read(path, loaded.stamp) {
            Ok(None) => loaded.broken_since_ms = None,
            Ok(Some((stamp, file))) => {
                loaded.stamp = stamp;
                loaded.file = Arc::new(file);
                loaded.broken_since_ms = None;
            }
            Err(error) => {
                let since = *loaded.broken_since_ms.get_or_insert(now_ms);
                if now_ms - since >= GRACE_MS || loaded.stamp.is_none() {
                    tracing::error!(error = ?error, "the token file cannot be read: nobody is let in");
                    return Err(error);
                }
            }
        }
        Ok(loaded.file.clone())
    }
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
) -> Result<Option<(Option<FileStamp>, TokenFile)>> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(
            Kind::Unavailable,
            "the token file cannot be read; see the server's log",
        )
        .caused_by(e)
    };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Ok(Some((None, TokenFile::default())));
        }
        Err(e) => return Err(failed(e.into())),
    };
    let stamp = (
        meta.ino(),
        meta.len(),
        meta.mtime_nsec() + meta.mtime() * 1_000_000_000,
        meta.ctime_nsec(),
    );
    if known == Some(stamp) {
        return Ok(None);
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(failed("larger than 64 MiB".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.into()))?;
    let file = TokenFile::parse(&text).map_err(|e| failed(e.into()))?;
    Ok(Some((Some(stamp), file)))
}
