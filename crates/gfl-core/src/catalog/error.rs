//! What can go wrong at the SQL door, by what one can do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What went wrong, by what one can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DbErrorKind {
    /// Too much contention; trying again later may work.
    Busy,
    /// A unique key exists already.
    Conflict,
    /// The disk, or the database's own limit, is full.
    Full,
    /// The database may not be written, or a read transaction tried to.
    ReadOnly,
    /// The disk failed.
    Io,
    /// The file is damaged or is no database.
    Corrupt,
    /// The database is closed, or its server does not answer.
    Unavailable,
    /// The answer to a commit was lost: the changes are there or they are not. See [`DbError::doubt`].
    InDoubt,
    /// The schema was made by a later program.
    NewerSchema,
    /// A fault in this program: wrong SQL, wrong types, a panic.
    Internal,
}

/// Why a database is away. The words are fit for everybody: they name no host, user or database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens there.
    Refused,
    /// The name of its host leads nowhere.
    NoHost,
    /// No answer.
    Silent,
    /// The password is wrong, or none was given.
    Password,
    /// The server does not let this role in, or not like this.
    Forbidden,
    /// There is no such database.
    NoDatabase,
    /// Encryption was demanded, and the server has none.
    NoTls,
    /// The encrypted connection could not be made; mostly the certificate is not trusted.
    Certificate,
    /// It starts or ends.
    Restarting,
    /// It has all the connections that it takes.
    Full,
    /// It takes no writes: a standby.
    ReadOnly,
    /// Another server works with it.
    Taken,
    /// The connection ended.
    Lost,
}

impl Trouble {
    /// In some words.
    pub fn why(self) -> &'static str {
        match self {
            Trouble::Refused => "nobody listens at its address",
            Trouble::NoHost => "its host's name cannot be looked up",
            Trouble::Silent => "it does not answer",
            Trouble::Password => "it does not accept the password",
            Trouble::Forbidden => "it does not let this server in",
            Trouble::NoDatabase => "there is no such database",
            Trouble::NoTls => "it does not offer TLS",
            Trouble::Certificate => "its TLS cannot be used",
            Trouble::Restarting => "it is starting or ending",
            Trouble::Full => "it has too many connections already",
            Trouble::ReadOnly => "it takes no writes",
            Trouble::Taken => "another server works with it",
            Trouble::Lost => "the connection to it was lost",
        }
    }
}

/// A failed transaction. The message holds no values, no URL and no password.
#[derive(Clone)]
pub struct DbError {
    /// What to do about it.
    pub kind: DbErrorKind,
    /// The name of the transaction; empty before one exists.
    pub tx: &'static str,
    /// What happened.
    pub message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
    /// Nothing was committed and the same body may well succeed when it runs again.
    pub(super) again: bool,
    /// Why the database is away, where it is.
    pub trouble: Option<Trouble>,
    doubt: Option<Doubt>,
}

/// A commit whose answer was lost. [`Db::outcome`](super::door::Db::outcome) tells what became of it as soon
/// as that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt(pub(super) Whose);

/// How an engine finds a transaction again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// SQLite's: settled by whatever is committed next.
    Sqlite,
    /// PostgreSQL's, with its transaction id.
    Postgres(i64),
    /// One that this process will never find again: it is ending.
    Nobodys,
    /// One that a test put in doubt.
    #[cfg(any(test, feature = "testing"))]
    Test(usize),
}

impl DbError {
    pub(super) fn new(kind: DbErrorKind, message: impl Into<String>) -> DbError {
        DbError {
            kind,
            tx: "",
            message: message.into(),
            source: None,
            again: false,
            trouble: None,
            doubt: None,
        }
    }

    pub(super) fn away(trouble: Trouble, message: impl Into<String>) -> DbError {
        DbError {
            trouble: Some(trouble),
            ..DbError::new(DbErrorKind::Unavailable, message)
        }
    }

    pub(super) fn in_doubt(cause: &DbError, whose: Whose) -> DbError {
        let message = format!("the outcome of the commit is unknown: {}", cause.message);
        DbError {
            doubt: Some(Doubt(whose)),
            ..DbError::new(DbErrorKind::InDoubt, message)
        }
    }

    pub(super) fn internal(message: impl Into<String>) -> DbError {
        DbError::new(DbErrorKind::Internal, message)
    }

    pub(super) fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> DbError {
        self.source = Some(Arc::new(source));
        self
    }

    pub(super) fn named(mut self, tx: &'static str) -> DbError {
        self.tx = tx;
        self
    }

    /// The commit that this leaves in doubt, if it is one.
    pub fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    /// Whether a unique key exists already.
    pub fn is_unique_violation(&self) -> bool {
        self.kind == DbErrorKind::Conflict
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tx.is_empty() {
            write!(f, "{}: ", self.tx)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Debug for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DbError({:?}, {self})", self.kind)
    }
}

impl Error for DbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
