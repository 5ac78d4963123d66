//! Every format that another program, or yesterday's version, reads, and everything that client and server
//! must compute alike: path rules, hash tree, byte ranges, header fields, frames, bodies and files.
//!
//! Pure functions over values. This crate knows no socket, no file, no clock, no randomness and no async
//! runtime; whoever needs one of those passes its result in.

#![deny(missing_docs)]

pub mod limits;
pub mod path;

pub mod plan;
pub mod ranges;
pub mod tree;

pub mod frames;
pub mod http;
pub mod problem;
pub mod units;
pub mod v0;
pub mod v1;

pub mod certificate;
pub mod config;
pub mod discovery;
pub mod glob;
pub mod goflags;
pub mod gojson;
pub mod release;
pub mod tokens;

pub use path::{FilePath, PathError};
pub use ranges::RangeSet;
pub use tree::{Cv, Root};
