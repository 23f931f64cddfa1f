//! The labels as the join and the transforms take them: with their times, and with the plan's inputs in their types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use futures::{StreamExt, TryStreamExt};

use super::Labels;
use crate::cast;
use crate::catalog::DType;
use crate::flow::Error;
use crate::flow::ingest::taken;
use crate::pit::{self, BoxError};
use crate::plan::{FeaturePlan, InputKind};

/// The name that a label frame's time has in the field, and in Feast.
const LABEL_TIME: &str = "event_timestamp";

/// The column with the times of the labels.
pub(super) fn time_column(labels: &Labels) -> Result<&str, Error> {
    let timestamps: Vec<&str> = labels
        .schema
        .fields()
        .iter()
        .filter(|field| matches!(field.data_type(), DataType::Timestamp(..)))
        .map(|field| field.name().as_str())
        .collect();
    let name = match &labels.time_column {
        Some(name) => name,
        None if labels.schema.column_with_name(LABEL_TIME).is_some() => LABEL_TIME,
        None if timestamps.len() == 1 => timestamps[0],
        None => return Err(Error::NoLabelTime(LABEL_TIME.to_owned())),
    };
    match labels.schema.column_with_name(name) {
        Some((_, field)) => Ok(field.name()),
        None => Err(Error::NoLabelTime(name.to_owned())),
    }
}

/// The labels as the join takes them.
pub(super) struct Frame {
    /// The labels' own columns, then their times, then the plan's inputs, then what says until when rows were known.
    pub(super) labels: pit::LabelFrame,
    /// How many columns of their own the labels have.
    pub(super) own: usize,
}

impl Frame {
    /// The column of the plan's first input.
    pub(super) fn inputs(&self) -> usize {
        self.own + 1
    }
}

/// Puts the time, and the plan's inputs in their types, behind the columns of each batch of labels; then the column that
/// says what was known when, if there is one.
pub(super) fn label_frame(
    plan: &Arc<FeaturePlan>,
    labels: Labels,
    time_column: &str,
    known_at_column: Option<&str>,
) -> Result<Frame, Error> {
    check_inputs(plan, &labels.schema)?;
    if let Some(name) = known_at_column
        && labels.schema.column_with_name(name).is_none()
    {
        return Err(Error::MissingColumn {
            column: name.to_owned(),
            what: "the time by which rows were known, for each label",
        });
    }
    let own = labels.schema.fields().len();
    let mut fields = labels.schema.fields().to_vec();
    // By number: a label frame may have columns of any names.
    fields.push(Arc::new(ArrowField::new("time", DType::TIMESTAMP.arrow(), false)));
    fields.extend(
        plan.inputs
            .iter()
            .enumerate()
            .map(|(number, input)| Arc::new(ArrowField::new(number.to_string(), input.field.dtype.arrow(), true))),
    );
    let known_at = known_at_column.map(|_| fields.len());
    fields.extend(known_at.map(|_| Arc::new(ArrowField::new("known_at", DType::TIMESTAMP.arrow(), false))));
    let schema = Arc::new(Schema::new(fields));
    let (plan, time_column, out) = (Arc::clone(plan), time_column.to_owned(), Arc::clone(&schema));
    let known_at_column = known_at_column.map(str::to_owned);
    let mut before = 0;
    let rows = labels.rows.map(move |batch| {
        let batch = batch?;
        let times = label_times(&batch, &time_column, before)?;
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(times));
        columns.extend(label_inputs(&plan, &batch)?);
        if let Some(name) = &known_at_column {
            columns.push(Arc::new(label_times(&batch, name, before)?));
        }
        before += batch.num_rows();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&out), columns, &rows)
            .map_err(|error| Error::Invalid(format!("the labels are not of one schema: {error}")))
    });
    let rows = rows.map_err(|error| Box::new(error) as BoxError).boxed();
    Ok(Frame { labels: pit::LabelFrame { schema, time: own, known_at, rows }, own })
}

/// The times in a column of a batch of labels; `before` rows were in the batches before it.
fn label_times(labels: &RecordBatch, name: &str, before: usize) -> Result<TimestampMicrosecondArray, Error> {
    let column = labels.column_by_name(name).ok_or_else(|| Error::NoLabelTime(name.to_owned()))?;
    let times = cast::to_times(column).map_err(|error| Error::wrong_type(name, error))?;
    match (0..times.len()).find(|row| times.is_null(*row)) {
        Some(row) => {
            let row = before + row;
            Err(Error::Invalid(format!("row {row} of the labels has no {name}; every label needs its time")))
        }
        None => Ok(times),
    }
}

/// Tells a column that is missing before anything is read.
fn check_inputs(plan: &FeaturePlan, labels: &Schema) -> Result<(), Error> {
    for input in &plan.inputs {
        let what = match input.kind {
            _ if labels.column_with_name(&input.field.name).is_some() => continue,
            InputKind::JoinKey => "a join key",
            InputKind::Request if input.field.nullable => continue,
            InputKind::Request => "a request field",
        };
        return Err(Error::MissingColumn { column: input.field.name.clone(), what });
    }
    Ok(())
}

/// The plan's inputs, from the label frame's columns of the same names. A null join key finds nothing.
fn label_inputs(plan: &FeaturePlan, labels: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    plan.inputs
        .iter()
        .map(|input| match labels.column_by_name(&input.field.name) {
            Some(column) => taken(column, &input.field.name, input.field.dtype),
            None => Ok(new_null_array(&input.field.dtype.arrow(), labels.num_rows())),
        })
        .collect()
}
