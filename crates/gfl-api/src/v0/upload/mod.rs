//! The body of `POST /upload`, decoded as it arrives: the chunk's bytes flow out while the rest of the message is
//! still coming, so that no body ever stands in memory.
//!
//! Knows nothing of sessions: whether chunk, total and path make sense is decided by who keeps the upload.

use super::{base64, json};
use crate::limits::{V0_CHUNK_BYTES_MAX, V0_JSON_DEPTH_MAX, V0_PATH_BYTES_MAX};
use json::Token;
use std::fmt;

/// Bytes kept of a key; a longer one is none of ours.
const KEY_BYTES_MAX: usize = 64;
/// Bytes kept of a checksum; a longer one is never verified.
const CHECKSUM_BYTES_MAX: usize = 256;

/// The members of an upload message other than its bytes. Missing members are empty or 0, as in v0.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadMessage {
    /// The path as the client wrote it; see [`crate::FilePath::parse_v0`].
    pub path: String,
    /// The chunk's number, from 0. Any integer: the sender is not to be trusted.
    pub chunk_id: i64,
    /// The chunk's checksum; see [`super::checksum_to_verify`].
    pub checksum: String,
    /// The number of chunks of the file. Any integer.
    pub total: i64,
}

/// Decodes one upload body piece by piece.
///
/// What a body may be is what Go's parser took: keys in any letter case, unknown keys skipped, of a repeated key
/// the last, `null` as if missing, `data` as base64 or as an array of numbers. One difference: a repeated `data`
/// is an error, since the first has already flowed out. What flowed out before an error is void.
#[derive(Default)]
pub struct UploadDecoder {
    scanner: json::Scanner,
    members: Members,
    failed: Option<V0Error>,
}

impl UploadDecoder {
    /// Begins a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the body and appends the bytes of the chunk found in it to `out`, at most two bytes
    /// more than the piece has. An error is final.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), V0Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let answer = self
            .scanner
            .push(piece, &mut |token| self.members.token(token, out));
        self.failed = answer.clone().err();
        answer
    }

    /// Ends the body.
    pub fn finish(mut self) -> Result<UploadMessage, V0Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        // The end of a body can only complete a number, and that gives no bytes.
        self.scanner
            .finish(&mut |token| self.members.token(token, &mut Vec::new()))?;
        let Members {
            path,
            chunk_id,
            checksum,
            total,
            ..
        } = self.members;
        Ok(UploadMessage {
            path: path.unwrap_or_default(),
            chunk_id: chunk_id.unwrap_or_default(),
            checksum: checksum.unwrap_or_default(),
            total: total.unwrap_or_default(),
        })
    }

    /// The path, once it was read. A later member may still replace it: compare with what [`Self::finish`] gives.
    pub fn path_so_far(&self) -> Option<&str> {
        self.members.path.as_deref()
    }

    /// The chunk's number, once it was read; may still be replaced.
    pub fn chunk_id_so_far(&self) -> Option<i64> {
        self.members.chunk_id
    }

    /// The number of chunks, once it was read; may still be replaced.
    pub fn total_so_far(&self) -> Option<i64> {
        self.members.total
    }

    /// The bytes of the chunk so far.
    pub fn data_bytes(&self) -> u64 {
        self.members.data_bytes
    }
}

/// A member of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    Path,
    ChunkId,
    Data,
    Checksum,
    Total,
    #[default]
    Unknown,
}

impl Member {
    /// Go compares keys without regard to case, by Unicode's simple folding: two letters beyond ASCII fold to
    /// letters of our keys.
    fn of(key: &[u8]) -> Self {
        let key = String::from_utf8_lossy(key)
            .replace('ſ', "s")
            .replace('\u{212a}', "k")
            .to_ascii_lowercase();
        match key.as_str() {
            "path" => Self::Path,
            "chunk_id" => Self::ChunkId,
            "data" => Self::Data,
            "checksum" => Self::Checksum,
            "total" => Self::Total,
            _ => Self::Unknown,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::ChunkId => "chunk_id",
            Self::Data => "data",
            Self::Checksum => "checksum",
            Self::Total => "total",
            Self::Unknown => "",
        }
    }

    const fn go_type(self) -> &'static str {
        match self {
            Self::ChunkId | Self::Total => "int",
            Self::Data => "[]uint8",
            _ => "string",
        }
    }

    fn wrong(self, value: &str) -> V0Error {
        let value = value.to_owned();
        V0Error::Type {
            value,
            member: self.name(),
            expected: self.go_type(),
        }
    }
}

/// The values read so far.
#[derive(Default)]
struct Members {
    depth: usize,
    member: Member,
    /// The key or text being read.
    text: Vec<u8>,
    base64: base64::Decoder,
    data_seen: bool,
    data_bytes: u64,
    path: Option<String>,
    chunk_id: Option<i64>,
    checksum: Option<String>,
    total: Option<i64>,
}

impl Members {
    fn token(&mut self, token: Token<'_>, out: &mut Vec<u8>) -> Result<(), V0Error> {
        match self.depth {
            0 => self.top(&token),
            1 => self.member(&token, out),
            2 if self.member == Member::Data => self.element(&token, out),
            _ => {
                self.descend(&token);
                Ok(())
            }
        }
    }

    /// The whole message: an object, or `null` for an empty one.
    fn top(&mut self, token: &Token<'_>) -> Result<(), V0Error> {
        match token {
            Token::ObjectStart => self.depth = 1,
            Token::Null | Token::Text(_) => {}
            other => return Err(V0Error::NotAnObject(kind(other))),
        }
        Ok(())
    }

    /// Counts what opens and closes inside a value that is skipped.
    fn descend(&mut self, token: &Token<'_>) {
        match token {
            Token::ObjectStart | Token::ArrayStart => self.depth += 1,
            Token::ObjectEnd | Token::ArrayEnd => self.depth -= 1,
            _ => {}
        }
    }

    /// Keys and values of the message.
    fn member(&mut self, token: &Token<'_>, out: &mut Vec<u8>) -> Result<(), V0Error> {
        match token {
            Token::KeyText(piece) => {
                self.keep(piece, KEY_BYTES_MAX);
                Ok(())
            }
            Token::KeyEnd => self.key(),
            Token::ObjectEnd => {
                self.depth = 0;
                Ok(())
            }
            Token::Text(piece) => self.text(piece, out),
            Token::TextEnd => self.text_end(),
            Token::Number(digits) => self.number(digits),
            Token::ArrayStart if self.member == Member::Data => {
                self.depth = 2;
                Ok(())
            }
            Token::Null => Ok(()),
            other if self.member != Member::Unknown => Err(self.member.wrong(kind(other))),
            other => {
                self.descend(other);
                Ok(())
            }
        }
    }

    fn key(&mut self) -> Result<(), V0Error> {
        self.member = Member::of(&self.text);
        self.text.clear();
        if self.member == Member::Data && std::mem::replace(&mut self.data_seen, true) {
            return Err(V0Error::DuplicateData);
        }
        Ok(())
    }

    fn text(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), V0Error> {
        match self.member {
            Member::Data => {
                let before = out.len();
                self.base64.push(piece, out)?;
                self.count((out.len() - before) as u64)
            }
            Member::Path if self.text.len() + piece.len() > V0_PATH_BYTES_MAX => {
                Err(V0Error::PathTooLong)
            }
            Member::Path => {
                self.text.extend_from_slice(piece);
                Ok(())
            }
            Member::Checksum => {
                self.keep(piece, CHECKSUM_BYTES_MAX);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text_end(&mut self) -> Result<(), V0Error> {
        let text = std::mem::take(&mut self.text);
        match self.member {
            Member::Data => return self.base64.finish(),
            Member::Path => self.path = Some(replace_invalid(&text)),
            Member::Checksum => self.checksum = Some(replace_invalid(&text)),
            Member::ChunkId | Member::Total => return Err(self.member.wrong("string")),
            Member::Unknown => {}
        }
        Ok(())
    }

    fn number(&mut self, digits: &[u8]) -> Result<(), V0Error> {
        let text = String::from_utf8_lossy(digits);
        let slot = match self.member {
            Member::ChunkId => &mut self.chunk_id,
            Member::Total => &mut self.total,
            Member::Unknown => return Ok(()),
            member => return Err(member.wrong("number")),
        };
        *slot = Some(
            text.parse()
                .map_err(|_| self.member.wrong(&format!("number {text}")))?,
        );
        Ok(())
    }

    /// An element of `data` written as an array of numbers.
    fn element(&mut self, token: &Token<'_>, out: &mut Vec<u8>) -> Result<(), V0Error> {
        let wrong = |value: String| V0Error::Type {
            value,
            member: "data",
            expected: "uint8",
        };
        match token {
            Token::ArrayEnd => {
                self.depth = 1;
                Ok(())
            }
            Token::Number(digits) => {
                let text = String::from_utf8_lossy(digits);
                out.push(text.parse().map_err(|_| wrong(format!("number {text}")))?);
                self.count(1)
            }
            // Go leaves the element at its zero value.
            Token::Null => {
                out.push(0);
                self.count(1)
            }
            other => Err(wrong(kind(other).to_owned())),
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), V0Error> {
        self.data_bytes += bytes;
        if self.data_bytes > V0_CHUNK_BYTES_MAX {
            Err(V0Error::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Keeps the front of a text that is of no use when it is longer.
    fn keep(&mut self, piece: &[u8], bytes_max: usize) {
        let room = bytes_max.saturating_sub(self.text.len());
        self.text.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// What Go calls a value of this kind.
const fn kind(token: &Token<'_>) -> &'static str {
    match token {
        Token::ObjectStart | Token::ObjectEnd => "object",
        Token::ArrayStart | Token::ArrayEnd => "array",
        Token::KeyText(_) | Token::KeyEnd | Token::Text(_) | Token::TextEnd => "string",
        Token::Number(_) => "number",
        Token::Bool => "bool",
        Token::Null => "null",
    }
}

/// Go puts one replacement character for each invalid byte, where Rust puts one for a run.
fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Why an upload body is refused. The text is the body of the 400 answer ([`V0Error::TooLarge`]: 413), worded as
/// v0.1 worded it wherever it had the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V0Error {
    /// The text breaks the grammar of JSON.
    Syntax(String),
    /// The text ends too early, or is empty.
    UnexpectedEnd,
    /// Nested too deeply.
    TooDeep,
    /// The message is not an object.
    NotAnObject(&'static str),
    /// A member is of another type.
    Type {
        /// What was found.
        value: String,
        /// The member.
        member: &'static str,
        /// The type it has.
        expected: &'static str,
    },
    /// `data` is not base64; the position of the first wrong character in it.
    Base64(u64),
    /// `data` is there twice.
    DuplicateData,
    /// `path` is longer than [`V0_PATH_BYTES_MAX`].
    PathTooLong,
    /// `data` is longer than [`V0_CHUNK_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for V0Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => f.write_str(text),
            Self::UnexpectedEnd => f.write_str("unexpected end of JSON input"),
            Self::TooDeep => write!(f, "exceeded max depth of {V0_JSON_DEPTH_MAX}"),
            Self::NotAnObject(value) => {
                write!(
                    f,
                    "json: cannot unmarshal {value} into Go value of type upload"
                )
            }
            Self::Type {
                value,
                member,
                expected,
            } => {
                write!(
                    f,
                    "json: cannot unmarshal {value} into Go struct field upload.{member} of type {expected}"
                )
            }
            Self::Base64(at) => write!(f, "illegal base64 data at input byte {at}"),
            Self::DuplicateData => f.write_str("\"data\" is there twice; send it once"),
            Self::PathTooLong => write!(
                f,
                "path is longer than {V0_PATH_BYTES_MAX} bytes; shorten it"
            ),
            Self::TooLarge => {
                write!(
                    f,
                    "chunk is larger than {V0_CHUNK_BYTES_MAX} bytes; send smaller chunks"
                )
            }
        }
    }
}

impl std::error::Error for V0Error {}

#[cfg(test)]
mod tests;
