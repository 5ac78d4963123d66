//! The one error of the core, named by what the caller can do about it.
//! `message` is safe to show (no server paths, no secrets); `source` goes to the log only.

use gfl_api::path::FilePath;
use std::fmt;

/// Why an operation was refused or failed. Every protocol maps each kind without a wildcard,
/// so that a new kind does not compile until all of them answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is malformed; repeating it cannot help.
    Invalid,
    /// The path is not one this server can ever hold.
    InvalidPath,
    /// The path is kept for the server's own files.
    ReservedPath,
    /// No or bad credentials.
    Unauthenticated,
    /// Known caller, missing permission.
    Forbidden,
    /// Nothing there.
    NotFound,
    /// The upload session is unknown, expired or somebody else's.
    UploadGone,
    /// Something is there already and the request said not to replace it.
    AlreadyExists,
    /// A directory is where a file is needed.
    IsADirectory,
    /// A file is where a directory is needed.
    NotADirectory,
    /// The directory still holds something.
    NotEmpty,
    /// State or content contradicts the request.
    Conflict,
    /// An append named another offset than the session's.
    OffsetMismatch,
    /// A part overlaps bytes received before, and has others.
    RangeOverlap,
    /// Completion was asked for while bytes are missing.
    UploadIncomplete,
    /// Another name of this directory is the same to this file system (case or normalisation).
    NameCollision,
    /// If-Match or If-None-Match did not hold at commit.
    PreconditionFailed,
    /// The content does not have the announced digest.
    DigestMismatch,
    /// The body is longer or shorter than announced.
    LengthMismatch,
    /// Over a size limit.
    TooLarge,
    /// The file system here cannot hold such a name.
    NameNotStorable,
    /// No requested range lies in the content.
    RangeNotSatisfiable,
    /// No space left.
    StorageFull,
    /// The change was made or it was not, and nobody can tell yet.
    OutcomeUnknown,
    /// The storage is mounted read-only or refuses writes.
    ReadOnlyStorage,
    /// The server process itself may not read or change this file or folder on its disk.
    StoragePermission,
    /// Too much at once; try again.
    Busy,
    /// The client's body stopped coming.
    ClientGone,
    /// A part of the system is away; try again later.
    Unavailable,
    /// A fault on this side.
    Internal,
}

/// An error with a message that may be shown to the caller.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    /// Machine-readable members for the answer, e.g. the expected offset.
    facts: Vec<(&'static str, Fact)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A machine-readable member of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A count or an offset in bytes.
    Number(u64),
    /// Half-open byte ranges.
    Ranges(Vec<(u64, u64)>),
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` starts lower-case, names the path and says what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            facts: Vec::new(),
            source: None,
        }
    }

    /// Adds the cause, which is logged and never shown.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a machine-readable member.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: Fact) -> Self {
        self.facts.push((name, fact));
        self
    }

    /// Names the path in an error of the storage, which knows drafts but not what they are for.
    pub(crate) fn about(mut self, path: &FilePath) -> Self {
        let of_storage = matches!(
            self.kind,
            Kind::StorageFull | Kind::ReadOnlyStorage | Kind::StoragePermission
        );
        if of_storage {
            self.message = naming(self.message, path.as_str());
        }
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether a part of the system is away, which whoever noticed it has told the log already: not every job is to
    /// repeat it every second.
    pub(crate) fn is_away(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Safe to show.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Machine-readable members.
    pub fn facts(&self) -> &[(&'static str, Fact)] {
        &self.facts
    }
}

/// A message with the path that it is about in front, unless it is named already: as "f: …" or "cannot publish f: …", or
/// first of all. A short name may stand in any word.
pub fn naming(message: String, path: &str) -> String {
    let is_named = format!(" {message}").contains(&format!(" {path}: "))
        || message.starts_with(&format!("{path} "));
    if is_named {
        return message;
    }
    format!("{path}: {message}")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref() as _)
    }
}
