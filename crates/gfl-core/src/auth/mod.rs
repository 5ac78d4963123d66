//! From a credential to a [`Caller`], and from a caller to a [`Grant`].

mod caller;
mod challenge;
mod tokens;

pub use caller::{Caller, Grant, Rule, Verb};
pub use challenge::Challenge;
pub(crate) use tokens::Tokens;

/// What has become of a token since it let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it is there, expired or not.
    Good,
    /// It was revoked.
    Revoked,
    /// The file does not have it any more.
    Unknown,
}

/// A credential as a protocol decoded it.
#[derive(Clone)]
pub enum Credential {
    /// None given.
    None,
    /// A token (Bearer, or the password of Basic).
    Token(String),
    /// v0's challenge scheme.
    Challenge {
        /// Hex HMAC.
        response: String,
        /// Nonce.
        nonce: String,
        /// Token id.
        token_id: String,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::None => "None",
            Credential::Token(_) => "Token(..)",
            Credential::Challenge { .. } => "Challenge(..)",
        })
    }
}
