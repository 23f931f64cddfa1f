//! `lockstep compact`: few large files of many small ones.

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::flow::maintain::{Cared, maintain};
use crate::offline::Maintenance;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: lockstep compact rides\n\nRows and their order stay. Scans that are under way go on with the old files, which are kept until lockstep vacuum."
)]
pub(super) struct Arguments {
    /// The sources
    #[arg(required = true)]
    sources: Vec<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    run_maintenance(context, &arguments.sources, Maintenance::Compact).await
}

/// Does the same to all `sources`, and prints what became of them.
pub(super) async fn run_maintenance(
    context: &Context,
    sources: &[String],
    what: Maintenance,
) -> Result<Outcome, Failure> {
    let (offline, catalog) = Project::open(&context.project)?.offline().await?;
    let cared = maintain(offline.as_ref(), &catalog, sources, what).await?;
    output::print(context.format, &cared, |cared| report(cared))?;
    Ok(Outcome::Done)
}

fn report(cared: &[Cared]) -> String {
    let row = |cared: &Cared| {
        let done = &cared.done;
        let numbers = [done.files_before, done.files_after, done.bytes_before, done.bytes_after];
        std::iter::once(cared.source.clone()).chain(numbers.iter().map(u64::to_string)).collect()
    };
    let header = ["source", "files before", "files after", "bytes before", "bytes after"];
    output::table(&header, cared.iter().map(row))
}
