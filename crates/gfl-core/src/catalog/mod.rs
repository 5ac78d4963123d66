//! The SQL metadata.
