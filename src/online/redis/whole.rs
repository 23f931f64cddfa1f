//! Rows as one layout gives them and another takes them: with everything that is known of them, not only their values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::error::ArrowError;

use crate::batch::{FeatureRows, Origin, StoredRows, bytes, timestamps};

/// What a stored row says of itself beside its values, as far as its layout has room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// None where another program wrote the values and no time.
    pub event_time: Option<i64>,
    pub created_time: Option<i64>,
    /// Partition and offset of the stream that the row came from.
    pub position: Option<(u32, u64)>,
    pub deleted: bool,
}

/// The rows of one view under some keys. Keys without a row are left out.
#[derive(Debug, Default)]
pub(super) struct WholeRows {
    /// Rows from no stream, then those of each partition. The name of a row's stream is not stored, so it is empty here.
    pub timed: Vec<FeatureRows>,
    /// Rows that say no time. They have the event time 0, so that any row that says one replaces them.
    pub untimed: Option<FeatureRows>,
}

/// Rows that are written in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    FromNoStream,
    Of(u32),
    Untimed,
}

impl WholeRows {
    /// `keys` are the join keys that `stored` was asked for, and `marks` what the row of each says of itself. Of `stored`
    /// all features were asked.
    pub fn of(keys: &[ArrayRef], stored: &StoredRows, marks: &[Option<Mark>]) -> Result<Self, ArrowError> {
        let mut kinds: BTreeMap<Kind, Vec<(u32, Mark)>> = BTreeMap::new();
        for (row, mark) in (0_u32..).zip(marks) {
            let Some(mark) = mark.filter(|mark| mark.deleted || stored.present.value(row as usize)) else { continue };
            let kind = match (mark.event_time, mark.position) {
                (None, _) => Kind::Untimed,
                (Some(_), None) => Kind::FromNoStream,
                (Some(_), Some((partition, _))) => Kind::Of(partition),
            };
            kinds.entry(kind).or_default().push((row, mark));
        }
        let mut whole = Self::default();
        for (kind, mut rows) in kinds {
            if let Kind::Of(_) = kind {
                rows.sort_by_key(|(_, mark)| mark.position);
            }
            let batch = batch(keys, stored, &rows, kind)?;
            match kind {
                Kind::Untimed => whole.untimed = Some(batch),
                Kind::FromNoStream | Kind::Of(_) => whole.timed.push(batch),
            }
        }
        Ok(whole)
    }

    pub fn rows(&self) -> usize {
        self.batches().map(FeatureRows::rows).sum()
    }

    pub fn tombstones(&self) -> usize {
        self.batches().filter_map(|rows| rows.deleted.as_ref()).map(BooleanBuffer::count_set_bits).sum()
    }

    /// What the rows take in memory.
    pub fn bytes(&self) -> usize {
        self.batches().map(|rows| bytes(&rows.keys) + bytes(&rows.features)).sum()
    }

    fn batches(&self) -> impl Iterator<Item = &FeatureRows> {
        self.timed.iter().chain(&self.untimed)
    }
}

fn batch(keys: &[ArrayRef], stored: &StoredRows, rows: &[(u32, Mark)], kind: Kind) -> Result<FeatureRows, ArrowError> {
    let places = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
    let of = |columns: &[ArrayRef]| {
        columns.iter().map(|column| take(column, &places, None)).collect::<Result<Vec<ArrayRef>, ArrowError>>()
    };
    let deleted = BooleanBuffer::collect_bool(rows.len(), |row| rows[row].1.deleted);
    let origin = match kind {
        Kind::Of(partition) => {
            let offsets = rows.iter().filter_map(|(_, mark)| Some(mark.position?.1)).collect();
            Some(Origin { stream: Arc::from(""), partition, offsets })
        }
        Kind::FromNoStream | Kind::Untimed => None,
    };
    Ok(FeatureRows {
        keys: of(keys)?,
        features: of(&stored.columns)?,
        event_time: timestamps(rows.iter().map(|(_, mark)| Some(mark.event_time.unwrap_or(0))).collect()),
        created_time: timestamps(rows.iter().map(|(_, mark)| mark.created_time).collect()),
        deleted: (deleted.count_set_bits() > 0).then_some(deleted),
        origin,
    })
}
