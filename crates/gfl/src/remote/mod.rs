//! The server, seen from here. Everything that speaks HTTP is below this folder.
//!
//! Knows nothing of local files, progress or the command line. Its errors are typed ([`Error`]), so that the exit
//! code is right whatever context is put around them.

pub(crate) mod body;
mod bulk;
mod call;
mod connection;
mod error;
mod leftovers;
mod listing;
mod retry;
pub(crate) mod tls;
pub(crate) mod url;
mod v0;
mod v1;

pub(crate) use call::{Call, Http, Patience, Pause};
pub(crate) use connection::{Answer, Look, look};
pub(crate) use error::{Error, Kind, Naming, OnServer};
pub(crate) use leftovers::Leftovers;
pub(crate) use listing::{Listed, Listing};
pub(crate) use retry::{Attempts, Moment, Retries};
pub(crate) use tls::Trust;
pub(crate) use v0::{CHUNK_BYTES as V0_CHUNK_BYTES, V0};
pub(crate) use v1::{Conditions, FileMeta, Part, V1};

/// A result of this folder.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A server of either generation.
pub(crate) enum Remote {
    /// The API of this version.
    V1(V1),
    /// A v0.1 server: put, get, list, delete and mkdir only.
    V0(V0),
}

impl Remote {
    /// Asks the server once what it is.
    pub(crate) async fn probe(http: Http) -> Result<Self> {
        match V1::probe(&http).await? {
            Some(v1) => Ok(Self::V1(v1)),
            None => Ok(Self::V0(V0::new(http.unresumed()))),
        }
    }

    /// The API of this version, or an error that says what an old server cannot do.
    pub(crate) fn v1(&self, what: &str) -> Result<&V1> {
        match self {
            Self::V1(v1) => Ok(v1),
            Self::V0(_) => Err(Error::new(
                Kind::Refused,
                format!("the server is GoFlux Lite v0.1 and cannot {what}"),
            )
            .with_hint("update the server; put, get, ls, rm and mkdir work with this one")),
        }
    }
}
