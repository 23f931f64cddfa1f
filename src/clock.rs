//! Time, so that tests can hold it: the wall clock in microseconds (UTC), and deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01T00:00:00Z; the unit of every event time, created time and `as_of`.
pub type Micros = i64;

/// The wall clock. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    held: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// A clock that stands still until [`Clock::set`] moves it.
    pub fn held_at(now: Micros) -> Self {
        Self { held: Some(Arc::new(AtomicI64::new(now))) }
    }

    /// Moves a held clock; the system's own clock is left alone.
    pub fn set(&self, now: Micros) {
        if let Some(held) = &self.held {
            held.store(now, Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> Micros {
        match &self.held {
            Some(held) => held.load(Ordering::SeqCst),
            None => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
            },
        }
    }
}

/// A clock that never runs back, for spans of time: microseconds since it was made. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Steady {
    start: Instant,
    held: Option<Arc<AtomicU64>>,
}

impl Default for Steady {
    fn default() -> Self {
        Self { start: Instant::now(), held: None }
    }
}

impl Steady {
    /// A clock that stands still until [`Steady::pass`] moves it.
    pub fn held() -> Self {
        Self { held: Some(Arc::default()), ..Self::default() }
    }

    /// Moves a held clock on; one that runs is left alone.
    pub fn pass(&self, time: Duration) {
        if let Some(held) = &self.held {
            held.fetch_add(whole_micros(time), Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> u64 {
        match &self.held {
            Some(held) => held.load(Ordering::SeqCst),
            None => whole_micros(self.start.elapsed()),
        }
    }
}

/// A span in microseconds, to compare with a [`Steady`] clock's.
pub const fn whole_micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + time.subsec_micros() as u64
}

/// The moment by which an answer is owed. Made once at the edge, then passed down.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this deadline and `time` from now.
    pub fn at_most(self, time: Duration) -> Self {
        Self(self.0.min(Instant::now() + time))
    }

    pub fn instant(self) -> Instant {
        self.0
    }
}
