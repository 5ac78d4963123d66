//! End-to-end tests: one binary, one module per topic. Every test starts its own server.

mod auth;
mod client;
mod client_pipes;
mod client_words;
mod common;
mod curl;
mod disk;
mod events;
mod kill;
mod memory;
mod names;
mod power;
mod ranges;
mod sizes;
mod stories;
mod tidy;
mod uploads;
mod uploads_writers;
mod v0;
mod v0_defects;
mod versions;
mod writers;
mod wrong_input;
