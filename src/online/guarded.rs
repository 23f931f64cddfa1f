//! An online store behind a [`Backend`]: what serving sees of a remote store that stands still, fails or is slow.
//!
//! Reads, writes and progress pass the guard; looking after the store (`health`, `statistics`, `watch`) does not,
//! because an operator asks most when the store is down. Every guarded call may be made twice: a read changes nothing,
//! and a write of the same rows ends in the same state (newest wins).

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout_at;

use super::{ChangeListener, Cursor, Error, Health, OnlineStore, OnlineView, Read, RowPage, ViewStatistics, Written};
use crate::backend::{Attempt, Backend, Outcome, Refused};
use crate::batch::{FeatureRows, StoredRows};
use crate::clock::Deadline;
use crate::error::ErrorKind;
use crate::limits::{
    BACKEND_ATTEMPTS_MAX, BACKEND_READ_TIME, BACKEND_READ_TIME_PER_KEY, BACKEND_WRITE_TIME, BACKEND_WRITE_TIME_PER_ROW,
};

/// `inner`, asked through `backend`.
#[derive(Debug)]
pub struct GuardedStore {
    inner: Arc<dyn OnlineStore>,
    backend: Arc<Backend>,
    parts: Parts,
}

/// Whether a store is down as a whole or in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    One,
    /// Many servers with a part of the rows each. One that is down fails the calls that need it, and is no reason to
    /// stop those that do not; the store itself does not wait for a server that it knows to be gone.
    Many,
}

/// One call on its way through its attempts.
struct Call<'a> {
    backend: &'a Backend,
    /// What one attempt may take.
    time: Duration,
    deadline: Deadline,
    attempts: u32,
}

impl GuardedStore {
    pub fn new(inner: Arc<dyn OnlineStore>, parts: Parts, backend: Arc<Backend>) -> Self {
        Self { inner, backend, parts }
    }

    /// What an answer says of the store. A full store answers: it can be read.
    fn outcome<T>(&self, answer: &Result<T, Error>) -> Outcome {
        match answer {
            Ok(_) | Err(Error::Full { .. }) => Outcome::Answered,
            Err(Error::Late) if self.parts == Parts::One => Outcome::Late,
            Err(error) if self.parts == Parts::One && error.kind() == ErrorKind::Unavailable => Outcome::Failed,
            Err(_) => Outcome::Answered,
        }
    }

    /// Whether rows of which none can be reached say that nothing can.
    fn is_down(&self, rows: &[StoredRows]) -> bool {
        let asked: usize = rows.iter().map(|rows| rows.event_time.len()).sum();
        let unreachable = |rows: &StoredRows| rows.unreachable.as_ref().map_or(0, |rows| rows.count_set_bits());
        self.parts == Parts::One && asked > 0 && rows.iter().map(unreachable).sum::<usize>() == asked
    }

    fn call(&self, time: Duration, deadline: Deadline) -> Call<'_> {
        Call { backend: &self.backend, time, deadline, attempts: 0 }
    }
}

#[async_trait]
impl OnlineStore for GuardedStore {
    async fn read(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let mut call = self.call(read_time(reads), deadline);
        let mut attempt = call.first().await?;
        loop {
            let answer = timeout_at(attempt.deadline().instant().into(), self.inner.read(reads, attempt.deadline()));
            let answer = answer.await.unwrap_or(Err(Error::Late));
            match call.next(attempt, self.outcome(&answer)).await {
                Some(again) => attempt = again,
                None => return call.told(answer),
            }
        }
    }

    async fn read_reachable(&self, reads: &[Read<'_>], deadline: Deadline) -> Result<Vec<StoredRows>, Error> {
        let unreachable = || reads.iter().map(Read::unreachable).collect();
        let mut call = self.call(read_time(reads), deadline);
        let Ok(mut attempt) = call.first().await else { return Ok(unreachable()) };
        loop {
            let answer = self.inner.read_reachable(reads, attempt.deadline());
            let answer = timeout_at(attempt.deadline().instant().into(), answer).await.unwrap_or(Err(Error::Late));
            let outcome = match &answer {
                // A store that says so does not say whether it was late; the guard's own time does.
                Ok(rows) if self.is_down(rows) && attempt.deadline().has_passed() => Outcome::Late,
                Ok(rows) if self.is_down(rows) => Outcome::Failed,
                answer => self.outcome(answer),
            };
            match call.next(attempt, outcome).await {
                Some(again) => attempt = again,
                None if answer.as_ref().is_err_and(Error::is_outage) => return Ok(unreachable()),
                None => return answer,
            }
        }
    }

    async fn write(&self, view: &Arc<OnlineView>, rows: &FeatureRows, deadline: Deadline) -> Result<Written, Error> {
        let time = grown(BACKEND_WRITE_TIME, BACKEND_WRITE_TIME_PER_ROW, rows.rows());
        let mut call = self.call(time, deadline);
        let mut attempt = call.first().await?;
        loop {
            let answer = self.inner.write(view, rows, attempt.deadline());
            let answer = timeout_at(attempt.deadline().instant().into(), answer).await.unwrap_or(Err(Error::Late));
            match call.next(attempt, self.outcome(&answer)).await {
                Some(again) => attempt = again,
                None => return call.told(answer),
            }
        }
    }

    async fn progress(
        &self,
        view: &Arc<OnlineView>,
        stream: &str,
        partition: u32,
        deadline: Deadline,
    ) -> Result<Option<u64>, Error> {
        let mut call = self.call(BACKEND_READ_TIME, deadline);
        let mut attempt = call.first().await?;
        loop {
            let answer = self.inner.progress(view, stream, partition, attempt.deadline());
            let answer = timeout_at(attempt.deadline().instant().into(), answer).await.unwrap_or(Err(Error::Late));
            match call.next(attempt, self.outcome(&answer)).await {
                Some(again) => attempt = again,
                None => return call.told(answer),
            }
        }
    }

    async fn health(&self, deadline: Deadline) -> Result<Health, Error> {
        self.inner.health(deadline).await
    }

    async fn statistics(&self, views: &[Arc<OnlineView>], deadline: Deadline) -> Result<Vec<ViewStatistics>, Error> {
        self.inner.statistics(views, deadline).await
    }

    async fn scan(
        &self,
        view: &Arc<OnlineView>,
        cursor: Option<&Cursor>,
        deadline: Deadline,
    ) -> Result<RowPage, Error> {
        self.inner.scan(view, cursor, deadline).await
    }

    fn watch(&self, views: &[Arc<OnlineView>], listener: Weak<dyn ChangeListener>) {
        self.inner.watch(views, listener);
    }
}

impl<'a> Call<'a> {
    async fn first(&mut self) -> Result<Attempt<'a>, Error> {
        self.attempts = 1;
        self.backend.admit(self.time, self.deadline).await.map_err(|refused| self.refused(refused))
    }

    /// Another attempt after one that failed; none when its answer is the call's.
    async fn next(&mut self, attempt: Attempt<'a>, outcome: Outcome) -> Option<Attempt<'a>> {
        let failed = attempt.end(outcome);
        if !failed || self.attempts == BACKEND_ATTEMPTS_MAX {
            return None;
        }
        self.attempts += 1;
        self.backend.admit_again(self.time, self.deadline).await
    }

    /// An attempt that was given up before the call's deadline is a store that does not answer, not a late caller.
    fn told<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match answer {
            Err(Error::Late) if !self.deadline.has_passed() => {
                Err(Error::Silent { store: self.backend.name(), waited: self.time })
            }
            answer => answer,
        }
    }

    fn refused(&self, refused: Refused) -> Error {
        let store = self.backend.name();
        match refused {
            Refused::Down { since, again } => Error::Down { store, since, again },
            Refused::Full { under_way } => Error::Crowded { store, under_way },
            Refused::Late => Error::Late,
        }
    }
}

fn read_time(reads: &[Read<'_>]) -> Duration {
    grown(BACKEND_READ_TIME, BACKEND_READ_TIME_PER_KEY, reads.iter().map(|read| read.keys.rows()).sum())
}

fn grown(base: Duration, per_row: Duration, rows: usize) -> Duration {
    base + per_row * u32::try_from(rows).unwrap_or(u32::MAX)
}
