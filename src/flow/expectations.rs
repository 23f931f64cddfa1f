//! What a feature view expects of its rows, wherever rows come in: before a sync writes, at every push, and when somebody
//! asks.
//!
//! A sync looks at all rows of its range before it writes the first one, so what must hold stops it whole. Rows that are
//! quarantined are copied to the side table first, then the others go on. The side table takes the same rows once: a sync
//! that is run again adds nothing to it.

mod aside;
mod screen;

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use futures::StreamExt;

use self::aside::{Aside, Waiting};
use super::Error;
use super::derive::off_the_async_threads;
use super::history::{Reads, with_features};
use crate::catalog::{Catalog, FeatureView, OnFailure, View};
use crate::clock::Micros;
use crate::gateway::Gateway;
use crate::offline::{Scan, Snapshot};
use crate::plan;
use crate::quality::{Examination, Span, Unmet, Verdict, needed};

pub(super) use screen::{Screened, only, screen};

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
        Some(View::Feature(view)) => Arc::clone(view),
        Some(View::Derived(_)) => {
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

/// Before a sync writes: looks at all rows of the range, and puts those aside that are quarantined, unless something does
/// not hold that must; then the sync is to stop.
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
    let mut waiting = aside.map(Waiting::new);
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

fn stopped(error: ArrowError) -> Error {
    Error::Stopped(error.to_string())
}
