//! Replacing this program by a newer one: which keys are trusted ([`keys`]), where releases are ([`fetch`]), and how
//! one takes the other's place ([`install`]). Believes nothing that is not signed. Prints nothing.

pub(crate) mod fetch;
pub(crate) mod install;
pub(crate) mod keys;

use crate::exit::{Exit, Failed};

/// Bytes that are not what was signed.
fn forged(why: impl Into<String>) -> Failed {
    Failed::new(Exit::Integrity, why)
}
