//! The newest row of each key of a stream of rows: what sync writes.
//!
//! Keys are numbered in the order in which they first came. Their bytes lie one behind the other in one piece of memory
//! and are found by a table of numbers, so that a million keys are three allocations and not a million.

use std::cmp::Ordering;

use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::error::ArrowError;

use super::Ties;
use crate::batch::{self, KeyBatch};
use crate::clock::Micros;

/// Takes rows in source order and keeps, per key, the one with the latest (event time, created time); of two that tie,
/// the one that [`Ties`] says.
#[derive(Debug, Default)]
pub struct Newest {
    keys: KeyTable,
    /// By the number of the key.
    candidates: Vec<Candidate>,
    batches: Vec<RecordBatch>,
    /// Rows in `batches`, of which at most one a key is needed.
    rows_kept: usize,
    bytes_kept: usize,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    event_time: Micros,
    /// Unknown sorts before every time.
    created_time: Option<Micros>,
    batch: u32,
    row: u32,
}

/// Rows kept per key before the rows that have lost are let go of.
const ROWS_PER_KEY_KEPT: usize = 4;
/// Below this many rows there is nothing to gain from letting go of any.
const ROWS_KEPT_MIN: usize = 262_144;
/// From this many rows on that stand together in their batches, copying them as stretches is quicker than one by one.
const STRETCH_ROWS_MIN: usize = 8;

impl Newest {
    /// `rows` of the same schema each time; rows with a null key are passed over. What `ties` says of columns is of those
    /// of `rows`; it is the same each time.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn push(
        &mut self,
        rows: RecordBatch,
        keys: &KeyBatch,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
        ties: &Ties,
    ) -> Result<(), ArrowError> {
        let batch = self.batches.len() as u32;
        for row in (0..rows.num_rows()).filter(|row| !keys.is_null(*row)) {
            let created_time = created_time.is_valid(row).then(|| created_time.value(row));
            let candidate = Candidate { event_time: event_time.value(row), created_time, batch, row: row as u32 };
            let number = self.keys.number(keys.get(row));
            match self.candidates.get_mut(number) {
                None => self.candidates.push(candidate),
                Some(known) => {
                    let replaces = match candidate.order().cmp(&known.order()) {
                        Ordering::Less => false,
                        Ordering::Equal => {
                            let there = self.batches.get(known.batch as usize).unwrap_or(&rows);
                            ties.replaces((rows.columns(), candidate.row), (there.columns(), known.row))
                        }
                        Ordering::Greater => true,
                    };
                    if replaces {
                        *known = candidate;
                    }
                }
            }
        }
        self.rows_kept += rows.num_rows();
        self.bytes_kept += batch::bytes(rows.columns());
        self.batches.push(rows);
        if self.rows_kept > ROWS_KEPT_MIN.max(self.candidates.len() * ROWS_PER_KEY_KEPT) {
            self.let_go()?;
        }
        Ok(())
    }

    /// Keys so far, each with one row.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Bytes of memory that all this takes.
    pub fn bytes(&self) -> usize {
        self.bytes_kept + self.keys.bytes() + self.candidates.capacity() * size_of::<Candidate>()
    }

    /// The encoded key with this number.
    pub fn key(&self, number: usize) -> &[u8] {
        self.keys.key(number)
    }

    /// The latest event time of all rows that count.
    pub fn newest_event_time(&self) -> Option<Micros> {
        self.candidates.iter().map(|candidate| candidate.event_time).max()
    }

    /// The rows of the keys `from..from + count`.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn rows(&self, from: usize, count: usize) -> Result<RecordBatch, ArrowError> {
        let until = self.candidates.len().min(from.saturating_add(count));
        self.gather(&self.candidates[from.min(until)..until])
    }

    /// The rows of the keys with these numbers.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn rows_of(&self, numbers: &[usize]) -> Result<RecordBatch, ArrowError> {
        let wanted: Vec<Candidate> = numbers.iter().map(|number| self.candidates[*number]).collect();
        self.gather(&wanted)
    }

    fn gather(&self, wanted: &[Candidate]) -> Result<RecordBatch, ArrowError> {
        let follows = |one: &Candidate, next: &Candidate| one.batch == next.batch && one.row + 1 == next.row;
        let stretches = || wanted.chunk_by(follows);
        if wanted.len() >= STRETCH_ROWS_MIN * stretches().count() {
            let slices: Vec<RecordBatch> = stretches()
                .map(|stretch| self.batches[stretch[0].batch as usize].slice(stretch[0].row as usize, stretch.len()))
                .collect();
            match slices.as_slice() {
                [one] => return Ok(one.clone()),
                [first, ..] => return concat_batches(&first.schema(), &slices),
                [] => {}
            }
        }
        let places: Vec<(usize, usize)> =
            wanted.iter().map(|candidate| (candidate.batch as usize, candidate.row as usize)).collect();
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, &places)
    }

    /// Lets go of the rows that have lost, where they are half of all; more often it is not worth the copying.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn compact(&mut self) -> Result<(), ArrowError> {
        if self.rows_kept >= 2 * self.candidates.len() { self.let_go() } else { Ok(()) }
    }

    /// Gathers the rows that still count into one batch.
    fn let_go(&mut self) -> Result<(), ArrowError> {
        let gathered = self.gather(&self.candidates)?;
        for (row, candidate) in (0_u32..).zip(&mut self.candidates) {
            (candidate.batch, candidate.row) = (0, row);
        }
        self.rows_kept = gathered.num_rows();
        self.bytes_kept = batch::bytes(gathered.columns());
        self.batches = vec![gathered];
        Ok(())
    }
}

impl Candidate {
    fn order(&self) -> (Micros, Option<Micros>) {
        (self.event_time, self.created_time)
    }
}

/// Byte strings and their numbers, in the order in which they were first asked for.
#[derive(Debug)]
struct KeyTable {
    /// Open addressing over a power of two of places; a place has a key's hash and its number, or [`EMPTY`].
    places: Vec<(u32, u32)>,
    keys: Vec<u8>,
    /// Where each key ends in `keys`.
    ends: Vec<usize>,
    seed: u64,
}

/// The number of no key.
const EMPTY: u32 = u32::MAX;
const PLACES_MIN: usize = 1_024;

impl Default for KeyTable {
    fn default() -> Self {
        // Random, so that nobody can choose keys that all collide.
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self { places: vec![(0, EMPTY); PLACES_MIN], keys: Vec::new(), ends: Vec::new(), seed }
    }
}

impl KeyTable {
    /// The number of `key`, which is the next one if it is new.
    ///
    /// # Panics
    /// At four billion keys; a million of them take 60 MB, so memory ends before.
    fn number(&mut self, key: &[u8]) -> usize {
        let hash = fold(self.seed, key);
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            match self.places[place] {
                (_, EMPTY) => break,
                (known, number) if known == hash && self.key(number as usize) == key => return number as usize,
                _ => place = (place + 1) & mask,
            }
        }
        let number = self.ends.len();
        assert!(number < EMPTY as usize, "keys are numbered by u32");
        self.places[place] = (hash, number as u32);
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
        if self.ends.len() * 8 > self.places.len() * 5 {
            self.grow();
        }
        number
    }

    fn key(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.keys[start..self.ends[number]]
    }

    fn bytes(&self) -> usize {
        self.places.len() * size_of::<(u32, u32)>() + self.keys.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    fn grow(&mut self) {
        let mask = self.places.len() * 2 - 1;
        let mut places = vec![(0, EMPTY); mask + 1];
        for &(hash, number) in self.places.iter().filter(|(_, number)| *number != EMPTY) {
            let mut place = hash as usize & mask;
            while places[place].1 != EMPTY {
                place = (place + 1) & mask;
            }
            places[place] = (hash, number);
        }
        self.places = places;
    }
}

/// One multiplication for each 8 bytes; the length goes in too, so that a key is not its own beginning.
fn fold(seed: u64, key: &[u8]) -> u32 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let step = |state: u64, word: u64| {
        let product = u128::from(state ^ word).wrapping_mul(ODD);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let (words, rest) = key.as_chunks::<8>();
    let state = words.iter().fold(step(seed, key.len() as u64), |state, word| step(state, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let state = if rest.is_empty() { state } else { step(state, u64::from_le_bytes(last)) };
    (state ^ (state >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{record_batch, timestamps};
    use crate::catalog::{DType, Field, Scalar};

    /// Key, event time, created time.
    type Row = (i64, i64, Option<i64>);

    fn pushed(rows: &[Row], batch_rows: usize, ties: &Ties) -> Newest {
        let key = [Field::new("id", DType::One(Scalar::Int64))];
        let fields =
            [key[0].clone(), Field::new("place", DType::One(Scalar::Int64)), Field::new("at", DType::TIMESTAMP)];
        let mut newest = Newest::default();
        for (number, rows) in rows.chunks(batch_rows).enumerate() {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
            let places = (0..rows.len()).map(|row| (number * batch_rows + row) as i64);
            let event_time = timestamps(rows.iter().map(|row| Some(row.1)).collect());
            let created_time = timestamps(rows.iter().map(|row| row.2).collect());
            let columns: Vec<ArrayRef> =
                vec![Arc::clone(&ids), Arc::new(Int64Array::from_iter_values(places)), Arc::new(event_time.clone())];
            let keys = KeyBatch::encode(&key, &[ids], rows.len());
            let batch = record_batch(&fields, columns, rows.len());
            newest.push(batch, &keys, &event_time, &created_time, ties).unwrap();
        }
        newest
    }

    /// The place in the stream of the row of each key.
    fn places(newest: &Newest, step: usize) -> BTreeMap<i64, i64> {
        let mut found = BTreeMap::new();
        for from in (0..newest.len()).step_by(step) {
            let rows = newest.rows(from, step).unwrap();
            let (ids, places) =
                (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_primitive::<Int64Type>());
            found.extend(ids.values().iter().copied().zip(places.values().iter().copied()));
        }
        found
    }

    proptest! {
        #[test]
        fn of_each_key_the_row_stays_that_is_newest_and_then_last(
            rows in prop::collection::vec((0..40_i64, 0..4_i64, prop::option::of(0..3_i64)), 0..400),
            batch_rows in 1..50_usize,
            step in 1..50_usize,
        ) {
            let mut expected: BTreeMap<i64, (i64, Option<i64>, i64)> = BTreeMap::new();
            for (place, (id, event, created)) in (0_i64..).zip(&rows) {
                let new = (*event, *created, place);
                let known = expected.entry(*id).or_insert(new);
                *known = (*known).max(new);
            }
            let newest = pushed(&rows, batch_rows, &Ties::LaterRow);
            prop_assert_eq!(newest.len(), expected.len());
            prop_assert_eq!(newest.newest_event_time(), expected.values().map(|row| row.0).max());
            let expected: BTreeMap<i64, i64> = expected.into_iter().map(|(id, row)| (id, row.2)).collect();
            prop_assert_eq!(places(&newest, step), expected);
        }
    }

    #[test]
    fn rows_without_an_order_tie_to_the_larger_values_wherever_they_stand() {
        let rows: Vec<Row> = (0..1_000).map(|row| (row % 7, row % 2, (row % 3 > 0).then_some(row % 3))).collect();
        // The second column is the place of the row, so here the larger value is the later one.
        let largest = places(&pushed(&rows, 1_000, &Ties::LaterRow), 3);
        for batch_rows in [1, 7, 300, 1_000] {
            assert_eq!(places(&pushed(&rows, batch_rows, &Ties::LargerValues(vec![1])), 3), largest);
        }
        // Each key has rows that tie, so by its own column alone, which is the same in all of them, the first one stays.
        let first = places(&pushed(&rows, 1_000, &Ties::LargerValues(vec![0])), 3);
        assert!(first.iter().all(|(key, place)| place < &largest[key]), "{first:?} {largest:?}");
    }

    #[test]
    fn rows_that_have_lost_are_let_go_of() {
        let rows: Vec<Row> = (0..ROWS_KEPT_MIN as i64 * 3).map(|row| (row % 1_000, row, None)).collect();
        let newest = pushed(&rows, 8_192, &Ties::LaterRow);
        assert_eq!(newest.len(), 1_000);
        assert!(newest.rows_kept <= ROWS_KEPT_MIN, "{} rows are kept", newest.rows_kept);
        assert!(newest.bytes() < ROWS_KEPT_MIN * 40, "{} bytes", newest.bytes());
        let last = newest.rows_of(&[999]).unwrap();
        assert_eq!(last.column(2).as_primitive::<TimestampMicrosecondType>().value(0), rows.len() as i64 - 433);
    }

    #[test]
    fn keys_are_numbered_as_they_come_and_found_again_by_all_of_their_bytes() {
        let mut table = KeyTable::default();
        let keys: Vec<Vec<u8>> = (0..20_000_u32)
            .map(|number| number.to_be_bytes()[1..].repeat(1 + number as usize % 5))
            .chain([vec![], vec![0], vec![0; 8], vec![0; 9], vec![0; 16]])
            .collect();
        let mut known: BTreeMap<&[u8], usize> = BTreeMap::new();
        for key in keys.iter().chain(&keys) {
            let next = known.len();
            assert_eq!(table.number(key), *known.entry(key).or_insert(next));
        }
        assert!(known.iter().all(|(key, number)| table.key(*number) == *key));
    }
}
