//! What a view's join found, in label order: columns in memory, or parts on disk from which the next rows are taken.
//!
//! The columns are: whether a row was found, its event time, and the features.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use datafusion::execution::memory_pool::MemoryReservation;

use super::ViewJoin;
use super::spill::{Spilled, SpilledRows};
use super::view::part_of;
use crate::batch::StoredRows;
use crate::catalog::{DType, Field};
use crate::pit::keys::FoldState;
use crate::pit::{Error, Keys};

/// The columns of one view's answer.
pub(super) fn found_schema(features: &[Field]) -> SchemaRef {
    let mut fields = vec![
        ArrowField::new("found", DataType::Boolean, false),
        ArrowField::new("event_time", DType::TIMESTAMP.arrow(), true),
    ];
    fields.extend(features.iter().enumerate().map(|(number, feature)| {
        // By number: a feature may have the name of another column.
        ArrowField::new(number.to_string(), feature.dtype.arrow(), true)
    }));
    Arc::new(Schema::new(fields))
}

pub(super) fn found_columns(rows: &StoredRows) -> Vec<ArrayRef> {
    let present: ArrayRef = Arc::new(BooleanArray::new(rows.present.clone(), None));
    let event_time: ArrayRef = Arc::new(rows.event_time.clone());
    [present, event_time].into_iter().chain(rows.columns.iter().cloned()).collect()
}

pub(super) enum Found {
    Memory {
        columns: Vec<ArrayRef>,
        taken: usize,
        /// Given back with the columns.
        _memory: Option<MemoryReservation>,
    },
    Parts {
        view: ViewJoin,
        state: FoldState,
        parts: Vec<Part>,
    },
}

/// The answers of one part that are not taken yet.
pub(super) struct Part {
    rows: SpilledRows,
    read: VecDeque<RecordBatch>,
}

impl Found {
    /// The answer to no labels.
    pub(super) fn none(features: &[Field]) -> Self {
        let columns = found_schema(features).fields().iter().map(|field| new_empty_array(field.data_type())).collect();
        Self::Memory { columns, taken: 0, _memory: None }
    }

    pub(super) fn in_memory(columns: Vec<ArrayRef>, memory: MemoryReservation) -> Self {
        Self::Memory { columns, taken: 0, _memory: Some(memory) }
    }

    pub(super) fn in_parts(view: &ViewJoin, state: FoldState, parts: Vec<Spilled>) -> Result<Self, Error> {
        let part = |part: Spilled| Ok(Part { rows: part.rows(None)?, read: VecDeque::new() });
        let parts = parts.into_iter().map(part).collect::<Result<_, Error>>()?;
        Ok(Self::Parts { view: view.clone(), state, parts })
    }

    pub(super) fn on_disk(&self) -> bool {
        matches!(self, Self::Parts { .. })
    }

    /// The answers to the next labels.
    pub(super) fn next(&mut self, labels: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
        let rows = labels.num_rows();
        match self {
            Self::Memory { columns, taken, .. } => {
                let from = *taken;
                *taken += rows;
                Ok(columns.iter().map(|column| column.slice(from, rows)).collect())
            }
            Self::Parts { view, state, parts } => {
                let keys: Vec<ArrayRef> = view.label_keys.iter().map(|key| Arc::clone(labels.column(*key))).collect();
                let keys = Keys::of(&view.join_keys, &keys, rows);
                let part = part_of(&keys, &keys.hashes(state), parts.len());
                put_together(parts, &part)
            }
        }
    }
}

/// The next row of the part that each label is in.
fn put_together(parts: &mut [Part], part: &[u32]) -> Result<Vec<ArrayRef>, Error> {
    let mut counts = vec![0_usize; parts.len()];
    for part in part {
        counts[*part as usize] += 1;
    }
    // The pieces of all parts one behind the other, and where the rows of a part begin among them.
    let mut pieces: Vec<RecordBatch> = Vec::new();
    let mut next: Vec<(usize, usize)> = Vec::with_capacity(parts.len());
    for (part, count) in parts.iter_mut().zip(&counts) {
        next.push((pieces.len(), 0));
        part.take(*count, &mut pieces)?;
    }
    let mut places = Vec::with_capacity(part.len());
    for part in part {
        let (piece, row) = &mut next[*part as usize];
        places.push((*piece, *row));
        *row += 1;
        if *row == pieces[*piece].num_rows() {
            (*piece, *row) = (*piece + 1, 0);
        }
    }
    let Some(first) = pieces.first() else { return Err(ended()) };
    let column = |column: usize| {
        let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.column(column).as_ref()).collect();
        interleave(&pieces, &places).map_err(|error| Error::Stopped(error.to_string()))
    };
    (0..first.num_columns()).map(column).collect()
}

impl Part {
    /// Puts the next `count` rows behind `pieces`, none of which is empty.
    fn take(&mut self, mut count: usize, pieces: &mut Vec<RecordBatch>) -> Result<(), Error> {
        while count > 0 {
            let batch = match self.read.pop_front() {
                Some(batch) => batch,
                None => self.rows.next().transpose()?.ok_or_else(ended)?,
            };
            let rows = count.min(batch.num_rows());
            if rows < batch.num_rows() {
                self.read.push_front(batch.slice(rows, batch.num_rows() - rows));
            }
            if rows > 0 {
                pieces.push(batch.slice(0, rows));
            }
            count -= rows;
        }
        Ok(())
    }
}

fn ended() -> Error {
    Error::Stopped("a part has fewer answers than labels".to_owned())
}
