//! End-to-end tests: one binary, one module per topic. Every test starts its own server.

mod auth;
mod client;
mod common;
mod curl;
mod discovery;
mod disk;
mod events;
mod kill;
mod logs;
mod memory;
mod names;
mod power;
mod ranges;
mod sizes;
mod start;
mod stories;
mod tidy;
mod tokens;
mod uploads;
mod uploads_writers;
mod v0;
mod v0_defects;
mod versions;
mod writers;
mod wrong_input;
