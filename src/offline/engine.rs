//! The one way in which rows are read: stored sources become tables, sql sources become views over them, and what the
//! asked one yields is cast, filtered and named as the port promises.

mod answer;
mod keys;
mod ties;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{DiskManager, FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, Volatility};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::prelude::{DataFrame, SQLOptions, SessionConfig, SessionContext, ident};
use futures::{FutureExt, StreamExt, stream};

use self::answer::Answer;
use self::ties::SourceOrderOfTies;
use super::damage::first_damaged;
use super::long;
use super::look_ahead::look_ahead;
use super::spill::{self, SpillFiles};
use super::tables::{Table, TableFile};
use super::{Error, Rows, Scan, object_stores};
use crate::catalog::{Source, SourceKind};
use crate::limits::{SCAN_BATCH_ROWS, SCAN_MERGE_BYTES_MAX};
use crate::space::Space;

/// What is said of a file that a failed request does not name.
const A_FILE: &str = "a file";

/// Stored sources by name; `None` where nothing was pushed yet.
pub(super) type Tables = BTreeMap<String, Option<Table>>;

/// A source that is ready to be read.
#[derive(Debug)]
pub(super) struct Opened {
    source: Source,
    frame: DataFrame,
    /// The plan of the source's own query, if it is one.
    query: Option<LogicalPlan>,
    /// The columns that say when, of every source that is read.
    event_times: BTreeSet<String>,
    /// Every Parquet file that may be read, with the name of its source.
    files: SourceFiles,
}

/// Files, each with the name of the source that reads it.
type SourceFiles = Vec<(String, TableFile)>;

/// Opens the last source of `order`, of which every one stands behind those that it reads. `None` is a push source to
/// which nothing was pushed.
pub(super) async fn open(order: Vec<Source>, tables: Tables, space: &Space) -> Result<Option<Opened>, Error> {
    let source = order.last().expect("a source is the last of its own reading order").clone();
    if matches!(tables.get(&source.name), Some(None)) {
        return Ok(None);
    }
    let context = session(&source.name, space).map_err(|error| unreadable(&source, &error))?;
    let (mut files, mut query_plan) = (Vec::new(), None);
    for read in &order {
        let provider = match (&read.kind, tables.get(&read.name)) {
            (SourceKind::Sql { query }, _) => {
                let options =
                    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
                let frame = context.sql_with_options(query, options).await;
                let frame = frame.map_err(|error| wrong_query(read, &error))?;
                query_plan = (read.name == source.name).then(|| frame.logical_plan().clone());
                frame.into_view()
            }
            // What it reads is registered; how it is read depends on what is asked for.
            (SourceKind::Long(_), _) => continue,
            (_, Some(Some(table))) => {
                files.extend(table.files.iter().map(|file| (read.name.clone(), file.clone())));
                Arc::clone(&table.provider)
            }
            (_, _) => {
                let detail = format!("source {} has no rows yet, so its columns are not known", read.name);
                return Err(Error::Query { source_name: source.name, detail });
            }
        };
        let table = TableReference::bare(read.name.as_str());
        context.register_table(table, provider).map_err(|error| failed(read, &error))?;
    }
    let table = match &source.kind {
        SourceKind::Long(long) => &long.source,
        SourceKind::Stored(_) | SourceKind::Sql { .. } | SourceKind::Push { .. } => &source.name,
    };
    let frame = context.table(TableReference::bare(table.as_str())).await;
    let frame = frame.map_err(|error| failed(&source, &error))?;
    let event_times = order.iter().map(|read| read.event_time.clone()).collect();
    Ok(Some(Opened { source, frame, query: query_plan, event_times, files }))
}

impl Opened {
    pub(super) fn schema(&self) -> Result<SchemaRef, Error> {
        match &self.source.kind {
            SourceKind::Long(long) => long::schema(&self.source, long, &self.table_schema()),
            SourceKind::Stored(_) | SourceKind::Sql { .. } | SourceKind::Push { .. } => Ok(self.table_schema()),
        }
    }

    /// The columns of what is read; of a long source those of the long rows.
    pub(super) fn table_schema(&self) -> SchemaRef {
        Arc::clone(self.frame.schema().inner())
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// What in the source's query looks into the future of its own rows, in words.
    pub(super) fn look_ahead(&self) -> Result<Vec<String>, Error> {
        let Some(query) = &self.query else { return Ok(Vec::new()) };
        look_ahead(query, &self.event_times).map_err(|error| wrong_query(&self.source, &error))
    }

    /// The same source, read in another way.
    pub(super) fn map(
        self,
        change: impl FnOnce(DataFrame) -> Result<DataFrame, DataFusionError>,
    ) -> Result<Self, DataFusionError> {
        Ok(Self { frame: change(self.frame)?, ..self })
    }

    /// The rows and columns that a scan reads.
    pub(super) fn frame_for(self, scan: &Scan) -> Result<DataFrame, Error> {
        Ok(self.asked(scan)?.2)
    }

    /// How the scan would be done, in DataFusion's words.
    pub(super) async fn explain(self, scan: &Scan) -> Result<String, Error> {
        if let SourceKind::Long(long) = self.source.kind.clone() {
            return long::explain(self, &long, scan).await;
        }
        let (source, _, frame, _) = self.asked(scan)?;
        let wrong = |error| failed(&source, &error);
        let plan = planned(&source, scan, frame).await.map_err(wrong)?;
        Ok(displayable(plan.as_ref()).indent(true).to_string())
    }

    /// The columns and rows that the scan needs, as a question to DataFusion.
    fn asked(self, scan: &Scan) -> Result<(Source, Answer, DataFrame, SourceFiles), Error> {
        let Self { source, mut frame, files, .. } = self;
        let answer = Answer::new(&source, frame.schema().as_arrow(), scan)?;
        if let Some(condition) = answer.coarse(frame.schema().as_arrow()) {
            frame = frame.filter(condition).map_err(|error| failed(&source, &error))?;
        }
        let columns: Vec<_> = answer.read().iter().map(ident).collect();
        let frame = frame.select(columns).map_err(|error| failed(&source, &error))?;
        Ok((source, answer, frame, files))
    }

    pub(super) async fn scan(self, scan: &Scan) -> Result<Rows, Error> {
        match self.source.kind.clone() {
            SourceKind::Long(long) => long::scan(self, &long, scan).await,
            SourceKind::Stored(_) | SourceKind::Sql { .. } | SourceKind::Push { .. } => self.scan_with(scan, Ok).await,
        }
    }

    /// The rows of a scan, after `change` did something to all of them that keeps their columns where they are.
    pub(super) async fn scan_with(
        self,
        scan: &Scan,
        change: impl FnOnce(DataFrame) -> Result<DataFrame, DataFusionError>,
    ) -> Result<Rows, Error> {
        let (source, answer, frame, files) = self.asked(scan)?;
        let frame = change(frame).map_err(|error| failed(&source, &error))?;
        let context = Arc::new(frame.task_ctx());
        let plan = planned(&source, scan, frame).await.map_err(|error| failed(&source, &error))?;
        let batches = execute_stream(plan, context).map_err(|error| failed(&source, &error))?;
        let reading = Arc::new((source, files));
        // A damaged file can make the decoder panic; the panic ends this scan and nothing else.
        let rows = AssertUnwindSafe(batches).catch_unwind().then(move |batch| match batch {
            Ok(Ok(batch)) => futures::future::ready(answer.rows(&batch)).boxed(),
            Ok(Err(error)) => blame(Arc::clone(&reading), Some(error)).map(Err).boxed(),
            Err(_) => blame(Arc::clone(&reading), None).map(Err).boxed(),
        });
        let not_empty = |batch: &Result<arrow::array::RecordBatch, Error>| {
            futures::future::ready(!matches!(batch, Ok(batch) if batch.num_rows() == 0))
        };
        Ok(rows.filter(not_empty).boxed())
    }
}

/// The plan of a scan. Where the only condition is the range of times, it has told the readers what to skip, and
/// [`Answer::rows`] looks at each row: a filter in between would do that once more, and copy every row.
async fn planned(source: &Source, scan: &Scan, frame: DataFrame) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let plan = frame.create_physical_plan().await?;
    let filters_times_only =
        scan.keys.is_none() && matches!(source.kind, SourceKind::Stored(_) | SourceKind::Push { .. });
    if filters_times_only { unfiltered(plan) } else { Ok(plan) }
}

fn unfiltered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>().filter(|filter| filter.projection().is_none()) {
        return Ok(Arc::clone(filter.input()));
    }
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => {
            let input = unfiltered(Arc::clone(projection.input()))?;
            plan.replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
        }
        None => Ok(plan),
    }
}

/// The rows of a push source to which nothing was pushed.
pub(super) fn no_rows() -> Rows {
    stream::empty().boxed()
}

/// A session that sees nothing but the tables given to it, computes the same each time, and is bounded in memory and
/// disk. The bounds are of this scan and not of all together, so that a query gives the same rows whatever else runs.
fn session(source_name: &str, space: &Space) -> Result<SessionContext, DataFusionError> {
    let mut config =
        SessionConfig::new().with_target_partitions(1).with_batch_size(SCAN_BATCH_ROWS).with_collect_statistics(false);
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.sort_spill_reservation_bytes = SCAN_MERGE_BYTES_MAX.min(space.memory_bytes / 4);
    let pool = Arc::new(FairSpillPool::new(space.memory_bytes));
    let disk = DiskManager::builder().with_temp_file_factory(Arc::new(SpillFiles::new(source_name, space)));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(SourceOrderOfTies));
    let context = SessionContext::new_with_state(state.build());
    // What depends on more than its arguments (the clock, chance) would give other rows at the next scan.
    let state = context.state_ref();
    let impure: Vec<String> = {
        let state = state.read();
        let functions = state.scalar_functions().iter();
        let impure = functions.filter(|(_, function)| function.signature().volatility != Volatility::Immutable);
        impure.map(|(name, _)| name.clone()).collect()
    };
    for name in impure {
        state.write().deregister_udf(&name)?;
    }
    Ok(context)
}

/// What went wrong while rows were read. Where it may be the file's fault, finds the file.
async fn blame(reading: Arc<(Source, SourceFiles)>, error: Option<DataFusionError>) -> Error {
    if let Some(told) = error.as_ref().and_then(|error| told(&reading.0, error)) {
        return told;
    }
    let may_be_damage = error.as_ref().is_none_or(|error| {
        use DataFusionError::{ArrowError, External, IoError, ObjectStore, ParquetError};
        matches!(error.find_root(), ParquetError(_) | ArrowError(..) | IoError(_) | ObjectStore(_) | External(_))
            && object_stores::failed_request(&reading.0.name, A_FILE, error).is_none()
    });
    if may_be_damage && let Some(damaged) = first_damaged(&reading.1).await {
        return damaged;
    }
    match error {
        Some(error) => failed(&reading.0, &error),
        None => Error::Unreadable {
            source_name: reading.0.name.clone(),
            detail: "the reader stopped on its rows".to_owned(),
        },
    }
}

/// What a table of ours has told already, which names its own source; or what was put aside and could not be.
fn told(source: &Source, error: &DataFusionError) -> Option<Error> {
    match error.find_root() {
        DataFusionError::External(error) => error.downcast_ref::<Error>().cloned(),
        DataFusionError::ResourcesExhausted(_) => Some(Error::NoRoom {
            source_name: source.name.clone(),
            detail: "sorting and grouping its rows takes more memory than memory under offline_store in lockstep.yaml \
                     lets it; raise that"
                .to_owned(),
        }),
        _ => spill::failure(error),
    }
}

/// A failure of a sql source is its query's, of any other source its files'.
fn failed(source: &Source, error: &DataFusionError) -> Error {
    if let Some(told) = told(source, error) {
        return told;
    }
    if let Some(failed) = object_stores::failed_request(&source.name, A_FILE, error) {
        return failed;
    }
    if matches!(source.kind, SourceKind::Sql { .. }) { wrong_query(source, error) } else { unreadable(source, error) }
}

fn wrong_query(source: &Source, error: &DataFusionError) -> Error {
    Error::Query { source_name: source.name.clone(), detail: words(error) }
}

fn unreadable(source: &Source, error: &DataFusionError) -> Error {
    Error::Unreadable { source_name: source.name.clone(), detail: words(error) }
}

/// DataFusion's message without the layers that it went through and without a trace.
pub(super) fn words(error: &DataFusionError) -> String {
    let text = error.find_root().message().into_owned();
    let text = text.split("\n\nbacktrace: ").next().unwrap_or(&text);
    text.trim_end_matches('.').to_owned()
}
