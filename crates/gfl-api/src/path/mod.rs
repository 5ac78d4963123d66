//! The one path type. Text from a caller is parsed here, at the edge, and is a [`FilePath`] from then on; no
//! function behind the edge checks a path again.
//!
//! Knows nothing of file systems: whether a name can be stored on this disk is the store's question.

use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, PATH_SHOWN_BYTES_MAX};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The first segment that belongs to the program itself, in any letter case.
pub const RESERVED_NAME: &str = ".gfl";

/// What stays as it is in a URL segment: the unreserved characters of RFC 3986 section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A validated relative path: UTF-8, `/` between segments, the root is the empty string.
///
/// No segment is empty, `.` or `..`, none holds a NUL or is longer than [`NAME_BYTES_MAX`]; the whole is at most
/// [`PATH_BYTES_MAX`] bytes and [`PATH_DEPTH_MAX`] segments; the first segment is never [`RESERVED_NAME`].
/// Cloning copies a pointer. Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// The root folder, the path of no segments.
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// Whether this is the root folder.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a path by the strict rule of v1: `""` and `"/"` are the root, any other path has no leading and no
    /// trailing `/` and obeys every rule of the type.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() || text == "/" {
            return Ok(Self::root());
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong(Shown::new(text)));
        }
        for (at, name) in text.split('/').enumerate() {
            check_name(name, text)?;
            check_place(at, name, text)?;
        }
        Ok(Self(Arc::from(text)))
    }

    /// Parses a path by the rule of v0.1: clean it lexically (`.`, `..`, `//`), drop one leading `/`, then one
    /// leading `\`, and take the result below the root. `/../x` is `x`, `dir/` is `dir`, while `../x` and
    /// `a/../../x` are [`PathError::Traversal`].
    pub fn parse_v0(text: &str) -> Result<Self, PathError> {
        // Cleaning can only shorten, but a path of megabytes is not worth the walk.
        if text.len() > 16 * PATH_BYTES_MAX {
            return Err(PathError::TooLong(Shown::new(text)));
        }
        let cleaned = clean(text, text.starts_with('/'))
            .ok_or_else(|| PathError::Traversal(Shown::new(text)))?;
        // A stripped backslash may uncover a `..` or a `/`, as it did in v0.1, so what is left is cleaned again.
        let rest = cleaned.strip_prefix('\\').unwrap_or(&cleaned);
        let cleaned = clean(rest, false).ok_or_else(|| PathError::Traversal(Shown::new(text)))?;
        Self::parse(&cleaned)
    }

    /// Parses the percent-encoded rest of a URL path behind a prefix such as `/v1/files/`, and tells whether it
    /// ended in `/` (it names a directory). The empty rest is the root, with `true`.
    ///
    /// Each segment is decoded by itself: `%2F`, a NUL, `.` and `..` after decoding, a broken escape and bytes
    /// that are not UTF-8 are errors.
    pub fn from_url(rest: &str) -> Result<(Self, bool), PathError> {
        if rest.is_empty() || rest == "/" {
            return Ok((Self::root(), true));
        }
        if rest.len() > 3 * PATH_BYTES_MAX {
            return Err(PathError::TooLong(Shown::new(rest)));
        }
        let (encoded, slash) = match rest.strip_suffix('/') {
            Some(encoded) => (encoded, true),
            None => (rest, false),
        };
        let mut text = String::with_capacity(encoded.len());
        for (at, segment) in encoded.split('/').enumerate() {
            if segment.is_empty() {
                return Err(PathError::EmptySegment(Shown::new(rest)));
            }
            if at > 0 {
                text.push('/');
            }
            text.push_str(&decode_segment(segment, rest)?);
        }
        Ok((Self::parse(&text)?, slash))
    }

    /// The path percent-encoded segment by segment, to be put behind a URL prefix; empty for the root.
    pub fn to_url(&self) -> String {
        let mut url = String::with_capacity(self.0.len() + 8);
        for (at, name) in self.components().enumerate() {
            if at > 0 {
                url.push('/');
            }
            url.extend(utf8_percent_encode(name, SEGMENT));
        }
        url
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment; none for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The folder that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.rfind('/') {
            Some(at) => Self(Arc::from(&self.0[..at])),
            None => Self::root(),
        })
    }

    /// The segments from the top down; nothing for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The folders above this path from the top down, without the root and without the path itself: for `a/b/c`
    /// these are `a`, then `a/b`. It is the order in which missing parents are made.
    pub fn ancestors(&self) -> impl DoubleEndedIterator<Item = Self> {
        self.0
            .match_indices('/')
            .map(|(at, _)| Self(Arc::from(&self.0[..at])))
    }

    /// This folder's child called `name`, which must be a single valid segment.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        if name.contains('/') {
            return Err(PathError::Separator(Shown::new(name)));
        }
        check_name(name, name)?;
        self.append(name)
    }

    /// `below` taken as a path below this folder.
    pub fn join_path(&self, below: &Self) -> Result<Self, PathError> {
        if below.is_root() {
            return Ok(self.clone());
        }
        self.append(&below.0)
    }

    /// Whether `folder` is this path or one of the folders above it, by whole segments; the root is above all.
    pub fn starts_with(&self, folder: &Self) -> bool {
        match self.0.strip_prefix(&*folder.0) {
            Some(rest) => folder.is_root() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The number of segments; 0 for the root.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Puts valid segments behind this path; only the limits of the whole remain to be checked.
    fn append(&self, rest: &str) -> Result<Self, PathError> {
        let whole = if self.is_root() {
            rest.to_owned()
        } else {
            format!("{}/{rest}", self.0)
        };
        if whole.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong(Shown::new(&whole)));
        }
        for (at, name) in whole.split('/').enumerate() {
            check_place(at, name, &whole)?;
        }
        Ok(Self(Arc::from(whole)))
    }
}

/// Checks one segment by itself.
fn check_name(name: &str, whole: &str) -> Result<(), PathError> {
    let fail = |kind: fn(Shown) -> PathError| Err(kind(Shown::new(whole)));
    match name {
        "" => fail(PathError::EmptySegment),
        "." | ".." => fail(PathError::DotSegment),
        _ if name.contains('\0') => fail(PathError::Nul),
        _ if name.len() > NAME_BYTES_MAX => fail(PathError::NameTooLong),
        _ => Ok(()),
    }
}

/// Checks a segment's place in the whole: how deep it stands, and whether it is the program's own folder.
fn check_place(at: usize, name: &str, whole: &str) -> Result<(), PathError> {
    if at >= PATH_DEPTH_MAX {
        return Err(PathError::TooDeep(Shown::new(whole)));
    }
    if at == 0 && name.eq_ignore_ascii_case(RESERVED_NAME) {
        return Err(PathError::Reserved(Shown::new(whole)));
    }
    Ok(())
}

/// Resolves `.`, `..` and empty segments. `..` above the top is dropped when `rooted`, else there is no answer.
fn clean(text: &str, rooted: bool) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." if names.pop().is_none() && !rooted => return None,
            ".." => {}
            _ => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// Decodes one URL segment.
fn decode_segment(segment: &str, whole: &str) -> Result<String, PathError> {
    let bad = || PathError::BadEncoding(Shown::new(whole));
    let mut escapes = segment.split('%');
    escapes.next();
    for after in escapes {
        let digits = after.as_bytes().get(..2).ok_or_else(bad)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| bad())?;
    if text.contains('/') {
        return Err(PathError::Separator(Shown::new(whole)));
    }
    Ok(text.into_owned())
}

impl fmt::Display for FilePath {
    /// The path, or `/` for the root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_root() { "/" } else { &self.0 })
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Default for FilePath {
    fn default() -> Self {
        Self::root()
    }
}

impl FromStr for FilePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for FilePath {
    type Error = PathError;

    fn try_from(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl AsRef<str> for FilePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FilePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A refused path made fit for a message: control characters replaced, long text cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(Box<str>);

impl Shown {
    /// Cuts `text` to [`PATH_SHOWN_BYTES_MAX`] bytes at a character boundary and replaces control characters.
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(PATH_SHOWN_BYTES_MAX);
        let mut shown: String = text[..end]
            .chars()
            .map(|c| {
                if c.is_control() {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        if end < text.len() {
            shown.push('…');
        }
        Self(shown.into())
    }

    /// The text to show.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is not a path; each holds the text made fit for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// `..` leads out of the root.
    Traversal(Shown),
    /// The first segment is the program's own folder.
    Reserved(Shown),
    /// Two separators in a row, or one at an end.
    EmptySegment(Shown),
    /// A segment is `.` or `..`.
    DotSegment(Shown),
    /// A segment holds a NUL character.
    Nul(Shown),
    /// A segment is longer than [`NAME_BYTES_MAX`].
    NameTooLong(Shown),
    /// The whole is longer than [`PATH_BYTES_MAX`].
    TooLong(Shown),
    /// More than [`PATH_DEPTH_MAX`] segments.
    TooDeep(Shown),
    /// A separator inside a single name (in a URL: `%2F`).
    Separator(Shown),
    /// A broken percent escape, or bytes that are not UTF-8.
    BadEncoding(Shown),
}

impl PathError {
    /// The refused text, fit for a message.
    pub fn shown(&self) -> &Shown {
        match self {
            Self::Traversal(s)
            | Self::Reserved(s)
            | Self::EmptySegment(s)
            | Self::DotSegment(s) => s,
            Self::Nul(s) | Self::NameTooLong(s) | Self::TooLong(s) | Self::TooDeep(s) => s,
            Self::Separator(s) | Self::BadEncoding(s) => s,
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.shown();
        match self {
            Self::Traversal(_) => write!(
                f,
                "path {path:?} leads out of the root folder; remove the `..`"
            ),
            Self::Reserved(_) => {
                write!(
                    f,
                    "path {path:?} begins with the reserved name {RESERVED_NAME}, which belongs to the server"
                )
            }
            Self::EmptySegment(_) => {
                write!(
                    f,
                    "path {path:?} has an empty segment; use single slashes, none at the ends"
                )
            }
            Self::DotSegment(_) => write!(
                f,
                "path {path:?} has a `.` or `..` segment; write the path out"
            ),
            Self::Nul(_) => write!(f, "path {path:?} holds a NUL character; remove it"),
            Self::NameTooLong(_) => {
                write!(
                    f,
                    "path {path:?} has a name longer than {NAME_BYTES_MAX} bytes; shorten it"
                )
            }
            Self::TooLong(_) => write!(
                f,
                "path {path:?} is longer than {PATH_BYTES_MAX} bytes; shorten it"
            ),
            Self::TooDeep(_) => {
                write!(
                    f,
                    "path {path:?} is deeper than {PATH_DEPTH_MAX} folders; flatten it"
                )
            }
            Self::Separator(_) => {
                write!(f, "name {path:?} holds a slash; a name is a single segment")
            }
            Self::BadEncoding(_) => {
                write!(
                    f,
                    "path {path:?} is not percent-encoded UTF-8; encode each segment"
                )
            }
        }
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests;
