//! What stands between the gateway and a backend that may stand still, fail or be slow: one [`Backend`] for each of them.
//!
//! Every call asks [`Backend::admit`] first and says how it ended. That bounds the calls under way ([`bulkhead`]), stops
//! asking a backend that does not answer ([`breaker`]), gives each attempt a time of its own, so that a hang is noticed
//! long before most deadlines, and lets a failed call be made again only as long as there is a budget ([`budget`]). So
//! one backend that is down costs neither the requests that do not need it nor, by retries, itself.
//!
//! Knows nothing of stores, of what is called or of errors: whoever calls says whether a failure speaks of the backend
//! ([`Outcome`]). A call that goes well takes a few atomic operations, no allocation and no lock across an `.await`.
//!
//! # Why not tower's layers
//! `tower::limit`, `retry::budget` and `timeout` wrap services of owned requests. A call here borrows its keys, and one
//! permit, one clock reading and one outcome serve all four parts.

mod breaker;
mod budget;
mod bulkhead;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::breaker::{Admission, Breaker};
use self::budget::Budget;
use self::bulkhead::{Bulkhead, Place};
use crate::clock::{Deadline, Steady, whole_micros};
use crate::limits::{BACKEND_CALLS_MAX, BACKEND_HURRY_SHARE, BACKEND_QUEUE_MAX, BACKEND_RETRY_TIME_MIN};

/// One backend, as all calls to it see it.
#[derive(Debug)]
pub struct Backend {
    name: &'static str,
    clock: Steady,
    bulkhead: Bulkhead,
    breaker: Breaker,
    budget: Budget,
    refused: AtomicU64,
    retried: AtomicU64,
}

/// One attempt under way. Dropping it without [`Attempt::end`] gives its place back and says nothing of the backend.
#[derive(Debug)]
pub struct Attempt<'a> {
    backend: &'a Backend,
    _place: Place<'a>,
    admission: Admission,
    deadline: Deadline,
    /// Microseconds that it may take, and when it began.
    time: u64,
    began: u64,
}

/// How an attempt ended, as far as it speaks of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend did its part, be it by refusing what the caller asked.
    Answered,
    /// It cannot be reached, or cannot work now.
    Failed,
    /// No answer came in time.
    Late,
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The backend has not answered for `since`; the first call in `again` or later asks it again.
    Down { since: Duration, again: Duration },
    /// As many calls as may be are under way, and too many wait.
    Full { under_way: usize },
    /// The deadline passed, or would while waiting for a place.
    Late,
}

/// What is counted of a backend, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Whether calls are made; 0 while they are stopped.
    pub up: bool,
    pub in_flight: u64,
    pub waiting: u64,
    pub refused: u64,
    pub retried: u64,
    /// Times that calls were stopped.
    pub stopped: u64,
}

impl Backend {
    /// `name` is how errors and metrics call it: `redis`.
    pub fn new(name: &'static str, clock: Steady) -> Self {
        Self::with_places(name, clock, BACKEND_CALLS_MAX, BACKEND_QUEUE_MAX)
    }

    fn with_places(name: &'static str, clock: Steady, calls: usize, queue: usize) -> Self {
        Self {
            name,
            clock,
            bulkhead: Bulkhead::new(calls, queue),
            breaker: Breaker::default(),
            budget: Budget::default(),
            refused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A place for the first attempt of a call, which may take `time` and no longer than `deadline`.
    pub async fn admit(&self, time: Duration, deadline: Deadline) -> Result<Attempt<'_>, Refused> {
        self.budget.call();
        self.attempt(time, deadline).await
    }

    /// A place for another attempt of a call that failed and that may be made twice; none where the budget is spent, the
    /// backend is down or full, or the time is not worth it.
    pub async fn admit_again(&self, time: Duration, deadline: Deadline) -> Option<Attempt<'_>> {
        let now = self.clock.now();
        let worth_it = deadline.remaining() >= BACKEND_RETRY_TIME_MIN && self.breaker.is_closed();
        if !worth_it || !self.budget.take(now) {
            return None;
        }
        self.retried.fetch_add(1, Ordering::Relaxed);
        self.attempt(time, deadline).await.ok()
    }

    pub fn counts(&self) -> Counts {
        let (in_flight, waiting) = self.bulkhead.counts();
        Counts {
            up: self.breaker.is_closed(),
            in_flight,
            waiting,
            refused: self.refused.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            stopped: self.breaker.times_opened(),
        }
    }

    async fn attempt(&self, time: Duration, deadline: Deadline) -> Result<Attempt<'_>, Refused> {
        let attempt = self.place(time, deadline).await;
        if attempt.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        attempt
    }

    /// The breaker is asked twice when there was a wait: the backend may have gone down meanwhile.
    async fn place(&self, time: Duration, deadline: Deadline) -> Result<Attempt<'_>, Refused> {
        let mut began = self.clock.now();
        self.breaker.look(began)?;
        let place = match self.bulkhead.enter() {
            Some(place) => place,
            None => {
                let place = self.bulkhead.wait(deadline).await?;
                began = self.clock.now();
                place
            }
        };
        let admission = self.breaker.admit(began)?;
        Ok(Attempt {
            backend: self,
            _place: place,
            admission,
            deadline: deadline.at_most(time),
            time: whole_micros(time),
            began,
        })
    }
}

impl Attempt<'_> {
    /// When the attempt is given up.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The attempt is over. True where it says that the backend failed.
    pub fn end(self, outcome: Outcome) -> bool {
        let backend = self.backend;
        let now = backend.clock.now();
        let took = now.saturating_sub(self.began);
        backend.bulkhead.took(took);
        let in_a_hurry = took < self.time / u64::from(BACKEND_HURRY_SHARE);
        match outcome {
            Outcome::Answered => backend.breaker.answered(self.admission, now),
            Outcome::Failed => backend.breaker.failed(self.admission, now),
            Outcome::Late if in_a_hurry => return false,
            Outcome::Late => backend.breaker.failed(self.admission, now),
        }
        outcome != Outcome::Answered
    }
}
