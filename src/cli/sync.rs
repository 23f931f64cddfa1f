//! `lockstep sync`: offline rows go online.

use clap::Args;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::clock::Micros;
use crate::flow::sync::{Progress, Range, Synced, sync, syncable_views};
use crate::gateway::Gateway;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep sync\n  lockstep sync company_stats --incremental\n  lockstep sync --from 2016-01-01 --until 2016-12-31"
)]
pub(super) struct Arguments {
    /// The feature views; all of them if none is named
    views: Vec<String>,
    /// Only what is new since the last sync
    #[arg(long, conflicts_with_all = ["from", "until"])]
    incremental: bool,
    /// The first event time to read, such as 2016-01-01 or 2016-01-01T08:00:00Z
    #[arg(long, value_parser = time::parse)]
    from: Option<Micros>,
    /// The last event time to read; now if not given
    #[arg(long, value_parser = time::parse, requires = "from")]
    until: Option<Micros>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let range = match (arguments.from, arguments.until) {
        (Some(from), until) => Range::Between { from, until: until.unwrap_or_else(|| gateway.clock.now()) },
        _ if arguments.incremental => Range::Incremental { until: gateway.clock.now() },
        _ => Range::Full,
    };
    let views = if arguments.views.is_empty() { syncable_views(&gateway) } else { arguments.views.clone() };
    let synced = sync_views(&gateway, &views, range).await?;
    output::print(context.format, &synced, |synced| report(synced))?;
    Ok(Outcome::Done)
}

/// Syncs one view after the other, with a progress line each.
pub(super) async fn sync_views(gateway: &Gateway, views: &[String], range: Range) -> Result<Vec<Synced>, Failure> {
    let mut all = Vec::with_capacity(views.len());
    for view in views {
        let bar = output::progress(view);
        let tell = |progress: Progress| {
            bar.set_message(format!("{} rows read, {} written", progress.rows_read, progress.rows_written))
        };
        let synced = sync(gateway, view, range, &tell).await;
        bar.finish_and_clear();
        let synced = synced?;
        if synced.rows_in_future > 0 {
            output::note(format!(
                "warning: {} rows of {view} are from after this machine's clock and were left out; is the clock right?",
                synced.rows_in_future
            ));
        }
        for verdict in synced.expectations.iter().filter(|verdict| !verdict.holds) {
            output::note(format!("warning: {view}: {verdict}"));
        }
        if synced.rows_quarantined > 0 {
            output::note(format!("warning: {} rows of {view} are quarantined", synced.rows_quarantined));
        }
        all.push(synced);
    }
    Ok(all)
}

/// A line for each view.
pub(super) fn report(synced: &[Synced]) -> String {
    if synced.is_empty() {
        return "no feature view is online, so there is nothing to sync".to_owned();
    }
    let row = |view: &Synced| {
        vec![
            view.view.clone(),
            view.derived_views.join(", "),
            view.rows_read.to_string(),
            view.rows_latest.to_string(),
            view.rows_written.to_string(),
            view.rows_older.to_string(),
            view.rows_without_key.to_string(),
            format!("{:.2}", view.seconds),
        ]
    };
    let header = ["view", "derived views", "rows read", "newest", "written", "older", "without key", "seconds"];
    output::table(&header, synced.iter().map(row))
}
