//! A training set is made: labels in, the features that were true at each label's time out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema, TimestampMicrosecondType};
use futures::{StreamExt, TryStreamExt, stream};

use super::derive::{Working, derive, off_the_async_threads};
use super::ingest::taken;
use super::serve::{digests, encode_keys, micros, provenance};
use super::{Error, Selection, history};
use crate::batch::{KeyBatch, StoredRows};
use crate::cast;
use crate::catalog::{Catalog, FeatureView, Field, Source};
use crate::clock::Deadline;
use crate::gateway::Gateway;
use crate::limits::{JOINS_AT_ONCE, TRAIN_DEADLINE, TRAIN_ROWS_MAX};
use crate::offline::{OfflineStore, Scan};
use crate::pit::PointInTime;
use crate::plan::{self, FeaturePlan, InputKind, PlanRead};

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

/// The column that [`Options::digest_column`] adds.
pub const DIGEST_COLUMN: &str = "lockstep_digest";
/// The name that a label frame's time has in the field, and in Feast.
const LABEL_TIME: &str = "event_timestamp";

/// One row out per label row, in order: the label frame's own columns, then the selected features. The schema's metadata
/// carries `lockstep.version`, `lockstep.service` and `lockstep.digest.<view>`.
pub async fn train(
    gateway: &Gateway,
    selection: &Selection,
    labels: Labels,
    options: Options,
) -> Result<RecordBatch, Error> {
    let applied = gateway.applied.load_full();
    let plan = plan::training(&applied.catalog, selection)?;
    let deadline = Deadline::after(TRAIN_DEADLINE);
    let rows = labels.rows.num_rows();
    if rows > TRAIN_ROWS_MAX {
        return Err(Error::TooManyRows { rows, max: TRAIN_ROWS_MAX });
    }
    let times = label_times(&labels)?;
    let inputs = label_inputs(&plan, &labels.rows)?;

    let mut joins = Vec::with_capacity(plan.reads.len());
    for read in &plan.reads {
        let history = History::of(gateway, &applied.catalog, read);
        joins.push(off_the_async_threads(join(history, encode_keys(read, &inputs, rows), times.clone())));
    }
    let stored = stream::iter(joins).buffered(JOINS_AT_ONCE).try_collect().await?;

    let working =
        Working { rows, as_of: Arc::new(times), inputs, stored, derived: Vec::new(), unreachable: Vec::new() };
    let working = derive(gateway, &plan.derivations, working, deadline).await?;
    assemble(&plan, applied.version, &labels.rows, &working, options)
}

fn label_times(labels: &Labels) -> Result<TimestampMicrosecondArray, Error> {
    let schema = labels.rows.schema_ref();
    let timestamps: Vec<&str> = schema
        .fields()
        .iter()
        .filter(|field| matches!(field.data_type(), DataType::Timestamp(..)))
        .map(|field| field.name().as_str())
        .collect();
    let name = match &labels.time_column {
        Some(name) => name,
        None if schema.column_with_name(LABEL_TIME).is_some() => LABEL_TIME,
        None if timestamps.len() == 1 => timestamps[0],
        None => return Err(Error::NoLabelTime(LABEL_TIME.to_owned())),
    };
    let column = labels.rows.column_by_name(name).ok_or_else(|| Error::NoLabelTime(name.to_owned()))?;
    let times = cast::to_times(column).map_err(|error| Error::wrong_type(name, error))?;
    match (0..times.len()).find(|row| times.is_null(*row)) {
        Some(row) => Err(Error::Invalid(format!("row {row} of the labels has no {name}; every label needs its time"))),
        None => Ok(times),
    }
}

/// The plan's inputs, from the label frame's columns of the same names. A null join key finds nothing.
fn label_inputs(plan: &FeaturePlan, labels: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    plan.inputs
        .iter()
        .map(|input| match labels.column_by_name(&input.field.name) {
            Some(column) => taken(column, &input.field.name, input.field.dtype),
            None if input.kind == InputKind::JoinKey => {
                Err(Error::MissingColumn { column: input.field.name.clone(), what: "a join key" })
            }
            None if !input.field.nullable => {
                Err(Error::MissingColumn { column: input.field.name.clone(), what: "a request field" })
            }
            None => Ok(new_null_array(&input.field.dtype.arrow(), labels.num_rows())),
        })
        .collect()
}

/// Where the rows of one read are, and what is wanted of them.
struct History {
    offline: Arc<dyn OfflineStore>,
    source: Source,
    view: Arc<FeatureView>,
    join_keys: Vec<Field>,
    features: Vec<Field>,
    ttl: Option<Duration>,
}

impl History {
    fn of(gateway: &Gateway, catalog: &Catalog, read: &PlanRead) -> Self {
        Self {
            offline: Arc::clone(&gateway.offline),
            source: catalog.sources[&read.view.source].clone(),
            view: Arc::clone(&read.view),
            join_keys: read.view.join_keys.clone(),
            features: read.columns.iter().map(|column| read.online.features[*column].clone()).collect(),
            ttl: read.ttl,
        }
    }
}

/// The history of one view, joined to the labels.
async fn join(history: History, keys: KeyBatch, times: TimestampMicrosecondArray) -> Result<StoredRows, Error> {
    let History { offline, source, view, join_keys, features, ttl } = history;
    let (Some(first), Some(last)) = (min(&times), max(&times)) else {
        return Ok(StoredRows::absent(&features, 0));
    };
    let columns = join_keys.iter().chain(&features).cloned().collect();
    let scan = Scan { from: ttl.map(|ttl| first.saturating_sub(micros(ttl))), until: Some(last), ..Scan::of(columns) };
    let mut batches = history::scan(offline.as_ref(), &source, &view, &scan).await?;
    let mut join = PointInTime::new(features, &keys, &times, ttl);
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let (event_time, created_time) = (batch.num_columns() - 2, batch.num_columns() - 1);
        let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
        let (key_columns, columns) = batch.columns()[..event_time].split_at(join_keys.len());
        let row_keys = KeyBatch::encode(&join_keys, key_columns, batch.num_rows());
        join.push(&row_keys, time(event_time), time(created_time), columns)?;
    }
    Ok(join.finish()?)
}

fn assemble(
    plan: &FeaturePlan,
    version: u64,
    labels: &RecordBatch,
    working: &Working,
    options: Options,
) -> Result<RecordBatch, Error> {
    let mut fields: Vec<ArrowField> = labels.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns: Vec<ArrayRef> = labels.columns().to_vec();
    let mut names: BTreeSet<String> = fields.iter().map(|field| field.name().clone()).collect();
    for output in &plan.outputs {
        if !names.insert(output.field.name.clone()) {
            return Err(Error::Invalid(format!(
                "the label frame already has a column {}; rename it, or ask with full_feature_names",
                output.field.name
            )));
        }
        fields.push(Field { nullable: true, ..output.field.clone() }.arrow());
        columns.push(Arc::clone(working.column(output.column)));
    }
    if options.digest_column {
        if !names.insert(DIGEST_COLUMN.to_owned()) {
            return Err(Error::Invalid(format!(
                "the label frame already has a column {DIGEST_COLUMN}; rename it, or leave the digests out"
            )));
        }
        let made_with =
            digests(plan).iter().map(|(view, digest)| format!("{view}={digest}")).collect::<Vec<_>>().join(",");
        let keys = Int32Array::from(vec![0; working.rows]);
        let column = DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec![made_with])));
        fields.push(ArrowField::new(DIGEST_COLUMN, column.data_type().clone(), false));
        columns.push(Arc::new(column));
    }
    let schema = Schema::new(fields).with_metadata(provenance(plan, version).into_iter().collect());
    let rows = RecordBatchOptions::new().with_row_count(Some(working.rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &rows)
        .map_err(|error| Error::Stopped(error.to_string()))
}
