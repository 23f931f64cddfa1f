//! The point-in-time join: for each label row, the newest feature row with
//! `label_time − ttl ≤ event_time ≤ label_time`, ties to the later created time, then to the later source row.
//!
//! [`Join`] finds the matches and knows only keys and times; [`PointInTime`] keeps the feature columns of the rows that
//! are still in the running and gathers them at the end. Both are pure: rows are fed in, in source order, and nothing
//! here knows where they come from.
//!
//! # Why not sort both sides and merge them
//! The history is larger than the labels by orders of magnitude. Sorting it costs more than everything else and needs
//! all of it in memory; here each row is looked at once, in the order in which the source has it, and what is kept is
//! one candidate a label.

mod kernel;
mod newest;
mod keys;

use std::time::Duration;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::interleave;
use arrow::error::ArrowError;

use crate::batch::{KeyBatch, StoredRows, bytes, timestamps};
use crate::catalog::Field;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::limits::PIT_KEPT_BYTES;

pub use kernel::{Join, Match, Place};
pub use newest::Newest;

/// The join of one view's history to a label frame, columns included.
#[derive(Debug)]
pub struct PointInTime {
    join: Join,
    features: Vec<Field>,
    /// The feature columns of each batch, by batch number; nothing once no label wants a row of it.
    kept: Vec<Option<Vec<ArrayRef>>>,
    kept_bytes: usize,
    /// How many bytes may be kept before the wanted rows are copied out of their batches.
    compact_at: usize,
}

/// Why the matched rows could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("gathering feature {feature} for the labels")]
    Gather { feature: String, source: ArrowError },
}

impl Error {
    /// The only way for it to fail is a column of text that outgrows 2 GiB.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::TooLarge
    }
}

impl PointInTime {
    /// Labels are `keys` at `times`; a label with a null key or a null time matches nothing. Without a `ttl` a row is
    /// never too old.
    pub fn new(
        features: Vec<Field>,
        keys: &KeyBatch,
        times: &TimestampMicrosecondArray,
        ttl: Option<Duration>,
    ) -> Self {
        let ttl = ttl.map(|ttl| Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX));
        let join = Join::new(keys, times, ttl);
        Self { join, features, kept: Vec::new(), kept_bytes: 0, compact_at: PIT_KEPT_BYTES }
    }

    /// The next rows of the source. `columns` are the features, in order and of their types.
    pub fn push(
        &mut self,
        keys: &KeyBatch,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
        columns: &[ArrayRef],
    ) -> Result<(), Error> {
        debug_assert_eq!(columns.len(), self.features.len());
        let freed = self.join.push(keys, event_time, created_time);
        self.kept.push(Some(columns.to_vec()));
        self.kept_bytes += bytes(columns);
        for batch in freed {
            if let Some(columns) = self.kept[batch as usize].take() {
                self.kept_bytes -= bytes(&columns);
            }
        }
        if self.kept_bytes > self.compact_at { self.compact() } else { Ok(()) }
    }

    /// One row per label, in order.
    pub fn finish(self) -> Result<StoredRows, Error> {
        let matches = self.join.finish();
        let places: Vec<Option<Place>> = matches.iter().map(|found| found.map(|found| found.place)).collect();
        Ok(StoredRows {
            present: BooleanBuffer::collect_bool(matches.len(), |label| matches[label].is_some()),
            event_time: timestamps(matches.iter().map(|found| found.map(|found| found.event_time)).collect()),
            columns: gather(&self.features, &self.kept, &places)?,
            unreachable: None,
        })
    }

    /// Copies the rows that are still wanted into one batch and lets the others go.
    fn compact(&mut self) -> Result<(), Error> {
        let places: Vec<Option<Place>> = self.join.renumber().into_iter().map(Some).collect();
        let columns = gather(&self.features, &self.kept, &places)?;
        self.kept_bytes = bytes(&columns);
        // Where the wanted rows alone fill the bound, copying them again at every push would take for ever.
        self.compact_at = PIT_KEPT_BYTES.max(2 * self.kept_bytes);
        self.kept = vec![Some(columns)];
        Ok(())
    }
}

/// The feature columns at `places`, null where there is none.
fn gather(
    features: &[Field],
    kept: &[Option<Vec<ArrayRef>>],
    places: &[Option<Place>],
) -> Result<Vec<ArrayRef>, Error> {
    // Position 0 is the null that an unmatched label gets; the kept batches follow.
    let mut position = vec![0; kept.len()];
    let batches: Vec<&Vec<ArrayRef>> = kept.iter().flatten().collect();
    let numbers = kept.iter().enumerate().filter(|(_, columns)| columns.is_some()).map(|(number, _)| number);
    for (at, number) in numbers.enumerate() {
        position[number] = at + 1;
    }
    let at = |place: &Place| (position[place.batch as usize], place.row as usize);
    let indices: Vec<(usize, usize)> = places.iter().map(|place| place.as_ref().map_or((0, 0), at)).collect();
    let gather_feature = |(number, feature): (usize, &Field)| {
        let null = new_null_array(&feature.dtype.arrow(), 1);
        let arrays = std::iter::once(null.as_ref()).chain(batches.iter().map(|columns| columns[number].as_ref()));
        let arrays: Vec<&dyn Array> = arrays.collect();
        interleave(&arrays, &indices).map_err(|source| Error::Gather { feature: feature.name.clone(), source })
    };
    features.iter().enumerate().map(gather_feature).collect()
}

#[cfg(test)]
mod tests;
