//! The join for those who do not know DataFusion: streams in, a stream out, within the memory and the disk it is given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::input::{Narrow, RowsExec};
use super::spill::Spill;
use super::{Counter, History, Open, PointInTimeExec, Rows, ViewJoin};
use crate::batch::StoredRows;
use crate::pit::Error;
use crate::space::Space;

/// The labels: batches in which column `time` (timestamp µs UTC) has the time of each, and column `known_at` (the same),
/// if there is one, says until when rows were known for it; neither is ever null.
pub struct LabelFrame {
    pub schema: SchemaRef,
    pub time: usize,
    pub known_at: Option<usize>,
    pub rows: Rows,
}

/// The answer to some labels.
#[derive(Debug)]
pub struct JoinedBatch {
    /// As they came.
    pub labels: RecordBatch,
    /// What was found for them, for each view.
    pub found: Vec<StoredRows>,
}

/// The answer under way.
pub struct Joined {
    /// All labels, in their order.
    pub batches: BoxStream<'static, Result<JoinedBatch, Error>>,
    spilled: Counter,
}

impl Joined {
    /// Counts the bytes that were put aside on disk so far.
    pub fn spilled_bytes(&self) -> impl Fn() -> u64 + Clone + Send + Sync + 'static {
        let spilled = Arc::clone(&self.spilled);
        move || spilled.load(Ordering::Relaxed)
    }
}

/// Joins the histories of all views to the labels. Nothing runs before the first batch is asked for.
pub fn join(labels: LabelFrame, views: Vec<(ViewJoin, History)>, space: &Space) -> Result<Joined, Error> {
    let spilled = Arc::new(AtomicU64::new(0));
    let spill = Arc::new(Spill::new(space.spill.clone(), space.spill_bytes_max, Arc::clone(&spilled)));
    let features: Vec<usize> = views.iter().map(|(view, _)| view.features.len()).collect();
    let label_columns = labels.schema.fields().len();
    let leaf = |what: String, schema: SchemaRef, open: Open, narrow: Narrow| -> Arc<dyn ExecutionPlan> {
        Arc::new(RowsExec::new(what, schema, open, narrow))
    };
    let histories = views.into_iter().map(|(view, history)| {
        let narrow = Narrow::default();
        let leaf = leaf(format!("the history of {}", view.name), history.schema, history.open, narrow.clone());
        (view, leaf, narrow)
    });
    let histories = histories.collect();
    let (time, known_at) = (labels.time, labels.known_at);
    let labels = leaf("labels".to_owned(), labels.schema, once(labels.rows), Narrow::default());
    let operator = PointInTimeExec::new(labels, (time, known_at), histories, spill);

    let pool = Arc::new(GreedyMemoryPool::new(space.memory_bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(unwrapped)?;
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let batches = operator.execute(0, context).map_err(unwrapped)?;
    let batches = batches.map_err(unwrapped).map_ok(move |batch| taken_apart(&batch, label_columns, &features));
    Ok(Joined { batches: batches.boxed(), spilled })
}

/// Labels can be read once.
fn once(rows: Rows) -> Open {
    let rows = Mutex::new(Some(rows));
    Arc::new(move |_| {
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.unwrap_or_else(|| {
            let twice = Error::Stopped("the labels were asked for twice".to_owned());
            stream::iter([Err(twice.into())]).boxed()
        })
    })
}

fn taken_apart(batch: &RecordBatch, label_columns: usize, features: &[usize]) -> JoinedBatch {
    let all: Vec<usize> = (0..label_columns).collect();
    let labels = batch.project(&all).expect("the labels' columns are the first ones");
    let mut next = label_columns;
    let found = features.iter().map(|features| {
        let columns = &batch.columns()[next..next + 2 + features];
        next += 2 + features;
        StoredRows {
            present: columns[0].as_boolean().values().clone(),
            event_time: columns[1].as_primitive::<TimestampMicrosecondType>().clone(),
            columns: columns[2..].to_vec(),
            unreachable: None,
        }
    });
    JoinedBatch { labels, found: found.collect() }
}

/// The error that DataFusion carried for us.
fn unwrapped(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::Input(error),
        },
        DataFusionError::Shared(_) | DataFusionError::Context(..) => Error::Stopped(error.find_root().to_string()),
        other => Error::Stopped(other.to_string()),
    }
}
