//! The feature columns of the rows that are still in the running: whole batches as they came, until those that are wanted
//! are copied out of them.
//!
//! They are copied in source order, so that memory is read from one end to the other; in the order of labels each row
//! would be waited for. And they are copied once more before they are handed out in label order: what a column is picked
//! from is then as small as can be.

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::error::ArrowError;

use super::{Error, Place};
use crate::batch::bytes;
use crate::catalog::Field;

#[derive(Debug)]
pub(super) struct Kept {
    features: Vec<Field>,
    /// By batch number; nothing once no label wants a row of it.
    batches: Vec<Option<Batch>>,
    bytes: usize,
}

#[derive(Debug)]
struct Batch {
    rows: usize,
    columns: Vec<ArrayRef>,
}

/// Rows of some batches, numbered in source order.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The place of the first row of each batch among the bits.
    starts: Vec<usize>,
    bits: Vec<u64>,
    /// Rows before those of each word of bits.
    before: Vec<u32>,
}

impl Kept {
    pub fn new(features: Vec<Field>) -> Self {
        Self { features, batches: Vec::new(), bytes: 0 }
    }

    /// Bytes of all columns.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn next_number(&self) -> u32 {
        self.batches.len() as u32
    }

    pub fn push(&mut self, rows: usize, columns: &[ArrayRef]) {
        debug_assert_eq!(columns.len(), self.features.len());
        self.bytes += bytes(columns);
        self.batches.push(Some(Batch { rows, columns: columns.to_vec() }));
    }

    /// The columns of a batch of which a row is wanted.
    pub fn columns(&self, batch: u32) -> Option<&[ArrayRef]> {
        Some(&self.batches.get(batch as usize)?.as_ref()?.columns)
    }

    /// No row of these batches is wanted any more.
    pub fn free(&mut self, batches: Vec<u32>) {
        for batch in batches {
            if let Some(batch) = self.batches[batch as usize].take() {
                self.bytes -= bytes(&batch.columns);
            }
        }
    }

    /// Numbers these rows; only they are wanted.
    pub fn numbering(&self, wanted: impl Iterator<Item = Place>) -> Numbering {
        let mut rows = 0;
        let start = |batch: &Option<Batch>| {
            let start = rows;
            rows += batch.as_ref().map_or(0, |batch| batch.rows);
            start
        };
        let starts = self.batches.iter().map(start).collect();
        let mut numbering = Numbering { starts, bits: vec![0; rows.div_ceil(64)], before: Vec::new() };
        for place in wanted {
            let (word, bit) = numbering.bit(place);
            numbering.bits[word] |= bit;
        }
        numbering.before = numbering
            .bits
            .iter()
            .scan(0, |rows, word| {
                let before = *rows;
                *rows += word.count_ones();
                Some(before)
            })
            .collect();
        numbering
    }

    /// Copies the rows that have a number into one batch, which becomes batch 0, and lets the others go.
    pub fn compact(&mut self, numbering: &Numbering) -> Result<(), Error> {
        let rows = numbering.rows();
        let batches: Vec<&Batch> = self.batches.iter().flatten().collect();
        let starts: Vec<usize> = numbering
            .starts
            .iter()
            .zip(&self.batches)
            .filter(|(_, batch)| batch.is_some())
            .map(|(start, _)| *start)
            .collect();
        let mut places = Vec::with_capacity(rows);
        let mut batch = 0;
        numbering.for_each(|row| {
            while starts.get(batch + 1).is_some_and(|next| *next <= row) {
                batch += 1;
            }
            places.push((batch, row - starts[batch]));
        });
        let column = |(number, feature): (usize, &Field)| {
            if places.is_empty() {
                return Ok(new_null_array(&feature.dtype.arrow(), 0));
            }
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.columns[number].as_ref()).collect();
            interleave(&arrays, &places).map_err(|source| gather_failed(feature, source))
        };
        let columns = self.features.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        self.bytes = bytes(&columns);
        self.batches = vec![Some(Batch { rows, columns })];
        Ok(())
    }

    /// The columns of these rows of the only batch, null where there is none.
    pub fn take(self, rows: &UInt32Array) -> Result<Vec<ArrayRef>, Error> {
        let columns = self.batches.into_iter().flatten().next().map(|batch| batch.columns);
        let column = |(number, feature): (usize, &Field)| match &columns {
            Some(columns) => take(&columns[number], rows, None).map_err(|source| gather_failed(feature, source)),
            None => Ok(new_null_array(&feature.dtype.arrow(), rows.len())),
        };
        self.features.iter().enumerate().map(column).collect()
    }
}

fn gather_failed(feature: &Field, source: ArrowError) -> Error {
    Error::Gather { feature: feature.name.clone(), source }
}

impl Numbering {
    fn bit(&self, place: Place) -> (usize, u64) {
        let row = self.starts[place.batch as usize] + place.row as usize;
        (row / 64, 1 << (row % 64))
    }

    /// The number of a row that has one.
    pub fn of(&self, place: Place) -> u32 {
        let (word, bit) = self.bit(place);
        self.before[word] + (self.bits[word] & (bit - 1)).count_ones()
    }

    fn rows(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows that have a number, in order, by their place among the bits.
    fn for_each(&self, mut row: impl FnMut(usize)) {
        for (word, bits) in self.bits.iter().enumerate() {
            let mut left = *bits;
            while left != 0 {
                row(word * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}
