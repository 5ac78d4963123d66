//! Detached signatures in the format of minisign, so that anybody can check a release without this program:
//! `minisign -Vm version.json -P KEY`.
//!
//! Only the form: two lines of comment, two of base64. Ed25519 over the bytes of the file themselves (minisign's
//! algorithm `Ed`); the one over a hash of them (`ED`) is not used.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const ALGORITHM: &[u8; 2] = b"Ed";
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// A public key with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Which of several keys it is.
    pub id: [u8; 8],
    /// The Ed25519 key.
    pub key: [u8; 32],
}

impl PublicKey {
    /// Reads the one line of base64 of a `minisign.pub`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 42] = STANDARD.decode(text.trim()).ok()?.try_into().ok()?;
        let (algorithm, rest) = bytes.split_first_chunk::<2>()?;
        let (id, key) = rest.split_first_chunk::<8>()?;
        (algorithm == ALGORITHM).then_some(Self {
            id: *id,
            key: key.try_into().ok()?,
        })
    }

    /// The line.
    pub fn to_text(&self) -> String {
        STANDARD.encode([&ALGORITHM[..], &self.id, &self.key].concat())
    }
}

/// A signature file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key made it.
    pub key_id: [u8; 8],
    /// Ed25519 over the file.
    pub signature: [u8; 64],
    /// A line that is signed too.
    pub comment: String,
    /// Ed25519 over `signature` and `comment`.
    pub comment_signature: [u8; 64],
}

impl Signature {
    /// Reads a signature file; none if it is not one, or made with another algorithm.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next()?.strip_prefix(UNTRUSTED)?;
        let bytes: [u8; 74] = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let (algorithm, rest) = bytes.split_first_chunk::<2>()?;
        let (key_id, signature) = rest.split_first_chunk::<8>()?;
        let comment = lines.next()?.strip_prefix(TRUSTED)?;
        let comment_signature = STANDARD.decode(lines.next()?).ok()?;
        (algorithm == ALGORITHM).then_some(Self {
            key_id: *key_id,
            signature: signature.try_into().ok()?,
            comment: comment.to_owned(),
            comment_signature: comment_signature.try_into().ok()?,
        })
    }

    /// What `comment_signature` is over.
    pub fn comment_message(&self) -> Vec<u8> {
        [&self.signature[..], self.comment.as_bytes()].concat()
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let signature = [&ALGORITHM[..], &self.key_id, &self.signature].concat();
        format!(
            "{UNTRUSTED}signature of a GoFlux Lite release\n{}\n{TRUSTED}{}\n{}\n",
            STANDARD.encode(signature),
            self.comment,
            STANDARD.encode(self.comment_signature)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signature() -> Signature {
        Signature {
            key_id: [7; 8],
            signature: [1; 64],
            comment: "timestamp:1\tfile:version.json".into(),
            comment_signature: [2; 64],
        }
    }

    #[test]
    fn both_come_back() {
        let key = PublicKey {
            id: [7; 8],
            key: [9; 32],
        };
        assert_eq!(PublicKey::parse(&key.to_text()), Some(key));
        assert!(key.to_text().starts_with("RW"), "as every minisign key");
        let text = signature().to_text();
        assert_eq!(Signature::parse(&text), Some(signature()));
        assert_eq!(
            Signature::parse(&text.replace('\n', "\r\n")),
            Some(signature())
        );
    }

    #[test]
    fn other_algorithms_and_halves_are_refused() {
        let text = signature().to_text();
        // `RU` is minisign's algorithm over a hash.
        assert_eq!(Signature::parse(&text.replacen("\nRW", "\nRU", 1)), None);
        for cut in 0..text.len() - 2 {
            assert_eq!(Signature::parse(&text[..cut]), None, "{cut} bytes");
        }
        assert_eq!(PublicKey::parse("RWQ"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic(text in "\\PC{0,200}") {
            let _ = (Signature::parse(&text), PublicKey::parse(&text));
        }
    }
}
