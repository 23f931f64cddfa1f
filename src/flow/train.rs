//! A training set is made: labels in, the features that were true at each label's time out.
//!
//! Labels and rows of the set are streams, so neither has to fit into memory.

mod frame;
mod history;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use self::frame::{label_frame, time_column};
use self::history::{histories, snapshots};
use super::derive::{Working, derive};
use super::serve::{digests, provenance};
use super::{Error, Selection};
use crate::catalog::{Digest, Field};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::limits::TRAIN_DEADLINE;
use crate::metrics::{Counter, Flow};
use crate::offline::{self, Snapshot};
use crate::pit::{self, JoinedBatch};
use crate::plan::{self, FeaturePlan};
use crate::transform::Transforms;

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
    /// Only what was written by the time in this column of the labels, for each label what stands in its row.
    pub known_at_column: Option<String>,
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
    /// Bytes that the join has put aside on disk so far, because they did not fit into its memory.
    pub spilled_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
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
    let time_column = time_column(&labels)?.to_owned();
    let schema = set_schema(&plan, applied.version, &labels.schema, &options)?;
    let sources = snapshots(gateway, &applied.catalog, &plan, &options.sources).await?;
    let made_of = MadeOf {
        service: plan.service.clone(),
        features: plan.outputs.iter().map(|output| (output.view.clone(), output.feature.clone())).collect(),
        version: applied.version,
        catalog: applied.catalog.hash(),
        digests: digests(&plan),
        sources,
        time_column,
    };
    let frame = label_frame(&plan, labels, &made_of.time_column, options.known_at_column.as_deref())?;
    let views = histories(gateway, &applied.catalog, &plan, &frame, options.known_at, &made_of.sources);
    let set = Set {
        digest: options.digest_column.then(|| made_with(&plan)),
        schema: Arc::clone(&schema),
        label_columns: frame.own,
        transforms: Arc::clone(&gateway.transforms),
        deadline: Deadline::after(TRAIN_DEADLINE),
        plan,
    };

    let joined = pit::join(frame.labels, views, &gateway.join_space)?;
    let spilled = joined.spilled_bytes();
    let rows = gateway.metrics.rows_of(Flow::Train);
    let counted = CountSpilled { spilled: spilled.clone(), metric: gateway.metrics.join_spilled_bytes() };
    let made = joined.batches.map_err(of_join).and_then(move |joined| set.clone().make(joined));
    let batches = or_else(made, RecordBatch::new_empty(Arc::clone(&schema))).inspect_ok(move |batch| {
        // Counted when this closure goes, with the stream.
        let _ = &counted;
        rows.inc_by(batch.num_rows() as u64);
    });
    Ok(TrainingSet { schema, batches: batches.boxed(), made_of, spilled_bytes: Box::new(spilled) })
}

/// What the rows of one set are made with.
#[derive(Clone)]
struct Set {
    plan: Arc<FeaturePlan>,
    schema: SchemaRef,
    label_columns: usize,
    transforms: Arc<Transforms>,
    deadline: Deadline,
    digest: Option<ArrayRef>,
}

impl Set {
    /// The rows of the set for some labels and what was found for them.
    async fn make(self, joined: JoinedBatch) -> Result<RecordBatch, Error> {
        let (labels, inputs) = joined.labels.columns().split_at(self.label_columns);
        let working = Working {
            rows: joined.labels.num_rows(),
            as_of: Arc::clone(&inputs[0]),
            inputs: inputs[1..=self.plan.inputs.len()].to_vec(),
            stored: joined.found,
            derived: Vec::new(),
            unreachable: Vec::new(),
        };
        let working = derive(&self.transforms, &self.plan.derivations, working, self.deadline).await?;
        let mut columns = labels.to_vec();
        columns.extend(self.plan.outputs.iter().map(|output| Arc::clone(working.column(output.column))));
        if let Some(digest) = self.digest {
            let keys = Int32Array::from(vec![0; working.rows]);
            columns.push(Arc::new(DictionaryArray::<Int32Type>::new(keys, digest)));
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(working.rows));
        RecordBatch::try_new_with_options(self.schema, columns, &rows)
            .map_err(|error| Error::Stopped(error.to_string()))
    }
}

/// The errors of labels and stores as they were, the join's own as they are.
fn of_join(error: pit::Error) -> Error {
    let pit::Error::Input(error) = error else { return Error::PointInTime(error) };
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<offline::Error>() {
            Ok(error) => Error::Offline(*error),
            Err(error) => Error::Stopped(error.to_string()),
        },
    }
}

/// `batches`, or where there is none, `none`: a set without rows still has columns.
fn or_else(batches: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static, none: RecordBatch) -> Batches {
    let next = |(mut batches, none): (Batches, Option<RecordBatch>)| async move {
        let batch = batches.try_next().await?.or(none);
        Ok(batch.map(|batch| (batch, (batches, None))))
    };
    stream::try_unfold((batches.boxed(), Some(none)), next).boxed()
}

/// Adds what was put aside on disk to the metric when the set is at its end, or given up.
struct CountSpilled<F: Fn() -> u64> {
    spilled: F,
    metric: Counter,
}

impl<F: Fn() -> u64> Drop for CountSpilled<F> {
    fn drop(&mut self) {
        self.metric.inc_by((self.spilled)());
    }
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
