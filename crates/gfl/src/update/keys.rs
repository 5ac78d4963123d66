//! The keys releases are signed with, and where they are announced. Both are fixed when the program is built.

use super::forged;
use anyhow::Result;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use gfl_api::release::minisign::{PublicKey, Signature};

/// Public keys in minisign's form, separated by spaces; a release needs a signature of one of them. Development
/// builds have none.
const KEYS: Option<&str> = option_env!("GFL_UPDATE_KEYS");

/// Where releases are announced.
const URL: Option<&str> = option_env!("GFL_UPDATE_URL");
const URL_DEFAULT: &str =
    "https://raw.githubusercontent.com/goflux-lite/goflux-lite/main/version.json";

/// The address of the manifest.
pub(crate) fn manifest_url() -> String {
    setting("GFL_UPDATE_URL", URL).unwrap_or_else(|| URL_DEFAULT.to_owned())
}

/// The trusted keys; none in a development build.
pub(crate) fn trusted() -> Vec<PublicKey> {
    let text = setting("GFL_UPDATE_KEYS", KEYS).unwrap_or_default();
    text.split_whitespace()
        .filter_map(PublicKey::parse)
        .collect()
}

/// A setting of the build. A build with debug assertions, which nobody ships, takes it from the environment instead,
/// so that tests can sign releases of their own.
fn setting(name: &str, built: Option<&str>) -> Option<String> {
    if cfg!(debug_assertions) {
        return std::env::var(name).ok();
    }
    built.map(str::to_owned)
}

/// Whether one of `keys` signed exactly these bytes.
pub(crate) fn verify(content: &[u8], signature: &[u8], keys: &[PublicKey]) -> Result<()> {
    let text = String::from_utf8_lossy(signature);
    let signature = Signature::parse(&text)
        .ok_or_else(|| forged("the release's signature is not in minisign's format"))?;
    let key = keys.iter().find(|key| key.id == signature.key_id);
    let key =
        key.ok_or_else(|| forged("the release is signed with a key this program does not know"))?;
    let key = UnparsedPublicKey::new(&ED25519, key.key);
    let fits = key.verify(content, &signature.signature).is_ok()
        && key
            .verify(&signature.comment_message(), &signature.comment_signature)
            .is_ok();
    if !fits {
        return Err(
            forged("the release's signature does not fit: it was changed on the way").into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with minisign 0.11, the reference (`minisign -S -l`), over the text below.
    const KEY: &str = "RWTKRWJz9yqsAMi4xH3wQOlI/NMgURlv+Vgx8gJNCXd8jHsb8GrD8g5Q";
    const SIGNED: &[u8] = b"{\"version\":\"0.2.0\"}\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RWTKRWJz9yqsANYtR/ulNINsGGji09PIFy+2N8haWOVxxo8GZI8NvSZ4vg3426SOAfn6t0m1nrNz5LdAlyKgA8n1+O9rF0NdWQM=\n\
        trusted comment: timestamp:1795373522\tfile:version.json\n\
        jxeaB5WRao0XUMb8VfqoEZcROS3xXNM0nQVdg8XmQsi8IMW1/8oIwwP4hKU93xgBZtup0SjyZQWWRXwJEJonBw==\n";

    fn outcome(content: &[u8], signature: &str, key: &str) -> Result<(), String> {
        let keys: Vec<_> = PublicKey::parse(key).into_iter().collect();
        verify(content, signature.as_bytes(), &keys).map_err(|e| e.to_string())
    }

    #[test]
    fn what_minisign_signed_is_taken() {
        assert_eq!(outcome(SIGNED, SIGNATURE, KEY), Ok(()));
    }

    #[test]
    fn a_single_other_bit_is_not() {
        for at in 0..SIGNED.len() {
            let mut other = SIGNED.to_vec();
            other[at] ^= 1;
            assert!(outcome(&other, SIGNATURE, KEY).is_err(), "byte {at}");
        }
        let other = SIGNATURE.replace("file:", "file=");
        assert_ne!(other, SIGNATURE);
        assert!(
            outcome(SIGNED, &other, KEY)
                .unwrap_err()
                .contains("does not fit")
        );
    }

    #[test]
    fn other_keys_are_not_trusted() {
        let mut other = PublicKey::parse(KEY).unwrap();
        other.key[0] ^= 1;
        let why = outcome(SIGNED, SIGNATURE, &other.to_text()).unwrap_err();
        assert!(
            why.contains("does not fit"),
            "the same number, another key: {why}"
        );
        other.id[0] ^= 1;
        let why = outcome(SIGNED, SIGNATURE, &other.to_text()).unwrap_err();
        assert!(why.contains("does not know"), "{why}");
        assert!(outcome(SIGNED, SIGNATURE, "").is_err(), "no key, no trust");
        assert!(
            outcome(SIGNED, "404 page not found\n", KEY)
                .unwrap_err()
                .contains("format")
        );
    }
}
