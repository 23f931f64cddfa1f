//! The matching where each label says what was known when: of the rows that it may find, only those with
//! `created time ≤ known at` count. A row without a created time was always known.
//!
//! Here the newest row between two labels is not enough: the next label may not know it yet, or a later one may know of
//! less. So every row that some label may find is noted. Once more rows are noted than there are labels, those go that
//! are the answer to no label: an answer only ever gives way to a better one, so they never will be one.
//!
//! The answers are found in one pass over the labels of a key, oldest first, with a stack of rows of which each is newer,
//! and was created later, than the one below it. A row that is older and was created later than another is of no use to
//! this label or to any after it. The answer to a label is the uppermost row that it knows.
//!
//! # Why not in the kernel
//! [`super::kernel`] looks at each row once and keeps one a label; it stays as it is for the labels that say nothing.

use arrow::array::{Array, TimestampMicrosecondArray};

use super::kernel::{Match, Place};
use super::keys::{KeyNumbers, Keys};
use crate::clock::Micros;

/// Memory that a label takes here beyond that of [`super::kernel::LABEL_BYTES`]: 24 for its slot, up to 120 for the rows
/// that are noted, 40 while they are sorted.
pub const KNOWN_LABEL_BYTES: usize = 184;
/// Rows that are noted at least before any are let go: with few labels it is not worth sorting more often.
const NOTED_MIN: usize = 16_384;

/// One such join under way.
#[derive(Debug)]
pub struct KnownJoin {
    keys: KeyNumbers,
    /// The slots of key `n` are `starts[n]..starts[n + 1]`.
    starts: Vec<u32>,
    /// The labels that may find something, grouped by key and in order of time within a key.
    slots: Vec<Slot>,
    ttl: Option<Micros>,
    /// Rows of the label frame, those that can match nothing included.
    labels: usize,
    /// Of rows of one slot that tie on both times, the later one stands behind the other.
    noted: Vec<Noted>,
    /// How many noted rows there are of each batch.
    held: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    time: Micros,
    known_at: Micros,
    /// The row of the label frame.
    label: u32,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    event_time: Micros,
    /// Unknown sorts before every time.
    created_time: Option<Micros>,
    place: Place,
    /// The first label at or after the event time.
    slot: u32,
}

impl KnownJoin {
    /// Labels are `keys` at `times`, of what was known at `known_at`, which is never null. Without a `ttl` a row is never
    /// too old.
    pub fn new(
        keys: &Keys,
        times: &TimestampMicrosecondArray,
        known_at: &TimestampMicrosecondArray,
        ttl: Option<Micros>,
    ) -> Self {
        debug_assert_eq!((keys.rows(), known_at.null_count()), (times.len(), 0));
        let (keys, numbers) = KeyNumbers::of(keys);
        let numbered = numbers.iter().enumerate().filter(|(row, _)| times.is_valid(*row));
        let mut labels: Vec<(u32, Slot)> = numbered
            .filter_map(|(row, number)| {
                let label = u32::try_from(row).expect("a label frame has fewer than 2³² rows");
                Some(((*number)?, Slot { time: times.value(row), known_at: known_at.value(row), label }))
            })
            .collect();
        labels.sort_unstable_by_key(|(number, slot)| (*number, slot.time));
        let starts =
            (0..=keys.count()).map(|key| labels.partition_point(|(number, _)| (*number as usize) < key) as u32);
        Self {
            starts: starts.collect(),
            slots: labels.iter().map(|(_, slot)| *slot).collect(),
            keys,
            ttl,
            labels: numbers.len(),
            noted: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Offers the next rows of the source as batch 0, 1, 2 and so on. Says whether any row of this one is wanted.
    pub fn push(
        &mut self,
        keys: &Keys,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
    ) -> bool {
        let batch = u32::try_from(self.held.len()).expect("a source has fewer than 2³² batches");
        let before = self.noted.len();
        let Self { keys: numbers, starts, slots, ttl, noted, .. } = self;
        numbers.for_each(keys, |row, key| {
            if event_time.is_null(row) {
                return;
            }
            let event_time = event_time.value(row);
            let (from, until) = (starts[key as usize] as usize, starts[key as usize + 1] as usize);
            let slot = from + slots[from..until].partition_point(|slot| slot.time < event_time);
            if slot < until && slots[slot].reaches(event_time, *ttl) {
                noted.push(Noted {
                    event_time,
                    created_time: created_time.is_valid(row).then(|| created_time.value(row)),
                    place: Place { batch, row: row as u32 },
                    slot: slot as u32,
                });
            }
        });
        self.held.push((self.noted.len() - before) as u32);
        self.noted.len() > before
    }

    /// Whether it is time to let go of rows.
    pub fn is_full(&self) -> bool {
        self.noted.len() > (self.labels + self.labels / 2).max(NOTED_MIN)
    }

    /// Lets go of the rows that are no label's answer, and answers the batches of which no row is wanted any more. Of two
    /// rows that tie on both times, `replaces` says whether the first, which came later, takes the place of the second.
    pub fn let_go(&mut self, replaces: impl Fn(Place, Place) -> bool) -> Vec<u32> {
        let mut wanted = vec![false; self.noted.len()];
        self.answers(replaces, |_, noted| wanted[noted] = true);
        let Self { noted, held, .. } = self;
        let (mut freed, mut wanted) = (Vec::new(), wanted.into_iter());
        noted.retain(|row| {
            let stays = wanted.next().unwrap_or(true);
            if !stays {
                let held = &mut held[row.place.batch as usize];
                *held -= 1;
                if *held == 0 {
                    freed.push(row.place.batch);
                }
            }
            stays
        });
        freed
    }

    /// The places of all noted rows, each once.
    pub fn wanted(&self) -> impl Iterator<Item = Place> {
        self.noted.iter().map(|noted| noted.place)
    }

    /// From now on these rows are those of batch 0, each with the number that `row` says, as if there had been no other.
    pub fn renumber(&mut self, row: impl Fn(Place) -> u32) {
        for noted in &mut self.noted {
            noted.place = Place { batch: 0, row: row(noted.place) };
        }
        self.held = vec![self.noted.len() as u32];
    }

    /// The match of each label, in the order of the label frame.
    pub fn finish(mut self, replaces: impl Fn(Place, Place) -> bool) -> Vec<Option<Match>> {
        let mut answers = Vec::with_capacity(self.slots.len());
        self.answers(replaces, |slot, noted| answers.push((slot, noted)));
        let mut matches = vec![None; self.labels];
        for (slot, noted) in answers {
            let Noted { place, event_time, .. } = self.noted[noted];
            matches[self.slots[slot].label as usize] = Some(Match { place, event_time });
        }
        matches
    }

    /// Puts the noted rows in order, and tells of each slot that has an answer which of them it is.
    fn answers(&mut self, replaces: impl Fn(Place, Place) -> bool, mut answer: impl FnMut(usize, usize)) {
        // Keeps the order of rows that tie.
        self.noted.sort_by_key(|row| (row.slot, row.event_time, row.created_time));
        let (noted, mut next) = (&self.noted, 0);
        let mut stack: Vec<usize> = Vec::new();
        for of_key in self.starts.windows(2) {
            stack.clear();
            for number in of_key[0] as usize..of_key[1] as usize {
                while next < noted.len() && noted[next].slot as usize == number {
                    put(noted, &mut stack, next, &replaces);
                    next += 1;
                }
                let slot = &self.slots[number];
                let known = stack.partition_point(|row| noted[*row].created_time <= Some(slot.known_at));
                // Below the uppermost there are only older ones.
                if let Some(row) = known.checked_sub(1).map(|top| stack[top])
                    && slot.reaches(noted[row].event_time, self.ttl)
                {
                    answer(number, row);
                }
            }
        }
    }
}

/// Puts the row `new`, which is newer than all of the stack or ties with its uppermost, in its place.
fn put(noted: &[Noted], stack: &mut Vec<usize>, new: usize, replaces: impl Fn(Place, Place) -> bool) {
    let times = |row: usize| (noted[row].event_time, noted[row].created_time);
    while let Some(top) = stack.last().copied().filter(|top| noted[*top].created_time >= noted[new].created_time) {
        if times(top) == times(new) && !replaces(noted[new].place, noted[top].place) {
            return;
        }
        stack.pop();
    }
    stack.push(new);
}

impl Slot {
    /// Whether a row of `event_time` is young enough for the label; `label_time − ttl` itself is.
    fn reaches(&self, event_time: Micros, ttl: Option<Micros>) -> bool {
        ttl.is_none_or(|ttl| self.time.saturating_sub(ttl) <= event_time)
    }
}
