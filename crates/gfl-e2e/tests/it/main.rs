//! End-to-end tests: one binary, one module per topic. Every test starts its own server.

mod acme;
mod auth;
mod client;
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
mod tls;
mod tls_client;
mod tls_handshakes;
mod tls_over;
mod uploads;
mod uploads_writers;
mod v0;
mod v0_defects;
mod versions;
mod writers;
mod wrong_input;
