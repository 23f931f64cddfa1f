//! `lockstep apply`: the definitions become a new version in the registry.

use clap::Args;

use super::plan::print_changes;
use super::{Context, Failure, Outcome};
use crate::app::Project;

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep apply")]
pub(super) struct Arguments {
    /// Apply although something that is in use breaks
    #[arg(long)]
    allow_incompatible: bool,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let planned = project.plan().await?;
    print_changes(context.format, &planned)?;
    let applied = project.apply(&planned, arguments.allow_incompatible).await?;
    match applied.unchanged {
        true => eprintln!("nothing to apply: version {} is what is written", applied.number),
        false => eprintln!("applied as version {}; a running gateway takes it up when it starts again", applied.number),
    }
    Ok(Outcome::Done)
}
