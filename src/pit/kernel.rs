//! The matching itself: keys and times in, the place of each label's row out.
//!
//! The labels of each key are put in order of time, and every label gets a slot. A feature row goes into one slot only:
//! that of the first label at or after its event time, where it stays if it is newer than the row already there. At the
//! end one pass over the slots of a key, oldest label first, carries the newest row so far forward: what stands in a
//! label's own slot became true after the label before it, so it is newer than anything carried.
//!
//! This takes `O(log labels of the key)` a row, memory only for the labels, and no order among the rows.

use std::cmp::Ordering;

use arrow::array::{Array, TimestampMicrosecondArray};

use super::keys::{KeyNumbers, Keys};
use crate::clock::Micros;

/// Where a feature row stands: the number of the batch it came with, and its row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub batch: u32,
    pub row: u32,
}

/// The feature row of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub place: Place,
    pub event_time: Micros,
}

/// Memory that a join takes for each label, whatever its features: 4 for its key, 8 for its time, 4 for its row, 40 for
/// the row found so far, up to 24 for the table of keys, and 48 while the matches are put together.
pub const LABEL_BYTES: usize = 128;

/// One point-in-time join under way.
#[derive(Debug)]
pub struct Join {
    keys: KeyNumbers,
    slots: Slots,
    /// Rows of the label frame, those that can match nothing included.
    labels: usize,
    /// How many slots hold a row of each batch.
    held: Vec<u32>,
}

/// The labels, grouped by key and in order of time within a key.
#[derive(Debug)]
struct Slots {
    /// The labels of key `n` are `starts[n]..starts[n + 1]` of what follows.
    starts: Vec<u32>,
    times: Vec<Micros>,
    /// Rows of the label frame.
    rows: Vec<u32>,
    newest: Vec<Option<Candidate>>,
    ttl: Option<Micros>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    event_time: Micros,
    /// Null sorts before every time.
    created_time: Option<Micros>,
    place: Place,
}

impl Join {
    /// Labels are `keys` at `times`. Without a `ttl` a row is never too old; with a ttl of zero only a row of the
    /// label's very microsecond matches.
    pub fn new(keys: &Keys, times: &TimestampMicrosecondArray, ttl: Option<Micros>) -> Self {
        debug_assert_eq!(keys.rows(), times.len());
        let (keys, mut numbers) = KeyNumbers::of(keys);
        for (row, number) in numbers.iter_mut().enumerate() {
            if times.is_null(row) {
                *number = None;
            }
        }
        let slots = Slots::group(&numbers, keys.count(), times, ttl);
        Self { keys, slots, labels: numbers.len(), held: Vec::new() }
    }

    /// Offers the next rows of the source as batch 0, 1, 2 and so on. Answers the batches of which no row is wanted any
    /// more; this batch may be among them. Of two rows that tie on both times, `replaces` says whether the one that comes
    /// now takes the place of the one that was there.
    pub fn push(
        &mut self,
        keys: &Keys,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
        replaces: impl Fn(Place, Place) -> bool,
    ) -> Vec<u32> {
        let batch = u32::try_from(self.held.len()).expect("a source has fewer than 2³² batches");
        self.held.push(0);
        let mut freed = Vec::new();
        let Self { keys: numbers, slots, held, .. } = self;
        numbers.for_each(keys, |row, key| {
            if event_time.is_null(row) {
                return;
            }
            let candidate = Candidate {
                event_time: event_time.value(row),
                created_time: created_time.is_valid(row).then(|| created_time.value(row)),
                place: Place { batch, row: row as u32 },
            };
            let Some(slot) = slots.slot_for(key, candidate.event_time) else { return };
            let newest = &mut slots.newest[slot];
            if newest.is_some_and(|newest| !candidate.replaces(&newest, &replaces)) {
                return;
            }
            held[batch as usize] += 1;
            if let Some(replaced) = newest.replace(candidate) {
                let held = &mut held[replaced.place.batch as usize];
                *held -= 1;
                if *held == 0 && replaced.place.batch != batch {
                    freed.push(replaced.place.batch);
                }
            }
        });
        if self.held[batch as usize] == 0 {
            freed.push(batch);
        }
        freed
    }

    /// Answers the places of all rows that are still wanted, and from now on calls them rows 0, 1, 2 and so on of
    /// batch 0, as if there had been no other.
    pub fn renumber(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        for candidate in self.slots.newest.iter_mut().flatten() {
            places.push(candidate.place);
            candidate.place = Place { batch: 0, row: (places.len() - 1) as u32 };
        }
        self.held = vec![places.len() as u32];
        places
    }

    /// The match of each label, in the order of the label frame.
    pub fn finish(self) -> Vec<Option<Match>> {
        let mut matches = vec![None; self.labels];
        for key in 0..self.keys.count() {
            let mut newest = None;
            for slot in self.slots.of_key(key) {
                newest = self.slots.newest[slot].or(newest);
                let in_time = |candidate: &Candidate| self.slots.reaches(candidate.event_time, slot);
                matches[self.slots.rows[slot] as usize] = newest
                    .filter(in_time)
                    .map(|candidate| Match { place: candidate.place, event_time: candidate.event_time });
            }
        }
        matches
    }
}

impl Slots {
    fn group(
        numbers: &[Option<u32>],
        keys: usize,
        label_times: &TimestampMicrosecondArray,
        ttl: Option<Micros>,
    ) -> Self {
        let mut starts = vec![0; keys + 1];
        for number in numbers.iter().flatten() {
            starts[*number as usize + 1] += 1;
        }
        for key in 0..keys {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; starts[keys] as usize];
        for (row, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                let slot = &mut next[*number as usize];
                rows[*slot as usize] = u32::try_from(row).expect("a label frame has fewer than 2³² rows");
                *slot += 1;
            }
        }
        for key in 0..keys {
            let of_key = starts[key] as usize..starts[key + 1] as usize;
            rows[of_key].sort_unstable_by_key(|row| label_times.value(*row as usize));
        }
        let times: Vec<Micros> = rows.iter().map(|row| label_times.value(*row as usize)).collect();
        let newest = vec![None; rows.len()];
        Self { starts, times, rows, newest, ttl }
    }

    fn of_key(&self, key: usize) -> std::ops::Range<usize> {
        self.starts[key] as usize..self.starts[key + 1] as usize
    }

    /// The first label of the key at or after `event_time`, unless even that one is too late for such an old row.
    fn slot_for(&self, key: u32, event_time: Micros) -> Option<usize> {
        let of_key = self.of_key(key as usize);
        let slot = of_key.start + self.times[of_key.clone()].partition_point(|time| *time < event_time);
        (slot < of_key.end && self.reaches(event_time, slot)).then_some(slot)
    }

    /// Whether a row of `event_time` is young enough for the label; `label_time − ttl` itself is.
    fn reaches(&self, event_time: Micros, slot: usize) -> bool {
        self.ttl.is_none_or(|ttl| self.times[slot].saturating_sub(ttl) <= event_time)
    }
}

impl Candidate {
    fn replaces(&self, other: &Self, on_a_tie: &impl Fn(Place, Place) -> bool) -> bool {
        let times = |candidate: &Self| (candidate.event_time, candidate.created_time);
        match times(self).cmp(&times(other)) {
            Ordering::Less => false,
            Ordering::Equal => on_a_tie(self.place, other.place),
            Ordering::Greater => true,
        }
    }
}
