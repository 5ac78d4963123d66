//! Signing a release. The key is minisign's (`minisign -G -W`), and never in the repository: it comes from
//! `GFL_SIGNING_KEY` (the line of base64) or from the file that `GFL_SIGNING_KEY_FILE` names.

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gfl_api::release::SIGNATURE_SUFFIX;
use gfl_api::release::minisign::{PublicKey, Signature};
use std::path::Path;

/// Lengths in minisign's secret key: algorithms, salt and limits of the password, then number, key and checksum.
const HEAD_BYTES: usize = 2 + 2 + 2 + 32 + 8 + 8;
const KEY_BYTES: usize = HEAD_BYTES + 8 + 64 + 32;

/// A key to sign with.
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Signer {
    /// The key of the environment; none if it names none.
    pub(super) fn from_env() -> Result<Option<Self>> {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let text = match (var("GFL_SIGNING_KEY"), var("GFL_SIGNING_KEY_FILE")) {
            (Some(text), _) => text,
            (None, Some(file)) => {
                std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?
            }
            (None, None) => return Ok(None),
        };
        Self::parse(&text).map(Some)
    }

    /// Reads a secret key as minisign writes it, with or without its line of comment.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let bytes = STANDARD.decode(line.unwrap_or_default()).ok();
        let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES && bytes.starts_with(b"Ed"));
        let bytes = bytes.context("the signing key is not a secret key of minisign")?;
        if bytes[2..4] != [0, 0] {
            bail!("the signing key has a password; make one without: minisign -G -W");
        }
        let (id, key) = bytes[HEAD_BYTES..].split_at(8);
        let pair = Ed25519KeyPair::from_seed_unchecked(&key[..32])
            .ok()
            .context("the signing key is no Ed25519 key")?;
        ensure!(
            pair.public_key().as_ref() == &key[32..64],
            "the signing key is damaged"
        );
        let public = PublicKey {
            id: id.try_into()?,
            key: key[32..64].try_into()?,
        };
        Ok(Self { pair, public })
    }

    /// The public half, as programs are built with it.
    pub(super) fn public(&self) -> PublicKey {
        self.public
    }

    /// Writes the signature of a file beside it.
    pub(super) fn sign_file(&self, file: &Path, timestamp: i64) -> Result<()> {
        let content = std::fs::read(file).with_context(|| file.display().to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let signature = self.sign(&content, &format!("timestamp:{timestamp}\tfile:{name}"))?;
        let beside = file.with_file_name(format!("{name}{SIGNATURE_SUFFIX}"));
        std::fs::write(&beside, signature.to_text()).with_context(|| beside.display().to_string())
    }

    fn sign(&self, content: &[u8], comment: &str) -> Result<Signature> {
        let mut signature = Signature {
            key_id: self.public.id,
            signature: self.pair.sign(content).as_ref().try_into()?,
            comment: comment.to_owned(),
            comment_signature: [0; 64],
        };
        let comment = self.pair.sign(&signature.comment_message());
        signature.comment_signature = comment.as_ref().try_into()?;
        Ok(signature)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    /// A secret key as minisign would write it without a password; the checksum at its end is for minisign only.
    pub(in super::super) fn secret(seed: [u8; 32]) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let mut bytes = b"Ed\0\0B2".to_vec();
        bytes.resize(HEAD_BYTES, 0);
        bytes.extend([5; 8]);
        bytes.extend(seed);
        bytes.extend(pair.public_key().as_ref());
        bytes.resize(KEY_BYTES, 0);
        format!("untrusted comment: test\n{}\n", STANDARD.encode(bytes))
    }

    #[test]
    fn what_is_signed_verifies_with_the_public_half() {
        let signer = Signer::parse(&secret([3; 32])).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("version.json");
        std::fs::write(&file, "{}\n").unwrap();
        signer.sign_file(&file, 7).unwrap();
        let text = std::fs::read_to_string(dir.path().join("version.json.minisig")).unwrap();
        let signature = Signature::parse(&text).unwrap();
        assert_eq!(signature.comment, "timestamp:7\tfile:version.json");
        let public = signer.public();
        assert_eq!((signature.key_id, public.id), ([5; 8], [5; 8]));
        let key = UnparsedPublicKey::new(&ED25519, public.key);
        key.verify(b"{}\n", &signature.signature).unwrap();
        key.verify(&signature.comment_message(), &signature.comment_signature)
            .unwrap();
    }

    #[test]
    fn keys_that_cannot_sign_are_named() {
        let why = |text: &str| {
            Signer::parse(text)
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(why("").contains("not a secret key"));
        assert!(
            why("RWTKRWJz9yqsAMi4xH3wQOlI/NMgURlv+Vgx8gJNCXd8jHsb8GrD8g5Q")
                .contains("not a secret key")
        );
        let line = secret([3; 32]).lines().last().unwrap().to_owned();
        let with = |at: usize, byte: u8| {
            let mut bytes = STANDARD.decode(&line).unwrap();
            bytes[at] = byte;
            why(&STANDARD.encode(bytes))
        };
        assert!(with(2, b'S').contains("password"));
        assert!(with(HEAD_BYTES + 8, 9).contains("damaged"));
    }
}
