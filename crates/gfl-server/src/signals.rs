//! The signals that end the server.

#[cfg(unix)]
use std::task::Poll;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which of them count; decided when the process begins, before anything listens to one.
#[derive(Debug, Clone, Copy)]
pub struct Signals {
    /// SIGHUP was not ignored by whoever started the process.
    hangup: bool,
}

impl Signals {
    /// As the process was started: under nohup, and from shells that disown it, SIGHUP is ignored, and listening to
    /// it would undo that.
    pub fn now() -> Signals {
        Signals {
            hangup: !is_hangup_ignored(),
        }
    }

    /// Listens from now on. Called before the server says that it is ready: who starts it may stop it at once.
    #[cfg(unix)]
    pub fn listen(self) -> Listening {
        let mut kinds = vec![
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
        ];
        if self.hangup {
            kinds.push(("SIGHUP", SignalKind::hangup()));
        }
        // Without a handler the default action ends the process, which is right too.
        let listening = kinds
            .into_iter()
            .filter_map(|(name, kind)| Some((name, signal(kind).ok()?)));
        Listening(listening.collect())
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    pub fn listen(self) -> Listening {
        Listening
    }
}

/// Signals that are waited for.
#[cfg(unix)]
pub struct Listening(Vec<(&'static str, Signal)>);

/// Signals that are waited for.
#[cfg(not(unix))]
pub struct Listening;

impl Listening {
    /// Resolves at the first stop signal. The second one ends the process at once.
    pub async fn stop(mut self) {
        let signal = self.next().await;
        tracing::info!("{signal}: finishing what runs, send it again to end at once");
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(130);
        });
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(cx) == Poll::Ready(Some(())) {
                    return Poll::Ready(*name);
                }
            }
            Poll::Pending
        })
        .await
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}

/// Asked of proc, because the system call that tells is one that needs unsafe code.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

/// SIGHUP is signal 1: the lowest bit of the mask.
fn ignores_hangup(status: &str) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read() {
        assert!(ignores_hangup(
            "Name:\tx\nSigIgn:\t0000000000001005\nSigCgt:\t0\n"
        ));
        assert!(!ignores_hangup("SigIgn:\t0000000000001004\n"));
        assert!(!ignores_hangup(""));
    }
}
