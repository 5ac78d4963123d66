use super::*;
use crate::proxies::Networks;
use futures_util::FutureExt;

fn slots(connections_max: usize, per_address_max: usize) -> Arc<Slots> {
    let slots = Arc::new(Slots::default());
    slots.set_limits(ConnectionLimits {
        connections_max,
        per_address_max,
        trusted: Arc::new(Networks::parse(&["10.0.0.0/8"]).unwrap()),
    });
    slots
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Admitted without waiting.
fn enter(slots: &Arc<Slots>, peer: &str) -> Arc<Slot> {
    let slot = slots.admit(ip(peer)).now_or_never();
    Arc::new(slot.expect("there is room").expect("it is admitted"))
}

/// Until nobody is young any more.
async fn age() {
    tokio::time::advance(Duration::from_millis(YOUNG_MS)).await;
}

fn told(slot: &Slot) -> Told {
    slot.told_more_than(Told::Stay)
        .now_or_never()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_connection_makes_place_and_a_running_one_never() {
    let slots = slots(3, 9);
    let [first, second, third] = [(); 3].map(|()| enter(&slots, "192.0.2.1"));
    let running = first.run();
    age().await;
    let coming = slots.admit(ip("192.0.2.2"));
    tokio::pin!(coming);
    assert!(
        coming.as_mut().now_or_never().is_none(),
        "all places are taken"
    );
    assert_eq!(
        [&first, &second, &third].map(|s| told(s)),
        [Told::Stay, Told::Vacate, Told::Stay]
    );
    drop(second);
    assert!(coming.await.is_some());
    assert_eq!(slots.counts().evicted_total, 1);
    drop(running);
    // The answer made it young again: the third has been idle for longer now.
    age().await;
    slots.make_place();
    assert_eq!(
        [&first, &third].map(|s| told(s)),
        [Told::Stay, Told::Vacate]
    );
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_has_time_to_say_what_it_wants() {
    let slots = slots(1, 1);
    let young = enter(&slots, "192.0.2.1");
    let coming = slots.admit(ip("192.0.2.2"));
    tokio::pin!(coming);
    let in_time = tokio::time::timeout(Duration::from_millis(YOUNG_MS - 50), coming.as_mut());
    assert!(in_time.await.is_err());
    assert_eq!(told(&young), Told::Stay);
    assert!(
        slots.admit(ip("192.0.2.1")).await.is_none(),
        "its address, too, has to wait"
    );
    let in_time = tokio::time::timeout(Duration::from_millis(200), coming.as_mut());
    assert!(in_time.await.is_err());
    assert_eq!(told(&young), Told::Vacate);
    drop(young);
    assert!(coming.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_go_is_followed_by_the_next() {
    let slots = slots(2, 9);
    let [first, second] = [(); 2].map(|()| enter(&slots, "192.0.2.1"));
    let coming = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.admit(ip("192.0.2.2")).await }
    });
    assert_eq!(second.told_more_than(Told::Stay).await, Told::Vacate);
    assert_eq!(told(&first), Told::Vacate);
    drop(second);
    assert!(coming.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_gets_the_first_that_becomes_idle() {
    let slots = slots(1, 9);
    let only = enter(&slots, "192.0.2.1");
    let running = only.run();
    let coming = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.admit(ip("192.0.2.2")).await.is_some() }
    });
    tokio::task::yield_now().await;
    assert_eq!(told(&only), Told::Stay);
    drop(running);
    assert_eq!(only.told_more_than(Told::Stay).await, Told::Vacate);
    drop(only);
    assert!(coming.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_address_has_its_own_limit() {
    let slots = slots(99, 2);
    let crowd = [(); 2].map(|()| enter(&slots, "192.0.2.1"));
    let busy = crowd.each_ref().map(|slot| slot.run());
    assert!(slots.admit(ip("192.0.2.1")).await.is_none());
    assert!(slots.admit(ip("::ffff:192.0.2.1")).await.is_none());
    let _another = enter(&slots, "192.0.2.2");
    let _proxies =
        ["10.0.0.1", "127.0.0.1", "::1"].map(|peer| [(); 5].map(|()| enter(&slots, peer)));
    assert_eq!(slots.counts().refused_total, 2);
    // An idle one of its own makes place before it is refused.
    drop(busy);
    age().await;
    let third = enter(&slots, "192.0.2.1");
    assert_eq!(
        crowd.each_ref().map(|slot| told(slot)),
        [Told::Vacate, Told::Stay]
    );
    let _running = third.run();
    age().await;
    drop(crowd);
    let _fourth = enter(&slots, "192.0.2.1");
    assert_eq!(slots.counts().refused_total, 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_do_not_go_do_not_multiply() {
    let slots = slots(99, 2);
    let mut admitted = Vec::new();
    for _ in 0..20 {
        admitted.extend(slots.admit(ip("192.0.2.1")).now_or_never().flatten());
        age().await;
    }
    assert_eq!(admitted.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn ipv6_counts_by_network() {
    let slots = slots(99, 1);
    let one = enter(&slots, "2001:db8:1:2::1");
    let _running = one.run();
    assert!(slots.admit(ip("2001:db8:1:2:3:4:5:6")).await.is_none());
    let _other = enter(&slots, "2001:db8:1:3::1");
}

#[tokio::test(start_paused = true)]
async fn new_limits_hold_at_once() {
    let slots = slots(1, 9);
    let _one = enter(&slots, "192.0.2.1");
    let coming = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.admit(ip("192.0.2.2")).await.is_some() }
    });
    tokio::task::yield_now().await;
    slots.set_limits(ConnectionLimits::default());
    assert!(coming.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_to_all_and_to_those_who_come_late() {
    let slots = slots(9, 9);
    let early = enter(&slots, "192.0.2.1");
    slots.tell_all(Told::Finish);
    let late = enter(&slots, "192.0.2.1");
    assert_eq!([told(&early), told(&late)], [Told::Finish; 2]);
    slots.tell_all(Told::Cut);
    assert_eq!(early.told_more_than(Told::Finish).await, Told::Cut);
    assert!(slots.emptied().now_or_never().is_none());
    drop((early, late));
    slots.emptied().await;
    let counts = slots.counts();
    assert_eq!((counts.open, counts.waiting), (0, 0));
}
