//! Offline rows become online rows: the newest row of each key, and what is derived of it at sync.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use futures::StreamExt;

use super::derive::off_the_async_threads;
use super::expectations::{Looked, before_sync};
use super::serve::micros;
use super::store::store;
use super::{Error, history};
use crate::batch::{FeatureRows, KeyBatch};
use crate::catalog::{Catalog, Digest, FeatureView, View};
use crate::clock::{Deadline, Micros};
use crate::error::chain;
use crate::gateway::Gateway;
use crate::limits::{SYNC_BATCH_ROWS, SYNC_WRITE_DEADLINE};
use crate::metrics::Metrics;
use crate::offline::{Rows, Scan};
use crate::pit::Newest;
use crate::plan::{self, StorePlan};
use crate::quality::{Verdict, quarantines};
use crate::registry::{self, SyncRun};

/// Which rows of the source to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Full,
    /// Both ends inclusive.
    Between {
        from: Micros,
        until: Micros,
    },
    /// From where the last sync ended; with no sync before, from `until − ttl`, or from the beginning without a ttl.
    Incremental {
        until: Micros,
    },
}

/// How far a sync is; told after each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows_read: u64,
    pub rows_written: u64,
}

/// What a sync of one view did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Synced {
    pub view: String,
    pub rows_read: u64,
    /// Rows that are the newest of their key within the range.
    pub rows_latest: u64,
    pub rows_written: u64,
    /// Rows that the online store had in a newer version already.
    pub rows_older: u64,
    /// Rows with a null join key.
    pub rows_without_key: u64,
    /// Rows from after this machine's clock. They are left for a later sync: stored now, they would hide the present.
    pub rows_in_future: u64,
    /// Rows that went to a side table because they are not as the view expects.
    pub rows_quarantined: u64,
    /// What came of each expectation of the view.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Verdict>,
    pub derived_views: Vec<String>,
    pub seconds: f64,
}

/// Brings one feature view, and the derived views placed at sync that read it, to the online store. Writing the same
/// rows again changes nothing, so a sync that broke off is simply run again.
pub async fn sync(
    gateway: &Gateway,
    view: &str,
    range: Range,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Synced, Error> {
    let applied = gateway.applied.load_full();
    let plan = plan::storing(&applied.catalog, view)?;
    let (started, started_at) = (Instant::now(), gateway.clock.now());
    let mut synced = Synced {
        view: view.to_owned(),
        derived_views: plan.derived.iter().map(|derived| derived.name.clone()).collect(),
        ..Synced::default()
    };

    let window = window(gateway, &plan, range).await?;
    let outcome = run(gateway, &applied.catalog, &plan, window, &mut synced, tell).await;

    synced.seconds = started.elapsed().as_secs_f64();
    count(&gateway.metrics, &synced);
    gateway.registry.record_run(&recorded(&synced, range, started_at, &outcome)).await?;
    outcome?;
    let before = synced_until(gateway, &plan).await?;
    let leaves_a_gap = before.zip(window.from).is_some_and(|(before, from)| from > before);
    if !leaves_a_gap {
        gateway.registry.set_progress(&progress_name(&plan), window.until).await?;
    }
    Ok(synced)
}

fn count(metrics: &Metrics, synced: &Synced) {
    let outcomes = [
        ("written", synced.rows_written),
        ("older", synced.rows_older),
        ("without_key", synced.rows_without_key),
        ("in_future", synced.rows_in_future),
    ];
    metrics.sync_rows(&synced.view, synced.rows_read, &outcomes);
}

/// Up to which event time the online store has the rows that today's definitions make.
pub async fn progress(gateway: &Gateway, view: &str) -> Result<Option<Micros>, Error> {
    let plan = plan::storing(&gateway.applied.load().catalog, view)?;
    synced_until(gateway, &plan).await
}

async fn synced_until(gateway: &Gateway, plan: &StorePlan) -> Result<Option<Micros>, Error> {
    Ok(gateway.registry.progress(&progress_name(plan)).await?)
}

/// Progress is that of the view as it is now: with other features, another transform placed at sync, or other rows that
/// are quarantined, all rows are to be written again.
fn progress_name(plan: &StorePlan) -> String {
    let online = std::iter::once(&plan.online).chain(&plan.derived);
    let made_of: Vec<String> =
        online.map(|view| format!("{:?}{:?}{:?}", view.join_keys, view.features, view.digest)).collect();
    let taken_away = plan.view.expectations.iter().filter(|expectation| quarantines(expectation));
    let made_of: Vec<String> =
        made_of.into_iter().chain(taken_away.map(|expectation| format!("{:?}", expectation.check))).collect();
    format!("{}@{}", plan.view.name, Digest::of(made_of.join("\n").as_bytes()).short())
}

/// The feature views that `sync` is for: online, with a history to read.
pub fn syncable_views(gateway: &Gateway) -> Vec<String> {
    let applied = gateway.applied.load();
    let online = |view: &View| match view {
        View::Feature(view) if view.online => Some(view.name.clone()),
        _ => None,
    };
    applied.catalog.views.values().filter_map(online).collect()
}

/// The event times to read; both ends inclusive.
#[derive(Clone, Copy)]
struct Window {
    from: Option<Micros>,
    until: Micros,
    /// What the scan is told. One that reaches the present asks for everything, so that it can say how many rows are
    /// from the future.
    scan_until: Option<Micros>,
}

async fn window(gateway: &Gateway, plan: &StorePlan, range: Range) -> Result<Window, Error> {
    let now = gateway.clock.now();
    let (from, until) = match range {
        Range::Full => (None, now),
        Range::Between { from, until } if from >= until => {
            return Err(Error::Invalid("the range is empty: its start must be before its end".to_owned()));
        }
        Range::Between { from, until } => (Some(from), until),
        Range::Incremental { until } => {
            let begin = plan.view.ttl.map(|ttl| until.saturating_sub(micros(ttl)));
            (synced_until(gateway, plan).await?.or(begin), until)
        }
    };
    // A range that reaches beyond the clock ends there, like a full sync.
    let reaches_now = range == Range::Full || until > now;
    Ok(Window { from, until: until.min(now), scan_until: (!reaches_now).then_some(until) })
}

async fn run(
    gateway: &Gateway,
    catalog: &Catalog,
    plan: &StorePlan,
    window: Window,
    synced: &mut Synced,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let reaches_now = window.scan_until.is_none();
    let looked = Looked { from: window.from, until: window.until, reaches_now, at: None };
    let examined = before_sync(gateway, catalog, &plan.view, looked).await?;
    (synced.expectations, synced.rows_quarantined) = (examined.verdicts, examined.rows_quarantined);
    let newest = read_newest(gateway, catalog, plan, window, synced, tell).await?;
    synced.rows_latest = newest.len() as u64;
    for from in (0..newest.len()).step_by(SYNC_BATCH_ROWS) {
        let rows = newest.rows(from, SYNC_BATCH_ROWS).map_err(|error| Error::Stopped(error.to_string()))?;
        let written =
            store(gateway, plan, feature_rows(&plan.view, &rows), Deadline::after(SYNC_WRITE_DEADLINE)).await?;
        synced.rows_written += written.written;
        synced.rows_older += written.older;
        tell(Progress { rows_read: synced.rows_read, rows_written: synced.rows_written });
    }
    Ok(())
}

/// The rows that count, read a batch at a time off the async threads.
async fn read_newest(
    gateway: &Gateway,
    catalog: &Catalog,
    plan: &StorePlan,
    window: Window,
    synced: &mut Synced,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Newest, Error> {
    let columns = plan.view.join_keys.iter().chain(&plan.view.features).cloned().collect();
    let scan = Scan { from: window.from, until: window.scan_until, ..Scan::of(columns) };
    let source = &catalog.sources[&plan.view.source];
    let batches = gateway.offline.scan(source, &scan).await?;
    let mut reading = Reading { batches, newest: Newest::default(), view: Arc::clone(&plan.view), until: window.until };
    loop {
        let (read, then) = off_the_async_threads(reading.next()).await?;
        reading = then;
        let Some(read) = read else { return Ok(reading.newest) };
        synced.rows_read += read.rows;
        synced.rows_without_key += read.without_key;
        synced.rows_in_future += read.after;
        tell(Progress { rows_read: synced.rows_read, rows_written: 0 });
    }
}

/// A scan under way.
struct Reading {
    batches: Rows,
    newest: Newest,
    view: Arc<FeatureView>,
    until: Micros,
}

/// What one batch of a scan brought.
struct BatchRead {
    rows: u64,
    without_key: u64,
    after: u64,
}

impl Reading {
    async fn next(mut self) -> Result<(Option<BatchRead>, Self), Error> {
        let Some(batch) = self.batches.next().await else { return Ok((None, self)) };
        let (batch, after) = not_after(batch?, self.until);
        let read = batch.num_rows() as u64;
        let batch = history::taken(&self.view, batch).map_err(|error| Error::Stopped(error.to_string()))?;
        let rows = feature_rows(&self.view, &batch);
        let keys = KeyBatch::encode(&self.view.join_keys, &rows.keys, rows.rows());
        let without_key = (0..keys.rows()).filter(|row| keys.is_null(*row)).count() as u64;
        let read = BatchRead { rows: read, without_key, after };
        self.newest
            .push(batch, &keys, &rows.event_time, &rows.created_time)
            .map_err(|error| Error::Stopped(error.to_string()))?;
        Ok((Some(read), self))
    }
}

/// The rows up to `until`, and how many there are after it.
fn not_after(batch: RecordBatch, until: Micros) -> (RecordBatch, u64) {
    let event_time = batch.column(batch.num_columns() - 2).as_primitive::<TimestampMicrosecondType>();
    let within = BooleanArray::from_iter((0..batch.num_rows()).map(|row| Some(event_time.value(row) <= until)));
    let after = batch.num_rows() - within.true_count();
    if after == 0 {
        return (batch, 0);
    }
    let kept = arrow::compute::filter_record_batch(&batch, &within).expect("the mask is as long as the batch");
    (kept, after as u64)
}

/// A batch of a scan, by what its columns are.
fn feature_rows(view: &FeatureView, batch: &RecordBatch) -> FeatureRows {
    let keys = view.join_keys.len();
    let features = view.features.len();
    let times = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().clone();
    FeatureRows::new(
        batch.columns()[..keys].to_vec(),
        batch.columns()[keys..keys + features].to_vec(),
        times(keys + features),
        times(keys + features + 1),
    )
}

fn recorded(synced: &Synced, range: Range, started_at: Micros, outcome: &Result<(), Error>) -> SyncRun {
    SyncRun {
        view: synced.view.clone(),
        range: match range {
            Range::Full => "full".to_owned(),
            Range::Between { .. } => "range".to_owned(),
            Range::Incremental { .. } => "incremental".to_owned(),
        },
        started_at,
        seconds: synced.seconds,
        rows_read: synced.rows_read,
        rows_latest: synced.rows_latest,
        rows_written: synced.rows_written,
        rows_older: synced.rows_older,
        rows_without_key: synced.rows_without_key,
        outcome: match outcome {
            Ok(()) => registry::Outcome::Finished,
            Err(error) => registry::Outcome::Failed(chain(error)),
        },
    }
}
