//! What PostgreSQL and its driver say, by what one can do about it.

use std::error::Error as _;
use std::io::ErrorKind;

use super::super::door::{DbError, DbErrorKind};
use super::super::error::Trouble;
use super::driver::Error;
use super::driver::error::SqlState;
use super::pooled::{HookError, PoolError, TimeoutType};

pub(super) fn no_connection(error: PoolError, waited_s: u64) -> DbError {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            unreachable(&error)
        }
        PoolError::Timeout(TimeoutType::Wait) => DbError::new(
            DbErrorKind::Busy,
            format!("all connections to PostgreSQL are in use since {waited_s} s"),
        ),
        PoolError::Timeout(_) => DbError::away(
            Trouble::Silent,
            "PostgreSQL does not answer a new connection",
        ),
        PoolError::Closed => DbError::new(DbErrorKind::Unavailable, "the database is closed"),
        error => DbError::new(DbErrorKind::Unavailable, error.to_string()),
    }
}

/// Of an attempt to connect.
pub(super) fn unreachable(error: &Error) -> DbError {
    let mut failure = failed(error);
    // Asking again at once is no use when the server is not there.
    failure.again = false;
    failure.kind = DbErrorKind::Unavailable;
    failure.trouble = Some(trouble(error));
    failure
}

/// An answer that did not come.
pub(super) fn silent(what: &str, seconds: u64) -> DbError {
    DbError::away(
        Trouble::Silent,
        format!("PostgreSQL has not answered {what} within {seconds} s"),
    )
}

/// Two transactions met; PostgreSQL rolled one of them back.
fn is_collision(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// The connection ended, and with it the transaction.
pub(super) fn is_lost(error: &Error) -> bool {
    error.is_closed()
        || error
            .source()
            .is_some_and(|source| source.is::<std::io::Error>())
        || matches!(
            error.code(),
            Some(
                &SqlState::ADMIN_SHUTDOWN
                    | &SqlState::CRASH_SHUTDOWN
                    | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            )
        )
}

/// Of the server's answer only code and message are kept: its detail quotes the values of rows.
pub(super) fn failed(error: &Error) -> DbError {
    let mut failure = match error.as_db_error() {
        Some(answer) => {
            let message = format!("{} ({})", answer.message(), answer.code().code());
            DbError::new(kind(answer.code()), message)
        }
        None => {
            let cause = error
                .source()
                .map(|cause| format!(": {cause}"))
                .unwrap_or_default();
            let kind = if is_lost(error) {
                DbErrorKind::Unavailable
            } else {
                DbErrorKind::Internal
            };
            DbError::new(kind, format!("{error}{cause}"))
        }
    };
    failure.again = is_collision(error) || is_lost(error);
    if failure.kind == DbErrorKind::Unavailable {
        failure.trouble = Some(trouble(error));
    }
    failure
}

/// Of a transaction that must write: what says that this server takes no writes, says that the one that does is
/// elsewhere, or will be this one again in a while.
pub(super) fn standby(error: DbError) -> DbError {
    DbError::away(Trouble::ReadOnly, error.message)
}

/// Whether a hot standby refuses to begin a transaction that may write.
pub(super) fn is_standby(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::FEATURE_NOT_SUPPORTED)
    )
}

fn kind(code: &SqlState) -> DbErrorKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => DbErrorKind::Conflict,
        SqlState::DISK_FULL => DbErrorKind::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION => DbErrorKind::ReadOnly,
        SqlState::IO_ERROR => DbErrorKind::Io,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => DbErrorKind::Corrupt,
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED => DbErrorKind::Busy,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => DbErrorKind::Unavailable,
        // 08 connection, 28 authorisation, 53 resources, 57 operator: the server's business.
        _ if ["08", "28", "53", "57"]
            .iter()
            .any(|class| code.code().starts_with(class)) =>
        {
            DbErrorKind::Unavailable
        }
        _ => DbErrorKind::Internal,
    }
}

fn trouble(error: &Error) -> Trouble {
    if let Some(code) = error.code() {
        return match *code {
            SqlState::INVALID_PASSWORD => Trouble::Password,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Trouble::Forbidden,
            SqlState::INVALID_CATALOG_NAME => Trouble::NoDatabase,
            SqlState::INSUFFICIENT_PRIVILEGE => Trouble::Forbidden,
            SqlState::TOO_MANY_CONNECTIONS => Trouble::Full,
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                Trouble::Restarting
            }
            _ => Trouble::Lost,
        };
    }
    // The driver's kinds are not public; its words are, and a test holds them.
    let words = error.to_string();
    if words.starts_with("error performing TLS handshake") {
        let lacking = error
            .source()
            .is_some_and(|source| source.to_string().contains("server does not support TLS"));
        return if lacking {
            Trouble::NoTls
        } else {
            Trouble::Certificate
        };
    }
    if words.starts_with("invalid configuration") || words.starts_with("authentication error") {
        return Trouble::Password;
    }
    if words.starts_with("timeout waiting") {
        return Trouble::Silent;
    }
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    match source.map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Trouble::Refused,
        Some(ErrorKind::TimedOut) => Trouble::Silent,
        // So the driver says that a server takes no writes.
        Some(ErrorKind::PermissionDenied)
            if source
                .is_some_and(|source| source.to_string().contains("does not allow writes")) =>
        {
            Trouble::ReadOnly
        }
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => Trouble::Silent,
        _ if source.is_some_and(|source| source.to_string().contains("lookup")) => Trouble::NoHost,
        _ => Trouble::Lost,
    }
}
