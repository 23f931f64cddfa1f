//! `lockstep plan`: what `apply` would do.

use serde::Serialize;

use super::{Context, Failure, Format, Outcome, output};
use crate::app::{Planned, Project};

pub(super) async fn run(context: &Context) -> Result<Outcome, Failure> {
    let planned = Project::open(&context.project)?.plan().await?;
    print_changes(context.format, &planned)?;
    let incompatible = planned.changes.iter().any(|change| change.is_incompatible());
    Ok(if incompatible { Outcome::Found } else { Outcome::Done })
}

#[derive(Serialize)]
struct Shown<'a> {
    changes: &'a [crate::plan::Change],
    warnings: Vec<String>,
}

/// The changes and the warnings.
pub(super) fn print_changes(format: Format, planned: &Planned) -> Result<(), Failure> {
    let shown =
        Shown { changes: &planned.changes, warnings: planned.warnings.iter().map(ToString::to_string).collect() };
    output::print(format, &shown, |shown| {
        let mut lines: Vec<String> = shown.changes.iter().map(|change| format!("  {change}")).collect();
        if lines.is_empty() {
            lines.push("  no changes".to_owned());
        }
        lines.extend(shown.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    })
}
