//! `lockstep plan`: what `apply` would do.

use std::fmt;

use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::{Planned, Project};
use crate::plan::Change;

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let planned = Project::open(&context.project)?.plan().await?;
    output::print(context.format, &Changes::of(&planned), ToString::to_string)?;
    let breaks = planned.changes.iter().any(|change| change.is_incompatible() || change.is_refused());
    Ok(if breaks { Outcome::Found } else { Outcome::Done })
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
