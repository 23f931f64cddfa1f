//! `lockstep vacuum`: files go that nobody reads any more.

use std::time::Duration;

use clap::Args;

use super::compact::run_maintenance;
use super::{Context, Failure, Outcome};
use crate::document::parse_duration;
use crate::offline::Maintenance;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lockstep vacuum rides --keep 7d\n\nRemoves files that compaction or updates replaced longer ago than --keep. Scans that run for longer than that, and snapshots of before, need them."
)]
pub(super) struct Arguments {
    /// The sources
    #[arg(required = true)]
    sources: Vec<String>,
    /// How long replaced files are kept, such as 7d
    #[arg(long, value_parser = parse_duration, default_value = "7d")]
    keep: Duration,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    run_maintenance(context, &arguments.sources, Maintenance::Vacuum { keep: arguments.keep }).await
}
