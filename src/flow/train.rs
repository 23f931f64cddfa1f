//! A training set is made: labels in, the features that were true at each label's time out.
//!
//! Labels and rows of the set are streams, so neither has to fit into memory.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema, SchemaRef, TimestampMicrosecondType};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::derive::{Working, derive, off_the_async_threads};
use super::ingest::taken;
use super::serve::{digests, encode_keys, micros, provenance};
use super::{Error, Selection};
use crate::batch::{KeyBatch, StoredRows};
use crate::cast;
use crate::catalog::{Catalog, Digest, Field, Source};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::limits::{JOINS_AT_ONCE, TRAIN_BATCH_ROWS, TRAIN_DEADLINE};
use crate::metrics::Flow;
use crate::offline::{OfflineStore, Scan, Snapshot};
use crate::pit::PointInTime;
use crate::plan::{self, FeaturePlan, InputKind, PlanRead};

/// Rows, a batch at a time.
pub type Batches = BoxStream<'static, Result<RecordBatch, Error>>;

/// The rows to find features for.
pub struct Labels {
    /// Of all batches of `rows`.
    pub schema: SchemaRef,
    /// Join keys and request fields by name, the label's time, and any other columns, which pass through.
    pub rows: Batches,
    /// The column with the time of each label; `None` takes `event_timestamp`, else the only timestamp column.
    pub time_column: Option<String>,
}

/// How the training set should look, and what of the past it may see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Adds the column `lockstep_digest` (dictionary-encoded): the digests of all transforms that made the row.
    pub digest_column: bool,
    /// Only what was written by then, `created time <= known_at`: the set as it would have been made at that time.
    pub known_at: Option<Micros>,
    /// Which state of the sources is read.
    pub sources: Sources,
}

/// Which state of the sources a training set is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sources {
    /// What is there when each is read.
    #[default]
    Now,
    /// What is there now, and [`MadeOf::sources`] says what that was. Costs reading the files once more.
    Recorded,
    /// What was there when these were recorded, by name of the source.
    At(Vec<(String, Snapshot)>),
}

/// The rows of a training set and what they are made of.
pub struct TrainingSet {
    /// Of all batches. Its metadata carries `lockstep.version`, `lockstep.service` and `lockstep.digest.<view>`.
    pub schema: SchemaRef,
    /// One row a label, in the labels' order.
    pub batches: Batches,
    pub made_of: MadeOf,
}

/// What a training set is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeOf {
    pub service: Option<String>,
    /// The columns with features, as `view:feature`, in order.
    pub features: Vec<(String, String)>,
    /// The version of the definitions in the registry, and their hash.
    pub version: u64,
    pub catalog: Digest,
    /// The digest of the transform behind each derived view.
    pub digests: Vec<(String, String)>,
    /// The state of each source; empty where nobody asked for it.
    pub sources: Vec<(String, Snapshot)>,
    /// The column with the time of each label.
    pub time_column: String,
}

/// The column that [`Options::digest_column`] adds.
pub const DIGEST_COLUMN: &str = "lockstep_digest";
/// The name that a label frame's time has in the field, and in Feast.
const LABEL_TIME: &str = "event_timestamp";

impl Labels {
    /// Labels that are in memory already.
    pub fn of(rows: RecordBatch, time_column: Option<String>) -> Self {
        Self { schema: rows.schema(), rows: stream::iter([Ok(rows)]).boxed(), time_column }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labels").field("schema", &self.schema).field("time_column", &self.time_column).finish()
    }
}

impl fmt::Debug for TrainingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingSet").field("schema", &self.schema).field("made_of", &self.made_of).finish()
    }
}

impl TrainingSet {
    /// The whole set in memory, for those who know that it is small.
    pub async fn collect(self) -> Result<RecordBatch, Error> {
        let batches: Vec<RecordBatch> = self.batches.try_collect().await?;
        concat_batches(&self.schema, &batches).map_err(|error| Error::Stopped(error.to_string()))
    }
}

/// One row out per label row, in order: the label frame's own columns, then the selected features. What is wrong with
/// the question is told at once; what is wrong with a row, when its batch is taken.
pub async fn train(
    gateway: &Gateway,
    selection: &Selection,
    labels: Labels,
    options: Options,
) -> Result<TrainingSet, Error> {
    let applied = gateway.applied.load_full();
    let plan = Arc::new(plan::training(&applied.catalog, selection)?);
    let deadline = Deadline::after(TRAIN_DEADLINE);
    let time_column = time_column(&labels)?.to_owned();
    let schema = set_schema(&plan, applied.version, &labels.schema, &options)?;
    let made_of = MadeOf {
        service: plan.service.clone(),
        features: plan.outputs.iter().map(|output| (output.view.clone(), output.feature.clone())).collect(),
        version: applied.version,
        catalog: applied.catalog.hash(),
        digests: digests(&plan),
        sources: Vec::new(),
        time_column: time_column.clone(),
    };

    let batches: Vec<RecordBatch> = labels.rows.try_collect().await?;
    let labels = concat_batches(&labels.schema, &batches).map_err(|error| Error::Invalid(error.to_string()))?;
    let rows = labels.num_rows();
    let times = label_times(&labels, &time_column)?;
    let inputs = label_inputs(&plan, &labels)?;
    let mut joins = Vec::with_capacity(plan.reads.len());
    for read in &plan.reads {
        let history = History::of(gateway, &applied.catalog, read, &options);
        joins.push(off_the_async_threads(join(history, encode_keys(read, &inputs, rows), times.clone())));
    }
    let stored: Vec<StoredRows> = stream::iter(joins).buffered(JOINS_AT_ONCE).try_collect().await?;

    let transforms = Arc::clone(&gateway.transforms);
    let made_with = options.digest_column.then(|| made_with(&plan));
    let counted = gateway.metrics.rows_of(Flow::Train);
    let out = Arc::clone(&schema);
    let batches = stream::iter((0..rows.max(1)).step_by(TRAIN_BATCH_ROWS)).then(move |from| {
        let (transforms, plan, schema) = (Arc::clone(&transforms), Arc::clone(&plan), Arc::clone(&out));
        let made_with = made_with.clone();
        let rows = TRAIN_BATCH_ROWS.min(rows - from);
        let labels = labels.slice(from, rows);
        let working = Working {
            rows,
            as_of: Arc::new(times.slice(from, rows)),
            inputs: inputs.iter().map(|column| column.slice(from, rows)).collect(),
            stored: stored.iter().map(|stored| stored.slice(from, rows)).collect(),
            derived: Vec::new(),
            unreachable: Vec::new(),
        };
        async move {
            let working = derive(&transforms, &plan.derivations, working, deadline).await?;
            assemble(&plan, &schema, &labels, &working, made_with)
        }
    });
    let batches = batches.inspect_ok(move |batch| {
        counted.inc_by(batch.num_rows() as u64);
    });
    Ok(TrainingSet { schema, batches: batches.boxed(), made_of })
}

/// The column with the times of the labels.
fn time_column(labels: &Labels) -> Result<&str, Error> {
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

fn label_times(labels: &RecordBatch, name: &str) -> Result<TimestampMicrosecondArray, Error> {
    let column = labels.column_by_name(name).ok_or_else(|| Error::NoLabelTime(name.to_owned()))?;
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
    join_keys: Vec<Field>,
    features: Vec<Field>,
    ttl: Option<Duration>,
    known_at: Option<Micros>,
}

impl History {
    fn of(gateway: &Gateway, catalog: &Catalog, read: &PlanRead, options: &Options) -> Self {
        Self {
            offline: Arc::clone(&gateway.offline),
            source: catalog.sources[&read.view.source].clone(),
            join_keys: read.view.join_keys.clone(),
            features: read.columns.iter().map(|column| read.online.features[*column].clone()).collect(),
            ttl: read.ttl,
            known_at: options.known_at,
        }
    }
}

/// The history of one view, joined to the labels.
async fn join(history: History, keys: KeyBatch, times: TimestampMicrosecondArray) -> Result<StoredRows, Error> {
    let History { offline, source, join_keys, features, ttl, known_at } = history;
    let (Some(first), Some(last)) = (min(&times), max(&times)) else {
        return Ok(StoredRows::absent(&features, 0));
    };
    let columns = join_keys.iter().chain(&features).cloned().collect();
    let from = ttl.map(|ttl| first.saturating_sub(micros(ttl)));
    let scan = Scan { from, until: Some(last), known_at, ..Scan::of(columns) };
    let mut batches = offline.scan(&source, &scan).await?;
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

/// The columns of the set; every name once.
fn set_schema(plan: &FeaturePlan, version: u64, labels: &Schema, options: &Options) -> Result<SchemaRef, Error> {
    let mut fields: Vec<ArrowField> = labels.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut names: BTreeSet<String> = fields.iter().map(|field| field.name().clone()).collect();
    for output in &plan.outputs {
        if !names.insert(output.field.name.clone()) {
            return Err(Error::Invalid(format!(
                "the label frame already has a column {}; rename it, or ask with full_feature_names",
                output.field.name
            )));
        }
        fields.push(Field { nullable: true, ..output.field.clone() }.arrow());
    }
    if options.digest_column {
        if !names.insert(DIGEST_COLUMN.to_owned()) {
            return Err(Error::Invalid(format!(
                "the label frame already has a column {DIGEST_COLUMN}; rename it, or leave the digests out"
            )));
        }
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        fields.push(ArrowField::new(DIGEST_COLUMN, dictionary, false));
    }
    Ok(Arc::new(Schema::new(fields).with_metadata(provenance(plan, version).into_iter().collect())))
}

/// What [`DIGEST_COLUMN`] says, the same in every row.
fn made_with(plan: &FeaturePlan) -> ArrayRef {
    let digests = digests(plan).iter().map(|(view, digest)| format!("{view}={digest}")).collect::<Vec<_>>().join(",");
    Arc::new(StringArray::from(vec![digests]))
}

fn assemble(
    plan: &FeaturePlan,
    schema: &SchemaRef,
    labels: &RecordBatch,
    working: &Working,
    made_with: Option<ArrayRef>,
) -> Result<RecordBatch, Error> {
    let mut columns: Vec<ArrayRef> = labels.columns().to_vec();
    columns.extend(plan.outputs.iter().map(|output| Arc::clone(working.column(output.column))));
    if let Some(made_with) = made_with {
        let keys = Int32Array::from(vec![0; working.rows]);
        columns.push(Arc::new(DictionaryArray::<Int32Type>::new(keys, made_with)));
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(working.rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
        .map_err(|error| Error::Stopped(error.to_string()))
}
