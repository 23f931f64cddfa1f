//! The point-in-time join: for each label row, the newest feature row with
//! `label_time − ttl ≤ event_time ≤ label_time`, ties to the later created time, then to the later source row, or where
//! the rows of a source have no order, to the larger values.
//!
//! [`Join`] finds the matches and knows only keys and times; [`PointInTime`] keeps the feature columns of the rows that
//! are still in the running and gathers them at the end. Both are pure: rows are fed in, in source order, and nothing
//! there knows where they come from. The operator of [`join`] runs them inside DataFusion: any number of views at once,
//! within a bound of memory, spilling to disk where labels and rows do not fit into it.
//!
//! # Why not sort both sides and merge them
//! The history is larger than the labels by orders of magnitude. Sorting it costs more than everything else and needs
//! all of it in memory; here each row is looked at once, in the order in which the source has it, and what is kept is
//! one candidate a label.

mod kernel;
mod newest;
mod keys;
mod operator;

use std::cmp::Ordering;
use std::io;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray, make_comparator, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, interleave};
use arrow::error::ArrowError;

use crate::batch::{StoredRows, bytes, timestamps};
use crate::catalog::Field;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::limits::PIT_KEPT_BYTES;

pub use kernel::{Join, Match, Place};
pub use keys::Keys;
pub use newest::Newest;
pub use operator::{BoxError, History, Joined, JoinedBatch, LabelFrame, Open, Rows, ViewJoin, Wanted, join};

pub use crate::space::Space;

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
    /// The least that `compact_at` is.
    room: usize,
    ties: Ties,
}

/// Which of two rows of a key counts that have the same event time and the same created time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The one that comes later: of a source whose rows have an order.
    #[default]
    LaterRow,
    /// The one with the larger values, compared feature by feature in this order, nulls first: of a source whose rows are a
    /// set, which may come in another order the next time.
    LargerValues(Vec<usize>),
}

/// Why the matched rows could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("gathering feature {feature} for the labels")]
    Gather { feature: String, source: ArrowError },
    /// What labels or rows come from failed, in its own words.
    #[error("{0}")]
    Input(BoxError),
    #[error(
        "the join did not fit into its memory, and spilling to {folder} failed; free some space there, or give the join more memory"
    )]
    Spill {
        folder: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the join needs {limit} bytes on disk and more, which is all that it may use; raise spill_max, or give it more memory"
    )]
    SpilledTooMuch { limit: u64 },
    #[error("the point-in-time join stopped: {0}")]
    Stopped(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            // The only way for it to fail is a column of text that outgrows 2 GiB.
            Self::Gather { .. } => ErrorKind::TooLarge,
            Self::Spill { .. } | Self::SpilledTooMuch { .. } => ErrorKind::Exhausted,
            Self::Input(_) | Self::Stopped(_) => ErrorKind::Internal,
        }
    }
}

impl PointInTime {
    /// Labels are `keys` at `times`; a label with a null key or a null time matches nothing. Without a `ttl` a row is
    /// never too old.
    pub fn new(features: Vec<Field>, keys: &Keys, times: &TimestampMicrosecondArray, ttl: Option<Duration>) -> Self {
        let ttl = ttl.map(|ttl| Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX));
        let join = Join::new(keys, times, ttl);
        Self {
            join,
            features,
            kept: Vec::new(),
            kept_bytes: 0,
            compact_at: PIT_KEPT_BYTES,
            room: PIT_KEPT_BYTES,
            ties: Ties::LaterRow,
        }
    }

    /// The same join, which copies wanted rows out of their batches once it keeps more than these bytes.
    pub fn keeping(self, bytes: usize) -> Self {
        Self { compact_at: bytes, room: bytes, ..self }
    }

    /// The same join with another rule for rows that tie.
    pub fn breaking(self, ties: Ties) -> Self {
        Self { ties, ..self }
    }

    /// Bytes of all feature columns that are kept now.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// The next rows of the source. `columns` are the features, in order and of their types.
    pub fn push(
        &mut self,
        keys: &Keys,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
        columns: &[ArrayRef],
    ) -> Result<(), Error> {
        debug_assert_eq!(columns.len(), self.features.len());
        let (kept, ties) = (&self.kept, &self.ties);
        let freed = self.join.push(keys, event_time, created_time, |now, before| match ties {
            Ties::LaterRow => true,
            // A batch of which a row is in the running is kept; the one of now is not among them yet.
            Ties::LargerValues(order) => match kept.get(before.batch as usize) {
                Some(Some(there)) => larger(order, (columns, now.row), (there, before.row)),
                Some(None) | None => larger(order, (columns, now.row), (columns, before.row)),
            },
        });
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
    pub fn compact(&mut self) -> Result<(), Error> {
        let places: Vec<Option<Place>> = self.join.renumber().into_iter().map(Some).collect();
        let columns = gather(&self.features, &self.kept, &places)?;
        self.kept_bytes = bytes(&columns);
        // Where the wanted rows alone fill the bound, copying them again at every push would take for ever.
        self.compact_at = self.room.max(2 * self.kept_bytes);
        self.kept = vec![Some(columns)];
        Ok(())
    }
}

/// Whether the row of now has larger values than the one before. Ties are rare, and this is not quick.
fn larger(order: &[usize], now: (&[ArrayRef], u32), before: (&[ArrayRef], u32)) -> bool {
    for column in order {
        let comparator = make_comparator(now.0[*column].as_ref(), before.0[*column].as_ref(), SortOptions::default());
        match comparator.map(|compare| compare(now.1 as usize, before.1 as usize)) {
            Ok(Ordering::Equal) | Err(_) => {}
            Ok(other) => return other == Ordering::Greater,
        }
    }
    false
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
