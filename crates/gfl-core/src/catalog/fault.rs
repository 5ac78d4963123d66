//! Commits whose answer is lost, for tests of everything above the door. Must not change what succeeds.

use super::door::{Mode, Work};
use super::error::{DbError, DbErrorKind, Whose};
use parking_lot::Mutex;

/// What really became of a commit whose answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It was done.
    Done,
    /// It was not done.
    NotDone,
    /// It was still under way, and is done by the time somebody is told so.
    Late,
}

struct Plan {
    tx: &'static str,
    lost: Lost,
    asks: u32,
}

struct Pending {
    /// So often nobody can tell.
    asks: u32,
    done: bool,
    late: Option<(&'static str, Box<dyn Work>)>,
}

/// The switchboard.
#[derive(Default)]
pub struct Commits {
    plans: Mutex<Vec<Plan>>,
    pending: Mutex<Vec<Pending>>,
}

/// What an outcome needs to be told.
pub(super) enum Told {
    Outcome(bool),
    /// To be run now; then it is done.
    Run(&'static str, Box<dyn Work>),
}

impl Commits {
    /// The answer to the next commit of `tx` is lost. Asked what became of it, nobody knows `asks` times.
    pub fn lose(&self, tx: &'static str, lost: Lost, asks: u32) {
        self.plans.lock().push(Plan { tx, lost, asks });
    }

    /// Answers that are still to be lost.
    pub fn armed(&self) -> usize {
        self.plans.lock().len()
    }

    /// Nothing is lost any more, and every outcome is told when it is asked for.
    pub fn clear(&self) {
        self.plans.lock().clear();
        for pending in self.pending.lock().iter_mut() {
            pending.asks = 0;
        }
    }

    /// What is to become of this transaction, if its answer is to be lost.
    pub(super) fn next(&self, mode: Mode, tx: &'static str) -> Option<(Lost, u32)> {
        let mut plans = self.plans.lock();
        let found = plans
            .iter()
            .position(|plan| mode == Mode::Write && plan.tx == tx)?;
        let plan = plans.remove(found);
        Some((plan.lost, plan.asks))
    }

    /// Files a doubt and gives the error that stands for it.
    pub(super) fn doubt(
        &self,
        tx: &'static str,
        lost: Lost,
        asks: u32,
        work: Option<Box<dyn Work>>,
    ) -> DbError {
        let mut pending = self.pending.lock();
        pending.push(Pending {
            asks,
            done: lost != Lost::NotDone,
            late: work.map(|work| (tx, work)),
        });
        let cause = DbError::new(DbErrorKind::Unavailable, "the answer was lost (injected)");
        DbError::in_doubt(&cause, Whose::Test(pending.len() - 1)).named(tx)
    }

    pub(super) fn tell(&self, number: usize) -> Result<Told, DbError> {
        let mut pending = self.pending.lock();
        let away = || DbError::new(DbErrorKind::Unavailable, "nobody can tell (injected)");
        let one = pending.get_mut(number).ok_or_else(away)?;
        if one.asks > 0 {
            one.asks -= 1;
            return Err(away());
        }
        Ok(match one.late.take() {
            Some((tx, work)) => Told::Run(tx, work),
            None => Told::Outcome(one.done),
        })
    }
}
