//! The server over a real application in a temporary folder, without processes: requests go straight into
//! [`gfl_server::Server::handle`], except where the connection itself is what is tested.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod connection;
mod ending;
mod health;
mod limits;
mod tokens;
mod updates;
mod v0;
mod v1_files;
mod v1_many;
mod v1_uploads;
