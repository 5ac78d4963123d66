//! The file server: one listener, one router, and the thin adapters between HTTP and the application.
//! `main` decides where things are; everything here works on values it was given.
//!
//! A library beside the binary so that tests answer requests without sockets: [`Server::handle`].

pub mod allocator;
pub mod args;
pub mod body;
pub mod budget;
pub mod caller;
pub mod content;
pub mod first;
pub mod health;
pub mod incoming;
pub mod layers;
pub mod listen;
pub mod logs;
pub mod problem;
pub mod query;
pub mod router;
pub mod server;
pub mod start;
pub mod tls;
pub mod ui;
pub mod v0;
pub mod v1;

pub use server::{About, Server};
