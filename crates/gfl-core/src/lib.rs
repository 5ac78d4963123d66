//! The application: files, uploads, versions and who may touch them.
//! Knows no protocol and no environment, prints nothing, reads neither clock nor randomness by itself.

pub mod access;
pub mod admin_socket;
pub mod app;
pub mod auth;
pub mod ballast;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod examine;
pub mod files;
pub mod gauges;
pub mod id;
mod jobs;
pub mod limits;
pub mod lock;
pub mod moving;
pub mod offline;
pub mod policy;
pub mod settings;
pub mod store;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use app::App;
pub use error::{Error, Kind, Result};
