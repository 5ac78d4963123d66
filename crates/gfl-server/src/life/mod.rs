//! The service's life between its start and its end: signals, configuration that changes, what systemd wants to
//! know. Knows how to ask for a reload or the end, not how requests are served.

pub mod inherit;
pub mod notify;
pub mod reload;
pub mod signals;
pub mod watch;
pub mod watchdog;

use crate::limits::Drain;
use notify::Notify;
use reload::Reloader;
use signals::{Signal, Signals};
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

/// Beside the drain the end takes some time: cutting, checkpoints, the catalog.
const END_MS_MAX: u64 = 15_000;

/// Reloads whenever it is asked to, by SIGHUP or by a changed file, until a signal asks for the end. The next signal
/// of that kind ends the process at once. `watch` has the files as they were when what is in force was read.
pub async fn until_stopped(
    mut signals: Signals,
    mut reloader: Reloader,
    notify: Arc<Notify>,
    mut watch: Watch,
) {
    loop {
        let why = tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => "SIGHUP".to_owned(),
                Signal::Stop { name, .. } => {
                    stop(name, signals, &notify, reloader.drain());
                    return;
                }
            },
            changed = watch.changed() => format!("{} changed", changed.display()),
        };
        notify.reloading();
        // Stamps first, then the content: a change in between is noticed, and one that is read now is not read twice.
        watch = Watch::new(reloader.files());
        reloader = reload(reloader, &why).await;
        notify.ready();
    }
}

/// Reads files, so it runs where it may wait for the disk.
async fn reload(mut reloader: Reloader, why: &str) -> Reloader {
    let why = why.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        reloader.run(&why);
        reloader
    });
    match done.await {
        Ok(reloader) => reloader,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn stop(name: &str, mut signals: Signals, notify: &Notify, drain: Drain) {
    let wait = Duration::from_millis(drain.notice_ms + drain.limit_ms);
    tracing::info!(
        "{name}: finishing what runs, at most {} s; send it again to end at once",
        wait.as_secs()
    );
    notify.stopping(wait + Duration::from_millis(END_MS_MAX));
    tokio::spawn(async move {
        loop {
            // A hangup now is no wish for a quicker end.
            if let Signal::Stop { name, exit_code } = signals.next().await {
                tracing::warn!("{name} again: ending at once");
                std::process::exit(exit_code);
            }
        }
    });
}
