//! Labels and histories as leaves of DataFusion's plan, whatever they come from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::one_partition;
use crate::clock::Micros;

/// An error of whoever the rows come from; the join hands it on as it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Batches of one schema.
pub type Rows = BoxStream<'static, std::result::Result<RecordBatch, BoxError>>;

/// Begins to read, anew each time.
pub type Open = Arc<dyn Fn(Wanted) -> Rows + Send + Sync>;

/// The rows of one view.
#[derive(Clone)]
pub struct History {
    /// The join keys, the features, the event time, the created time.
    pub schema: SchemaRef,
    pub open: Open,
}

/// Which rows of a history some label may find. Others may come along; they cost time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub from: Option<Micros>,
    pub until: Option<Micros>,
    /// The join keys' values, one row a key, where they are few.
    pub keys: Option<Vec<ArrayRef>>,
}

impl Wanted {
    /// What labels from the first to the last of `times` may find.
    pub(super) fn of((first, last): (Micros, Micros), ttl: Option<Duration>, keys: Option<Vec<ArrayRef>>) -> Self {
        let micros = |ttl: Duration| Micros::try_from(ttl.as_micros()).unwrap_or(Micros::MAX);
        Self { from: ttl.map(|ttl| first.saturating_sub(micros(ttl))), until: Some(last), keys }
    }
}

/// What is wanted of one history, once the labels have said it.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow(Arc<Mutex<Wanted>>);

impl Narrow {
    pub(super) fn set(&self, wanted: Wanted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    fn get(&self) -> Wanted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Rows that come from outside DataFusion.
pub(super) struct RowsExec {
    what: String,
    open: Open,
    narrow: Narrow,
    properties: Arc<PlanProperties>,
}

impl RowsExec {
    pub(super) fn new(what: String, schema: SchemaRef, open: Open, narrow: Narrow) -> Self {
        Self { what, open, narrow, properties: one_partition(schema) }
    }
}

impl fmt::Debug for RowsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsExec").field("what", &self.what).finish_non_exhaustive()
    }
}

impl DisplayAs for RowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowsExec: {}", self.what)
    }
}

impl ExecutionPlan for RowsExec {
    fn name(&self) -> &str {
        "RowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = (self.open)(self.narrow.get()).map_err(DataFusionError::External);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
