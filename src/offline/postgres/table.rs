//! A PostgreSQL table as a table of DataFusion's, and the plan that reads it.
//!
//! # Why COPY
//! `COPY (SELECT …) TO STDOUT (FORMAT binary)` is the cheapest way out of PostgreSQL: values as they lie in memory, no
//! round trip per batch. It is as flat in memory as a cursor, because a reader that is slow stops the server through
//! the socket, and a batch ends after so many rows or bytes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, stream};
use tokio::time::timeout;
use tokio_postgres::CopyOutStream;

use super::columns::{Column, Shape, arrow_schema};
use super::decode::Decoder;
use super::failure::Failure;
use super::filter::condition;
use super::moment::Moment;
use super::pool::Lease;
use super::sql;
use crate::limits::{POSTGRES_BATCH_BYTES, SCAN_BATCH_ROWS};
use crate::offline::Error;

/// Bytes of SQL that a plan shows.
const SQL_SHOWN_MAX: usize = 2_000;

/// The rows of a table, a view or the like at one moment.
#[derive(Debug)]
pub(super) struct PostgresTable {
    source: String,
    /// As SQL names it.
    table: String,
    columns: Vec<Column>,
    schema: SchemaRef,
    moment: Arc<Moment>,
}

impl PostgresTable {
    pub fn new(source: &str, table: String, columns: Vec<Column>, moment: Arc<Moment>) -> Self {
        let schema = arrow_schema(&columns);
        Self { source: source.to_owned(), table, columns, schema, moment }
    }

    fn query(&self, columns: &[&Column], filters: &[Expr], limit: Option<usize>) -> String {
        let names = sql::list(columns.iter().map(|column| column.name.as_str()));
        let conditions: Vec<String> =
            filters.iter().filter_map(|filter| Some(condition(filter, &self.columns)?.sql)).collect();
        let mut query = format!("SELECT {names} FROM {}", self.table);
        if !conditions.is_empty() {
            query.push_str(" WHERE ");
            query.push_str(&conditions.join(" AND "));
        }
        if let Some(limit) = limit {
            query.push_str(&format!(" LIMIT {limit}"));
        }
        query
    }
}

#[async_trait]
impl TableProvider for PostgresTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match condition(filter, &self.columns) {
            Some(condition) if condition.is_exact => TableProviderFilterPushDown::Exact,
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (columns, schema) = match projection {
            Some(places) => (
                places.iter().map(|place| &self.columns[*place]).collect::<Vec<_>>(),
                Arc::new(self.schema.project(places)?),
            ),
            None => (self.columns.iter().collect(), Arc::clone(&self.schema)),
        };
        let shape = |column: &&Column| {
            let refused = || Error::Unreadable { source_name: self.source.clone(), detail: column.refusal() };
            column.shape.ok_or_else(|| DataFusionError::External(Box::new(refused())))
        };
        let shapes = columns.iter().map(shape).collect::<Result<Vec<_>>>()?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(PostgresScan {
            source: self.source.clone(),
            query: self.query(&columns, filters, limit),
            shapes,
            moment: Arc::clone(&self.moment),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

/// The plan of one scan.
#[derive(Debug)]
struct PostgresScan {
    source: String,
    query: String,
    shapes: Vec<Shape>,
    moment: Arc<Moment>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for PostgresScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.query.chars().take(SQL_SHOWN_MAX).collect();
        let more = if shown.len() < self.query.len() { " …" } else { "" };
        write!(f, "PostgresScan: {shown}{more}")
    }
}

impl ExecutionPlan for PostgresScan {
    fn name(&self) -> &'static str {
        "PostgresScan"
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

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scan = Scan {
            source: self.source.clone(),
            query: self.query.clone(),
            moment: Arc::clone(&self.moment),
            rows: Decoder::new(self.schema(), &self.shapes),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_received", partition),
            state: State::Waiting,
        };
        let batches = stream::unfold(scan, |mut scan| async move { Some((scan.next().await?, scan)) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// A scan under way. Dropped before its end, it ends the statement at the server.
struct Scan {
    source: String,
    query: String,
    moment: Arc<Moment>,
    rows: Decoder,
    metrics: BaselineMetrics,
    bytes: Count,
    state: State,
}

// One is made for each scan.
#[allow(clippy::large_enum_variant)]
enum State {
    Waiting,
    Receiving(Lease, Pin<Box<CopyOutStream>>),
    Ended,
}

impl Scan {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = match std::mem::replace(&mut self.state, State::Ended) {
            State::Waiting => match self.begin().await {
                Ok((lease, copy)) => self.batch(lease, copy).await,
                Err(failure) => Err(failure.reading(&self.source)),
            },
            State::Receiving(lease, copy) => self.batch(lease, copy).await,
            State::Ended => return None,
        };
        match batch {
            Ok(Some(batch)) => {
                self.metrics.record_output(batch.num_rows());
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(error) => Some(Err(DataFusionError::External(Box::new(error)))),
        }
    }

    async fn begin(&self) -> Result<(Lease, Pin<Box<CopyOutStream>>), Failure> {
        let mut lease = self.moment.lease().await?;
        let copy = lease.receive(&format!("COPY ({}) TO STDOUT (FORMAT binary)", self.query)).await?;
        Ok((lease, Box::pin(copy)))
    }

    /// The next batch; nothing after the last one.
    async fn batch(
        &mut self,
        mut lease: Lease,
        mut copy: Pin<Box<CopyOutStream>>,
    ) -> Result<Option<RecordBatch>, Error> {
        let receiving = async {
            while self.rows.rows() < SCAN_BATCH_ROWS && self.rows.bytes() < POSTGRES_BATCH_BYTES {
                let message = match copy.next().await {
                    None => return Ok(true),
                    Some(message) => message,
                };
                let message = message.map_err(|error| Failure::of(lease.settings(), &error).reading(&self.source))?;
                self.bytes.add(message.len());
                let pushed = self.rows.push(&message);
                pushed.map_err(|detail| Error::Unreadable { source_name: self.source.clone(), detail })?;
            }
            Ok(false)
        };
        // The server keeps this limit itself, if it still can.
        let limit = lease.settings().statement_timeout;
        let received = timeout(limit, receiving).await;
        let is_last = received.unwrap_or_else(|_| Err(Failure::silent(lease.settings()).reading(&self.source)))?;
        if is_last {
            lease.received();
            self.moment.keep(lease);
        } else {
            self.state = State::Receiving(lease, copy);
        }
        if is_last && self.rows.rows() == 0 {
            return Ok(None);
        }
        let batch = self.rows.finish();
        let unreadable = |detail: String| Error::Unreadable { source_name: self.source.clone(), detail };
        batch.map(Some).map_err(|error| unreadable(error.to_string()))
    }
}
