//! Digest fields (RFC 9530): dictionaries of byte sequences (RFC 9651), read as far as they concern us.

use crate::limits::DIGESTS_PER_FIELD_MAX;
use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use std::fmt;

/// RFC 9651 section 4.2.7: padding may be missing and trailing bits may be set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The digests of a `Content-Digest` or `Repr-Digest` field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512.
    pub sha512: Option<[u8; 64]>,
    /// The names of algorithms this version does not compute.
    pub unsupported: Vec<String>,
}

impl Digests {
    /// Reads the field, several lines joined by `, `. Parameters are ignored; of a repeated algorithm the last
    /// value holds. An error if the field is no dictionary, or the value of a known algorithm is not a byte
    /// sequence of its length.
    pub fn parse(field: &str) -> Result<Self, DigestError> {
        let mut digests = Self::default();
        for (name, value) in members(field)? {
            match name {
                "sha-256" => digests.sha256 = Some(sequence(name, value)?),
                "sha-512" => digests.sha512 = Some(sequence(name, value)?),
                _ if digests.unsupported.iter().any(|known| known == name) => {}
                _ => digests.unsupported.push(name.to_owned()),
            }
        }
        Ok(digests)
    }

    /// Whether there is nothing here that can be verified.
    pub fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.sha512.is_none()
    }
}

/// The value of a digest field that holds this SHA-256.
pub fn sha256_field(digest: &[u8; 32]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest))
}

/// Whether a `Want-Repr-Digest` or `Want-Content-Digest` field asks for `algorithm` (such as `sha-256`) with a
/// preference above 0. A malformed field asks for nothing.
pub fn wants_digest(field: &str, algorithm: &str) -> bool {
    let Ok(members) = members(field) else {
        return false;
    };
    let wish = members.into_iter().rfind(|(name, _)| *name == algorithm);
    wish.and_then(|(_, value)| super::parse_integer(value))
        .is_some_and(|weight| weight > 0)
}

/// Splits a dictionary into names and values, parameters still on the values.
fn members(field: &str) -> Result<Vec<(&str, &str)>, DigestError> {
    let mut members = Vec::new();
    let mut rest = field.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let end = member_end(rest);
        let (member, after) = rest.split_at(end);
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        let name = name.trim_end_matches([' ', '\t']);
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
        let key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        if !starts || !name.bytes().all(key) || members.len() == DIGESTS_PER_FIELD_MAX {
            return Err(DigestError::Malformed);
        }
        members.push((name, value.trim_end_matches([' ', '\t'])));
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start_matches([' ', '\t']),
            None => break,
        };
        if rest.is_empty() {
            return Err(DigestError::Malformed);
        }
    }
    Ok(members)
}

/// Where the first member ends: at a comma outside quotes and inner lists.
fn member_end(text: &str) -> usize {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b',' if !quoted && depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Reads a byte sequence of `N` bytes.
fn sequence<const N: usize>(name: &str, value: &str) -> Result<[u8; N], DigestError> {
    let invalid = || DigestError::InvalidValue {
        algorithm: name.to_owned(),
    };
    let (text, rest) = value
        .strip_prefix(':')
        .and_then(|v| v.split_once(':'))
        .ok_or_else(invalid)?;
    if !(rest.is_empty() || rest.starts_with(';')) || text.len() > N * 2 {
        return Err(invalid());
    }
    let bytes = LENIENT.decode(text).map_err(|_| invalid())?;
    bytes.try_into().map_err(|_| invalid())
}

/// Why a digest field cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// Not a dictionary of structured fields.
    Malformed,
    /// The value is not a byte sequence of the algorithm's length.
    InvalidValue {
        /// The algorithm.
        algorithm: String,
    },
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("malformed digest field; write it as sha-256=:<base64>:")
            }
            Self::InvalidValue { algorithm } => {
                write!(
                    f,
                    "invalid {algorithm} digest; write its bytes as :<base64>:"
                )
            }
        }
    }
}

impl std::error::Error for DigestError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    const HELLO: &str = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";

    #[test]
    fn the_hello_world_vector() {
        let digest: [u8; 32] = Sha256::digest(b"hello world").into();
        let field = format!("sha-256=:{HELLO}:");
        assert_eq!(sha256_field(&digest), field);
        assert_eq!(Digests::parse(&field).unwrap().sha256, Some(digest));
        let rich = format!(
            "md5=:AAAA:;q=1, x=\"a,b\", y=(\"(,\" 2);z, sha-256=:{HELLO}:;p=\"v\", md5=:AAAA:"
        );
        let digests = Digests::parse(&rich).unwrap();
        assert_eq!((digests.sha256, digests.sha512), (Some(digest), None));
        assert_eq!(digests.unsupported, ["md5", "x", "y"]);
        let unpadded = format!("sha-256=:{}:", HELLO.trim_end_matches('='));
        assert_eq!(Digests::parse(&unpadded).unwrap().sha256, Some(digest));
    }

    #[test]
    fn broken_fields() {
        for bad in [
            "sha-256=:AAAA:",
            "sha-256=xyz",
            "sha-256",
            "sha-256=::",
            "sha-256=:***:",
        ] {
            assert!(
                matches!(Digests::parse(bad), Err(DigestError::InvalidValue { .. })),
                "{bad}"
            );
        }
        for bad in ["SHA-256=:AAAA:", "=:AAAA:", "a=1,", "a=1,,b=2"] {
            assert_eq!(Digests::parse(bad), Err(DigestError::Malformed), "{bad}");
        }
        assert_eq!(Digests::parse(""), Ok(Digests::default()));
        assert!(Digests::parse("crc32c=:AAAAAA==:").unwrap().is_empty());
    }

    #[test]
    fn wishes() {
        assert!(wants_digest("sha-256=10, sha-512=3", "sha-256"));
        assert!(wants_digest("sha-512=3,sha-256=1", "sha-256"));
        for no in ["", "sha-256=0", "sha-512=3", "sha-256", "sha-256=-1", "!!"] {
            assert!(!wants_digest(no, "sha-256"), "{no}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC|[:=,;\"()]){0,60}") {
            let _ = Digests::parse(&text);
            let _ = wants_digest(&text, "sha-256");
        }

        #[test]
        fn every_digest_comes_back(digest: [u8; 32]) {
            prop_assert_eq!(Digests::parse(&sha256_field(&digest)).unwrap().sha256, Some(digest));
        }
    }
}
