//! Rows that take the place of those with their keys and event time, by Delta's merge: the files that have such rows are
//! written anew without them.
//!
//! Of two rows of one batch with the same keys the later one stays. Where a table has several rows of the same keys and
//! time already, each of them becomes the new one.
//!
//! A merge is committed on the very version that it read, or is done again: the crate's own check does not see that a
//! row with one of our keys was added in between.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};
use datafusion::common::Column;
use datafusion::prelude::{Expr, SessionContext};
use deltalake::{DeltaTable, DeltaTableError};

use super::super::Error;
use super::failure;
use super::place::Place;
use super::write::{Writable, append, file_properties, of_batch, state, too_busy, wait, writable};
use crate::limits::DELTA_ATTEMPTS_MAX;

/// Names of the two sides within the merge.
const NEW: &str = "new";
const KEPT: &str = "kept";

/// As [`append`], but a row takes the place of those that have its values in the columns `keys`.
pub(super) async fn upsert(place: &Place, batch_id: &str, keys: &[String], rows: &RecordBatch) -> Result<(), Error> {
    let rows =
        last_of_each(rows, keys).map_err(|detail| Error::NotWritable { source_name: place.name.clone(), detail })?;
    if rows.num_rows() == 0 {
        return append(place, batch_id, &rows).await;
    }
    for attempt in 1..=DELTA_ATTEMPTS_MAX {
        let Some(Writable { loaded, rows, grows }) = writable(place, batch_id, &rows).await? else { return Ok(()) };
        match merge(loaded.table, batch_id, keys, rows, grows).await {
            Err(error) if failure::is_conflict(&error) => wait(attempt).await,
            Err(error) => return Err(failure::write(place, error)),
            Ok(_) => return Ok(()),
        }
    }
    Err(too_busy(place))
}

async fn merge(
    table: DeltaTable,
    batch_id: &str,
    keys: &[String],
    rows: RecordBatch,
    grows: bool,
) -> Result<DeltaTable, DeltaTableError> {
    let columns: Vec<String> = rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
    let same_key = same_key(keys, &rows);
    let state = state()?;
    let rows = SessionContext::new_with_state(state.clone()).read_batch(rows)?;
    let (table, _) = table
        .merge(rows, same_key)
        .with_source_alias(NEW)
        .with_target_alias(KEPT)
        .with_merge_schema(grows)
        .when_matched_update(|update| {
            columns.iter().fold(update, |update, name| update.update(Column::from_name(name), column(NEW, name)))
        })?
        .when_not_matched_insert(|insert| {
            columns.iter().fold(insert, |insert, name| insert.set(Column::from_name(name), column(NEW, name)))
        })?
        .with_session_state(Arc::new(state))
        .with_writer_properties(file_properties())
        .with_commit_properties(of_batch(batch_id).with_max_retries(0))
        .await?;
    Ok(table)
}

/// Two nulls are the same key. Where none is among the new rows, plain equality says as much, and lets files be skipped
/// by their statistics.
fn same_key(keys: &[String], rows: &RecordBatch) -> Expr {
    let has_nulls = keys.iter().any(|key| rows.column_by_name(key).is_some_and(|column| column.null_count() > 0));
    let same = |key: &String| match has_nulls {
        true => datafusion::logical_expr::binary_expr(
            column(KEPT, key),
            datafusion::logical_expr::Operator::IsNotDistinctFrom,
            column(NEW, key),
        ),
        false => column(KEPT, key).eq(column(NEW, key)),
    };
    keys.iter().map(same).reduce(Expr::and).unwrap_or_else(|| datafusion::prelude::lit(false))
}

fn column(side: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(side), name))
}

/// The last row of each key, in the order of `rows`.
fn last_of_each(rows: &RecordBatch, keys: &[String]) -> Result<RecordBatch, String> {
    let columns =
        keys.iter().map(|key| rows.column_by_name(key).cloned().ok_or_else(|| format!("there is no column {key}")));
    let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
    if columns.is_empty() {
        return Err("rows to be replaced are found by keys, and none were given".to_owned());
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&columns));
    let encoded = converter.map_err(|error| error.to_string())?;
    let mut seen = HashSet::with_capacity(rows.num_rows());
    let mut stays = vec![false; rows.num_rows()];
    for row in (0..rows.num_rows()).rev() {
        stays[row] = seen.insert(encoded.row(row));
    }
    if seen.len() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, &BooleanArray::from(stays)).map_err(|error| error.to_string())
}
