//! The one writer: group commit, what a full disk does to it, and commits whose outcome is unknown.
//!
//! - *Groups.* When idle a job goes through at once; what arrives while a commit waits for the disk forms the
//!   next group: one BEGIN, a SAVEPOINT per job, one COMMIT, and only then the answers. A failing or panicking
//!   job loses its own savepoint and nothing else.
//! - *A full disk.* The ballast is let go and the group runs once more.
//! - *An unknown outcome.* A COMMIT that failed to be synced may stand whole in the write-ahead log: this process
//!   takes it for undone, but one that starts after a crash would find it and take it for done. The next commit
//!   overwrites that place in the log. So the group runs once more, which makes it certain either way; if that
//!   fails too, its jobs are in doubt until something is committed ([`SETTLE`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::super::error::Whose;
use super::{
    CHECKPOINT_PAGES, Connection, Counters, DbError, DbErrorKind, Job, Verdict, drive, gives_room,
    run,
};
use crate::ballast::Ballast;

/// Jobs in one commit. More would let the first of them wait too long.
const GROUP_JOBS_MAX: usize = 256;
/// While the ballast is out the log is folded into the database early: it should use the room it has again
/// and again instead of growing.
const LEAN_CHECKPOINT_PAGES: u32 = 256;
/// Writes a page without changing anything, so that a commit of it has something for the log.
pub(in super::super) const SETTLE: &str = "PRAGMA user_version=0";

pub(super) struct Writer {
    conn: Connection,
    counters: Arc<Counters>,
    ballast: Option<Arc<Ballast>>,
    /// The ballast is out, and the log is kept short.
    lean: bool,
}

/// A transaction that is lost for the whole group.
struct Lost {
    error: DbError,
    /// It may succeed, or become certain, when it runs once more.
    again: bool,
    /// It may be in the log all the same.
    in_doubt: bool,
}

type Answers = Vec<Result<(), DbError>>;

impl Writer {
    pub(super) fn new(
        conn: Connection,
        counters: Arc<Counters>,
        ballast: Option<Arc<Ballast>>,
    ) -> Writer {
        Writer {
            conn,
            counters,
            ballast,
            lean: false,
        }
    }

    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP_JOBS_MAX);
        while jobs.blocking_recv_many(&mut group, GROUP_JOBS_MAX) > 0 {
            while !group.is_empty() {
                self.run_group(&mut group);
            }
        }
        if let Err(error) = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            // Nothing is lost: the next start reads the WAL.
            tracing::warn!(%error, "could not fold the write-ahead log into the database");
        }
    }

    /// Runs, commits and answers jobs from the front of `group`. All of them, unless one took the
    /// whole transaction down (disk full, I/O error); the rest then gets a transaction of its own.
    fn run_group(&mut self, group: &mut Vec<Job>) {
        self.fatten();
        let mut answers = Vec::with_capacity(group.len());
        let mut done = self.attempt(group, &mut answers);
        if let Err(first) = &done
            && first.again
        {
            tracing::warn!(error = %first.error, "a commit failed and is tried once more");
            let in_doubt = first.in_doubt;
            answers.clear();
            done = self.attempt(group, &mut answers).map_err(|second| Lost {
                in_doubt: second.in_doubt || in_doubt,
                ..second
            });
        }
        if done.as_ref().is_err_and(|lost| lost.in_doubt) {
            // All of them were in the commit that may be in the log.
            answers.resize_with(group.len(), || Ok(()));
        }
        for (job, answer) in group.drain(..answers.len()).zip(answers) {
            // Even a job that failed by itself gets the commit's error: it may have decided on what a
            // neighbour had written and what is now gone.
            let answer = match &done {
                Ok(()) => answer,
                Err(lost) if lost.in_doubt => Err(DbError::in_doubt(&lost.error, Whose::Sqlite)),
                Err(lost) => Err(lost.error.clone()),
            };
            // The caller may be gone; its transaction stands all the same.
            let _ = job
                .reply
                .send(answer.map_err(|error| error.named(job.name)));
        }
    }

    /// One transaction with all jobs; pushes an answer for each it ran.
    fn attempt(&mut self, group: &mut [Job], answers: &mut Answers) -> Result<(), Lost> {
        let done = match run(&self.conn, "BEGIN IMMEDIATE") {
            Ok(()) => self.run_jobs(group, answers).and_then(|()| self.commit()),
            Err(error) => {
                answers.resize_with(group.len(), || Ok(()));
                Err(self.lost(error))
            }
        };
        if done.is_err()
            && !self.conn.is_autocommit()
            && let Err(error) = run(&self.conn, "ROLLBACK")
        {
            tracing::error!(%error, "could not roll back");
        }
        done
    }

    fn commit(&mut self) -> Result<(), Lost> {
        match self.try_commit() {
            Ok(()) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                // A write that finds no room leaves no whole transaction in the log. A sync that fails does.
                let in_doubt = error.kind == DbErrorKind::Io;
                let lost = self.lost(error);
                Err(Lost {
                    again: lost.again || in_doubt,
                    in_doubt,
                    ..lost
                })
            }
        }
    }

    #[cfg(not(any(test, feature = "testing")))]
    fn try_commit(&self) -> Result<(), DbError> {
        run(&self.conn, "COMMIT")
    }

    /// The same, unless a test wants it to fail.
    #[cfg(any(test, feature = "testing"))]
    fn try_commit(&self) -> Result<(), DbError> {
        let less = |n: u64| n.checked_sub(1);
        let failing = &self.counters.failing;
        match failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(DbError::new(DbErrorKind::Io, "the disk failed (injected)")),
            Err(_) => run(&self.conn, "COMMIT"),
        }
    }

    fn lost(&mut self, error: DbError) -> Lost {
        Lost {
            again: self.gives_room(&error),
            error,
            in_doubt: false,
        }
    }

    /// Pushes one answer for each job it ran. An error means that the transaction is lost.
    fn run_jobs(&mut self, group: &mut [Job], answers: &mut Answers) -> Result<(), Lost> {
        for job in group {
            answers.push(Ok(()));
            let verdict = self.run_job(job).map_err(|error| self.lost(error))?;
            if let Some(error) = &verdict.failed
                && self.gives_room(error)
            {
                // All of them once more: it is one transaction.
                return Err(Lost {
                    error: error.clone(),
                    again: true,
                    in_doubt: false,
                });
            }
            if let Some(answer) = answers.last_mut() {
                *answer = verdict.answer();
            }
        }
        Ok(())
    }

    /// One job in its savepoint.
    fn run_job(&mut self, job: &mut Job) -> Result<Verdict, DbError> {
        run(&self.conn, "SAVEPOINT job")?;
        let verdict = drive(&mut self.conn, job.name, &mut *job.work);
        if self.conn.is_autocommit() {
            // SQLite itself rolled everything back, whatever the body made of it.
            let lost = || DbError::internal("the transaction ended early");
            return Err(verdict.failed.unwrap_or_else(lost));
        }
        if !verdict.keep() {
            run(&self.conn, "ROLLBACK TO job")?;
        }
        run(&self.conn, "RELEASE job")?;
        Ok(verdict)
    }

    /// See [`gives_room`].
    fn gives_room(&mut self, error: &DbError) -> bool {
        let gave = self
            .ballast
            .as_ref()
            .is_some_and(|ballast| gives_room(ballast, error));
        if gave {
            self.lean = true;
            self.checkpoint_every(LEAN_CHECKPOINT_PAGES);
        }
        gave
    }

    /// Back to the usual, once the ballast is back.
    fn fatten(&mut self) {
        if self.lean && self.ballast.as_ref().is_some_and(|b| b.is_there()) {
            self.lean = false;
            self.checkpoint_every(CHECKPOINT_PAGES);
        }
    }

    fn checkpoint_every(&self, pages: u32) {
        let sql = format!("PRAGMA wal_autocheckpoint={pages}");
        if let Err(error) = self.conn.execute_batch(&sql) {
            tracing::warn!(%error, "the write-ahead log keeps its size");
        }
    }
}
