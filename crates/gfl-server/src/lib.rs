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
pub mod discovery;
pub mod facts;
pub mod first;
pub mod health;
pub mod incoming;
pub mod layers;
pub mod life;
pub mod limits;
pub mod listen;
pub mod logs;
pub mod pace;
pub mod problem;
pub mod proxies;
pub mod query;
pub mod readiness;
pub mod router;
pub mod server;
pub mod standing;
pub mod start;
pub mod tell;
pub mod tls;
pub mod tokens_file;
pub mod tokens_watch;
pub mod ui;
pub mod updates;
pub mod v0;
pub mod v1;

pub use server::{About, Server};
