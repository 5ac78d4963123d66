//! Errors of v1 on the wire: problem details of RFC 9457 with a stable machine-readable code.
//!
//! Knows which status and title a code has by default; which code fits a failure is decided where it happens.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;

/// The media type of a problem body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The prefix of our own problem types; the code follows.
pub const TYPE_PREFIX: &str = "urn:gfl:problem:";

/// The registered type of an upload offset that does not match (resumable uploads draft, section on appending).
const TYPE_OFFSET: &str =
    "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";

macro_rules! codes {
    ($($(#[$doc:meta])+ $variant:ident $text:literal $status:literal $title:literal,)+) => {
        /// What went wrong, in a form that programs compare. Codes are never renamed or given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])+ $variant,)+
            /// A code this version does not know, from a newer server or another program; the problem's type
            /// still holds its text.
            Unknown,
        }

        impl Code {
            /// Every code this version can send.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it stands on the wire, in kebab case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status that goes with the code.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)+
                    Self::Unknown => 500,
                }
            }

            /// The short text that goes with the code, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)+
                    Self::Unknown => "unknown problem",
                }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    InvalidRequest "invalid-request" 400 "the request is malformed",
    /// The path breaks a path rule.
    InvalidPath "invalid-path" 400 "the path is not valid",
    /// The path lies in the program's own folder.
    ReservedPath "reserved-path" 400 "the path is reserved",
    /// No credential, or one that is not valid.
    Unauthenticated "unauthenticated" 401 "authentication is required",
    /// The caller may not do this here.
    Forbidden "forbidden" 403 "permission denied",
    /// The server process has no permission for the file or folder on its own disk; no token can change that.
    StoragePermission "storage-permission" 403 "the server has no permission on its storage",
    /// Nothing has this name.
    NotFound "not-found" 404 "not found",
    /// The resource has no such method.
    MethodNotAllowed "method-not-allowed" 405 "method not allowed",
    /// The caller took too long to send the request.
    Timeout "timeout" 408 "the request took too long",
    /// Something else already has this name.
    AlreadyExists "already-exists" 409 "the name is already taken",
    /// A folder was needed where a file is.
    NotADirectory "not-a-directory" 409 "not a directory",
    /// A file was needed where a folder is.
    IsADirectory "is-a-directory" 409 "is a directory",
    /// The folder holds entries and `recursive` was not asked for.
    NotEmpty "not-empty" 409 "the directory is not empty",
    /// Another request got in between; asking again may succeed.
    Conflict "conflict" 409 "conflicts with another change",
    /// The given offset is not the upload's offset.
    OffsetMismatch "offset-mismatch" 409 "offset from request does not match offset of resource",
    /// The range overlaps bytes already received, other than repeating them exactly.
    RangeOverlap "range-overlap" 409 "the range overlaps bytes already received",
    /// The upload was asked to finish while bytes are missing.
    UploadIncomplete "upload-incomplete" 409 "the upload is not complete",
    /// The name differs from an existing one only in a way this storage cannot tell apart.
    NameCollision "name-collision" 409 "the name collides with an existing one",
    /// The upload expired, was cancelled, or was used up.
    UploadGone "upload-gone" 410 "the upload is gone",
    /// `If-Match`, `If-None-Match` or a date condition does not hold.
    PreconditionFailed "precondition-failed" 412 "a precondition failed",
    /// The content is larger than a limit.
    TooLarge "too-large" 413 "the content is too large",
    /// The owner's quota does not allow it.
    Quota "quota" 507 "the quota is used up",
    /// The content type or coding is not understood.
    UnsupportedMediaType "unsupported-media-type" 415 "the content type is not supported",
    /// No byte of the requested range exists.
    RangeNotSatisfiable "range-not-satisfiable" 416 "the range is not satisfiable",
    /// Content and announced length differ.
    LengthMismatch "length-mismatch" 400 "the length does not match",
    /// Content and announced digest differ.
    DigestMismatch "digest-mismatch" 400 "the digest does not match the content",
    /// This storage cannot hold such a name.
    NameNotStorable "name-not-storable" 422 "the name cannot be stored here",
    /// Too many requests or bytes.
    RateLimited "rate-limited" 429 "too many requests",
    /// A defect of the server.
    Internal "internal" 500 "internal error",
    /// The answer of the catalog was lost: the change was made or it was not. Look before trying again.
    OutcomeUnknown "outcome-unknown" 500 "it is not known whether the change was made",
    /// A bounded queue or pool is full; try again soon.
    Busy "busy" 503 "the server is busy",
    /// The server, or something it needs, is not up.
    Unavailable "unavailable" 503 "the service is unavailable",
    /// The storage takes no writes.
    ReadOnlyStorage "read-only-storage" 503 "the storage is read-only",
    /// The disk is full.
    StorageFull "storage-full" 507 "the storage is full",
}

impl Code {
    /// The code with this text, [`Code::Unknown`] if this version knows none.
    pub fn parse(text: &str) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .unwrap_or(Self::Unknown)
    }

    /// The type URI that goes with the code.
    pub fn type_uri(self) -> String {
        match self {
            Self::OffsetMismatch => TYPE_OFFSET.to_owned(),
            Self::Unknown => "about:blank".to_owned(),
            _ => format!("{TYPE_PREFIX}{}", self.as_str()),
        }
    }

    /// Whether the same request may succeed later without being changed.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Conflict
                | Self::RateLimited
                | Self::Busy
                | Self::Unavailable
                | Self::Internal
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// A problem body. Every member may be missing in what another program sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Received")]
pub struct Problem {
    /// The type URI.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The same text for every occurrence of the type.
    pub title: String,
    /// The HTTP status; 0 if the sender named none.
    pub status: u16,
    /// What happened this time and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The stable code.
    pub code: Code,
    /// A URI of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The `X-Request-Id` of the request, to be found in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Members that belong to the type, such as `expected-offset`.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

/// A problem as another program may send it.
#[derive(Deserialize)]
struct Received {
    #[serde(rename = "type", default)]
    type_uri: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    code: Option<Code>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(flatten)]
    extensions: Map<String, Value>,
}

impl From<Received> for Problem {
    fn from(received: Received) -> Self {
        let type_uri = received
            .type_uri
            .unwrap_or_else(|| "about:blank".to_owned());
        let code = received
            .code
            .unwrap_or_else(|| match type_uri.strip_prefix(TYPE_PREFIX) {
                Some(code) => Code::parse(code),
                None if type_uri == TYPE_OFFSET => Code::OffsetMismatch,
                None => Code::Unknown,
            });
        Self {
            title: received.title.unwrap_or_else(|| code.title().to_owned()),
            status: received.status.unwrap_or(if code == Code::Unknown {
                0
            } else {
                code.status()
            }),
            type_uri,
            detail: received.detail,
            code,
            instance: received.instance,
            request_id: received.request_id,
            extensions: received.extensions,
        }
    }
}

impl Problem {
    /// The problem with the code's own type, title and status.
    pub fn new(code: Code) -> Self {
        Self {
            type_uri: code.type_uri(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: None,
            code,
            instance: None,
            request_id: None,
            extensions: Map::new(),
        }
    }

    /// Says what happened this time.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Gives a status other than the code's own.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Names the request.
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Adds a member of the type.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(member.to_owned(), value.into());
        self
    }

    /// The problem of an append at the wrong offset, with the members its registered type demands.
    pub fn offset_mismatch(expected: u64, provided: u64) -> Self {
        Self::new(Code::OffsetMismatch)
            .with("expected-offset", expected)
            .with("provided-offset", provided)
    }

    /// Reads a body; none if it is not a JSON object (a proxy's page, say).
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The body as JSON text.
    pub fn to_json(&self) -> String {
        // A map with text keys and plain values always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    /// The detail, or the title where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(&self.title))
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_kebab_and_read_back() {
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
            assert_eq!(Code::parse(text), *code);
            assert!((400..600).contains(&code.status()));
            assert!(!code.title().ends_with('.'));
        }
        assert_eq!(Code::parse("from-the-future"), Code::Unknown);
    }

    #[test]
    fn the_registered_offset_problem() {
        let json = Problem::offset_mismatch(5, 7).to_json();
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["type"], TYPE_OFFSET);
        assert_eq!(value["status"], 409);
        assert_eq!(
            (&value["expected-offset"], &value["provided-offset"]),
            (&Value::from(5), &Value::from(7))
        );
        let without_code = json.replace(r#""code":"offset-mismatch","#, "");
        assert_eq!(
            Problem::parse(without_code.as_bytes()).unwrap().code,
            Code::OffsetMismatch
        );
    }

    #[test]
    fn reads_what_others_send() {
        let problem = Problem::new(Code::NotFound)
            .with_detail("docs: not found")
            .with("x", "y");
        assert_eq!(Problem::parse(problem.to_json().as_bytes()), Some(problem));
        let bare = Problem::parse(b"{}").unwrap();
        assert_eq!(
            (bare.code, bare.status, bare.type_uri.as_str()),
            (Code::Unknown, 0, "about:blank")
        );
        let newer =
            br#"{"type":"urn:gfl:problem:new","code":"new","status":418,"detail":"d","more":[1]}"#;
        let newer = Problem::parse(newer).unwrap();
        assert_eq!(
            (newer.code, newer.status, newer.to_string().as_str()),
            (Code::Unknown, 418, "d")
        );
        assert_eq!(newer.extensions["more"][0], 1);
        let typed = Problem::parse(br#"{"type":"urn:gfl:problem:quota"}"#).unwrap();
        assert_eq!((typed.code, typed.status), (Code::Quota, 507));
        assert!(Problem::parse(b"<html>").is_none() && Problem::parse(b"[]").is_none());
    }
}
