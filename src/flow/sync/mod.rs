//! Offline rows become online rows: the newest row of each key, and what is derived of it at sync.
//!
//! A run reads (`reading`), keeps the newest row of each key in memory or, where that is not enough, in its spool, and
//! writes (`writing`), several batches at once. Every few seconds it makes durable what it has done (`run`): after a
//! `kill -9` the same sync goes on there, as long as the definitions, the range and the source are still the same. Writing
//! a row twice changes nothing, so what was done after that moment is simply done again.
//!
//! # Why rows are not written while the source is still read
//! Of a key that comes ten times nine rows would be written for nothing, and readers would see the past go by.

mod reading;
mod record;
mod run;
mod writing;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::serve::micros;
use super::{Error, Selection};
use crate::catalog::{Catalog, Digest, Source, View};
use crate::clock::Micros;
use crate::gateway::{Gateway, Stop};
use crate::plan::{self, StorePlan};
use crate::quality::{Verdict, quarantines};

pub(super) use reading::push_rows;
pub use record::{RunShown, ScheduleShown, SyncList, list, runs, schedules};
use run::Run;

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

/// How a sync is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What an interrupted run left is thrown away.
    pub restart: bool,
    /// Asks this run to stop; [`crate::gateway::Syncing::stop`] asks all of them.
    pub stop: Stop,
}

/// How far a sync is; told after each batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub rows_read: u64,
    /// What the last finished run of the same kind read; the source itself is not asked.
    pub rows_to_read: Option<u64>,
    pub rows_written: u64,
    /// Known once everything is read; of keys that were put aside several times too many.
    pub rows_to_write: Option<u64>,
    /// Of `rows_read`, those that an interrupted run had read.
    pub rows_reused: u64,
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
    /// Of the rows read, those that an interrupted run had read and this one did not read again.
    pub rows_reused: u64,
    /// Rows that were read once more only to find the place at which the interrupted run had stopped.
    pub rows_read_again: u64,
    /// Rows that went to a side table because they are not as the view expects.
    pub rows_quarantined: u64,
    /// What came of each expectation of the view.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Verdict>,
    pub derived_views: Vec<String>,
    pub seconds: f64,
}

/// What was done of a run so far, the interrupted runs before it included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    read: u64,
    latest: u64,
    written: u64,
    older: u64,
    without_key: u64,
    in_future: u64,
    bytes_written: u64,
    newest_event_time: Option<Micros>,
    /// By feature, in the view's order.
    nulls: Vec<u64>,
}

/// The event times to read; both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    from: Option<Micros>,
    until: Micros,
    /// What the scan is told. One that reaches the present asks for everything, so that it can say how many rows are
    /// from the future.
    scan_until: Option<Micros>,
}

/// Brings one feature view, and the derived views placed at sync that read it, to the online store. Writing the same
/// rows again changes nothing, so a sync that broke off is simply run again.
pub async fn sync(
    gateway: &Gateway,
    view: &str,
    range: Range,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Synced, Error> {
    sync_with(gateway, view, range, &Options::default(), tell).await
}

/// [`sync`], as the options say.
pub async fn sync_with(
    gateway: &Gateway,
    view: &str,
    range: Range,
    options: &Options,
    tell: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Synced, Error> {
    let applied = gateway.applied.load_full();
    let plan = plan::storing(&applied.catalog, view)?;
    let (started, started_at) = (Instant::now(), gateway.clock.now());
    let window = window(gateway, &plan, range).await?;

    let mut run = Run::new(gateway, &plan, &applied.catalog, range, window, options);
    let outcome = run.go(&applied.catalog, options, tell).await;

    let synced = run.synced(started.elapsed());
    record::count(&run, &synced, &outcome);
    gateway.registry.record_run(&record::recorded(&run, &synced, range, started_at, &outcome)).await?;
    outcome?;
    let (window, name) = (run.task.window, progress_name(&plan));
    let before = gateway.registry.progress(&name).await?;
    let leaves_a_gap = before.zip(window.from).is_some_and(|(before, from)| from > before);
    if !leaves_a_gap {
        gateway.registry.set_progress(&name, window.until).await?;
    }
    run.finish().await?;
    super::schedule::tell_freshness(gateway).await?;
    Ok(synced)
}

/// Up to which event time the online store has the rows that today's definitions make.
pub async fn progress(gateway: &Gateway, view: &str) -> Result<Option<Micros>, Error> {
    let plan = plan::storing(&gateway.applied.load().catalog, view)?;
    synced_until(gateway, &plan).await
}

pub(super) async fn synced_until(gateway: &Gateway, plan: &StorePlan) -> Result<Option<Micros>, Error> {
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

/// What must be the same for a run to go on with what another one has read and written.
fn made_of(plan: &StorePlan, source: &Source) -> String {
    Digest::of(format!("{}\n{source:?}", progress_name(plan)).as_bytes()).to_string()
}

/// The feature views that `sync` is for: online, with a history to read.
pub fn syncable_views(gateway: &Gateway) -> Vec<String> {
    syncable(&gateway.applied.load().catalog)
}

pub(super) fn syncable(catalog: &Catalog) -> Vec<String> {
    let online = |view: &View| match view {
        View::Feature(view) if view.online => Some(view.name.clone()),
        _ => None,
    };
    catalog.views.values().filter_map(online).collect()
}

/// Those of them that a feature service reads, itself or through derived views.
pub fn views_of_service(gateway: &Gateway, service: &str) -> Result<Vec<String>, Error> {
    let applied = gateway.applied.load();
    let asked = Selection::Service { name: service.to_owned(), full_feature_names: Some(true) };
    let mut views: Vec<String> = Vec::new();
    for read in plan::training(&applied.catalog, &asked)?.reads.iter().filter(|read| read.view.online) {
        if !views.contains(&read.view.name) {
            views.push(read.view.name.clone());
        }
    }
    Ok(views)
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

impl Range {
    /// As the record of runs has it.
    fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Between { .. } => "range",
            Self::Incremental { .. } => "incremental",
        }
    }
}
