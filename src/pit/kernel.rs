//! The matching itself: keys and times in, the place of each label's row out.
//!
//! The labels of each key are put in order of time, and every label gets a slot. A feature row goes into one slot only:
//! that of the first label at or after its event time, where it stays if it is newer than the row already there. At the
//! end one pass over the slots of a key, oldest label first, carries the newest row so far forward: what stands in a
//! label's own slot became true after the label before it, so it is newer than anything carried.
//!
//! This takes memory only for the labels, and no order among the rows. Rows that come in order of time, as most do, find
//! their slot where the row of their key before them found one; any other is searched for, in `O(log labels of the key)`.
//! What is looked at for every row is small and lies together, because with many keys the time goes into waiting for
//! memory.

use std::cmp::Ordering;
use std::ops::Range;

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

/// Memory that a join takes for each label, whatever its features: 4 for its key, 8 for its time, 4 for its row, 32 for
/// the row found so far, up to 28 for the labels of its key, up to 24 for the table of keys, and 48
/// while the matches are put together.
pub const LABEL_BYTES: usize = 148;

/// One point-in-time join under way.
#[derive(Debug)]
pub struct Join {
    keys: KeyNumbers,
    slots: Slots,
    /// Rows of the label frame, those that can match nothing included.
    labels: usize,
    /// How many slots hold a row of each batch.
    held: Vec<u32>,
    /// Each row of a batch on its way and its key, then its slot; kept for the next batch.
    found: Vec<(u32, u32)>,
}

/// The labels, grouped by key and in order of time within a key.
#[derive(Debug)]
struct Slots {
    /// The labels of key `n` are `starts[n]..starts[n + 1]` of what follows.
    starts: Vec<u32>,
    /// By key.
    last: Vec<LastSlot>,
    times: Vec<Micros>,
    /// Rows of the label frame.
    rows: Vec<u32>,
    newest: Vec<Candidate>,
    /// The created time of each candidate, once a row has one. Unknown sorts before every time.
    created: Option<Vec<Option<Micros>>>,
    ttl: Option<Micros>,
}

/// The slot that the last row of a key went to: that of every row with `after < event time <= until`.
#[derive(Clone, Copy, Debug)]
struct LastSlot {
    after: Micros,
    until: Micros,
    slot: u32,
    /// The end of the key's slots; where `slot` is that, no label comes after such a row.
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    event_time: Micros,
    /// Of batch [`NONE`] where there is no row yet.
    place: Place,
}

/// Rows between asking for a row's memory and using it: enough for the memory to come, few enough for it to stay.
const AHEAD: usize = 16;
/// No slot, or no batch.
const NONE: u32 = u32::MAX;
const NO_CANDIDATE: Candidate = Candidate { event_time: Micros::MIN, place: Place { batch: NONE, row: 0 } };

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
        Self { keys, slots, labels: numbers.len(), held: Vec::new(), found: Vec::new() }
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
        let batch = u32::try_from(self.held.len()).ok().filter(|batch| *batch != NONE);
        let batch = batch.expect("a source has fewer than 2³² batches");
        let Self { keys: numbers, slots, held, found, .. } = self;
        held.push(0);
        // First all keys, then all slots, then all candidates, each asked for some rows before it is needed: rows do not
        // wait for each other's memory.
        found.clear();
        let event_times = event_time.values();
        numbers.for_each(keys, |row, key| {
            if event_time.is_valid(row) {
                found.push((row as u32, key));
            }
        });
        slots.find(found, event_times);
        let knows_created = created_time.null_count() < created_time.len();
        if knows_created {
            slots.created.get_or_insert_with(|| vec![None; slots.newest.len()]);
        }
        let mut freed = Vec::new();
        for (number, &(row, slot)) in found.iter().enumerate() {
            if let Some((_, ahead)) = found.get(number + AHEAD) {
                fetch(&slots.newest, *ahead);
            }
            let (row, slot) = (row as usize, slot as usize);
            let created = (knows_created && created_time.is_valid(row)).then(|| created_time.value(row));
            let candidate = Candidate { event_time: event_times[row], place: Place { batch, row: row as u32 } };
            let before = slots.newest[slot];
            if before.is_some() && !slots.replaces(slot, &candidate, created, &replaces) {
                continue;
            }
            slots.newest[slot] = candidate;
            if let Some(all) = &mut slots.created {
                all[slot] = created;
            }
            held[batch as usize] += 1;
            if before.is_some() {
                let held = &mut held[before.place.batch as usize];
                *held -= 1;
                if *held == 0 && before.place.batch != batch {
                    freed.push(before.place.batch);
                }
            }
        }
        if held[batch as usize] == 0 {
            freed.push(batch);
        }
        freed
    }

    /// The places of all rows that are still wanted, each once.
    pub fn wanted(&self) -> impl Iterator<Item = Place> {
        self.slots.newest.iter().filter(|candidate| candidate.is_some()).map(|candidate| candidate.place)
    }

    /// From now on these rows are those of batch 0, each with the number that `row` says, as if there had been no other.
    pub fn renumber(&mut self, row: impl Fn(Place) -> u32) {
        let mut held = 0;
        for candidate in self.slots.newest.iter_mut().filter(|candidate| candidate.is_some()) {
            candidate.place = Place { batch: 0, row: row(candidate.place) };
            held += 1;
        }
        self.held = vec![held];
    }

    /// The match of each label, in the order of the label frame.
    pub fn finish(self) -> Vec<Option<Match>> {
        let mut matches = vec![None; self.labels];
        for key in 0..self.keys.count() {
            let mut newest = NO_CANDIDATE;
            for slot in self.slots.of_key(key) {
                let own = self.slots.newest[slot];
                if own.is_some() {
                    newest = own;
                }
                let in_time = newest.is_some() && self.slots.reaches(newest.event_time, self.slots.times[slot]);
                matches[self.slots.rows[slot] as usize] =
                    in_time.then_some(Match { place: newest.place, event_time: newest.event_time });
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
        let newest = vec![NO_CANDIDATE; rows.len()];
        // No row is after the last moment, so a key's first one is searched for.
        let none = |end: &u32| LastSlot { after: Micros::MAX, until: Micros::MAX, slot: NONE, end: *end };
        let last = starts[1..].iter().map(none).collect();
        Self { starts, last, times, rows, newest, created: None, ttl }
    }

    fn of_key(&self, key: usize) -> Range<usize> {
        self.starts[key] as usize..self.starts[key + 1] as usize
    }

    /// Turns rows and their keys into rows and their slots; those of no slot go.
    fn find(&mut self, rows: &mut Vec<(u32, u32)>, event_times: &[Micros]) {
        let mut kept = 0;
        for number in 0..rows.len() {
            if let Some((_, ahead)) = rows.get(number + AHEAD) {
                fetch(&self.last, *ahead);
            }
            let (row, key) = rows[number];
            if let Some(slot) = self.slot_for(key, event_times[row as usize]) {
                rows[kept] = (row, slot);
                kept += 1;
            }
        }
        rows.truncate(kept);
    }

    /// The first label of the key at or after `event_time`, unless even that one is too late for such an old row.
    fn slot_for(&mut self, key: u32, event_time: Micros) -> Option<u32> {
        let last = &mut self.last[key as usize];
        let slot = if event_time <= last.after {
            first_from(&self.times, self.starts[key as usize], last.slot.min(last.end), event_time)
        } else if last.until < event_time {
            // The next label's, mostly.
            match last.slot + 1 {
                next if next == last.end || self.times[next as usize] >= event_time => next,
                next => first_from(&self.times, next + 1, last.end, event_time),
            }
        } else {
            last.slot
        };
        if slot != last.slot {
            let is_first = slot == self.starts[key as usize];
            last.after = if is_first { Micros::MIN } else { self.times[slot as usize - 1] };
            last.until = if slot == last.end { Micros::MAX } else { self.times[slot as usize] };
            last.slot = slot;
        }
        (slot != last.end && reaches(self.ttl, event_time, last.until)).then_some(slot)
    }

    /// Whether a row of `event_time` is young enough for a label of `time`; `time − ttl` itself is.
    fn reaches(&self, event_time: Micros, time: Micros) -> bool {
        reaches(self.ttl, event_time, time)
    }

    /// Whether a row takes the place of the one that is in the slot.
    fn replaces(
        &self,
        slot: usize,
        row: &Candidate,
        created: Option<Micros>,
        on_a_tie: &impl Fn(Place, Place) -> bool,
    ) -> bool {
        let before = &self.newest[slot];
        let created_before = || self.created.as_ref().and_then(|created| created[slot]);
        match row.event_time.cmp(&before.event_time).then_with(|| created.cmp(&created_before())) {
            Ordering::Less => false,
            Ordering::Equal => on_a_tie(row.place, before.place),
            Ordering::Greater => true,
        }
    }
}

impl Candidate {
    fn is_some(&self) -> bool {
        self.place.batch != NONE
    }
}

fn reaches(ttl: Option<Micros>, event_time: Micros, time: Micros) -> bool {
    ttl.is_none_or(|ttl| time.saturating_sub(ttl) <= event_time)
}

/// Asks for an item of a large table, so that it is there when it is read some rows later.
fn fetch<T>(table: &[T], item: u32) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = table.get(item as usize) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has this instruction, and it changes nothing that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, item);
}

/// The first slot of `from..until` whose time is `event_time` or later; `until` where there is none.
fn first_from(times: &[Micros], from: u32, until: u32, event_time: Micros) -> u32 {
    from + times[from as usize..until as usize].partition_point(|time| *time < event_time) as u32
}
