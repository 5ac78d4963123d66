//! The bulk stream: many small files in one body, both ways. Media type [`crate::http::TYPE_BULK`].
//!
//! A stream is the eight bytes [`MAGIC`], then frames, and ends with an end frame, so that a stream cut short is
//! noticed. A frame is a header length (u32), a header of that many bytes, and for a file its content. All
//! numbers are little-endian. The first byte of a header is its type:
//!
//! | type | meaning | header behind the type byte |
//! |---|---|---|
//! | 1 | file | flags u8, index u32, size u64, mtime_ns i64, mode u32, b3 `[u8; 32]` if flag 1, path |
//! | 2 | end | nothing |
//! | 3 | error | index u32, status u16, path, code, detail |
//! | 4 | keep-alive | nothing; carries no event |
//! | 128 and above | reserved for later | skipped, so they never carry content |
//!
//! A text is its length (u16) and UTF-8. Flags of a file: 1 = b3 follows, 2 = create only, 4 = mtime is given; a
//! reader refuses flags it does not know. Mode `0xFFFF_FFFF` means none. Bytes behind the known fields of a
//! header are ignored, so that later versions can add fields that may be ignored.
//!
//! Knows nothing of path rules: a file with a bad path fails by itself and must not stop the stream.

use crate::{
    limits::{BULK_FILE_BYTES_MAX, BULK_HEADER_BYTES_MAX, PATH_BYTES_MAX},
    path::Shown,
    tree::Root,
};
use bytes::{Buf, Bytes};
use std::fmt;

/// The first bytes of a stream, with the format's version.
pub const MAGIC: &[u8; 8] = b"GFLBULK1";

const FILE: u8 = 1;
const END: u8 = 2;
const ERROR: u8 = 3;
const KEEP_ALIVE: u8 = 4;
const SKIPPED_FROM: u8 = 128;

const HAS_B3: u8 = 1;
const CREATE_ONLY: u8 = 2;
const HAS_MTIME: u8 = 4;

const NO_MODE: u32 = 0xFFFF_FFFF;

/// Bytes of code and detail in an error frame; the path takes the rest of the header.
const CODE_BYTES_MAX: usize = 64;
const DETAIL_BYTES_MAX: usize = 2048;

/// One file of the stream; exactly `size` bytes of content follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHeader {
    /// The sender's number for the file, by which answers name it.
    pub index: u32,
    /// The path as text, at most [`PATH_BYTES_MAX`] bytes; the receiver parses it.
    pub path: String,
    /// Bytes of content.
    pub size: u64,
    /// Time of the last change of the content, Unix nanoseconds.
    pub mtime_ns: Option<i64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// BLAKE3 of the content, to be verified by the receiver.
    pub b3: Option<Root>,
    /// Whether the file must not exist yet.
    pub create_only: bool,
}

/// A file that was asked for and cannot be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFrame {
    /// The number of the file in the request.
    pub index: u32,
    /// Its path.
    pub path: String,
    /// The status a single request would have had.
    pub status: u16,
    /// The stable code, see [`crate::problem::Code`].
    pub code: String,
    /// What happened and what to do about it.
    pub detail: String,
}

/// What a [`Decoder`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file begins.
    FileStart(FileHeader),
    /// Content of the file, never empty; as much as one piece of input held.
    Data(Bytes),
    /// The file is complete.
    FileEnd,
    /// A file that cannot be sent.
    Error(ErrorFrame),
    /// The stream is complete; nothing may follow.
    End,
}

/// The frame that begins a file. An error if the path is too long.
pub fn encode_file(file: &FileHeader) -> Result<Bytes, FrameError> {
    if file.path.len() > PATH_BYTES_MAX {
        return Err(FrameError::PathTooLong(Shown::new(&file.path)));
    }
    let mut flags = 0;
    flags |= if file.b3.is_some() { HAS_B3 } else { 0 };
    flags |= if file.create_only { CREATE_ONLY } else { 0 };
    flags |= if file.mtime_ns.is_some() {
        HAS_MTIME
    } else {
        0
    };
    let mut header = vec![FILE, flags];
    header.extend(file.index.to_le_bytes());
    header.extend(file.size.to_le_bytes());
    header.extend(file.mtime_ns.unwrap_or(0).to_le_bytes());
    header.extend(file.mode.unwrap_or(NO_MODE).to_le_bytes());
    if let Some(b3) = file.b3 {
        header.extend(b3.0);
    }
    put_text(&mut header, &file.path, PATH_BYTES_MAX);
    Ok(framed(header))
}

/// An error frame. Code and detail are cut to their limits, the path to [`PATH_BYTES_MAX`].
pub fn encode_error(error: &ErrorFrame) -> Bytes {
    let mut header = vec![ERROR];
    header.extend(error.index.to_le_bytes());
    header.extend(error.status.to_le_bytes());
    put_text(&mut header, &error.path, PATH_BYTES_MAX);
    put_text(&mut header, &error.code, CODE_BYTES_MAX);
    put_text(&mut header, &error.detail, DETAIL_BYTES_MAX);
    framed(header)
}

/// The frame that ends the stream.
pub fn encode_end() -> Bytes {
    Bytes::from_static(&[1, 0, 0, 0, END])
}

/// A frame that keeps an idle connection alive, allowed wherever a frame may begin.
pub fn encode_keep_alive() -> Bytes {
    Bytes::from_static(&[1, 0, 0, 0, KEEP_ALIVE])
}

fn put_text(header: &mut Vec<u8>, text: &str, bytes_max: usize) {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    // Every limit above lies below 64 KiB.
    header.extend(u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
    header.extend(text.as_bytes());
}

fn framed(header: Vec<u8>) -> Bytes {
    let len = u32::try_from(header.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(4 + header.len());
    frame.extend(len.to_le_bytes());
    frame.extend(header);
    frame.into()
}

/// Where a decoder stands.
enum State {
    Magic,
    Length,
    Header(usize),
    Content(u64),
    Ended,
    Failed,
}

/// Reads a stream piece by piece. Never holds more than one header; content passes through without a copy.
pub struct Decoder {
    state: State,
    held: Vec<u8>,
    file_bytes_max: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that takes files up to [`BULK_FILE_BYTES_MAX`].
    pub fn new() -> Self {
        Self::with_file_bytes_max(BULK_FILE_BYTES_MAX)
    }

    /// A decoder with another limit for one file.
    pub fn with_file_bytes_max(file_bytes_max: u64) -> Self {
        Self {
            state: State::Magic,
            held: Vec::new(),
            file_bytes_max,
        }
    }

    /// Takes bytes off the front of `input` and returns the next event; `None` means that all of `input` is used
    /// up and more is needed. An error is final: every later call gives an error too.
    pub fn next_event(&mut self, input: &mut Bytes) -> Result<Option<Event>, FrameError> {
        let event = self.step(input);
        if event.is_err() {
            self.state = State::Failed;
            self.held = Vec::new();
        }
        event
    }

    /// To be called at the end of the body: an error unless the end frame was seen.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.state {
            State::Ended => Ok(()),
            _ => Err(FrameError::Truncated),
        }
    }

    /// Whether the end frame was seen.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Option<Event>, FrameError> {
        loop {
            match self.state {
                State::Failed => return Err(FrameError::Failed),
                State::Ended if input.is_empty() => return Ok(None),
                State::Ended => return Err(FrameError::TrailingData),
                State::Content(0) => {
                    self.state = State::Length;
                    return Ok(Some(Event::FileEnd));
                }
                State::Content(_) if input.is_empty() => return Ok(None),
                State::Content(left) => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.state = State::Content(left - now as u64);
                    return Ok(Some(Event::Data(input.split_to(now))));
                }
                State::Magic => {
                    let Some(magic) = self.gather(input, MAGIC.len()) else {
                        return Ok(None);
                    };
                    if magic[..] != MAGIC[..] {
                        return Err(FrameError::NotBulk);
                    }
                    self.state = State::Length;
                }
                State::Length => {
                    let Some(mut bytes) = self.gather(input, 4) else {
                        return Ok(None);
                    };
                    let len = bytes.get_u32_le() as usize;
                    if len == 0 || len > BULK_HEADER_BYTES_MAX {
                        return Err(FrameError::HeaderLength(len));
                    }
                    self.state = State::Header(len);
                }
                State::Header(len) => {
                    let Some(header) = self.gather(input, len) else {
                        return Ok(None);
                    };
                    if let Some(event) = self.header(&header)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// The next `len` bytes once they are all there.
    fn gather(&mut self, input: &mut Bytes, len: usize) -> Option<Bytes> {
        if self.held.is_empty() && input.len() >= len {
            return Some(input.split_to(len));
        }
        let now = (len - self.held.len()).min(input.len());
        self.held.extend_from_slice(&input.split_to(now));
        (self.held.len() == len).then(|| std::mem::take(&mut self.held).into())
    }

    /// Reads a header and moves to what follows it.
    fn header(&mut self, header: &[u8]) -> Result<Option<Event>, FrameError> {
        let mut fields = Fields(header);
        self.state = State::Length;
        match fields.u8()? {
            FILE => {
                let file = fields.file()?;
                if file.size > self.file_bytes_max {
                    return Err(FrameError::FileTooLarge {
                        size: file.size,
                        bytes_max: self.file_bytes_max,
                    });
                }
                self.state = State::Content(file.size);
                Ok(Some(Event::FileStart(file)))
            }
            END => {
                self.state = State::Ended;
                Ok(Some(Event::End))
            }
            ERROR => Ok(Some(Event::Error(fields.error()?))),
            KEEP_ALIVE | SKIPPED_FROM.. => Ok(None),
            other => Err(FrameError::UnknownType(other)),
        }
    }
}

/// The fields of a header, taken off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn file(&mut self) -> Result<FileHeader, FrameError> {
        let flags = self.u8()?;
        if flags & !(HAS_B3 | CREATE_ONLY | HAS_MTIME) != 0 {
            return Err(FrameError::UnknownFlags(flags));
        }
        let index = u32::from_le_bytes(self.array()?);
        let size = u64::from_le_bytes(self.array()?);
        let mtime_ns = i64::from_le_bytes(self.array()?);
        let mode = u32::from_le_bytes(self.array()?);
        let b3 = if flags & HAS_B3 != 0 {
            Some(Root(self.array()?))
        } else {
            None
        };
        Ok(FileHeader {
            index,
            path: self.text()?,
            size,
            mtime_ns: (flags & HAS_MTIME != 0).then_some(mtime_ns),
            mode: (mode != NO_MODE).then_some(mode),
            b3,
            create_only: flags & CREATE_ONLY != 0,
        })
    }

    fn error(&mut self) -> Result<ErrorFrame, FrameError> {
        Ok(ErrorFrame {
            index: u32::from_le_bytes(self.array()?),
            status: u16::from_le_bytes(self.array()?),
            path: self.text()?,
            code: self.text()?,
            detail: self.text()?,
        })
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (now, rest) = self.0.split_first_chunk().ok_or(FrameError::ShortHeader)?;
        self.0 = rest;
        Ok(*now)
    }

    fn text(&mut self) -> Result<String, FrameError> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (now, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(FrameError::ShortHeader)?;
        self.0 = rest;
        String::from_utf8(now.to_vec()).map_err(|_| FrameError::NotUtf8)
    }
}

/// Why a stream cannot be read on, or a frame cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The stream does not begin with [`MAGIC`].
    NotBulk,
    /// A header's length is 0 or above [`BULK_HEADER_BYTES_MAX`].
    HeaderLength(usize),
    /// A header ends before its fields do.
    ShortHeader,
    /// A text in a header is not UTF-8.
    NotUtf8,
    /// A frame type this version does not know and must not skip.
    UnknownType(u8),
    /// Flags of a file this version does not know.
    UnknownFlags(u8),
    /// A file beyond the decoder's limit.
    FileTooLarge {
        /// The file's size in bytes.
        size: u64,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// A path beyond [`PATH_BYTES_MAX`].
    PathTooLong(Shown),
    /// Bytes behind the end frame.
    TrailingData,
    /// The body ended before the end frame.
    Truncated,
    /// The decoder already failed.
    Failed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBulk => {
                f.write_str("not a bulk stream of this version; update the older side")
            }
            Self::HeaderLength(len) => {
                write!(
                    f,
                    "bulk frame header of {len} bytes; 1 to {BULK_HEADER_BYTES_MAX} are allowed"
                )
            }
            Self::ShortHeader => {
                f.write_str("bulk frame header ends too early; send the stream again")
            }
            Self::NotUtf8 => {
                f.write_str("bulk frame holds a text that is not utf-8; rename the file")
            }
            Self::UnknownType(kind) => {
                write!(f, "unknown bulk frame type {kind}; update this side")
            }
            Self::UnknownFlags(flags) => {
                write!(f, "unknown bulk file flags {flags:#x}; update this side")
            }
            Self::FileTooLarge { size, bytes_max } => {
                write!(
                    f,
                    "file of {size} bytes in a bulk stream that takes {bytes_max}; upload it by itself"
                )
            }
            Self::PathTooLong(path) => {
                write!(
                    f,
                    "path {path:?} is longer than {PATH_BYTES_MAX} bytes; shorten it"
                )
            }
            Self::TrailingData => {
                f.write_str("bytes behind the end of a bulk stream; send the stream again")
            }
            Self::Truncated => f.write_str("bulk stream was cut short; send the rest again"),
            Self::Failed => f.write_str("bulk stream failed before; begin a new one"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests;
