//! Upload sessions: a draft plus the set of byte ranges received in it (DESIGN decision 2).
//!
//! `received` is what arrived; `durable` is what is checkpointed: bytes synced, then their row
//! committed. Only `durable` is announced, and it never shrinks (invariant 3). Bytes that arrive a second
//! time are compared, never rewritten, so nothing received is ever put at risk by a retry.

mod begin;
mod complete;
mod part;
mod session;

pub(crate) use session::{Sessions, gone};
