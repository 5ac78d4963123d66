//! The SQL metadata: the door to the engine, and one file per group of tables.
//!
//! The functions of the table files are statements with names. They decide nothing: what may be
//! written when is decided in `files/`, inside one named transaction.

mod counters;
pub mod door;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
mod migrate;
mod postgres;
mod sqlite;
pub mod transfer;
mod tx;
mod value;

pub mod access;
pub mod entries;
pub mod events;
pub mod intents;
pub mod kept;
pub mod slots;
pub mod uploads;
pub mod versions;

pub use door::{
    BoxFuture, Db, DbError, DbErrorKind, Doubt, Migration, Row, SyncMode, Trouble, Tx, Value,
};
pub use postgres::{CONNECTION_MODULES, Examined, MalformedUrl, PostgresUrl};

use crate::error::{Error, Kind};

/// The schema's history, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "files",
        sql: include_str!("migrations/0001_files.sql"),
    },
    Migration {
        version: 2,
        name: "access",
        sql: include_str!("migrations/0002_access.sql"),
    },
];

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        if let (DbErrorKind::Unavailable, Some(trouble)) = (error.kind, error.trouble) {
            let message = match trouble {
                Trouble::Taken => "another server works with the catalog's database".to_owned(),
                _ => format!(
                    "the catalog's database is away ({}), try again later",
                    trouble.why()
                ),
            };
            return Error::new(Kind::Unavailable, message).caused_by(error);
        }
        let (kind, message) = match error.kind {
            DbErrorKind::Busy => (Kind::Busy, "the catalog is busy, try again"),
            DbErrorKind::Full => (Kind::StorageFull, "the catalog's disk is full"),
            DbErrorKind::ReadOnly => (Kind::ReadOnlyStorage, "the catalog cannot be written"),
            DbErrorKind::Unavailable => (Kind::Unavailable, "the catalog is away, try again later"),
            DbErrorKind::InDoubt => (
                Kind::OutcomeUnknown,
                "the catalog does not say whether this was recorded; look before you try again",
            ),
            DbErrorKind::Conflict => (Kind::Conflict, "somebody else did the same at this moment"),
            DbErrorKind::Io | DbErrorKind::Corrupt => {
                (Kind::Internal, "the catalog cannot be read or written")
            }
            DbErrorKind::NewerSchema => (
                Kind::Internal,
                "the catalog was made by a newer version of this program",
            ),
            DbErrorKind::Internal => (Kind::Internal, "the catalog failed"),
        };
        Error::new(kind, message).caused_by(error)
    }
}

/// Inode numbers are unsigned and SQL integers are not: the bits are kept, not the order.
pub(crate) fn ino_to_sql(ino: u64) -> i64 {
    i64::from_ne_bytes(ino.to_ne_bytes())
}

/// See [`ino_to_sql`].
pub(crate) fn ino_from_sql(ino: i64) -> u64 {
    u64::from_ne_bytes(ino.to_ne_bytes())
}

/// A version id from a column; a malformed one is a damaged catalog.
pub(crate) fn key_column(text: &str) -> Result<crate::id::Key, Error> {
    crate::id::Key::parse(text)
        .ok_or_else(|| Error::new(Kind::Internal, "the catalog holds a malformed id"))
}

/// A path from a column.
pub(crate) fn path_column(text: &str) -> Result<gfl_api::path::FilePath, Error> {
    gfl_api::path::FilePath::parse(text)
        .map_err(|e| Error::new(Kind::Internal, "the catalog holds a malformed path").caused_by(e))
}
