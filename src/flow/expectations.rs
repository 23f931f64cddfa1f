//! What a feature view expects of its rows, wherever rows come in: before a sync writes, at every push, and when somebody
//! asks.
//!
//! A sync looks at all rows of its range before it writes the first one, so what must hold stops it whole. Rows that are
//! quarantined are copied to the side table first, then the others go on. The side table takes the same rows once: a sync
//! that is run again adds nothing to it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, take};
use arrow::datatypes::{Field as ArrowField, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use futures::StreamExt;

use super::Error;
use super::derive::off_the_async_threads;
use super::history::{Reads, good, with_features};
use crate::batch::{FeatureRows, timestamps};
use crate::catalog::{Catalog, Digest, FeatureView, Field, OnFailure, Source, SourceKind, Stored};
use crate::clock::Micros;
use crate::gateway::Gateway;
use crate::limits::QUARANTINE_BATCH_ROWS;
use crate::offline::{OfflineStore, Scan, Snapshot};
use crate::plan;
use crate::quality::{Examination, Failed, Span, Unmet, Verdict, needed, quarantines, reasons};

/// The columns that a side table has besides the view's own.
const REASON: &str = "quarantine_reason";
const QUARANTINED_AT: &str = "quarantined_at";
const EVENT_TIME: &str = "event_time";
const CREATED_TIME: &str = "created_time";

/// What came of looking at the rows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examined {
    /// One for each expectation of the view.
    pub verdicts: Vec<Verdict>,
    pub rows_quarantined: u64,
}

/// Which rows of a source are looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    pub from: Option<Micros>,
    /// Rows from after it are left out.
    pub until: Micros,
    /// Whether that is the present.
    pub reaches_now: bool,
    /// The source as it was then, not as it is now.
    pub at: Option<Snapshot>,
}

/// All rows of a range against the expectations of `view`, without any consequence.
pub async fn check(
    gateway: &Gateway,
    view: &str,
    from: Option<Micros>,
    until: Option<Micros>,
) -> Result<Vec<Verdict>, Error> {
    let applied = gateway.applied.load_full();
    let view = match applied.catalog.views.get(view) {
        Some(crate::catalog::View::Feature(view)) => Arc::clone(view),
        Some(crate::catalog::View::Derived(_)) => {
            return Err(Error::Invalid(format!("{view} is a derived view; only feature views have expectations")));
        }
        None => {
            let (view, project) = (view.to_owned(), applied.catalog.project.clone());
            return Err(plan::Error::UnknownView { view, project }.into());
        }
    };
    let now = gateway.clock.now();
    let until = until.unwrap_or(now).min(now);
    let looked = Looked { from, until, reaches_now: until == now, at: None };
    Ok(examine(gateway, &applied.catalog, &view, looked, None).await?.verdicts)
}

/// Before a sync writes: looks at all rows of the range, puts those aside that are quarantined, and stops the sync if
/// something does not hold that must.
pub(super) async fn before_sync(
    gateway: &Gateway,
    catalog: &Catalog,
    view: &Arc<FeatureView>,
    looked: Looked,
) -> Result<Examined, Error> {
    if view.expectations.is_empty() {
        return Ok(Examined::default());
    }
    let aside = Aside::of(gateway, catalog, view);
    let examined = examine(gateway, catalog, view, looked, aside).await?;
    tell(gateway, view, &examined);
    Unmet::among(&view.name, &examined.verdicts)?;
    Ok(examined)
}

/// Counts and logs what does not hold.
fn tell(gateway: &Gateway, view: &FeatureView, examined: &Examined) {
    for verdict in examined.verdicts.iter().filter(|verdict| !verdict.holds) {
        gateway.metrics.expectation_failures(&view.name, &verdict.expectation, verdict.failed);
        tracing::warn!(view = %view.name, "{verdict}");
    }
    gateway.metrics.quarantined_rows(&view.name, examined.rows_quarantined);
}

async fn examine(
    gateway: &Gateway,
    catalog: &Catalog,
    view: &Arc<FeatureView>,
    looked: Looked,
    aside: Option<Aside>,
) -> Result<Examined, Error> {
    let reads: Reads = (Arc::clone(&gateway.offline), catalog.sources[&view.source].clone());
    let span = Span { now: gateway.clock.now(), from: looked.from, reaches_now: looked.reaches_now };
    off_the_async_threads(examine_rows(reads, Arc::clone(view), looked, span, aside)).await
}

async fn examine_rows(
    (offline, source): Reads,
    view: Arc<FeatureView>,
    looked: Looked,
    span: Span,
    aside: Option<Aside>,
) -> Result<Examined, Error> {
    let fields = match &aside {
        Some(_) => view.join_keys.iter().chain(&view.features).cloned().collect(),
        None => with_features(&view.join_keys, &view, &needed(&view, |_| true)),
    };
    let until = (!looked.reaches_now).then_some(looked.until);
    let scan = Scan { from: looked.from, until, at: looked.at, ..Scan::of(fields.clone()) };
    let mut batches = offline.scan(&source, &scan).await?;
    let mut examination = Examination::new(Arc::clone(&view), fields);
    // Nothing is put aside while it may turn out that the run stops: the rows wait, up to a file of them at a time.
    let mut waiting = aside.map(|aside| Waiting { aside, parts: Vec::new(), rows: 0, written: 0 });
    let stops = view.expectations.iter().any(|expectation| expectation.on_failure == OnFailure::Fail);
    while let Some(batch) = batches.next().await {
        let batch = not_after(batch?, looked.until)?;
        let (columns, event_time) = (&batch.columns()[..batch.num_columns() - 2], event_time(&batch));
        let failed = examination.push(columns, event_time);
        if let Some(waiting) = waiting.as_mut().filter(|_| !stops) {
            waiting.add(offline.as_ref(), &view, &failed, &batch).await?;
        }
    }
    let verdicts = examination.finish(span);
    let goes_on = Unmet::among(&view.name, &verdicts).is_ok();
    let Some(mut waiting) = waiting.filter(|_| goes_on) else { return Ok(Examined { verdicts, rows_quarantined: 0 }) };
    if stops {
        waiting.read_again(offline.as_ref(), &source, &view, &scan, looked.until).await?;
    }
    let rows_quarantined = waiting.finish(offline.as_ref()).await?;
    Ok(Examined { verdicts, rows_quarantined })
}

/// The rows up to `until`.
fn not_after(batch: RecordBatch, until: Micros) -> Result<RecordBatch, Error> {
    let times = event_time(&batch).values();
    let within = BooleanBuffer::collect_bool(times.len(), |row| times[row] <= until);
    if within.count_set_bits() == times.len() {
        return Ok(batch);
    }
    filter_record_batch(&batch, &BooleanArray::new(within, None)).map_err(stopped)
}

/// The event times of a batch of a scan.
fn event_time(batch: &RecordBatch) -> &TimestampMicrosecondArray {
    batch.column(batch.num_columns() - 2).as_primitive::<TimestampMicrosecondType>()
}

/// Where rows of a view are put aside.
#[derive(Clone, Debug)]
struct Aside {
    source: Source,
    schema: Arc<Schema>,
    now: Micros,
}

impl Aside {
    /// Nothing for a view that quarantines no rows.
    fn of(gateway: &Gateway, catalog: &Catalog, view: &FeatureView) -> Option<Self> {
        if !view.expectations.iter().any(quarantines) {
            return None;
        }
        let named = view.quarantine.as_ref().and_then(|name| catalog.sources.get(name)).cloned();
        let source = named.unwrap_or_else(|| Source {
            name: format!("{}_quarantine", view.name),
            kind: SourceKind::Push { into: Stored::parquet(format!(".lockstep/quarantine/{}", view.name)) },
            event_time: EVENT_TIME.to_owned(),
            created_time: Some(CREATED_TIME.to_owned()),
            description: String::new(),
        });
        let time = |name: &str| Field::new(name, crate::catalog::DType::TIMESTAMP).arrow();
        let mut fields: Vec<ArrowField> = view.join_keys.iter().chain(&view.features).map(Field::arrow).collect();
        fields.push(time(&source.event_time));
        fields.push(time(source.created_time.as_deref().unwrap_or(CREATED_TIME)));
        fields.push(ArrowField::new(REASON, arrow::datatypes::DataType::Utf8, true));
        fields.push(time(QUARANTINED_AT));
        let fields: Vec<ArrowField> = fields.into_iter().map(|field| field.with_nullable(true)).collect();
        Some(Self { source, schema: Arc::new(Schema::new(fields)), now: gateway.clock.now() })
    }

    /// Writes rows (keys, features and the two times) with their reasons. The id is made of the rows themselves, so the
    /// same rows are written once.
    async fn write(&self, offline: &dyn OfflineStore, columns: Vec<ArrayRef>, why: StringArray) -> Result<u64, Error> {
        let rows = why.len();
        let mut columns = columns;
        columns.push(Arc::new(why));
        let id = content_id(&self.schema, &columns)?;
        columns.push(Arc::new(timestamps(vec![Some(self.now); rows])));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(stopped)?;
        offline.append(&self.source, &id, &batch).await?;
        Ok(rows as u64)
    }
}

fn content_id(schema: &Schema, columns: &[ArrayRef]) -> Result<String, Error> {
    let schema = Arc::new(schema.project(&(0..columns.len()).collect::<Vec<_>>()).map_err(stopped)?);
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).map_err(stopped)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(stopped)?;
    writer.write(&rows).map_err(stopped)?;
    Ok(format!("quarantine-{}", Digest::of(&writer.into_inner().map_err(stopped)?)))
}

/// Rows that are to be put aside, up to one file of them.
struct Waiting {
    aside: Aside,
    parts: Vec<(Vec<ArrayRef>, StringArray)>,
    rows: usize,
    written: u64,
}

impl Waiting {
    async fn add(
        &mut self,
        offline: &dyn OfflineStore,
        view: &FeatureView,
        failed: &[Failed],
        batch: &RecordBatch,
    ) -> Result<(), Error> {
        let Some(bad) = quarantined(view, failed) else { return Ok(()) };
        self.parts.push(taken_aside(view, failed, &bad, batch.columns())?);
        self.rows += bad.count_set_bits();
        if self.rows >= QUARANTINE_BATCH_ROWS { self.write(offline).await } else { Ok(()) }
    }

    /// Adds the rows of a scan that is made a second time, once it is known that the run goes on.
    async fn read_again(
        &mut self,
        offline: &dyn OfflineStore,
        source: &Source,
        view: &Arc<FeatureView>,
        scan: &Scan,
        until: Micros,
    ) -> Result<(), Error> {
        let checks = crate::quality::RowChecks::of(&view.expectations, &scan.columns, quarantines);
        let mut batches = offline.scan(source, scan).await?;
        while let Some(batch) = batches.next().await {
            let batch = not_after(batch?, until)?;
            let failed = checks.failed(&batch.columns()[..batch.num_columns() - 2]);
            self.add(offline, view, &failed, &batch).await?;
        }
        Ok(())
    }

    async fn write(&mut self, offline: &dyn OfflineStore) -> Result<(), Error> {
        let parts = std::mem::take(&mut self.parts);
        self.rows = 0;
        let Some((first, _)) = parts.first() else { return Ok(()) };
        let column = |column: usize| {
            let arrays: Vec<&dyn Array> = parts.iter().map(|(columns, _)| columns[column].as_ref()).collect();
            arrow::compute::concat(&arrays)
        };
        let columns = (0..first.len()).map(column).collect::<Result<_, _>>().map_err(stopped)?;
        let why: StringArray = parts.iter().flat_map(|(_, why)| why.iter()).collect();
        self.written += self.aside.write(offline, columns, why).await?;
        Ok(())
    }

    async fn finish(mut self, offline: &dyn OfflineStore) -> Result<u64, Error> {
        self.write(offline).await?;
        Ok(self.written)
    }
}

/// The rows that some expectation takes away; nothing where there are none.
fn quarantined(view: &FeatureView, failed: &[Failed]) -> Option<BooleanBuffer> {
    let bad = failed.iter().filter(|failed| quarantines(&view.expectations[failed.expectation]));
    bad.map(|failed| failed.rows.clone()).reduce(|all, rows| &all | &rows)
}

/// These rows of `columns`, and why each of them is bad.
fn taken_aside(
    view: &FeatureView,
    failed: &[Failed],
    bad: &BooleanBuffer,
    columns: &[ArrayRef],
) -> Result<(Vec<ArrayRef>, StringArray), Error> {
    let mask = BooleanArray::new(bad.clone(), None);
    let columns = columns.iter().map(|column| filter(column, &mask)).collect::<Result<_, _>>().map_err(stopped)?;
    Ok((columns, reasons(view, failed, bad.set_indices())))
}

/// Rows on their way into views, and what is to be kept of them.
#[derive(Debug)]
pub(super) struct Screened {
    /// What remains for each view, in the views' order.
    pub rows: Vec<FeatureRows>,
    /// The rows that at least one view takes; nothing where all of them are.
    pub taken: Option<BooleanBuffer>,
    /// What does not hold, over all views.
    pub verdicts: Vec<Verdict>,
    pub rows_quarantined: u64,
}

/// Rows that somebody writes, against what is expected of each row by itself. Nothing is put aside, and nothing may be
/// written, where a view must not have one of them.
pub(super) async fn screen(
    gateway: &Gateway,
    catalog: &Catalog,
    views: &[(&Arc<FeatureView>, FeatureRows)],
) -> Result<Screened, Error> {
    let mut screened =
        Screened { rows: Vec::with_capacity(views.len()), taken: None, verdicts: Vec::new(), rows_quarantined: 0 };
    let mut aside = Vec::new();
    let mut refused: Option<BooleanBuffer> = None;
    for (view, rows) in views {
        let columns: Vec<ArrayRef> = rows.keys.iter().chain(&rows.features).cloned().collect();
        let bad = match view.expectations.is_empty() {
            true => None,
            false => {
                let fields: Vec<Field> = view.join_keys.iter().chain(&view.features).cloned().collect();
                let mut examination = Examination::of_each_row(Arc::clone(view), fields);
                let failed = examination.push(&columns, &rows.event_time);
                let mut verdicts = examination.finish_each_row();
                verdicts.retain(|verdict| !verdict.holds);
                let bad = quarantined(view, &failed);
                let goes_on = Unmet::among(&view.name, &verdicts);
                let quarantined = bad.as_ref().filter(|_| goes_on.is_ok());
                let rows_quarantined = quarantined.map_or(0, |bad| bad.count_set_bits() as u64);
                let examined = Examined { verdicts, rows_quarantined };
                tell(gateway, view, &examined);
                goes_on?;
                screened.verdicts.extend(examined.verdicts);
                screened.rows_quarantined += examined.rows_quarantined;
                if let (Some(bad), Some(to)) = (&bad, Aside::of(gateway, catalog, view)) {
                    let times: [ArrayRef; 2] = [Arc::new(rows.event_time.clone()), Arc::new(rows.created_time.clone())];
                    let columns: Vec<ArrayRef> = columns.iter().cloned().chain(times).collect();
                    aside.push((to, taken_aside(view, &failed, bad, &columns)?));
                }
                bad
            }
        };
        let none = || BooleanBuffer::new_unset(rows.rows());
        let here = bad.clone().unwrap_or_else(none);
        refused = Some(refused.map_or_else(|| here.clone(), |refused| &refused & &here));
        screened.rows.push(match bad {
            Some(bad) => without(rows, &bad)?,
            None => rows.clone(),
        });
    }
    for (to, (columns, why)) in aside {
        to.write(gateway.offline.as_ref(), columns, why).await?;
    }
    screened.taken = refused.filter(|refused| refused.count_set_bits() > 0).map(|refused| !&refused);
    Ok(screened)
}

/// The rows that are not `bad`.
fn without(rows: &FeatureRows, bad: &BooleanBuffer) -> Result<FeatureRows, Error> {
    let mask = good(bad);
    let columns = |columns: &[ArrayRef]| columns.iter().map(|column| filter(column, &mask)).collect::<Result<_, _>>();
    let time = |times: &TimestampMicrosecondArray| {
        Ok::<_, ArrowError>(filter(times, &mask)?.as_primitive::<TimestampMicrosecondType>().clone())
    };
    let kept: Vec<usize> = mask.values().set_indices().collect();
    let origin = rows.origin.as_ref().map(|origin| crate::batch::Origin {
        offsets: kept.iter().map(|row| origin.offsets[*row]).collect(),
        ..origin.clone()
    });
    let deleted = rows
        .deleted
        .as_ref()
        .map(|deleted| BooleanBuffer::collect_bool(kept.len(), |place| deleted.value(kept[place])));
    Ok(FeatureRows {
        keys: columns(&rows.keys).map_err(stopped)?,
        features: columns(&rows.features).map_err(stopped)?,
        event_time: time(&rows.event_time).map_err(stopped)?,
        created_time: time(&rows.created_time).map_err(stopped)?,
        deleted,
        origin,
    })
}

/// The rows of a batch that are set.
pub(super) fn only(batch: &RecordBatch, taken: &BooleanBuffer) -> Result<RecordBatch, Error> {
    let rows = Int64Array::from_iter_values(taken.set_indices().map(|row| row as i64));
    let columns = batch.columns().iter().map(|column| take(column, &rows, None));
    let columns = columns.collect::<Result<_, _>>().map_err(stopped)?;
    RecordBatch::try_new(batch.schema(), columns).map_err(stopped)
}

fn stopped(error: ArrowError) -> Error {
    Error::Stopped(error.to_string())
}
