//! The harness of the end-to-end tests: starts the real binaries and talks to them from outside.
//! It must not share code with what it tests: requests are written to a socket byte by byte, tokens
//! and digests are computed here. Shared with `xtask demo` and `xtask promises`.

pub mod bins;
#[cfg(feature = "catalog")]
pub mod catalog;
pub mod data;
pub mod frames;
pub mod front;
pub mod gfl;
pub mod golden;
pub mod http;
pub mod lan;
pub mod model;
pub mod mount;
pub mod postgres;
pub mod prometheus;
pub mod proxy;
pub mod server;
pub mod siege;
pub mod skip;
pub mod socket;
pub mod tls;
#[cfg(feature = "catalog")]
pub mod traffic;
pub mod tree;
pub mod v0;
pub mod wait;

pub use gfl::Gfl;
pub use http::{Conn, Http, Request, Response};
pub use server::{Server, Setup};
