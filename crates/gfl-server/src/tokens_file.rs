//! What stands in `tokens.json` at this moment, for those who report on it. Who is let in is the core's decision.

use gfl_api::tokens::{TokenFile, TokenStatus};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// A larger file is read by nobody; the core's limit.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A token file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// There is none.
    Missing,
    /// It cannot be used; why, in words that tell no secret.
    Broken(String),
    /// It has so many tokens, and so many of them are valid.
    Tokens {
        /// All.
        all: usize,
        /// Neither revoked nor expired.
        valid: usize,
    },
}

/// Reads the file.
pub fn look(path: &Path, now_ms: i64) -> Content {
    match read(path) {
        Ok(Some(file)) => {
            let active = |status| status == TokenStatus::Active;
            Content::Tokens {
                all: file.tokens.len(),
                valid: (file.tokens.iter())
                    .filter(|token| active(token.status(now_ms)))
                    .count(),
            }
        }
        Ok(None) => Content::Missing,
        Err(why) => Content::Broken(why),
    }
}

fn read(path: &Path) -> Result<Option<TokenFile>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 64 MiB".into());
    }
    TokenFile::parse(&text)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// The time for [`look`].
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        assert_eq!(look(&path, 0), Content::Missing);
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            look(&path, 0)
        };
        assert_eq!(of(""), Content::Tokens { all: 0, valid: 0 });
        let three = r#"{"tokens":[{"expires_at":"2099-01-01T00:00:00Z"},{"expires_at":"1969-01-01T00:00:00Z"},
            {"expires_at":"2099-01-01T00:00:00Z","revoked":true}]}"#;
        assert_eq!(of(three), Content::Tokens { all: 3, valid: 1 });
        for broken in ["{", r#"{"tokens":5}"#] {
            assert!(matches!(of(broken), Content::Broken(_)), "{broken}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(look(&path, 0), Content::Broken(_)));
        assert!(matches!(look(dir.path(), 0), Content::Broken(_)));
    }
}
