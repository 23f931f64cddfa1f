//! `lockstep lineage`: where a feature comes from, down to the sources, and who uses it.

use clap::Args;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::catalog::Catalog;
use crate::document::did_you_mean;
use crate::error::ErrorKind;

#[derive(Debug, Args)]
#[command(after_help = "Example: lockstep lineage company_recency:days_since_last_trip")]
pub(super) struct Arguments {
    /// The feature, as `view:feature`
    feature: String,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let Some((view, feature)) = arguments.feature.split_once(':') else {
        return Err(Failure::invalid(format!("{:?} is not a feature; write it as view:feature", arguments.feature)));
    };
    let catalog = Project::open(&context.project)?.applied_catalog().await?.catalog;
    let lineage = crate::plan::lineage(&catalog, view, feature).ok_or_else(|| unknown(&catalog, &arguments.feature))?;
    output::print(context.format, &lineage, ToString::to_string)?;
    Ok(Outcome::Done)
}

fn unknown(catalog: &Catalog, feature: &str) -> Failure {
    let known: Vec<String> = catalog
        .views
        .values()
        .flat_map(|view| view.features().iter().map(|known| format!("{}:{}", view.name(), known.name)))
        .collect();
    let meant = did_you_mean(feature, known.iter().map(String::as_str));
    Failure { kind: ErrorKind::NotFound, text: format!("{feature} is not among the applied features{meant}") }
}
