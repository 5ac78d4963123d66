//! The real program against a server that lies, breaks off and changes its mind, as no real one does on demand.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod absence;
mod away;
mod download;
mod fake;
mod folders;
mod grammar;
mod legacy;
mod naming;
mod pipes;
mod signing;
#[cfg(unix)]
mod terminal;
mod update;
mod upload;
mod words;
