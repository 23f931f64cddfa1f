//! `lockstep online stats`: keys, bytes, times and coverage of the stored views.

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::clock::Deadline;
use crate::flow::online::{Coverage, StoredView, statistics};
use crate::limits::STATISTICS_DEADLINE;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep online stats\n  lockstep online stats company_stats -o json\n\nOf a large store the rows of some keys are looked at; everything \
but the number of keys is of these."
)]
pub(in crate::cli) struct Arguments {
    /// The views; all that are stored if none is named
    views: Vec<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let gateway = Project::open(&context.project)?.gateway().await?;
    let views = statistics(&gateway, &arguments.views, Deadline::after(STATISTICS_DEADLINE)).await?;
    output::print(context.format, &views, |views| report(views))?;
    Ok(Outcome::Done)
}

/// A table of views, then one of their features.
fn report(views: &[StoredView]) -> String {
    if views.is_empty() {
        return "no view is stored online".to_owned();
    }
    let average = |bytes: Option<f64>| bytes.map_or_else(String::new, |bytes| format!("{bytes:.1}"));
    let view = |view: &StoredView| {
        vec![
            view.view.clone(),
            view.keys.to_string(),
            view.sampled.to_string(),
            average(view.bytes_per_key),
            average(view.bytes_per_value),
            view.oldest_event_time.clone().unwrap_or_default(),
            view.newest_event_time.clone().unwrap_or_default(),
        ]
    };
    let header = ["view", "keys", "sampled", "bytes/key", "bytes/value", "oldest", "newest"];
    let feature = |view: &StoredView, coverage: &Coverage| {
        let share = coverage.share.map_or_else(String::new, |share| format!("{:.1} %", share * 100.0));
        vec![format!("{}:{}", view.view, coverage.feature), coverage.values.to_string(), share]
    };
    let features = views.iter().flat_map(|view| view.coverage.iter().map(move |coverage| feature(view, coverage)));
    let (views, features) =
        (output::table(&header, views.iter().map(view)), output::table(&["feature", "values", "coverage"], features));
    format!("{views}\n\n{features}")
}
