//! `tokens.json` and the arithmetic of tokens: what a token looks like, what is stored of it, when it is valid,
//! and the answer to a challenge.
//!
//! Knows no clock and no randomness, both are passed in; and nothing of what a permission allows.

use crate::gojson::{Node, same_key};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of an HMAC-SHA-256 key block (RFC 2104).
const HMAC_BLOCK_BYTES: usize = 64;

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenFile {
    /// The tokens in the order of the file.
    pub tokens: Vec<TokenRecord>,
    /// Members this version does not know, kept for the next writing.
    pub extra: Vec<(String, Node)>,
}

/// One token. Texts stand as in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenRecord {
    /// The id by which people name it.
    pub id: String,
    /// See [`hash_token`]. As good as the token itself for challenges, so the file is secret.
    pub token_hash: String,
    /// Whose token it is.
    pub user: String,
    /// What it allows; `*` is every file permission.
    pub permissions: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Until when it is valid, RFC 3339.
    pub expires_at: String,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Members this version does not know, kept for the next writing.
    pub extra: Vec<(String, Node)>,
}

/// Whether a token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// It may.
    Active,
    /// It was revoked, expired or not.
    Revoked,
    /// Its time is over, or is missing or unreadable.
    Expired,
}

impl TokenFile {
    /// Reads the file as v0.1 did: keys in any letter case, the last of a repeated key holds, unknown members are
    /// kept. An empty file has no tokens. A value of another type is an error, since half a token file would lock
    /// people out.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let root = Node::parse(text).map_err(|e| TokenFileError::Syntax(e.to_string()))?;
        let mut file = Self::default();
        for (key, node) in members(&root, "the file")? {
            match node {
                Node::List(list) if same_key(key, "tokens") => {
                    file.tokens = list
                        .iter()
                        .map(TokenRecord::read)
                        .collect::<Result<_, _>>()?;
                }
                Node::Null if same_key(key, "tokens") => {}
                other if same_key(key, "tokens") => return wrong("tokens", "an array", other),
                _ => file.extra.push((key.clone(), node.clone())),
            }
        }
        Ok(file)
    }

    /// The file as v0.1 writes it: two spaces, no final line feed.
    pub fn to_text(&self) -> String {
        let tokens = self.tokens.iter().map(TokenRecord::write).collect();
        let mut members = vec![("tokens".to_owned(), Node::List(tokens))];
        members.extend(self.extra.iter().cloned());
        Node::Object(members).to_text()
    }

    /// The token with this hash; of several the last, as in v0.1. Takes the same time wherever they differ.
    pub fn find_hash(&self, token_hash: &str) -> Option<&TokenRecord> {
        self.tokens
            .iter()
            .rfind(|t| ct_eq(t.token_hash.as_bytes(), token_hash.as_bytes()))
    }

    /// The token with this id; of several the last.
    pub fn find_id(&self, id: &str) -> Option<&TokenRecord> {
        self.tokens.iter().rfind(|t| t.id == id)
    }

    /// Revokes every token with this id; whether there was one.
    pub fn revoke(&mut self, id: &str) -> bool {
        let mut found = false;
        for token in self.tokens.iter_mut().filter(|t| t.id == id) {
            token.revoked = true;
            found = true;
        }
        found
    }
}

impl TokenRecord {
    /// Whether the token may be used at `now_ms` (Unix milliseconds).
    pub fn status(&self, now_ms: i64) -> TokenStatus {
        match self.expires_ms() {
            _ if self.revoked => TokenStatus::Revoked,
            Some(expires_ms) if now_ms <= expires_ms => TokenStatus::Active,
            _ => TokenStatus::Expired,
        }
    }

    /// The end of its time in Unix milliseconds; none if missing or unreadable.
    pub fn expires_ms(&self) -> Option<i64> {
        self.expires_at
            .parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_millisecond)
    }

    fn read(node: &Node) -> Result<Self, TokenFileError> {
        let mut token = Self::default();
        for (key, node) in members(node, "a token")? {
            let is = |name| same_key(key, name);
            match node {
                Node::Null if KEYS.iter().any(|name| is(name)) => {}
                _ if is("id") => token.id = text("id", node)?,
                _ if is("token_hash") => token.token_hash = text("token_hash", node)?,
                _ if is("user") => token.user = text("user", node)?,
                _ if is("created_at") => token.created_at = text("created_at", node)?,
                _ if is("expires_at") => token.expires_at = text("expires_at", node)?,
                Node::Bool(revoked) if is("revoked") => token.revoked = *revoked,
                Node::List(list) if is("permissions") => {
                    token.permissions = list
                        .iter()
                        .map(|p| text("permissions", p))
                        .collect::<Result<_, _>>()?;
                }
                other if is("revoked") => return wrong("revoked", "true or false", other),
                other if is("permissions") => return wrong("permissions", "an array", other),
                _ => token.extra.push((key.clone(), node.clone())),
            }
        }
        Ok(token)
    }

    fn write(&self) -> Node {
        let permissions = self
            .permissions
            .iter()
            .map(|p| Node::from(p.as_str()))
            .collect();
        let values = [
            Node::from(self.id.as_str()),
            Node::from(self.token_hash.as_str()),
            Node::from(self.user.as_str()),
            Node::List(permissions),
            Node::from(self.created_at.as_str()),
            Node::from(self.expires_at.as_str()),
            Node::Bool(self.revoked),
        ];
        let known = KEYS.iter().map(|key| (*key).to_owned()).zip(values);
        Node::Object(known.chain(self.extra.iter().cloned()).collect())
    }
}

/// The members of a token in the order v0.1 writes them.
const KEYS: [&str; 7] = [
    "id",
    "token_hash",
    "user",
    "permissions",
    "created_at",
    "expires_at",
    "revoked",
];

fn members<'a>(node: &'a Node, name: &'static str) -> Result<&'a [(String, Node)], TokenFileError> {
    match node {
        Node::Null => Ok(&[]),
        node => node
            .members()
            .map_or_else(|| wrong(name, "an object", node), Ok),
    }
}

fn text(key: &'static str, node: &Node) -> Result<String, TokenFileError> {
    match node {
        Node::Text(text) => Ok(text.clone()),
        other => wrong(key, "a string", other),
    }
}

fn wrong<T>(key: &'static str, expected: &'static str, found: &Node) -> Result<T, TokenFileError> {
    Err(TokenFileError::WrongType {
        key,
        expected,
        found: found.kind(),
    })
}

/// What is stored of a token: SHA-256 of its text (not of the bytes the text stands for), lower-case hex.
pub fn hash_token(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// A token from random bytes: 64 lower-case hex digits.
pub fn new_token(random: [u8; 32]) -> String {
    hex::encode(random)
}

/// A token's id from random bytes: `tok_` and 12 hex digits.
pub fn new_id(random: [u8; 6]) -> String {
    format!("tok_{}", hex::encode(random))
}

/// What follows `Challenge ` in an `Authorization` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer<'a> {
    /// See [`challenge_response`].
    pub response: &'a str,
    /// The nonce the server gave.
    pub nonce: &'a str,
    /// The id of the caller's token.
    pub token_id: &'a str,
}

impl<'a> ChallengeAnswer<'a> {
    /// Reads `<response>;<nonce>;<token_id>`; none unless there are exactly three parts.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let answer = Self {
            response: parts.next()?,
            nonce: parts.next()?,
            token_id: parts.next()?,
        };
        parts.next().is_none().then_some(answer)
    }
}

/// The answer to a challenge: HMAC-SHA-256 over the nonce's text, with the text of the token's hash as the key, in
/// lower-case hex. Compare with [`ct_eq`].
pub fn challenge_response(token_hash: &str, nonce: &str) -> String {
    // RFC 2104: a key longer than a block is hashed, a shorter one padded with zeros.
    let mut key = [0; HMAC_BLOCK_BYTES];
    match token_hash.as_bytes() {
        long if long.len() > key.len() => key[..32].copy_from_slice(&Sha256::digest(long)),
        short => key[..short.len()].copy_from_slice(short),
    }
    let mut mac = Hmac::<Sha256>::new(&key.into());
    mac.update(nonce.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Whether two secrets are equal, in a time that depends on their lengths only.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (x, y)| bits | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

/// Why a token file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFileError {
    /// Not JSON; with the parser's words.
    Syntax(String),
    /// A value of another type.
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(cause) => write!(f, "token file is not valid json: {cause}"),
            Self::WrongType {
                key,
                expected,
                found,
            } => {
                write!(f, "token file: {key} is {found}; make it {expected}")
            }
        }
    }
}

impl std::error::Error for TokenFileError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"{
  "tokens": [
    {
      "id": "tok_0123456789ab",
      "token_hash": "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55",
      "user": "a\u0026b",
      "permissions": [
        "upload",
        "*"
      ],
      "created_at": "2025-12-06T10:00:00.123456789+08:00",
      "expires_at": "2026-01-05T10:00:00.5+08:00",
      "revoked": false,
      "note": {
        "z": 1,
        "a": []
      }
    }
  ],
  "later": true
}"#;

    #[test]
    fn a_file_comes_back_byte_for_byte() {
        let file = TokenFile::parse(FILE).unwrap();
        assert_eq!(file.to_text(), FILE);
        assert_eq!(
            (
                file.tokens[0].user.as_str(),
                file.tokens[0].extra[0].0.as_str()
            ),
            ("a&b", "note")
        );
        assert_eq!(TokenFile::default().to_text(), "{\n  \"tokens\": []\n}");
        for empty in [
            "",
            " \n",
            "{}",
            "null",
            r#"{"tokens":null}"#,
            r#"{"Tokens":[]}"#,
        ] {
            assert!(
                TokenFile::parse(empty).unwrap().tokens.is_empty(),
                "{empty}"
            );
        }
        let file = TokenFile::parse(
            r#"{"TOKENS":[{"ID":"x","Revoked":true,"user":null,"permissions":null}]}"#,
        );
        let token = TokenRecord {
            id: "x".into(),
            revoked: true,
            ..TokenRecord::default()
        };
        assert_eq!(file.unwrap().tokens, [token]);
    }

    #[test]
    fn broken_files_are_refused() {
        for (text, want) in [
            ("[]", "token file: the file is an array; make it an object"),
            (
                r#"{"tokens":{}}"#,
                "token file: tokens is an object; make it an array",
            ),
            (
                r#"{"tokens":[1]}"#,
                "token file: a token is a number; make it an object",
            ),
            (
                r#"{"tokens":[{"revoked":0}]}"#,
                "token file: revoked is a number; make it true or false",
            ),
            (
                r#"{"tokens":[{"permissions":"*"}]}"#,
                "token file: permissions is a string; make it an array",
            ),
            (
                r#"{"tokens":[{"permissions":[1]}]}"#,
                "token file: permissions is a number; make it a string",
            ),
        ] {
            assert_eq!(TokenFile::parse(text).unwrap_err().to_string(), want);
        }
        assert!(matches!(
            TokenFile::parse("{"),
            Err(TokenFileError::Syntax(_))
        ));
    }

    #[test]
    fn vectors_of_v0_1() {
        let token = "0".repeat(64);
        let hash = hash_token(&token);
        assert_eq!(
            hash,
            "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55"
        );
        let response = challenge_response(&hash, &"1".repeat(64));
        assert_eq!(
            response,
            "77224bea1b02f149e7ad70a1bce1867803890f932d248e33b827223342474380"
        );
        assert_eq!(new_token([0; 32]), token);
        assert_eq!(new_id([0, 1, 2, 3, 4, 255]), "tok_0001020304ff");
        // RFC 4231, test case 6: a key longer than a block.
        let long = String::from_utf8(vec![b'k'; 131]).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(long.as_bytes()).unwrap();
        mac.update(b"n");
        assert_eq!(
            challenge_response(&long, "n"),
            hex::encode(mac.finalize().into_bytes())
        );
    }

    #[test]
    fn validity() {
        let token = |expires: &str, revoked| TokenRecord {
            expires_at: expires.into(),
            revoked,
            ..TokenRecord::default()
        };
        let now = 1_700_000_000_000;
        for (expires, revoked, want) in [
            ("2023-11-14T22:13:20Z", false, TokenStatus::Active),
            ("2023-11-14T22:13:19.999Z", false, TokenStatus::Expired),
            ("2023-11-15T06:13:20.5+08:00", false, TokenStatus::Active),
            ("2030-01-01T00:00:00Z", true, TokenStatus::Revoked),
            ("0001-01-01T00:00:00Z", false, TokenStatus::Expired),
            ("", false, TokenStatus::Expired),
            ("soon", false, TokenStatus::Expired),
        ] {
            assert_eq!(token(expires, revoked).status(now), want, "{expires}");
        }
    }

    #[test]
    fn finding_and_revoking() {
        let token = |id: &str, user: &str| TokenRecord {
            id: id.into(),
            token_hash: "h".into(),
            user: user.into(),
            ..TokenRecord::default()
        };
        let mut file = TokenFile {
            tokens: vec![token("a", "1"), token("b", "2")],
            extra: vec![],
        };
        assert_eq!(file.find_hash("h").map(|t| t.user.as_str()), Some("2"));
        assert!(file.find_hash("").is_none() && file.find_id("c").is_none() && !file.revoke("c"));
        assert!(file.revoke("a") && file.find_id("a").is_some_and(|t| t.revoked));
    }

    #[test]
    fn challenge_answers() {
        let answer = ChallengeAnswer {
            response: "r",
            nonce: "n",
            token_id: "t",
        };
        assert_eq!(ChallengeAnswer::parse("r;n;t"), Some(answer));
        for bad in ["", "r;n", "r;n;t;x"] {
            assert_eq!(ChallengeAnswer::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn comparing(a in prop::collection::vec(0u8..3, 0..4), b in prop::collection::vec(0u8..3, 0..4)) {
            prop_assert_eq!(ct_eq(&a, &b), a == b);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = TokenFile::parse(&text);
        }
    }
}
