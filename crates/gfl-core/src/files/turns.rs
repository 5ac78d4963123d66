//! One chunk of a v0 upload at a time: chunks of one file come one after another from real clients, and
//! a session's shape may depend on each.

use gfl_api::path::FilePath;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

type Turn = tokio::sync::Mutex<()>;

/// Turns by (owner, peer, path); those that nobody holds are swept as the table grows.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<(String, String, FilePath), Weak<Turn>>>);

/// Swept when it holds more than this.
const SWEEP_AT: usize = 1024;

impl Turns {
    pub(crate) fn turn(&self, owner: &str, peer: &str, path: &FilePath) -> Arc<Turn> {
        let key = (owner.to_owned(), peer.to_owned(), path.clone());
        let mut turns = self.0.lock();
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() > SWEEP_AT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Turn::default());
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}
