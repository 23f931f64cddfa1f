//! What is remembered of runs: in the registry, on the metrics, and as people and programs see it.

use chrono::{DateTime, SecondsFormat};
use schemars::JsonSchema;
use serde::Serialize;

use super::run::Run;
use super::{Range, Synced};
use crate::catalog::Catalog;
use crate::clock::Micros;
use crate::error::chain;
use crate::flow::Error;
use crate::limits::SYNC_RUNS_SHOWN_MAX;
use crate::plan;
use crate::registry::{Outcome, Registry, SyncRun};

/// The runs of sync, newest first, and the schedules that are run, as `lockstep syncs` and `GET /v1/syncs` show them.
/// Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SyncList {
    pub runs: Vec<RunShown>,
    pub schedules: Vec<ScheduleShown>,
}

/// A run of sync.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SyncRunShown")]
pub struct RunShown {
    pub view: String,
    /// `full`, `range` or `incremental`.
    pub range: String,
    /// The event times that were asked for; none before the first, or where an older version recorded the run.
    pub from: Option<String>,
    pub until: Option<String>,
    pub started_at: String,
    pub seconds: f64,
    /// `finished`; `stopped`, the same sync goes on with it; or `failed`.
    pub outcome: &'static str,
    /// Why it failed.
    pub failure: Option<String>,
    pub rows_read: u64,
    /// Rows that are the newest of their key.
    pub rows_latest: u64,
    pub rows_written: u64,
    /// Rows that the online store had in a newer version.
    pub rows_older: u64,
    pub rows_without_key: u64,
    /// Rows from after the gateway's clock, which were left out.
    pub rows_in_future: u64,
    pub rows_failed: u64,
    /// Rows that went to a side table because they are not as the view expects.
    pub rows_quarantined: u64,
    /// Of the rows read, those that an interrupted run had read.
    pub rows_reused: u64,
    /// Rows that were read once more to find the place at which the interrupted run had stopped.
    pub rows_read_again: u64,
    pub bytes_written: u64,
    /// Bytes that were put aside on disk.
    pub bytes_spooled: u64,
    pub newest_event_time: Option<String>,
    pub nulls: Vec<NullsShown>,
    /// What came of each expectation of the view.
    #[schemars(with = "Vec<crate::quality::Verdict>")]
    pub expectations: Vec<serde_json::Value>,
    /// What the source consisted of: files, versions, queries.
    pub snapshot: Option<serde_json::Value>,
}

/// Of the rows that count, those without a value of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SyncNulls")]
pub struct NullsShown {
    pub feature: String,
    pub rows: u64,
}

/// The schedule of a view. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SyncScheduleShown")]
pub struct ScheduleShown {
    pub view: String,
    pub next_at: String,
    /// Runs in a row that failed.
    pub failures: u32,
    pub failure: Option<String>,
}

/// The last runs and the schedules, of one view or of all.
pub async fn list(registry: &Registry, catalog: &Catalog, view: Option<&str>, limit: u32) -> Result<SyncList, Error> {
    if let Some(view) = view {
        plan::storing(catalog, view)?;
    }
    let runs = runs(registry, view, limit).await?;
    let mut schedules = schedules(registry, catalog).await?;
    schedules.retain(|schedule| view.is_none_or(|view| schedule.view == view));
    Ok(SyncList { runs, schedules })
}

/// The last runs of one view, or of all, newest first.
pub async fn runs(registry: &Registry, view: Option<&str>, limit: u32) -> Result<Vec<RunShown>, Error> {
    let runs = registry.runs(view, limit.min(SYNC_RUNS_SHOWN_MAX)).await?;
    Ok(runs.into_iter().map(RunShown::from).collect())
}

/// The schedules of the views of `catalog` that have one and ran by it.
pub async fn schedules(registry: &Registry, catalog: &Catalog) -> Result<Vec<ScheduleShown>, Error> {
    let has_one = |view: &str| catalog.feature_view(view).is_some_and(|view| view.sync_every.is_some());
    let schedules = registry.schedules().await?.into_iter().filter(|schedule| has_one(&schedule.view));
    let schedules = schedules.map(|schedule| ScheduleShown {
        view: schedule.view,
        next_at: shown(schedule.next_at),
        failures: schedule.failures,
        failure: schedule.failure,
    });
    Ok(schedules.collect())
}

/// Counts what this run did, without what an interrupted one had done before it.
pub(super) fn count(run: &Run<'_>, synced: &Synced, outcome: &Result<(), Error>) {
    let (metrics, before) = (&run.gateway.metrics, &run.before);
    let outcomes = [
        ("written", synced.rows_written.saturating_sub(before.written)),
        ("older", synced.rows_older.saturating_sub(before.older)),
        ("without_key", synced.rows_without_key.saturating_sub(before.without_key)),
        ("in_future", synced.rows_in_future.saturating_sub(before.in_future)),
        ("failed", run.rows_failed),
    ];
    metrics.sync_rows(&synced.view, synced.rows_read.saturating_sub(before.read), &outcomes);
    let word = match outcome {
        Ok(()) => "finished",
        Err(Error::SyncStopped { .. }) => "stopped",
        Err(_) => "failed",
    };
    metrics.sync_run(&synced.view, word, synced.seconds);
}

pub(super) fn recorded(
    run: &Run<'_>,
    synced: &Synced,
    range: Range,
    started_at: Micros,
    outcome: &Result<(), Error>,
) -> SyncRun {
    let (window, counts) = (run.task.window, &run.done.counts);
    let features = run.plan.view.features.iter().map(|feature| feature.name.clone());
    SyncRun {
        view: synced.view.clone(),
        range: range.word().to_owned(),
        from: window.from,
        until: Some(window.until),
        started_at,
        seconds: synced.seconds,
        rows_read: synced.rows_read,
        rows_latest: synced.rows_latest,
        rows_written: synced.rows_written,
        rows_older: synced.rows_older,
        rows_without_key: synced.rows_without_key,
        rows_in_future: synced.rows_in_future,
        rows_failed: run.rows_failed,
        rows_quarantined: synced.rows_quarantined,
        rows_reused: synced.rows_reused,
        rows_read_again: synced.rows_read_again,
        bytes_written: counts.bytes_written,
        bytes_spooled: run.bytes_spooled,
        newest_event_time: counts.newest_event_time,
        nulls: features.zip(counts.nulls.iter().copied()).collect(),
        expectations: match synced.expectations.as_slice() {
            [] => None,
            verdicts => serde_json::to_string(verdicts).ok(),
        },
        snapshot: run.task.snapshot.as_ref().and_then(|snapshot| serde_json::to_string(snapshot).ok()),
        outcome: match outcome {
            Ok(()) => Outcome::Finished,
            Err(Error::SyncStopped { .. }) => Outcome::Stopped,
            Err(error) => Outcome::Failed(chain(error)),
        },
    }
}

impl From<SyncRun> for RunShown {
    fn from(run: SyncRun) -> Self {
        let (outcome, failure) = match run.outcome {
            Outcome::Finished => ("finished", None),
            Outcome::Stopped => ("stopped", None),
            Outcome::Failed(why) => ("failed", Some(why)),
        };
        Self {
            view: run.view,
            range: run.range,
            from: run.from.map(shown),
            until: run.until.map(shown),
            started_at: shown(run.started_at),
            seconds: run.seconds,
            outcome,
            failure,
            rows_read: run.rows_read,
            rows_latest: run.rows_latest,
            rows_written: run.rows_written,
            rows_older: run.rows_older,
            rows_without_key: run.rows_without_key,
            rows_in_future: run.rows_in_future,
            rows_failed: run.rows_failed,
            rows_quarantined: run.rows_quarantined,
            rows_reused: run.rows_reused,
            rows_read_again: run.rows_read_again,
            bytes_written: run.bytes_written,
            bytes_spooled: run.bytes_spooled,
            newest_event_time: run.newest_event_time.map(shown),
            nulls: run.nulls.into_iter().map(|(feature, rows)| NullsShown { feature, rows }).collect(),
            expectations: run
                .expectations
                .and_then(|verdicts| serde_json::from_str(&verdicts).ok())
                .unwrap_or_default(),
            snapshot: run.snapshot.and_then(|snapshot| serde_json::from_str(&snapshot).ok()),
        }
    }
}

fn shown(time: Micros) -> String {
    match DateTime::from_timestamp_micros(time) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{time} µs"),
    }
}
