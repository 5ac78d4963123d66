//! Moving content between this machine and a server: one file at a time or whole folders, resumable, verified.
//!
//! Knows the v1 API only through [`crate::remote`], files only through [`crate::local`], and nothing of the command
//! line. Everything runs inside the caller's future: dropping it (Ctrl-C) stops everything, and what can be resumed
//! has been written down.

mod bare;
mod compare;
mod download;
mod folder_meta;
mod from_stdin;
pub(crate) mod get_folder;
mod pair;
mod partial;
pub(crate) mod put_folder;
mod ranges;
mod read;
mod session;
mod small_get;
mod small_put;
mod sum;
mod tally;
mod to_stream;
pub(crate) mod upload;

pub(crate) use download::Downloaded;
pub(crate) use tally::Tally;
pub(crate) use to_stream::Stream;
pub(crate) use upload::Sent;

use crate::local::pieces::Pieces;
use crate::remote::{Conditions, Error, Kind, V1};
use crate::ui::Ui;
use std::sync::Arc;

/// How the user wants it done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Connections at once for one large file.
    pub(crate) parallel: usize,
    /// Leave alone what is there.
    pub(crate) no_clobber: bool,
    /// Compare content, not size and time.
    pub(crate) checksum: bool,
    /// Compare nothing, transfer all.
    pub(crate) force: bool,
    /// Follow symlinks.
    pub(crate) follow: bool,
}

/// What every transfer of one command shares.
pub(crate) struct Transfer<'a> {
    /// The server.
    pub(crate) v1: &'a V1,
    /// The voice.
    pub(crate) ui: &'a Ui,
    /// The wishes.
    pub(crate) options: Options,
    /// The counters.
    pub(crate) tally: Arc<Tally>,
    /// The buffers.
    pub(crate) pieces: Pieces,
}

impl<'a> Transfer<'a> {
    /// Nothing moved yet.
    pub(crate) fn new(v1: &'a V1, ui: &'a Ui, options: Options) -> Self {
        Self {
            v1,
            ui,
            options,
            tally: Arc::default(),
            pieces: Pieces::default(),
        }
    }

    /// A file of so many bytes is done.
    fn finished(&self, bytes: u64) {
        self.tally.done(bytes);
        self.ui.progress().file_done();
    }

    /// A file on its way needs no bytes: the other side has them. It may have got its time and mode.
    fn kept(&self, is_updated: bool, bytes: u64) {
        match is_updated {
            true => self.tally.updated(1),
            false => self.tally.unchanged(1),
        }
        self.tally.settle();
        self.ui.progress().advance(bytes);
    }

    /// What must hold at the target of an upload.
    fn conditions(&self) -> Conditions {
        Conditions {
            create_only: self.options.no_clobber,
        }
    }
}

/// Whether no other file can fare better at the moment: the token, the connection, the server or its limits.
fn concerns_all(error: &Error) -> bool {
    matches!(error.kind, Kind::Auth | Kind::Network | Kind::Limit)
}

/// Runs blocking work (disk, hashing) off the network's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        anyhow::anyhow!("a worker thread failed: {error}; this is a defect of gfl")
    })
}
