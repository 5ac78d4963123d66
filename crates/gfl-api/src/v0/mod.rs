//! Everything v0.1 put on the wire over HTTP: bodies, texts and the rules of its fields, as old clients expect
//! them. New features never go here.
//!
//! Knows no path rule but where to find it ([`crate::FilePath::parse_v0`]), and no status codes' reasons: a text
//! here is exactly what goes into the body, without the line feed that errors end with.

mod base64;
mod json;
pub mod texts;
mod upload;

pub use upload::{UploadDecoder, UploadMessage, V0Error};

use serde::{Deserialize, Serialize};

/// The body of `GET /upload/status`. Without an upload all is empty and the lists are `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadStatus {
    /// Whether there is an unfinished upload of this path.
    pub exists: bool,
    /// The number of chunks announced.
    pub total_chunks: i64,
    /// For each chunk, whether it is there.
    pub received_map: Option<Vec<bool>>,
    /// The numbers of the chunks that are not there.
    pub missing_chunks: Option<Vec<i64>>,
    /// Whether all are there.
    pub completed: bool,
}

impl UploadStatus {
    /// The status of an unfinished upload.
    pub fn of(received: Vec<bool>) -> Self {
        let missing: Vec<i64> = (0..)
            .zip(&received)
            .filter(|(_, there)| !**there)
            .map(|(id, _)| id)
            .collect();
        Self {
            exists: true,
            total_chunks: i64::try_from(received.len()).unwrap_or(i64::MAX),
            completed: missing.is_empty(),
            // A list with nothing in it was `null` in v0.1.
            missing_chunks: (!missing.is_empty()).then_some(missing),
            received_map: Some(received),
        }
    }
}

/// The body of `GET /config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfigBody {
    /// What v0.1 showed of its settings.
    pub server: ServerConfigPart,
    /// The server's version.
    pub version: String,
    /// Whether requests need a token.
    pub auth_enabled: bool,
}

/// The `server` member of [`ServerConfigBody`]. Paths are blank unless the owner wants them shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfigPart {
    /// The configured address.
    pub address: String,
    /// The storage folder.
    pub storage_dir: String,
    /// The metadata folder.
    pub meta_dir: String,
    /// The token file; left out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tokens_file: String,
    /// Bytes of the largest file allowed.
    pub max_file_size: u64,
}

/// The body of `GET /auth/challenge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeBody {
    /// At least 64 hex digits, good for one request.
    pub nonce: String,
    /// RFC 3339.
    pub expires_at: String,
}

/// A JSON body as v0.1 sent it: compact, with a line feed.
pub fn json_body<T: Serialize>(body: &T) -> Vec<u8> {
    // The bodies of this module are plain data, which always serialises.
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The body of `/list`: names sorted by bytes. An empty folder is `null`, which old clients expect.
pub fn list_body<S: Serialize>(names: &[S]) -> Vec<u8> {
    json_body(&(!names.is_empty()).then_some(names))
}

/// Reads the body of `/list` from any server: `null` is an empty folder.
pub fn parse_list(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_slice::<Option<Vec<String>>>(body).map(Option::unwrap_or_default)
}

/// The chunk's SHA-256 if the `checksum` of an upload is one to be verified: 64 hex digits that are not the
/// fallback of old browser clients, which is a short number padded with zeros to 64 digits (at most 16 digits of
/// it are not zero). Anything else was never looked at by v0.1 and is accepted unseen.
pub fn checksum_to_verify(checksum: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(checksum, &mut digest).ok()?;
    let nonzero_digits = checksum.bytes().filter(|digit| *digit != b'0').count();
    (nonzero_digits > 16).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_exact_form() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(json_body(&UploadStatus::default())),
            "{\"exists\":false,\"total_chunks\":0,\"received_map\":null,\"missing_chunks\":null,\"completed\":false}\n"
        );
        assert_eq!(
            text(json_body(&UploadStatus::of(vec![true, false]))),
            "{\"exists\":true,\"total_chunks\":2,\"received_map\":[true,false],\"missing_chunks\":[1],\"completed\":false}\n"
        );
        let config = ServerConfigBody {
            version: "0.2.0".into(),
            ..ServerConfigBody::default()
        };
        assert_eq!(
            text(json_body(&config)),
            "{\"server\":{\"address\":\"\",\"storage_dir\":\"\",\"meta_dir\":\"\",\"max_file_size\":0},\
             \"version\":\"0.2.0\",\"auth_enabled\":false}\n"
        );
        assert_eq!(text(list_body::<&str>(&[])), "null\n");
        assert_eq!(text(list_body(&["a", "b"])), "[\"a\",\"b\"]\n");
        for body in ["null\n", "[]"] {
            assert!(parse_list(body.as_bytes()).unwrap().is_empty());
        }
        assert_eq!(parse_list(b"[\"a\"]").unwrap(), ["a"]);
    }

    #[test]
    fn checksums() {
        let real = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
        assert_eq!(
            checksum_to_verify(real).map(hex::encode).as_deref(),
            Some(real)
        );
        assert!(checksum_to_verify(&real.to_uppercase()).is_some());
        let fallback = format!("{:0>64}", "89abcdef12345678");
        for unseen in [
            "",
            "abc",
            &real[1..],
            &format!("{real}0"),
            &fallback,
            &"0".repeat(64),
            &"g".repeat(64),
        ] {
            assert_eq!(checksum_to_verify(unseen), None, "{unseen}");
        }
    }
}
