//! `lockstep history`: the applied versions.

use clap::Args;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep history -o json")]
pub(super) struct Arguments {
    /// How many versions at the most
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let registry = Project::open(&context.project)?.registry().await?;
    let mut versions = registry.history().await?;
    versions.truncate(arguments.limit);
    output::print(context.format, &versions, |versions| {
        let row = |version: &crate::registry::VersionSummary| {
            vec![
                version.number.to_string(),
                time::show(version.applied_at),
                version.applied_by.clone(),
                version.catalog_hash.short(),
                version.summary.join("\n"),
            ]
        };
        output::table(&["version", "applied at", "by", "hash", "changes"], versions.iter().map(row))
    })?;
    Ok(Outcome::Done)
}
