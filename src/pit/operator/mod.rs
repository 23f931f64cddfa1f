//! The point-in-time join as an operator of DataFusion's: labels and the histories of any number of views in, the labels
//! with what was found for each of them out, in the labels' order.
//!
//! Its memory is reserved in DataFusion's pool. Labels, and the join of each view, stay in memory as long as the pool has
//! room for them. What does not fit goes to disk (`view`), and the answer is the same, bit for bit. A history is read
//! once, or twice where its join began in memory and turned out not to fit; it is not read before the labels are known,
//! because they say which times and keys are wanted.
//!
//! # Why not a sort-merge join of DataFusion's
//! See [`super`]: the history is never sorted, and never in memory. And a join that knows nothing of "newest" would hand
//! on every pair of label and row within the ttl.

mod found;
mod input;
mod labels;
mod space;
mod spill;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use self::found::{Found, found_schema};
use self::input::Narrow;
use self::labels::{LabelBatches, Labels};
use self::spill::Spill;
use self::view::Work;
use super::{Error, Ties};
use crate::catalog::Field;
use crate::limits::{JOINS_AT_ONCE, PIT_ROOM_BYTES};

pub use input::{BoxError, History, Open, Rows, Wanted};
pub use space::{Joined, JoinedBatch, LabelFrame, join};

/// How the history of one view is joined.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewJoin {
    /// For people.
    pub name: String,
    pub join_keys: Vec<Field>,
    /// The columns of the labels with the values of the join keys, of the same types.
    pub label_keys: Vec<usize>,
    pub features: Vec<Field>,
    /// How old a row may be; for ever without it.
    pub ttl: Option<Duration>,
    pub ties: Ties,
}

/// The operator. Its first child are the labels; the others are the views' histories, each of whose rows has the join
/// keys, the features, the event time and the created time. All have one partition.
#[derive(Debug)]
pub(super) struct PointInTimeExec {
    labels: Arc<dyn ExecutionPlan>,
    histories: Vec<Arc<dyn ExecutionPlan>>,
    /// The column of the labels' times.
    time: usize,
    /// The column that says until when rows were known for them.
    known_at: Option<usize>,
    views: Vec<ViewJoin>,
    /// Tells the histories what is wanted of them.
    narrow: Vec<Narrow>,
    spill: Arc<Spill>,
    properties: Arc<PlanProperties>,
}

impl PointInTimeExec {
    fn new(
        labels: Arc<dyn ExecutionPlan>,
        (time, known_at): (usize, Option<usize>),
        views: Vec<(ViewJoin, Arc<dyn ExecutionPlan>, Narrow)>,
        spill: Arc<Spill>,
    ) -> Self {
        let mut fields = labels.schema().fields().to_vec();
        for (view, ..) in &views {
            fields.extend(found_schema(&view.features).fields().iter().cloned());
        }
        let properties = one_partition(Arc::new(Schema::new(fields)));
        let (mut histories, mut joins, mut narrow) = (Vec::new(), Vec::new(), Vec::new());
        for (view, history, wanted) in views {
            histories.push(history);
            joins.push(view);
            narrow.push(wanted);
        }
        Self { labels, histories, time, known_at, views: joins, narrow, spill, properties }
    }

    /// Everything up to the first row of the answer.
    async fn prepare(self: Arc<Self>, context: Arc<TaskContext>, stop: Stop) -> Result<Ready, Failure> {
        let pool = context.memory_pool();
        let limit = match pool.memory_limit() {
            datafusion::execution::memory_pool::MemoryLimit::Finite(bytes) => bytes,
            _ => PIT_ROOM_BYTES * 4,
        };
        // A quarter is kept free for joins that spill; the labels may have a quarter; the rest is for joins in memory.
        let working = MemoryConsumer::new("joins that spill").register(pool);
        working.try_grow(limit / 4)?;
        let room = limit / 4 / JOINS_AT_ONCE;
        let memory = MemoryConsumer::new("labels").with_can_spill(true).register(pool);
        let labels = self.labels.execute(0, Arc::clone(&context))?;
        let labels = Labels::read(labels, self.time, memory, limit / 4, &self.spill, &stop).await?;
        let labels = Arc::new(labels);

        let joins = (0..self.views.len()).map(|number| {
            let (operator, context) = (Arc::clone(&self), Arc::clone(&context));
            let work = Work {
                view: self.views[number].clone(),
                time: self.time,
                known_at: self.known_at,
                labels: Arc::clone(&labels),
                memory: MemoryConsumer::new(&self.views[number].name).with_can_spill(true).register(pool),
                room,
                spill: Arc::clone(&self.spill),
                stop: stop.clone(),
            };
            beside(async move { operator.find(number, work, &context).await })
        });
        let found: Vec<Found> = stream::iter(joins).buffered(JOINS_AT_ONCE).try_collect().await?;
        let reads_disk = labels.on_disk() || found.iter().any(Found::on_disk);
        Ok(Ready { labels: labels.batches()?, found, reads_disk, schema: self.schema(), stop, _working: working })
    }

    async fn find(&self, number: usize, work: Work, context: &Arc<TaskContext>) -> Result<Found, Failure> {
        let Some(times) = work.labels.times else { return Ok(Found::none(&work.view.features)) };
        self.narrow[number].set(Wanted::of(times, work.view.ttl, work.few_keys()?));
        work.join(|| Ok(self.histories[number].execute(0, Arc::clone(context))?)).await
    }
}

/// What is found, ready to be handed out.
struct Ready {
    labels: LabelBatches,
    found: Vec<Found>,
    reads_disk: bool,
    schema: SchemaRef,
    stop: Stop,
    _working: MemoryReservation,
}

impl Ready {
    fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        self.stop.check()?;
        let Some(labels) = self.labels.next().transpose()? else { return Ok(None) };
        let mut columns: Vec<ArrayRef> = labels.columns().to_vec();
        for found in &mut self.found {
            columns.extend(found.next(&labels)?);
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(labels.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows);
        batch.map(Some).map_err(|error| Error::Stopped(error.to_string()).into())
    }
}

impl DisplayAs for PointInTimeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views: Vec<&str> = self.views.iter().map(|view| view.name.as_str()).collect();
        write!(f, "PointInTimeExec: views=[{}], spill={}", views.join(", "), self.spill.folder().display())
    }
}

impl ExecutionPlan for PointInTimeExec {
    fn name(&self) -> &str {
        "PointInTimeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.labels).chain(&self.histories).collect()
    }

    /// The labels' order is the answer's.
    fn maintains_input_order(&self) -> Vec<bool> {
        (0..=self.histories.len()).map(|child| child == 0).collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let Some(labels) = children.next() else { return Ok(self) };
        let views = self.views.iter().cloned().zip(children).zip(self.narrow.iter().cloned());
        let views = views.map(|((view, history), narrow)| (view, history, narrow)).collect();
        Ok(Arc::new(Self::new(labels, (self.time, self.known_at), views, Arc::clone(&self.spill))))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let operator = Arc::new(Self {
            labels: Arc::clone(&self.labels),
            histories: self.histories.clone(),
            time: self.time,
            known_at: self.known_at,
            views: self.views.clone(),
            narrow: self.narrow.clone(),
            spill: Arc::clone(&self.spill),
            properties: Arc::clone(&self.properties),
        });
        let stop = Stop::default();
        let stopper = Stopper(stop.clone());
        // Whoever drops the stream drops the stopper, before the first batch as well as after it.
        let ready =
            async move { Ok::<_, Failure>(handed_out(beside(operator.prepare(context, stop)).await?, stopper)) };
        let batches = stream::once(ready).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches.map_err(DataFusionError::from))))
    }
}

fn handed_out(ready: Ready, stopper: Stopper) -> impl futures::Stream<Item = Result<RecordBatch, Failure>> {
    stream::try_unfold((ready, stopper), |(mut ready, stopper)| async move {
        let (next, ready) = match ready.reads_disk {
            false => (ready.next()?, ready),
            true => beside(async move { Ok((ready.next()?, ready)) }).await?,
        };
        Ok(next.map(|batch| (batch, (ready, stopper))))
    })
}

/// Runs work that keeps a processor or a disk busy where it holds up no request.
async fn beside<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    done.unwrap_or_else(|stopped| Err(Error::Stopped(stopped.to_string()).into()))
}

fn one_partition(schema: SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

/// Says to work on other threads that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

/// Stops the work when it is dropped.
struct Stopper(Stop);

impl Stop {
    fn check(&self) -> Result<(), Error> {
        match self.0.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::Stopped("nobody waits for it any more".to_owned())),
        }
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// An error of ours, or of what DataFusion runs for us.
#[derive(Debug)]
enum Failure {
    Ours(Error),
    DataFusion(DataFusionError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::DataFusion(error)
    }
}

impl From<Failure> for DataFusionError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ours(error) => Self::External(Box::new(error)),
            Failure::DataFusion(error) => error,
        }
    }
}

/// Bytes that were written to disk.
type Counter = Arc<AtomicU64>;
