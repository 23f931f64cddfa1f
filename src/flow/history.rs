//! The history of a feature view: the rows of its source, without those that are quarantined.
//!
//! Whoever reads the history for its values (sync, training) reads it here. So a row that serving does not have, because
//! it is not what the view expects, no training set has either.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use futures::StreamExt;

use crate::catalog::{Catalog, FeatureView, Field, Source};
use crate::offline::{Error, OfflineStore, Rows, Scan};
use crate::pit::Ties;
use crate::quality::{RowChecks, needed, quarantines};

/// As [`OfflineStore::scan`], of `source`, which `view` reads.
pub async fn scan(offline: &dyn OfflineStore, source: &Source, view: &FeatureView, scan: &Scan) -> Result<Rows, Error> {
    let needed = needed(view, quarantines);
    if needed.is_empty() {
        return offline.scan(source, scan).await;
    }
    let asked = scan.columns.len();
    let columns = with_features(&scan.columns, view, &needed);
    let checks = RowChecks::of(&view.expectations, &columns, quarantines);
    let rows = offline.scan(source, &Scan { columns, ..scan.clone() }).await?;
    let source_name = source.name.clone();
    let kept = move |batch: RecordBatch| {
        kept(&checks, &batch, asked)
            .map_err(|error| Error::Unreadable { source_name: source_name.clone(), detail: error.to_string() })
    };
    let rows = rows.map(move |batch| batch.and_then(&kept));
    let some = |batch: &Result<RecordBatch, Error>| {
        futures::future::ready(!matches!(batch, Ok(batch) if batch.num_rows() == 0))
    };
    Ok(rows.filter(some).boxed())
}

/// Which of two rows counts that tie on both times: of a source whose rows have an order the later one, of any other the
/// one with the larger values in the columns of the view's features, which are given in the view's order.
pub(super) fn ties(catalog: &Catalog, source: &Source, features: impl IntoIterator<Item = usize>) -> Ties {
    match catalog.keeps_order(source) {
        true => Ties::LaterRow,
        false => Ties::LargerValues(features.into_iter().collect()),
    }
}

/// The rows of a batch that the view takes. The batch has all columns of the view: join keys, features, and the two times.
pub(super) fn taken(view: &FeatureView, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = view.join_keys.iter().chain(&view.features).cloned().collect();
    let checks = RowChecks::of(&view.expectations, &fields, quarantines);
    if checks.is_empty() { Ok(batch) } else { kept(&checks, &batch, fields.len()) }
}

/// `columns`, and behind them the features of `view` that are not among them.
pub(super) fn with_features(columns: &[Field], view: &FeatureView, features: &[&str]) -> Vec<Field> {
    let mut all = columns.to_vec();
    for name in features {
        if !all.iter().any(|field| field.name == *name) {
            all.extend(view.features.iter().find(|feature| feature.name == *name).cloned());
        }
    }
    all
}

/// The rows that are as they should be, with the first `asked` columns and the two times.
fn kept(checks: &RowChecks, batch: &RecordBatch, asked: usize) -> Result<RecordBatch, ArrowError> {
    let times = batch.num_columns() - 2;
    let failed = checks.failed(&batch.columns()[..times]);
    let columns: Vec<usize> = (0..asked).chain([times, times + 1]).collect();
    let batch = batch.project(&columns)?;
    let bad = failed.into_iter().map(|failed| failed.rows).reduce(|all, rows| &all | &rows);
    match bad {
        None => Ok(batch),
        Some(bad) => filter_record_batch(&batch, &good(&bad)),
    }
}

/// The other rows.
pub(super) fn good(bad: &BooleanBuffer) -> BooleanArray {
    BooleanArray::new(!bad, None)
}

/// The store and the source of a view, for work that leaves the thread.
pub(super) type Reads = (Arc<dyn OfflineStore>, Source);
