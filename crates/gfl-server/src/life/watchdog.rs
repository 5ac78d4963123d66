//! The sign of life: given at half the interval in which systemd expects it, and only when the server has just
//! answered a request of its own. A server that hangs is then restarted.

use std::future::Future;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Calls `beat` at half of `interval`, each time after `probe` came true.
pub async fn run<F, Fut>(interval: Duration, probe: F, beat: impl Fn())
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let mut ticks = tokio::time::interval(interval / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match tokio::time::timeout(interval / 2, probe()).await {
            Ok(true) => beat(),
            Ok(false) => tracing::error!("the server answers its own probe with an error"),
            Err(_) => tracing::error!("the server does not answer its own probe"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_gives_no_sign_of_life() {
        let (beats, healthy) = (Cell::new(0), Cell::new(true));
        let probe = || async {
            if !healthy.get() {
                std::future::pending::<()>().await;
            }
            true
        };
        let dog = run(Duration::from_secs(10), probe, || {
            beats.set(beats.get() + 1)
        });
        let mut dog = std::pin::pin!(dog);
        let mut wait = async |seconds| {
            let ended = tokio::time::timeout(Duration::from_secs(seconds), dog.as_mut()).await;
            assert!(ended.is_err());
        };
        wait(31).await;
        assert_eq!(beats.get(), 7, "at once and every 5 s");
        healthy.set(false);
        wait(60).await;
        assert_eq!(beats.get(), 7);
        healthy.set(true);
        wait(11).await;
        assert!(beats.get() > 7, "it recovered");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_no_sign_of_life() {
        let dog = run(
            Duration::from_secs(10),
            || async { false },
            || panic!("beat"),
        );
        let ended = tokio::time::timeout(Duration::from_secs(60), dog).await;
        assert!(ended.is_err());
    }
}
