//! The newest row of each key of a stream of rows: what sync writes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;

use crate::batch::KeyBatch;

/// When a row became true and when it was written; `None`, an unknown created time, sorts before every time.
type Order = (i64, Option<i64>);

#[derive(Debug)]
struct Candidate {
    order: Order,
    batch: usize,
    row: usize,
}

/// Takes rows in source order and keeps, per key, the one with the latest (event time, created time); of two that tie,
/// the later one.
#[derive(Debug, Default)]
pub struct Newest {
    keys: HashMap<Box<[u8]>, usize>,
    candidates: Vec<Candidate>,
    batches: Vec<RecordBatch>,
    /// Rows in `batches`, of which at most one a key is needed.
    rows_kept: usize,
}

/// Rows kept per key before the rows that have lost are let go of.
const ROWS_PER_KEY_KEPT: usize = 4;
/// Below this many rows there is nothing to gain from letting go of any.
const ROWS_KEPT_MIN: usize = 262_144;

impl Newest {
    /// `rows` of the same schema each time; rows with a null key are passed over.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn push(
        &mut self,
        rows: RecordBatch,
        keys: &KeyBatch,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
    ) -> Result<(), ArrowError> {
        let batch = self.batches.len();
        for row in (0..rows.num_rows()).filter(|row| !keys.is_null(*row)) {
            let created = created_time.is_valid(row).then(|| created_time.value(row));
            let candidate = Candidate { order: (event_time.value(row), created), batch, row };
            match self.keys.get(keys.get(row)) {
                Some(known) if self.candidates[*known].order <= candidate.order => self.candidates[*known] = candidate,
                Some(_) => {}
                None => {
                    if let Entry::Vacant(vacant) = self.keys.entry(keys.get(row).into()) {
                        vacant.insert(self.candidates.len());
                        self.candidates.push(candidate);
                    }
                }
            }
        }
        self.rows_kept += rows.num_rows();
        self.batches.push(rows);
        if self.rows_kept > ROWS_KEPT_MIN.max(self.candidates.len() * ROWS_PER_KEY_KEPT) {
            self.let_go()?;
        }
        Ok(())
    }

    /// Rows so far, one per key.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Rows `from..from + count` of the result; keys in the order in which they first came.
    ///
    /// # Errors
    /// Only if the batches' schemas differ.
    pub fn rows(&self, from: usize, count: usize) -> Result<RecordBatch, ArrowError> {
        let wanted: Vec<(usize, usize)> =
            self.candidates.iter().skip(from).take(count).map(|candidate| (candidate.batch, candidate.row)).collect();
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, &wanted)
    }

    /// Gathers the rows that still count into one batch.
    fn let_go(&mut self) -> Result<(), ArrowError> {
        let gathered = self.rows(0, self.candidates.len())?;
        for (row, candidate) in self.candidates.iter_mut().enumerate() {
            (candidate.batch, candidate.row) = (0, row);
        }
        self.rows_kept = gathered.num_rows();
        self.batches = vec![gathered];
        Ok(())
    }
}
