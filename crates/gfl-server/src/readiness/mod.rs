//! Whether catalog and store can be written, found out beside the requests that ask: a probe may have to queue
//! behind the syncs of fifty uploads, and a load balancer that waits for it would take a busy server for a dead one.
//!
//! While somebody asks, a task probes once a second; when nobody has asked for a while it ends, so that an idle
//! server leaves the disk alone. "Ready" is answered at once from what is known; "not ready" only after one more
//! look, so that the end of a trouble shows immediately. What is looked at stands in [`report`]; this knows no catalog
//! and no store.

pub mod report;

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

/// Time between two probes …
const PROBE_EVERY_MS: u64 = 1_000;
/// … and at least so much when somebody waits for one.
const PROBE_PAUSE_MS: u64 = 100;
/// What was found out counts for so long: a probe that takes longer is as bad as one that fails.
const KNOWN_MS_MAX: u64 = 10_000;
/// Who asks when nothing is known waits so long at most.
const ANSWER_MS_MAX: u64 = 5_000;
/// Nobody has asked for so long: no more probes.
const ASKED_MS_MAX: u64 = 60_000;

/// What a probe finds.
pub trait Picture: Clone + Send + Sync + 'static {
    /// Whether everything works.
    fn is_ready(&self) -> bool;
    /// Tells the log, if it is another picture than before.
    fn tell(&self, before: Option<&Self>);
}

/// Finds out.
pub type Probe<P> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = P> + Send>> + Send + Sync>;

/// What is known about it.
pub struct Readiness<P>(Arc<Inner<P>>);

struct Inner<P> {
    probe: Probe<P>,
    state: Mutex<State>,
    latest: watch::Sender<Option<Verdict<P>>>,
    /// Somebody waits for the next verdict.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    asked: Option<Instant>,
    running: bool,
    stopped: bool,
}

#[derive(Clone)]
struct Verdict<P> {
    begun: Instant,
    known: Instant,
    found: P,
}

impl<P: Picture> Readiness<P> {
    /// Nothing is known yet.
    pub fn new(probe: Probe<P>) -> Readiness<P> {
        Readiness(Arc::new(Inner {
            probe,
            state: Mutex::default(),
            latest: watch::Sender::new(None),
            wanted: Notify::new(),
        }))
    }

    /// How everything is; `None` when that does not come to light in time.
    pub async fn look(&self) -> Option<P> {
        let asked = Instant::now();
        let mut latest = self.0.latest.subscribe();
        self.0.note_question(asked);
        let counts = |v: &Verdict<P>| {
            v.found.is_ready() && v.known.elapsed().as_millis() < KNOWN_MS_MAX.into()
        };
        if let Some(verdict) = latest.borrow_and_update().as_ref().filter(|v| counts(v)) {
            return Some(verdict.found.clone());
        }
        let deadline = asked + Duration::from_millis(ANSWER_MS_MAX);
        loop {
            self.0.wanted.notify_one();
            if !matches!(timeout_at(deadline, latest.changed()).await, Ok(Ok(()))) {
                return None;
            }
            match latest.borrow_and_update().as_ref() {
                Some(verdict) if verdict.found.is_ready() || verdict.begun >= asked => {
                    return Some(verdict.found.clone());
                }
                _ => {}
            }
        }
    }

    /// Whether the server can serve.
    pub async fn is_ready(&self) -> bool {
        self.look().await.is_some_and(|found| found.is_ready())
    }

    /// No more probes: what they look at is about to be closed.
    pub fn stop(&self) {
        self.0.state.lock().stopped = true;
    }
}

impl<P: Picture> Inner<P> {
    fn note_question(self: &Arc<Self>, now: Instant) {
        let mut state = self.state.lock();
        state.asked = Some(now);
        if !state.running && !state.stopped {
            state.running = true;
            tokio::spawn(Running(Arc::clone(self)).run());
        }
    }
}

/// The probing task. However it ends, the next question starts another.
struct Running<P: Picture>(Arc<Inner<P>>);

impl<P: Picture> Running<P> {
    async fn run(self) {
        let inner = &*self.0;
        while self.goes_on() {
            let begun = Instant::now();
            let found = (inner.probe)().await;
            found.tell(inner.latest.borrow().as_ref().map(|verdict| &verdict.found));
            inner.latest.send_replace(Some(Verdict {
                begun,
                known: Instant::now(),
                found,
            }));
            sleep(Duration::from_millis(PROBE_PAUSE_MS)).await;
            tokio::select! {
                () = inner.wanted.notified() => {}
                () = sleep(Duration::from_millis(PROBE_EVERY_MS - PROBE_PAUSE_MS)) => {}
            }
        }
    }

    /// False, and said so in the same breath, when nobody is interested any more.
    fn goes_on(&self) -> bool {
        let mut state = self.0.state.lock();
        let wanted = |asked: Instant| asked.elapsed().as_millis() < ASKED_MS_MAX.into();
        state.running = !state.stopped && state.asked.is_some_and(wanted);
        state.running
    }
}

impl<P: Picture> Drop for Running<P> {
    fn drop(&mut self) {
        // Another may run already when this one ended by itself; a panicking one has not said so.
        if std::thread::panicking() {
            self.0.state.lock().running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

    /// A server whose probe takes a while, and its state.
    #[derive(Default)]
    struct Fake {
        probes: AtomicU64,
        takes_ms: AtomicU64,
        broken: AtomicBool,
        panics: AtomicBool,
    }

    impl Picture for Result<(), String> {
        fn is_ready(&self) -> bool {
            self.is_ok()
        }

        fn tell(&self, _: Option<&Self>) {}
    }

    type Ready = Readiness<Result<(), String>>;

    fn fake(takes_ms: u64) -> (Arc<Fake>, Ready) {
        let fake = Arc::new(Fake::default());
        fake.takes_ms.store(takes_ms, SeqCst);
        let inner = Arc::clone(&fake);
        let readiness = Readiness::new(Box::new(move || {
            let fake = Arc::clone(&inner);
            Box::pin(async move {
                fake.probes.fetch_add(1, SeqCst);
                assert!(!fake.panics.load(SeqCst), "the probe panics");
                sleep(Duration::from_millis(fake.takes_ms.load(SeqCst))).await;
                match fake.broken.load(SeqCst) {
                    true => Err("broken".into()),
                    false => Ok(()),
                }
            })
        }));
        (fake, readiness)
    }

    async fn ask(readiness: &Ready) -> (bool, u128) {
        let begun = Instant::now();
        (readiness.is_ready().await, begun.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_probe_delays_only_the_first_question() {
        let (fake, readiness) = fake(3_000);
        assert_eq!(ask(&readiness).await, (true, 3_000));
        for _ in 0..50 {
            sleep(Duration::from_millis(777)).await;
            assert_eq!(ask(&readiness).await, (true, 0));
        }
        fake.takes_ms.store(60_000, SeqCst);
        sleep(Duration::from_millis(20_000)).await;
        assert_eq!(ask(&readiness).await, (false, 5_000), "it hangs");
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_shows_within_a_second_and_its_end_at_once() {
        let (fake, readiness) = fake(5);
        assert!(readiness.is_ready().await);
        fake.broken.store(true, SeqCst);
        sleep(Duration::from_millis(1_100)).await;
        assert!(!readiness.is_ready().await);
        fake.broken.store(false, SeqCst);
        let (ready, ms) = ask(&readiness).await;
        assert!(ready && ms < 300, "{ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_questions_are_few_probes_and_none_are_none() {
        let (fake, readiness) = fake(5);
        for _ in 0..10_000 {
            readiness.is_ready().await;
            sleep(Duration::from_millis(1)).await;
        }
        let after = fake.probes.load(SeqCst);
        assert!((9..=22).contains(&after), "{after}");
        fake.broken.store(true, SeqCst);
        sleep(Duration::from_secs(2)).await;
        let crowd = (0..1000).map(|_| readiness.is_ready());
        futures_util::future::join_all(crowd).await;
        assert!(fake.probes.load(SeqCst) < after + 6, "they share a look");
        sleep(Duration::from_secs(70)).await;
        let resting = fake.probes.load(SeqCst);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(fake.probes.load(SeqCst), resting);
        fake.broken.store(false, SeqCst);
        assert!(readiness.is_ready().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_panics_is_no_end() {
        let (fake, readiness) = fake(5);
        fake.panics.store(true, SeqCst);
        assert!(!readiness.is_ready().await);
        fake.panics.store(false, SeqCst);
        assert!(readiness.is_ready().await);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_stop_nothing_is_probed() {
        let (fake, readiness) = fake(5);
        assert!(readiness.is_ready().await);
        readiness.stop();
        sleep(Duration::from_secs(5)).await;
        let probes = fake.probes.load(SeqCst);
        sleep(Duration::from_secs(20)).await;
        assert!(!readiness.is_ready().await);
        assert_eq!(fake.probes.load(SeqCst), probes);
    }
}
