//! What happens beside requests: settling renames, checkpoints, adoption, pruning, expiry.
//! Every step is bounded and may run twice. A job that fails says so and tries again.

use crate::error::Result;
use crate::files::Shared;
use crate::limits::CHECKPOINT_MS;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Renames wait this long at most for their directories to be synced.
const SETTLE_EVERY_MS: u64 = 250;
/// Sessions are looked at this often for a checkpoint.
const CHECKPOINT_EVERY_MS: u64 = 250;
/// A ballast that is out is looked after this often.
const BALLAST_EVERY_MS: u64 = 1_000;
/// Old things are looked for this often.
const PRUNE_EVERY_MS: u64 = 60_000;
/// The room of the disk is looked at this often.
const MEASURE_EVERY_MS: u64 = 5_000;
/// After a failure a job waits this long.
const FAILED_WAIT_MS: u64 = 5_000;

/// … and so long while the database is away, which is said elsewhere.
const AWAY_WAIT_MS: u64 = 1_000;

/// The running jobs.
pub(crate) struct Jobs {
    stop: watch::Sender<bool>,
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl Jobs {
    /// Starts them.
    pub(crate) fn start(shared: &Arc<Shared>) -> Jobs {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let every = |ms| Duration::from_millis(ms);
        tasks.spawn(repeat(
            "settle",
            every(SETTLE_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move {
                let finished = s.finish_round().await;
                s.settle_round().await?;
                finished
            },
        ));
        tasks.spawn(repeat(
            "checkpoint",
            every(CHECKPOINT_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move { s.checkpoint_due(CHECKPOINT_MS).await },
        ));
        // Removing a folder with a million files must not hold up the end; what is left of it has an intent.
        let mut ended = stopped.clone();
        let unless_ended = |job| async move {
            tokio::select! {
                _ = ended.wait_for(|stop| *stop) => {}
                () = job => {}
            }
        };
        tasks.spawn(unless_ended(repeat(
            "prune",
            every(PRUNE_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move {
                while s.prune_step().await? {}
                while s.sweep_limbo().await? {}
                s.expire_uploads().await
            },
        )));
        tasks.spawn(repeat(
            "measure",
            every(MEASURE_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move { s.measure().await },
        ));
        tasks.spawn(crate::access::run(shared.clone(), stopped.clone()));
        tasks.spawn(repeat(
            "ballast",
            every(BALLAST_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move { s.refill_ballast().await.map(drop) },
        ));
        tasks.spawn(repeat(
            "prune events",
            every(PRUNE_EVERY_MS),
            stopped.clone(),
            shared,
            |s| async move { s.prune_events().await },
        ));
        tasks.spawn(adopt(shared.clone(), stopped));
        Jobs {
            stop,
            tasks: parking_lot::Mutex::new(tasks),
        }
    }

    /// Ends them after their present step.
    pub(crate) async fn stop(&self) {
        // Nobody listens when all have ended already.
        let _ = self.stop.send(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }
}

fn repeat<F, Fut>(
    name: &'static str,
    every: Duration,
    mut stopped: watch::Receiver<bool>,
    shared: &Arc<Shared>,
    step: F,
) -> impl Future<Output = ()> + Send + 'static
where
    F: Fn(Arc<Shared>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let shared = shared.clone();
    async move {
        let mut wait = every;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            // A panic must not end a job for good: without it nothing would be settled any more.
            let done = AssertUnwindSafe(step(shared.clone())).catch_unwind().await;
            wait = match done {
                Ok(Ok(())) => every,
                Ok(Err(error)) if error.is_away() => {
                    tracing::debug!(job = name, error = ?error, "job {name} has to wait");
                    every.max(Duration::from_millis(AWAY_WAIT_MS))
                }
                Ok(Err(error)) => {
                    tracing::warn!(job = name, error = ?error, "job {name} failed, trying again later");
                    Duration::from_millis(FAILED_WAIT_MS)
                }
                Err(_) => {
                    tracing::error!(job = name, "job {name} panicked, trying again later");
                    Duration::from_millis(FAILED_WAIT_MS)
                }
            };
        }
    }
}

async fn adopt(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        // Hashing a large file must not hold up the end; it only reads, so it may stop anywhere.
        let step = AssertUnwindSafe(shared.adopt_one()).catch_unwind();
        let done = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            done = step => done,
        };
        match done {
            Ok(Ok(true)) => continue,
            Ok(Ok(false)) => tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = shared.noticed.wait() => continue,
            },
            Ok(Err(error)) if error.is_away() => {}
            Ok(Err(error)) => {
                tracing::warn!(error = ?error, "a hand-made change could not be recorded");
            }
            Err(_) => tracing::error!("recording a hand-made change panicked"),
        }
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(Duration::from_millis(FAILED_WAIT_MS)) => {}
        }
    }
}
