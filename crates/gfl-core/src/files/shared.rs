//! What all verbs work with. Built once by `App::open`; tests build it over a memory store.

use super::adopt::Noticed;
use super::doubt::Doubts;
use super::finish::Unfinished;
use super::locks::Locks;
use super::room::OfShared;
use super::settle::Unsettled;
use super::turns::Turns;
use super::upload::Sessions;
use super::v0::Asked;
use crate::access::Recorder;
use crate::catalog::Db;
use crate::clock::Clock;
use crate::gauges::Measured;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::roomy::Roomy;
use crate::stream::Budget;
use std::sync::Arc;

/// The parts of the application that verbs and jobs share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) locks: Arc<Locks>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) sessions: Sessions,
    pub(crate) noticed: Noticed,
    pub(crate) unsettled: Unsettled,
    pub(crate) unfinished: Unfinished,
    pub(crate) doubts: Doubts,
    pub(crate) v0_turns: Turns,
    pub(crate) access: Recorder,
    pub(crate) measured: Measured,
    pub(crate) v0_asked: Asked,
}

impl Shared {
    pub(crate) fn new(
        db: Db,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Shared> {
        Arc::new_cyclic(|shared| Shared {
            db,
            store: Arc::new(Roomy::new(store, Arc::new(OfShared::new(shared.clone())))),
            clock,
            settings,
            locks: Arc::default(),
            budget: Arc::new(Budget::new()),
            sessions: Sessions::default(),
            noticed: Noticed::default(),
            unsettled: Unsettled::default(),
            unfinished: Unfinished::default(),
            doubts: Doubts::default(),
            v0_turns: Turns::default(),
            access: Recorder::default(),
            measured: Measured::default(),
            v0_asked: Asked::default(),
        })
    }
}
