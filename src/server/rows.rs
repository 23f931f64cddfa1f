//! Rows that a caller writes down as JSON columns, as the views that take them need them.
//!
//! A column takes the type that the views say it has. What is no column of theirs goes on as a column of nulls, so that
//! one place, the flow, says what is wrong with it, for every wire.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use serde_json::value::RawValue;

use super::http::values::{Refused, Times, json_column, json_length, text_column};
use crate::catalog::{DType, FeatureView};
use crate::flow::Error;
use crate::limits::PUSH_ROWS_MAX;

/// Columns of JSON values by name, as a batch. `dtype` is the type of a column, none for one that nobody knows.
pub fn json_rows(
    columns: &[(Cow<'_, str>, &RawValue)],
    dtype: impl Fn(&str) -> Option<DType>,
    times: Times,
) -> Result<RecordBatch, Error> {
    let mut read: Vec<(&str, ArrayRef)> = Vec::with_capacity(columns.len());
    for (name, json) in columns {
        if read.iter().any(|(known, _)| known == name) {
            return Err(Error::Invalid(format!("column {name} came twice")));
        }
        let column = match dtype(name) {
            Some(dtype) => json_column(json.get(), dtype, times, PUSH_ROWS_MAX),
            None => json_length(json.get()).map(|rows| new_null_array(&DataType::Null, rows)),
        };
        let column = column.map_err(|error| refused(name, error))?;
        if let Some((first, values)) = read.first()
            && values.len() != column.len()
        {
            let (rows, length) = (values.len(), column.len());
            return Err(Error::Invalid(format!(
                "column {first} has {rows} values and column {name} has {length}; all must have as many"
            )));
        }
        read.push((name, column));
    }
    batch(read)
}

/// The one row that names an entity of `view`, out of the texts of a query.
pub fn text_entity(view: &FeatureView, values: &[(String, String)]) -> Result<RecordBatch, Error> {
    let column = |(name, text): &(String, String)| match key_type(view, name) {
        Some(dtype) => {
            text_column(std::slice::from_ref(text), dtype, Times::Micros).map_err(|error| refused(name, error))
        }
        None => Ok(new_null_array(&DataType::Null, 1)),
    };
    entity(values.iter().map(|value| (value.0.as_str(), column(value))))
}

/// The one row that names an entity of `view`, out of JSON values by name.
pub fn json_entity(view: &FeatureView, values: &[(Cow<'_, str>, &RawValue)]) -> Result<RecordBatch, Error> {
    let column = |(name, json): &(Cow<'_, str>, &RawValue)| match key_type(view, name) {
        Some(dtype) => {
            let row = format!("[{json}]");
            json_column(&row, dtype, Times::Micros, 1).map_err(|error| refused(name, error))
        }
        None => Ok(new_null_array(&DataType::Null, 1)),
    };
    entity(values.iter().map(|value| (value.0.as_ref(), column(value))))
}

fn entity<'a>(columns: impl Iterator<Item = (&'a str, Result<ArrayRef, Error>)>) -> Result<RecordBatch, Error> {
    let mut read: Vec<(&str, ArrayRef)> = Vec::new();
    for (name, column) in columns {
        if read.iter().any(|(known, _)| *known == name) {
            return Err(Error::Invalid(format!("{name} came twice; one entity is deleted at a time")));
        }
        read.push((name, column?));
    }
    let mut batch = batch(read)?;
    // The only entity of a view without join keys has no columns.
    if batch.num_columns() == 0 {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        batch = RecordBatch::try_new_with_options(batch.schema(), Vec::new(), &options).map_err(no_batch)?;
    }
    Ok(batch)
}

fn key_type(view: &FeatureView, name: &str) -> Option<DType> {
    view.join_keys.iter().find(|key| key.name == name).map(|key| key.dtype)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, Error> {
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let field = |(name, column): &(&str, ArrayRef)| ArrowField::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).map_err(no_batch)
}

fn no_batch(error: arrow::error::ArrowError) -> Error {
    Error::Stopped(error.to_string())
}

fn refused(name: &str, refused: Refused) -> Error {
    match refused {
        Refused::TooLong { max } => Error::ColumnTooLong { column: name.to_owned(), max },
        Refused::NotAnArray | Refused::Value { .. } => Error::Invalid(format!("column {name}: {refused}")),
    }
}
