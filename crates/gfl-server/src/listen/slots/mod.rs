//! Who may be connected: so many in all, so many from one address, and when all places are taken the connection
//! that has waited longest for a request gives up its own. Knows addresses and order, no sockets.
//!
//! A connection either runs a request or waits for one. Only a waiting one is ever asked to go, so that making
//! place costs nobody a transfer; and only when it has had time to say what it wants, so that newcomers do not drive
//! each other out in a crowd.

mod cutoff;

pub use cutoff::Cutoff;

use super::room::Room;
use crate::limits::ConnectionLimits;
use cutoff::Cutoffs;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// While nobody goes, somebody (else) is asked this often.
const MAKE_PLACE_MS: u64 = 20;
/// A connection that has waited for less is not asked to go: its request may be on the way.
const YOUNG_MS: u64 = 500;
/// Refusals are logged this often at most: an attack must not fill the disk with lines about itself.
const COMPLAIN_EVERY_MS: u64 = 60_000;

/// All connections.
#[derive(Default)]
pub struct Slots {
    state: Mutex<State>,
    /// A connection has ended, or waits for a request now.
    changed: Notify,
    room: Room,
    cutoffs: Cutoffs,
}

/// What has happened so far, for whoever watches the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open now.
    pub open: usize,
    /// Of these, without a request.
    pub waiting: usize,
    /// Closed while idle because somebody else needed the place.
    pub evicted_total: u64,
    /// Refused because their address had too many.
    pub refused_total: u64,
}

#[derive(Default)]
struct State {
    limits: ConnectionLimits,
    members: HashMap<u64, Member>,
    per_address: HashMap<IpAddr, usize>,
    /// Those without a request, the longest waiting first: their turns, and the members.
    waiting: BTreeMap<u64, Waiting>,
    /// Numbers members and waits.
    turn: u64,
    /// What everybody is told, newcomers too.
    told_all: Told,
    evicted_total: u64,
    refused_total: u64,
    complained: Option<Instant>,
}

/// A connection that waits for a request, or for the rest of its head.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    member: u64,
    since: Instant,
}

struct Member {
    /// What counts for the limit per address; `None` for the exempt.
    address: Option<IpAddr>,
    /// Requests that run.
    active: usize,
    /// Its turn among the waiting.
    waits: Option<u64>,
    told: Arc<Tell>,
}

/// What a connection is asked to do, the stronger the later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nothing.
    #[default]
    Stay = 0,
    /// To finish what runs, and to take no further request.
    Finish = 1,
    /// The same, and that a head which has begun is no request yet: somebody needs the place.
    Vacate = 2,
    /// To end now.
    Cut = 3,
}

/// Carries a [`Told`] to the task of a connection.
#[derive(Debug, Default)]
struct Tell {
    value: AtomicU8,
    task: AtomicWaker,
}

impl Tell {
    fn say(&self, told: Told) {
        self.value.fetch_max(told as u8, Ordering::Release);
        self.task.wake();
    }

    fn heard(&self) -> Told {
        match self.value.load(Ordering::Acquire) {
            0 => Told::Stay,
            1 => Told::Finish,
            2 => Told::Vacate,
            _ => Told::Cut,
        }
    }
}

/// The place of one connection. Dropping it gives the place to the next.
pub struct Slot {
    slots: Arc<Slots>,
    id: u64,
    told: Arc<Tell>,
}

/// A request that runs. Dropped when its answer is sent or given up.
pub struct Running(Arc<Slot>);

/// What a newcomer gets.
enum Admission {
    Admitted(Slot),
    Refused,
    Full,
}

impl Slots {
    /// From now on these limits hold. Whoever is connected stays.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.state.lock().limits = limits;
        self.changed.notify_waiters();
    }

    /// A place for a connection from `peer`, as soon as there is one; `None` when its address has enough of them.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.try_admit(peer) {
                Admission::Admitted(slot) => return Some(slot),
                Admission::Refused => return None,
                Admission::Full => self.make_place(),
            }
            let _ = tokio::time::timeout(Duration::from_millis(MAKE_PLACE_MS), changed).await;
        }
    }

    fn try_admit(self: &Arc<Self>, peer: IpAddr) -> Admission {
        let mut state = self.state.lock();
        let address = state.limits.counted(peer);
        if let Some(address) = address
            && !state.has_room_for(address)
        {
            state.refused_total += 1;
            state.complain(peer);
            return Admission::Refused;
        }
        if state.members.len() >= state.limits.connections_max {
            return Admission::Full;
        }
        let (id, told) = state.add(address);
        Admission::Admitted(Slot {
            slots: Arc::clone(self),
            id,
            told,
        })
    }

    /// Asks for the place of the connection that has been idle longest; the listener is out of descriptors.
    pub fn make_place(&self) {
        self.state.lock().evict(|_| true);
    }

    /// Tells all connections, and those that come later.
    pub fn tell_all(&self, told: Told) {
        let mut state = self.state.lock();
        state.told_all = state.told_all.max(told);
        for member in state.members.values() {
            member.told.say(told);
        }
    }

    /// Resolves when nobody is connected.
    pub async fn emptied(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state.lock().members.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// How many connections were ended by which limit.
    pub fn cutoffs(&self) -> [(Cutoff, u64); Cutoff::ALL.len()] {
        self.cutoffs.totals()
    }

    /// What is and what has been.
    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts {
            open: state.members.len(),
            waiting: state.waiting.len(),
            evicted_total: state.evicted_total,
            refused_total: state.refused_total,
        }
    }
}

impl State {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn add(&mut self, address: Option<IpAddr>) -> (u64, Arc<Tell>) {
        let id = self.next_turn();
        if let Some(address) = address {
            *self.per_address.entry(address).or_default() += 1;
        }
        let told = Arc::new(Tell::default());
        told.say(self.told_all);
        let member = Member {
            address,
            active: 0,
            waits: None,
            told: Arc::clone(&told),
        };
        self.members.insert(id, member);
        self.wait(id);
        (id, told)
    }

    /// The connection waits from now on.
    fn wait(&mut self, id: u64) {
        let turn = self.next_turn();
        if let Some(member) = self.members.get_mut(&id) {
            member.waits = Some(turn);
            let since = Instant::now();
            self.waiting.insert(turn, Waiting { member: id, since });
        }
    }

    fn unwait(&mut self, id: u64) {
        let turn = self.members.get_mut(&id).and_then(|m| m.waits.take());
        if let Some(turn) = turn {
            self.waiting.remove(&turn);
        }
    }

    /// Whether one more from `address` is allowed, if need be in the place of an idle one of its own.
    fn has_room_for(&mut self, address: IpAddr) -> bool {
        let open = self.per_address.get(&address).copied().unwrap_or_default();
        if open < self.limits.per_address_max {
            return true;
        }
        let evicted = self.evict(|member| member.address == Some(address));
        // More than twice the limit means that those who were asked to go do not.
        evicted && open < self.limits.per_address_max.saturating_mul(2)
    }

    /// Asks the connection that has waited longest among `these` to go; false if there is none that may be asked.
    fn evict(&mut self, these: impl Fn(&Member) -> bool) -> bool {
        let young = Duration::from_millis(YOUNG_MS);
        let old = self
            .waiting
            .values()
            .take_while(|waiting| waiting.since.elapsed() >= young);
        let mut old = old.map(|waiting| waiting.member);
        let Some(id) = old.find(|id| self.members.get(id).is_some_and(&these)) else {
            return false;
        };
        self.unwait(id);
        self.evicted_total += 1;
        if let Some(member) = self.members.get(&id) {
            member.told.say(Told::Vacate);
        }
        true
    }

    fn complain(&mut self, peer: IpAddr) {
        let every = Duration::from_millis(COMPLAIN_EVERY_MS);
        if self.complained.is_none_or(|at| at.elapsed() >= every) {
            self.complained = Some(Instant::now());
            tracing::warn!(
                %peer,
                refused_total = self.refused_total,
                "a connection was refused: {} are open from its address, the limit is server.connections_per_address_max; \
                 a proxy belongs in server.trusted_proxies",
                self.limits.per_address_max
            );
        }
    }

    fn remove(&mut self, id: u64) {
        self.unwait(id);
        let Some(Member { address, .. }) = self.members.remove(&id) else {
            return;
        };
        let Some(address) = address else { return };
        if let Some(open) = self.per_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

impl Slot {
    /// The connection ends by this limit.
    pub fn cut_by(&self, why: Cutoff) {
        self.slots.cutoffs.count(why);
    }

    /// Whether the connection was told to go, in whatever way.
    pub fn is_told(&self) -> bool {
        self.told.heard() > Told::Stay
    }

    /// Resolves when the connection is told more than `so_far`. One task at a time may wait for it.
    pub async fn told_more_than(&self, so_far: Told) -> Told {
        poll_fn(|cx| {
            self.told.task.register(cx.waker());
            match self.told.heard() {
                told if told > so_far => Poll::Ready(told),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// A request begins. It runs until the answer is sent.
    pub fn run(self: &Arc<Self>) -> Running {
        let mut state = self.slots.state.lock();
        state.unwait(self.id);
        if let Some(member) = state.members.get_mut(&self.id) {
            member.active += 1;
        }
        Running(Arc::clone(self))
    }

    /// What all connections share.
    pub(super) fn room(&self) -> &Room {
        &self.slots.room
    }

    /// Whether a request runs.
    pub fn is_running(&self) -> bool {
        let state = self.slots.state.lock();
        state.members.get(&self.id).is_some_and(|m| m.active > 0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Slot { slots, id, .. } = &*self.0;
        let mut state = slots.state.lock();
        let Some(member) = state.members.get_mut(id) else {
            return;
        };
        member.active -= 1;
        if member.active == 0 {
            state.wait(*id);
            drop(state);
            slots.changed.notify_waiters();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state.lock().remove(self.id);
        self.slots.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
