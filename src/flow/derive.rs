//! Runs the derivations of a plan over the columns that are there already.

use arrow::array::ArrayRef;

use crate::batch::StoredRows;

/// The columns of one batch of rows while its features are computed.
#[derive(Clone, Debug)]
pub struct Working {
    pub rows: usize,
    /// The time asked about, by row: timestamp µs UTC, never null.
    pub as_of: ArrayRef,
    pub inputs: Vec<ArrayRef>,
    pub stored: Vec<StoredRows>,
    /// The outputs of each derivation that has run.
    pub derived: Vec<Vec<ArrayRef>>,
}
