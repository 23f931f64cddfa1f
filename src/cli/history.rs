//! `lockstep history`: the applied versions.

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output, time};
use crate::app::Project;
use crate::registry::VersionSummary;

/// Changes of one version that the table shows; a first version may have hundreds.
const CHANGES_SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep history\n  lockstep history --limit 1 -o json")]
pub(super) struct Arguments {
    /// How many versions at the most, newest first
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Serialize)]
struct Shown {
    number: u64,
    applied_at: String,
    applied_by: String,
    catalog_hash: String,
    summary: Vec<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let registry = Project::open(&context.project)?.registry().await?;
    let versions: Vec<Shown> = registry.history().await?.into_iter().take(arguments.limit).map(shown).collect();
    output::print(context.format, &versions, |versions| {
        if versions.is_empty() {
            return "nothing is applied yet; run lockstep apply".to_owned();
        }
        output::table(&["version", "applied at", "by", "hash", "changes"], versions.iter().map(row))
    })?;
    Ok(Outcome::Done)
}

fn shown(version: VersionSummary) -> Shown {
    Shown {
        number: version.number,
        applied_at: time::show(version.applied_at),
        applied_by: version.applied_by,
        catalog_hash: version.catalog_hash.to_string(),
        summary: version.summary,
    }
}

fn row(version: &Shown) -> Vec<String> {
    let mut changes: Vec<String> = version.summary.iter().take(CHANGES_SHOWN_MAX).cloned().collect();
    let more = version.summary.len() - changes.len();
    if more > 0 {
        changes.push(format!("and {more} more; -o json lists all"));
    }
    vec![
        version.number.to_string(),
        version.applied_at.clone(),
        version.applied_by.clone(),
        version.catalog_hash[..12].to_owned(),
        changes.join("\n"),
    ]
}
