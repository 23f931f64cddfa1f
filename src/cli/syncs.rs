//! `lockstep syncs`: the runs of sync, and what runs next.

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::flow::sync::{RunShown, ScheduleShown, SyncList, list};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep syncs\n  lockstep syncs company_stats --limit 1 -o json")]
pub(super) struct Arguments {
    /// Runs of this feature view only
    view: Option<String>,
    /// How many runs at the most, newest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// Asks the registry alone, so it runs beside a gateway that has the online store.
pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let (registry, applied) = (project.registry().await?, project.applied_catalog().await?);
    let list = list(&registry, &applied.catalog, arguments.view.as_deref(), arguments.limit).await?;
    output::print(context.format, &list, table)?;
    Ok(Outcome::Done)
}

fn table(syncs: &SyncList) -> String {
    if syncs.runs.is_empty() {
        return "nothing was synced yet; run lockstep sync".to_owned();
    }
    let header =
        ["view", "range", "started at", "seconds", "rows read", "newest", "written", "older", "quarantined", "outcome"];
    let runs = output::table(&header, syncs.runs.iter().map(run_row));
    if syncs.schedules.is_empty() {
        return runs;
    }
    let header = ["schedule of", "next at", "failures in a row", "why"];
    let schedules = output::table(&header, syncs.schedules.iter().map(schedule_row));
    format!("{runs}\n\n{schedules}")
}

fn run_row(run: &RunShown) -> Vec<String> {
    let unmet = run.expectations.iter().filter(|verdict| verdict["holds"] == false).count();
    let outcome = match &run.failure {
        Some(why) => format!("{}: {why}", run.outcome),
        None if unmet > 0 => format!("{}, {unmet} not as expected", run.outcome),
        None if run.rows_reused > 0 => format!("{}, gone on after {} rows", run.outcome, run.rows_reused),
        None => run.outcome.to_owned(),
    };
    vec![
        run.view.clone(),
        run.range.clone(),
        run.started_at.clone(),
        format!("{:.2}", run.seconds),
        run.rows_read.to_string(),
        run.rows_latest.to_string(),
        run.rows_written.to_string(),
        run.rows_older.to_string(),
        run.rows_quarantined.to_string(),
        outcome,
    ]
}

fn schedule_row(schedule: &ScheduleShown) -> Vec<String> {
    vec![
        schedule.view.clone(),
        schedule.next_at.clone(),
        schedule.failures.to_string(),
        schedule.failure.clone().unwrap_or_default(),
    ]
}
