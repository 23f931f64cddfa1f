//! The point-in-time join: for each label row, the newest feature row with
//! `label_time − ttl ≤ event_time ≤ label_time`, ties to the later created time, then to the later source row, or where
//! the rows of a source have no order, to the larger values. Where a label says what was known when, only rows with
//! `created_time ≤ known_at` count for it.
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

mod kept;
mod kernel;
mod known;
mod newest;
mod keys;
mod operator;

use std::cmp::Ordering;
use std::io;
use std::time::Duration;

use arrow::array::{ArrayRef, TimestampMicrosecondArray, UInt32Array, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

use crate::batch::{StoredRows, timestamps};
use crate::catalog::Field;
use crate::clock::Micros;
use crate::error::ErrorKind;
use crate::limits::PIT_KEPT_BYTES;

use kept::Kept;
use known::KnownJoin;

pub use kernel::{Join, Match, Place};
pub use keys::Keys;
pub use newest::Newest;
pub use operator::{BoxError, History, Joined, JoinedBatch, LabelFrame, Open, Rows, ViewJoin, Wanted, join};

pub use crate::space::Space;

/// The join of one view's history to a label frame, columns included.
#[derive(Debug)]
pub struct PointInTime {
    matching: Matching,
    kept: Kept,
    /// How many bytes may be kept before the wanted rows are copied out of their batches.
    compact_at: usize,
    /// The least that `compact_at` is.
    room: usize,
    ties: Ties,
}

#[derive(Debug)]
enum Matching {
    Newest(Join),
    Known(KnownJoin),
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
        Self::of(features, Matching::Newest(Join::new(keys, times, ttl.map(micros))))
    }

    /// The same, but a label finds only rows with `created time <= known_at`, which is never null, and rows without a
    /// created time.
    pub fn as_known(
        features: Vec<Field>,
        keys: &Keys,
        times: &TimestampMicrosecondArray,
        known_at: &TimestampMicrosecondArray,
        ttl: Option<Duration>,
    ) -> Self {
        Self::of(features, Matching::Known(KnownJoin::new(keys, times, known_at, ttl.map(micros))))
    }

    fn of(features: Vec<Field>, matching: Matching) -> Self {
        Self {
            matching,
            kept: Kept::new(features),
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
        self.kept.bytes()
    }

    /// The next rows of the source. `columns` are the features, in order and of their types.
    pub fn push(
        &mut self,
        keys: &Keys,
        event_time: &TimestampMicrosecondArray,
        created_time: &TimestampMicrosecondArray,
        columns: &[ArrayRef],
    ) -> Result<(), Error> {
        let (kept, ties) = (&self.kept, &self.ties);
        let freed = match &mut self.matching {
            Matching::Newest(join) => join.push(keys, event_time, created_time, |now, before| {
                // A batch of which a row is in the running is kept; the one of now is not among them yet.
                let there = kept.columns(before.batch).unwrap_or(columns);
                ties.replaces((columns, now.row), (there, before.row))
            }),
            Matching::Known(join) => match join.push(keys, event_time, created_time) {
                true => Vec::new(),
                false => vec![kept.next_number()],
            },
        };
        self.kept.push(keys.rows(), columns);
        self.kept.free(freed);
        if let Matching::Known(join) = &self.matching
            && join.is_full()
        {
            self.let_go();
        }
        if self.kept.bytes() > self.compact_at { self.compact() } else { Ok(()) }
    }

    /// One row per label, in order.
    pub fn finish(mut self) -> Result<StoredRows, Error> {
        self.compact()?;
        let Self { matching, kept, ties, .. } = self;
        let matches = match matching {
            Matching::Newest(join) => join.finish(),
            Matching::Known(join) => join.finish(ties.among(&kept)),
        };
        // All wanted rows are in one batch now.
        let rows: UInt32Array = matches.iter().map(|found| found.map(|found| found.place.row)).collect();
        Ok(StoredRows {
            present: BooleanBuffer::collect_bool(matches.len(), |label| matches[label].is_some()),
            event_time: timestamps(matches.iter().map(|found| found.map(|found| found.event_time)).collect()),
            columns: kept.take(&rows)?,
            unreachable: None,
        })
    }

    /// Copies the rows that are still wanted into one batch and lets the others go.
    pub fn compact(&mut self) -> Result<(), Error> {
        self.let_go();
        let numbering = match &self.matching {
            Matching::Newest(join) => self.kept.numbering(join.wanted()),
            Matching::Known(join) => self.kept.numbering(join.wanted()),
        };
        match &mut self.matching {
            Matching::Newest(join) => join.renumber(|place| numbering.of(place)),
            Matching::Known(join) => join.renumber(|place| numbering.of(place)),
        }
        self.kept.compact(&numbering)?;
        // Where the wanted rows alone fill the bound, copying them again at every push would take for ever.
        self.compact_at = self.room.max(2 * self.kept.bytes());
        Ok(())
    }

    /// Lets go of rows that were noted and are no label's answer.
    fn let_go(&mut self) {
        let (kept, ties) = (&self.kept, &self.ties);
        if let Matching::Known(join) = &mut self.matching {
            let freed = join.let_go(ties.among(kept));
            self.kept.free(freed);
        }
    }
}

fn micros(ttl: Duration) -> Micros {
    Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX)
}

impl Ties {
    /// Whether the row of now takes the place of the one before, with which it ties on both times; each is a row of some
    /// columns. Ties are rare, and this is not quick.
    fn replaces(&self, now: (&[ArrayRef], u32), before: (&[ArrayRef], u32)) -> bool {
        let Self::LargerValues(order) = self else { return true };
        for column in order {
            let compare = make_comparator(now.0[*column].as_ref(), before.0[*column].as_ref(), SortOptions::default());
            match compare.map(|compare| compare(now.1 as usize, before.1 as usize)) {
                Ok(Ordering::Equal) | Err(_) => {}
                Ok(other) => return other == Ordering::Greater,
            }
        }
        false
    }

    /// The same for two rows of batches that are kept.
    fn among(&self, kept: &Kept) -> impl Fn(Place, Place) -> bool {
        let columns = |place: Place| kept.columns(place.batch).expect("a batch of which a row is wanted is kept");
        move |now, before| self.replaces((columns(now), now.row), (columns(before), before.row))
    }
}

#[cfg(test)]
mod tests;
