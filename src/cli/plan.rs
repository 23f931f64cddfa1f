//! `lockstep plan`: what `apply` would do.

use std::fmt;

use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::{Planned, Project};
use crate::plan::Change;

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let planned = Project::open(&context.project)?.plan().await?;
    output::print(context.format, &Changes::of(&planned), ToString::to_string)?;
    let incompatible = planned.changes.iter().any(Change::is_incompatible);
    Ok(if incompatible { Outcome::Found } else { Outcome::Done })
}

/// The changes and the warnings.
#[derive(Serialize)]
pub(super) struct Changes<'a> {
    changes: &'a [Change],
    warnings: Vec<String>,
}

impl<'a> Changes<'a> {
    pub(super) fn of(planned: &'a Planned) -> Self {
        Self { changes: &planned.changes, warnings: planned.warnings.iter().map(ToString::to_string).collect() }
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
        write!(f, "{}", if lines.is_empty() { "  no changes".to_owned() } else { lines.join("\n") })
    }
}
