//! Why a settings file cannot be used, in words that name the key and say what to do.

use crate::path::Shown;
use std::fmt;

/// Why a settings file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Not JSON; with the parser's words.
    Syntax(String),
    /// A value of another type.
    WrongType {
        /// The key with its section.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number that is negative, not whole, or too large.
    OutOfRange {
        /// The key with its section.
        key: String,
        /// The largest value allowed.
        max: u64,
    },
    /// A word that is none of the choices.
    NoSuchChoice {
        /// The key with its section.
        key: String,
        /// The word.
        value: Shown,
        /// The choices.
        choices: Vec<&'static str>,
    },
    /// Only one of certificate and key is set.
    HalfTls {
        /// The key to set.
        missing: &'static str,
    },
    /// A certificate from several places.
    SeveralCertificates,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(cause) => write!(f, "settings are not valid json: {cause}"),
            Self::WrongType {
                key,
                expected,
                found,
            } => write!(f, "{key} is {found}; make it {expected}"),
            Self::OutOfRange { key, max } => {
                write!(f, "{key} must be a whole number from 0 to {max}")
            }
            Self::NoSuchChoice {
                key,
                value,
                choices,
            } => {
                write!(
                    f,
                    "{key} is {value:?}; choose one of {}",
                    choices.join(", ")
                )
            }
            Self::HalfTls { missing } => {
                write!(
                    f,
                    "tls needs certificate and key; set {missing} too, or neither"
                )
            }
            Self::SeveralCertificates => f.write_str(
                "a certificate can come from one place only; set one of server.tls_cert with \
                 server.tls_key, server.tls_self_signed, server.acme_domains",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
