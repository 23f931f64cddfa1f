//! The circuit breaker: whether a backend is asked at all.
//!
//! | state | calls | leaves it |
//! |---|---|---|
//! | closed | all are made | when some fail in a row, or half of those of the last second do |
//! | open | none but one probe a second | when a probe is answered |
//!
//! Half open, as others call it, is being open with a probe under way. A probe that nobody ends (its caller went away)
//! is followed by another one a second later, so no state can stick.
//!
//! # Races
//! The number of the state's age is even while closed and odd while open, and only one thread moves it on. What an
//! attempt has to say counts only in the age in which it was admitted: answers that were asked for before the breaker
//! opened neither close it nor open it again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Refused;
use crate::clock::whole_micros;
use crate::limits::{
    BREAKER_FAILURES_IN_A_ROW, BREAKER_FAILURES_PERCENT, BREAKER_PROBE_EVERY, BREAKER_WINDOW, BREAKER_WINDOW_CALLS_MIN,
};

/// Parts of the window; the oldest one leaves it whole.
const PARTS: usize = 10;
const PART_MICROS: u64 = whole_micros(BREAKER_WINDOW) / PARTS as u64;
const PROBE_EVERY_MICROS: u64 = whole_micros(BREAKER_PROBE_EVERY);

/// All times are microseconds of one steady clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    age: AtomicU64,
    in_a_row: AtomicU32,
    window: [Part; PARTS],
    opened_at: AtomicU64,
    next_probe_at: AtomicU64,
}

/// The age in which an attempt was let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission(u64);

/// Calls and failures of a tenth of a second, in one word, so that they change together: the number of the tenth
/// (32 bits), failures (16), calls (16). Beyond 65,535 in a tenth, neither is counted.
#[derive(Debug, Default)]
struct Part(AtomicU64);

impl Breaker {
    pub fn is_closed(&self) -> bool {
        is_closed(self.age.load(Ordering::Acquire))
    }

    pub fn times_opened(&self) -> u64 {
        self.age.load(Ordering::Acquire).div_ceil(2)
    }

    /// Whether a call made now would be let through; takes no probe.
    pub fn look(&self, now: u64) -> Result<(), Refused> {
        if self.is_closed() || now >= self.next_probe_at.load(Ordering::Acquire) { Ok(()) } else { Err(self.down(now)) }
    }

    /// Lets an attempt through, or not.
    pub fn admit(&self, now: u64) -> Result<Admission, Refused> {
        let age = self.age.load(Ordering::Acquire);
        if is_closed(age) {
            return Ok(Admission(age));
        }
        let due = self.next_probe_at.load(Ordering::Acquire);
        let next = now + PROBE_EVERY_MICROS;
        if now >= due && self.next_probe_at.compare_exchange(due, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Ok(Admission(age));
        }
        Err(self.down(now))
    }

    pub fn answered(&self, Admission(age): Admission, now: u64) {
        if self.age.load(Ordering::Acquire) != age {
            return;
        }
        if is_closed(age) {
            self.part(now).add(now, 0);
            if self.in_a_row.load(Ordering::Relaxed) != 0 {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            return;
        }
        // An answered probe. What was counted before the failure says nothing of the backend that is back.
        for part in &self.window {
            part.0.store(0, Ordering::Relaxed);
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.move_on(age);
    }

    pub fn failed(&self, Admission(age): Admission, now: u64) {
        // A failed probe changes nothing: the next one is due a second after it began.
        if self.age.load(Ordering::Acquire) != age || !is_closed(age) {
            return;
        }
        self.part(now).add(now, 1);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::AcqRel) + 1;
        if in_a_row >= BREAKER_FAILURES_IN_A_ROW || self.fails_often(now) {
            // Before the age: who sees that it is open must not see a probe due.
            self.opened_at.store(now, Ordering::Release);
            self.next_probe_at.fetch_max(now + PROBE_EVERY_MICROS, Ordering::AcqRel);
            self.move_on(age);
        }
    }

    fn move_on(&self, age: u64) {
        let _ = self.age.compare_exchange(age, age + 1, Ordering::AcqRel, Ordering::Acquire);
    }

    fn part(&self, now: u64) -> &Part {
        &self.window[(now / PART_MICROS) as usize % PARTS]
    }

    fn fails_often(&self, now: u64) -> bool {
        let (mut calls, mut failures) = (0, 0);
        for part in &self.window {
            let (part_calls, part_failures) = part.within(now);
            calls += part_calls;
            failures += part_failures;
        }
        calls >= BREAKER_WINDOW_CALLS_MIN && failures * 100 >= calls * BREAKER_FAILURES_PERCENT
    }

    fn down(&self, now: u64) -> Refused {
        let since = now.saturating_sub(self.opened_at.load(Ordering::Acquire));
        let again = self.next_probe_at.load(Ordering::Acquire).saturating_sub(now);
        Refused::Down { since: Duration::from_micros(since), again: Duration::from_micros(again) }
    }
}

fn is_closed(age: u64) -> bool {
    age.is_multiple_of(2)
}

impl Part {
    const CALLS_MAX: u64 = 0xffff;

    fn add(&self, now: u64, failures: u64) {
        let number = (now / PART_MICROS) & 0xffff_ffff;
        let add = |held: u64| {
            let (calls, failed) = if held >> 32 == number { (held & 0xffff, (held >> 16) & 0xffff) } else { (0, 0) };
            (calls < Self::CALLS_MAX).then(|| number << 32 | (failed + failures) << 16 | (calls + 1))
        };
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
    }

    /// Calls and failures, none where the part has left the window.
    fn within(&self, now: u64) -> (u64, u64) {
        let held = self.0.load(Ordering::Acquire);
        let oldest = (now / PART_MICROS).saturating_sub(PARTS as u64 - 1) & 0xffff_ffff;
        if held >> 32 >= oldest { (held & 0xffff, (held >> 16) & 0xffff) } else { (0, 0) }
    }
}
