//! End-to-end tests: one binary, one module per topic. Every test starts its own server.

mod attacks;
mod auth;
mod client;
mod common;
mod curl;
mod disk;
mod drain;
mod events;
mod kill;
mod memory;
mod names;
mod power;
mod ranges;
mod reload;
mod service;
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
