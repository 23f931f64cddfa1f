//! `lockstep apply`: the definitions become a new version in the registry.

use clap::Args;
use serde::Serialize;

use super::plan::Changes;
use super::{Context, Failure, Outcome, output};
use crate::app::Project;

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep apply")]
pub(super) struct Arguments {
    /// Apply although something that is in use breaks
    #[arg(long)]
    allow_incompatible: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    version: u64,
    /// What is written was applied already.
    unchanged: bool,
    #[serde(flatten)]
    changes: Changes<'a>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let planned = project.plan().await?;
    let applied = project.apply(&planned, arguments.allow_incompatible).await?;
    let shown = Shown { version: applied.number, unchanged: applied.unchanged, changes: Changes::of(&planned) };
    output::print(context.format, &shown, |shown| match shown.unchanged {
        true => {
            format!("{}nothing to apply: version {} is what is written", shown.changes.warning_lines(), shown.version)
        }
        false => format!(
            "{}\napplied as version {}; a running gateway takes it up within a second",
            shown.changes, shown.version
        ),
    })?;
    Ok(Outcome::Done)
}
