//! The application as a protocol sees it: every verb, every invariant, every crash point, over the tree and
//! the store in memory. No sockets, no sleeps; jobs run when a test says so. With `GFL_TEST_PG` (a URL) the
//! same cases run over PostgreSQL too, each in a schema of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod access;
mod bed;
mod bodies;
mod broken;
mod crashes;
mod cuts;
mod doubts;
mod endings;
mod failures;
mod files;
mod ground;
mod hands;
mod history;
mod hooks;
mod ids;
mod links;
mod listings;
mod puts;
mod races;
mod retention;
mod rights;
mod room;
mod sessions;
mod tokens;
mod twins;
mod undo;
mod unreadable;
mod v0;
mod v0_attempts;
mod vanished;

/// Declares each case once per store, and once more over PostgreSQL.
macro_rules! cases {
    ($($case:ident)*) => {
        mod tree {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = crate::bed::Bed::tree().await;
                super::$case(&bed).await;
                bed.leave().await;
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = crate::bed::Bed::memory().await;
                super::$case(&bed).await;
                bed.leave().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bed) = crate::bed::Bed::postgres().await else { return };
                super::$case(&bed).await;
                bed.leave().await;
            })*
        }
    };
}
use cases;
