//! The retry budget: how many failed calls may be made again.
//!
//! Every call adds a fifth of a retry and every second ten; a retry takes one. What is saved up is bounded, so that an
//! hour without failures does not pay for a storm.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{BACKEND_RETRIES_PER_SECOND, BACKEND_RETRIES_PERCENT};

/// A retry in the budget's own unit: hundredths.
const RETRY: u64 = 100;
/// What may be saved up: the retries of one second.
const SAVED_MAX: u64 = BACKEND_RETRIES_PER_SECOND * RETRY;
/// Microseconds that earn a hundredth of a retry.
const MICROS_PER_HUNDREDTH: u64 = 1_000_000 / (BACKEND_RETRIES_PER_SECOND * RETRY);

#[derive(Debug, Default)]
pub(super) struct Budget {
    saved: AtomicU64,
    /// The time up to which seconds have been paid out, in hundredths of a retry.
    paid_until: AtomicU64,
}

impl Budget {
    /// A call is made. While the budget is full, as it is while all goes well, this only looks.
    pub fn call(&self) {
        if self.saved.load(Ordering::Relaxed) < SAVED_MAX {
            self.add(BACKEND_RETRIES_PERCENT);
        }
    }

    /// Takes a retry, if there is one.
    pub fn take(&self, now: u64) -> bool {
        let until = now / MICROS_PER_HUNDREDTH;
        let paid = self.paid_until.fetch_max(until, Ordering::AcqRel);
        if until > paid {
            self.add(until - paid);
        }
        let take = |saved: u64| saved.checked_sub(RETRY);
        self.saved.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).is_ok()
    }

    fn add(&self, hundredths: u64) {
        let add = |saved: u64| Some(saved.saturating_add(hundredths).min(SAVED_MAX));
        let _ = self.saved.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
    }
}
