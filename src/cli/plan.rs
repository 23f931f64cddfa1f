//! `lockstep plan`: what `apply` would do.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::{Explained, Planned, Project};
use crate::plan::Change;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep plan\n  lockstep plan --explain\n  lockstep plan --explain area_history\n\nExits with 1 when a change breaks something that is in use."
)]
pub(super) struct Arguments {
    /// Show instead how the rows of a source are read, or of all sources that views read
    #[arg(long, value_name = "SOURCE", num_args = 0..=1)]
    explain: Option<Option<String>>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let project = Project::open(&context.project)?;
    let planned = project.plan().await?;
    if let Some(source) = &arguments.explain {
        let explained = project.explain(&planned.catalog, source.as_deref()).await?;
        output::print(context.format, &explained, |explained| {
            explained.iter().map(shown).collect::<Vec<_>>().join("\n\n")
        })?;
        return Ok(Outcome::Done);
    }
    output::print(context.format, &Changes::of(&planned), ToString::to_string)?;
    let breaks = planned.changes.iter().any(|change| change.is_incompatible() || change.is_refused());
    Ok(if breaks { Outcome::Found } else { Outcome::Done })
}

fn shown(explained: &Explained) -> String {
    let read_for = explained.view.as_ref().map_or_else(String::new, |view| format!(" for view {view}"));
    format!("source {}{read_for}:\n{}", explained.source, explained.plan.trim_end())
}

/// The changes and the warnings.
#[derive(Serialize)]
pub(super) struct Changes<'a> {
    changes: &'a [Change],
    warnings: Vec<String>,
    /// What to do in place of what breaks someone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ways_out: Vec<String>,
}

impl<'a> Changes<'a> {
    pub(super) fn of(planned: &'a Planned) -> Self {
        let warnings = planned.warnings.iter().map(ToString::to_string).collect();
        Self { changes: &planned.changes, warnings, ways_out: planned.ways_out() }
    }

    /// A line for each warning.
    pub(super) fn warning_lines(&self) -> String {
        self.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect()
    }
}

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.warning_lines())?;
        let lines: Vec<String> = self.changes.iter().map(|change| format!("  {change}")).collect();
        write!(f, "{}", if lines.is_empty() { "  no changes".to_owned() } else { lines.join("\n") })?;
        self.ways_out.iter().try_for_each(|way_out| write!(f, "\nhint: {way_out}"))
    }
}
