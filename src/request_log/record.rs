//! The columns of a log, and requests as rows of them.
//!
//! | column | holds |
//! |---|---|
//! | `request`, `row` | which request, and which of its rows |
//! | `served_at`, `as_of` | when it was answered, and the time it asked about |
//! | `input:<name>` | a join key or request field |
//! | `status:<view>`, `event_time:<view>` | what was found of the view's row, in Feast's numbers, and its event time |
//! | `stored:<view>:<feature>` | what was read; null where the row was not there or not to be seen |
//! | `served:<name>` | a column of the answer |
//!
//! A view that is read for two sets of keys is called `<view>#2` the second time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, UInt8Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimestampMicrosecondType, UInt8Type};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::Entry;
use crate::batch::{StoredRows, timestamps};
use crate::catalog::{DType, FeatureRef, Field, Selection};
use crate::plan::FeaturePlan;

/// The form of the columns; changes when a reader of the old form would misunderstand the new one.
pub const FORM: &str = "1";
pub const FORM_KEY: &str = "lockstep.request_log";
pub const SELECTION_KEY: &str = "lockstep.selection";
pub const VERSION_KEY: &str = "lockstep.version";

/// The status of a row that could be read.
const PRESENT: u8 = 1;
/// Of one that could not be reached.
const UNAVAILABLE: u8 = 0;

/// The question behind a log, in its metadata.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenSelection {
    features: Vec<(String, String)>,
    full_feature_names: bool,
}

/// The question that gives this plan.
pub fn selection(plan: &FeaturePlan) -> Selection {
    let refs: Vec<FeatureRef> =
        plan.outputs.iter().map(|output| FeatureRef::new(&output.view, &output.feature)).collect();
    let is_full =
        |(output, feature): (&crate::plan::PlanOutput, &FeatureRef)| output.field.name == feature.column(true);
    let full_feature_names = plan.outputs.iter().zip(&refs).all(is_full);
    Selection::Features { refs, full_feature_names }
}

pub fn written_selection(plan: &FeaturePlan) -> String {
    let Selection::Features { refs, full_feature_names } = selection(plan) else { return String::new() };
    let features = refs.into_iter().map(|feature| (feature.view, feature.feature)).collect();
    serde_json::to_string(&WrittenSelection { features, full_feature_names }).unwrap_or_default()
}

pub fn read_selection(text: &str) -> Option<Selection> {
    let WrittenSelection { features, full_feature_names } = serde_json::from_str(text).ok()?;
    let refs = features.iter().map(|(view, feature)| FeatureRef::new(view, feature)).collect();
    Some(Selection::Features { refs, full_feature_names })
}

/// What each read of a plan is called.
pub fn read_names(plan: &FeaturePlan) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(plan.reads.len());
    for (position, read) in plan.reads.iter().enumerate() {
        let before = plan.reads[..position].iter().filter(|other| other.online.name == read.online.name).count();
        names.push(if before == 0 { read.online.name.clone() } else { format!("{}#{}", read.online.name, before + 1) });
    }
    names
}

/// The columns of the log of a plan.
pub fn schema(plan: &FeaturePlan) -> SchemaRef {
    let of = |name: String, field: &Field| ArrowField::new(name, field.dtype.arrow(), true);
    let time = |name: String, nullable| ArrowField::new(name, DType::TIMESTAMP.arrow(), nullable);
    let mut fields = vec![
        ArrowField::new("request", DataType::Int64, false),
        ArrowField::new("row", DataType::Int32, false),
        time("served_at".to_owned(), false),
        time("as_of".to_owned(), false),
    ];
    fields.extend(plan.inputs.iter().map(|input| of(format!("input:{}", input.field.name), &input.field)));
    for (name, read) in read_names(plan).iter().zip(&plan.reads) {
        fields.push(ArrowField::new(format!("status:{name}"), DataType::UInt8, false));
        fields.push(time(format!("event_time:{name}"), true));
        let features = read.columns.iter().map(|column| &read.online.features[*column]);
        fields.extend(features.map(|feature| of(format!("stored:{name}:{}", feature.name), feature)));
    }
    fields.extend(plan.outputs.iter().map(|output| of(format!("served:{}", output.field.name), &output.field)));
    Arc::new(Schema::new(fields))
}

/// One request as rows of `schema`.
pub fn rows(entry: &Entry, request: i64, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = entry.rows;
    let numbers = (0..rows).map(|row| i32::try_from(row).unwrap_or(i32::MAX));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![request; rows])),
        Arc::new(Int32Array::from_iter_values(numbers)),
        Arc::new(timestamps(vec![Some(entry.served_at); rows])),
        Arc::new(timestamps(vec![Some(entry.as_of); rows])),
    ];
    columns.extend(entry.inputs.iter().cloned());
    for (stored, statuses) in entry.stored.iter().zip(&entry.statuses) {
        columns.push(Arc::new(UInt8Array::from(statuses.clone())));
        columns.push(Arc::new(stored.event_time.clone()));
        columns.extend(stored.columns.iter().cloned());
    }
    columns.extend(entry.outputs.iter().cloned());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// What one read found, out of rows of a log.
pub fn stored_rows(rows: &RecordBatch, first: usize, columns: usize) -> StoredRows {
    let statuses = rows.column(first).as_primitive::<UInt8Type>().values();
    let has = |status: u8| BooleanBuffer::collect_bool(statuses.len(), |row| statuses[row] == status);
    let unreachable = has(UNAVAILABLE);
    StoredRows {
        present: has(PRESENT),
        event_time: rows.column(first + 1).as_primitive::<TimestampMicrosecondType>().clone(),
        columns: rows.columns()[first + 2..first + 2 + columns].to_vec(),
        unreachable: (unreachable.count_set_bits() > 0).then_some(unreachable),
    }
}
