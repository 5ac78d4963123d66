//! What a release tells about itself: the order of versions, the manifest `version.json` as v0.1 has it, and the
//! detached signature beside it.
//!
//! Verifies nothing: that takes cryptography, and is done where the keys are.

pub mod minisign;
mod version;

pub use version::Version;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of a manifest, and of its signature.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// The name of the manifest, on servers and among the files of a release.
pub const MANIFEST_NAME: &str = "version.json";

/// What the name of a file is followed by in the name of its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// `version.json`. The order of the fields is that of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version it offers.
    pub version: String,
    /// When it came out, `YYYY-MM-DD`.
    #[serde(default)]
    pub release_date: String,
    /// What is new, for people.
    #[serde(default)]
    pub notes: String,
    /// The client for each platform, under the names Go has for them: `linux_amd64`.
    pub binaries: BTreeMap<String, Binary>,
}

/// One client program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// Where it is.
    pub url: String,
    /// SHA-256 of its content, hex.
    pub checksum: String,
    /// Its length.
    pub size: u64,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Not JSON of this shape; with the parser's words.
    Syntax(String),
    /// `version` is no version.
    NoVersion(String),
    /// The checksum of a platform is not 64 hex digits, or is the zeros that v0.1's published manifest had.
    NoChecksum(String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(cause) => write!(f, "the manifest is not valid json: {cause}"),
            Self::NoVersion(text) => write!(f, "the manifest's version {text:?} is no version"),
            Self::NoChecksum(platform) => {
                write!(f, "the manifest has no checksum for {platform}")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads a manifest; unknown keys are skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        if Version::parse(&manifest.version).is_none() {
            return Err(ManifestError::NoVersion(manifest.version));
        }
        let lacking = manifest.binaries.iter().find(|(_, b)| b.digest().is_none());
        match lacking {
            Some((platform, _)) => Err(ManifestError::NoChecksum(platform.clone())),
            None => Ok(manifest),
        }
    }

    /// The file: the bytes that are signed.
    pub fn to_json(&self) -> String {
        // Plain data always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Binary {
    /// The checksum as bytes.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let digest: [u8; 32] = hex::decode(&self.checksum).ok()?.try_into().ok()?;
        (digest != [0; 32]).then_some(digest)
    }
}

/// Go's name of a platform, given Rust's names of system and processor.
pub fn platform(os: &str, arch: &str) -> String {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{os}_{arch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_v0_1() {
        let sum = "ab".repeat(32);
        let text = format!(
            "{{\n  \"version\": \"0.2.0-lite\",\n  \"release_date\": \"2026-12-01\",\n  \"notes\": \"n\",\n  \
             \"binaries\": {{\n    \"linux_amd64\": {{\n      \"url\": \"https://example.org/gfl\",\n      \
             \"checksum\": \"{sum}\",\n      \"size\": 3\n    }}\n  }}\n}}\n"
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.binaries["linux_amd64"].digest(), Some([0xab; 32]));
        assert_eq!(manifest.to_json(), text, "written in the order it was read");
        let with_more = text.replace("\"notes\"", "\"later\": 1, \"notes\"");
        assert_eq!(Manifest::parse(with_more.as_bytes()), Ok(manifest));
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let manifest = |version: &str, sum: &str| {
            let text = format!(
                r#"{{"version":"{version}","binaries":{{"p":{{"url":"u","checksum":"{sum}","size":1}}}}}}"#
            );
            Manifest::parse(text.as_bytes()).map(|m| m.version)
        };
        assert_eq!(manifest("1.0.0", &"1".repeat(64)), Ok("1.0.0".into()));
        let no_sum = Err(ManifestError::NoChecksum("p".into()));
        for sum in [&"0".repeat(64), "", &"1".repeat(63), &"x".repeat(64)] {
            assert_eq!(manifest("1.0.0", sum), no_sum, "{sum}");
        }
        let no_version = Err(ManifestError::NoVersion("latest".into()));
        assert_eq!(manifest("latest", &"1".repeat(64)), no_version);
        assert!(matches!(
            Manifest::parse(b"<html>"),
            Err(ManifestError::Syntax(_))
        ));
    }

    #[test]
    fn platforms_have_gos_names() {
        assert_eq!(platform("linux", "x86_64"), "linux_amd64");
        assert_eq!(platform("macos", "aarch64"), "darwin_arm64");
        assert_eq!(platform("linux", "riscv64"), "linux_riscv64");
    }
}
