//! Going through all rows of a view, page by page: for copies of what is online, not for requests.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::TimestampMicrosecondType;

use arrow::array::AsArray;

use super::Error;
use crate::batch::{FeatureRows, StoredRows, timestamps};

/// Where the next page of a scan begins. Made by a store, and of no use to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(super) Vec<u8>);

/// Some rows of a view.
#[derive(Clone, Debug, Default)]
pub struct RowPage {
    /// None of them a tombstone, none with a place in a stream.
    pub rows: Vec<FeatureRows>,
    /// None after the last page. A page without rows may well have one.
    pub next: Option<Cursor>,
}

/// The rows that are present. `keys` are what `stored` was asked for, with all features of the view, and `created_time`
/// when each was written.
pub(super) fn present_rows(
    view: &str,
    keys: &[ArrayRef],
    stored: &StoredRows,
    created_time: Vec<Option<i64>>,
) -> Result<FeatureRows, Error> {
    let created_time = timestamps(created_time);
    let all = FeatureRows::new(keys.to_vec(), stored.columns.clone(), stored.event_time.clone(), created_time);
    only(view, &all, &stored.present)
}

/// The rows where `keep` is set, as rows that came from no stream.
pub(super) fn only(view: &str, rows: &FeatureRows, keep: &BooleanBuffer) -> Result<FeatureRows, Error> {
    let keep = BooleanArray::new(keep.clone(), None);
    let kept = |column: &dyn Array| {
        filter(column, &keep).map_err(|error| Error::Damaged { view: view.to_owned(), detail: error.to_string() })
    };
    let columns = |columns: &[ArrayRef]| columns.iter().map(|column| kept(column)).collect::<Result<Vec<_>, _>>();
    let times = |column: &dyn Array| Ok::<_, Error>(kept(column)?.as_primitive::<TimestampMicrosecondType>().clone());
    Ok(FeatureRows::new(
        columns(&rows.keys)?,
        columns(&rows.features)?,
        times(&rows.event_time)?,
        times(&rows.created_time)?,
    ))
}
