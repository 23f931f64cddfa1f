//! A training set is made: labels in, the features that were true at each label's time out.

use arrow::array::RecordBatch;

use super::{Error, Selection};
use crate::gateway::Gateway;

/// The rows to find features for.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Join keys and request fields by name, the label's time, and any other columns, which pass through.
    pub rows: RecordBatch,
    /// The column with the time of each label; `None` takes `event_timestamp`, else the only timestamp column.
    pub time_column: Option<String>,
}

/// How the training set should look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Adds the column `lockstep_digest` (dictionary-encoded): the digests of all transforms that made the row.
    pub digest_column: bool,
}

/// One row out per label row, in order: the label frame's own columns, then the selected features. The schema's metadata
/// carries `lockstep.version`, `lockstep.service` and `lockstep.digest.<view>`.
pub async fn train(
    gateway: &Gateway,
    selection: &Selection,
    labels: Labels,
    options: Options,
) -> Result<RecordBatch, Error> {
    let _ = (gateway, selection, labels, options);
    todo!()
}
