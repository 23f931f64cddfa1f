//! The bulkhead: how many calls of one backend are under way, and how many may wait for a place.
//!
//! A call that would still be waiting at its deadline is refused at once: so many wait before it, and so long a call
//! takes now. Waiting for nothing helps nobody, least of all the backend that is slow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::Refused;
use crate::clock::Deadline;

/// The weight of one call in the running mean of what calls take, as a power of two: 1/16.
const MEAN_SHIFT: u32 = 4;

#[derive(Debug)]
pub(super) struct Bulkhead {
    places: Semaphore,
    calls_max: usize,
    queue_max: u64,
    waiting: AtomicU64,
    /// Microseconds that calls took lately, in the mean.
    mean: AtomicU64,
}

/// A call under way, until it is dropped.
pub(super) type Place<'a> = SemaphorePermit<'a>;

/// One that waits, until it is dropped: the waiting caller may go away.
struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bulkhead {
    pub fn new(calls_max: usize, queue_max: usize) -> Self {
        let (waiting, mean) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { places: Semaphore::new(calls_max), calls_max, queue_max: queue_max as u64, waiting, mean }
    }

    /// A place, if one is free and nobody waits for it.
    pub fn enter(&self) -> Option<Place<'_>> {
        self.places.try_acquire().ok()
    }

    /// Waits for a place.
    pub async fn wait(&self, deadline: Deadline) -> Result<Place<'_>, Refused> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue_max {
            return Err(Refused::Full { under_way: self.calls_max });
        }
        if deadline.remaining() < self.expected_wait(before) {
            return Err(Refused::Late);
        }
        match timeout_at(deadline.instant().into(), self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => Err(Refused::Late),
        }
    }

    /// A call took so many microseconds. Two that end at the same moment may count as one; it is an estimate.
    pub fn took(&self, micros: u64) {
        let mean = self.mean.load(Ordering::Relaxed);
        let next = mean - (mean >> MEAN_SHIFT) + (micros >> MEAN_SHIFT);
        if next != mean {
            self.mean.store(next, Ordering::Relaxed);
        }
    }

    /// Calls under way, and those that wait.
    pub fn counts(&self) -> (u64, u64) {
        let under_way = self.calls_max - self.places.available_permits();
        (under_way as u64, self.waiting.load(Ordering::Acquire))
    }

    /// With all places taken, one becomes free every `mean / places`.
    fn expected_wait(&self, before: u64) -> Duration {
        let mean = self.mean.load(Ordering::Relaxed);
        Duration::from_micros(mean.saturating_mul(before + 1) / self.calls_max as u64)
    }
}
