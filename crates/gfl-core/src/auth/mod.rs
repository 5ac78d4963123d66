//! From a credential to a [`Caller`], and from a caller to a [`Grant`].

mod caller;
pub use caller::{Caller, Grant, Rule, Verb};
