//! `lockstep services`: the feature services, and the lists of features that they have had.

use clap::Args;
use serde::Serialize;

use super::{Context, Failure, Outcome, output};
use crate::app::Project;
use crate::catalog::{Catalog, FeatureService, ServiceVersion};
use crate::error::ErrorKind;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep services\n  lockstep services tip_model_v1 -o json")]
pub(super) struct Arguments {
    /// A feature service; all of them if none is named
    service: Option<String>,
}

/// One list of a service.
#[derive(Serialize)]
struct Shown {
    /// As it is asked for, whatever comes later.
    name: String,
    /// Whether the service's own name asks for it now.
    current: bool,
    full_feature_names: bool,
    features: Vec<String>,
    /// Why it cannot be asked for any more, if it cannot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Outcome, Failure> {
    let catalog = Project::open(&context.project)?.applied_catalog().await?.catalog;
    let services: Vec<&FeatureService> = match &arguments.service {
        None => catalog.services.values().collect(),
        Some(name) => vec![catalog.services.get(name).ok_or_else(|| {
            let text = format!("feature service {name} is not among the applied ones");
            Failure { kind: ErrorKind::NotFound, text }
        })?],
    };
    let lists: Vec<Shown> = services.into_iter().flat_map(|service| lists(&catalog, service)).collect();
    output::print(context.format, &lists, |lists| {
        if lists.is_empty() {
            return "no feature service is applied".to_owned();
        }
        output::table(&["service", "", "features", "cannot be asked for, because"], lists.iter().map(row))
    })?;
    Ok(Outcome::Done)
}

fn lists(catalog: &Catalog, service: &FeatureService) -> Vec<Shown> {
    let now = catalog.service_version(&service.name);
    let recorded = catalog.service_versions.get(&service.name).map_or(&[][..], Vec::as_slice);
    let shown = |version: &ServiceVersion| Shown {
        name: format!("{}@{}", service.name, version.number),
        current: Some(version.number) == now,
        full_feature_names: version.full_feature_names,
        features: version.features.iter().map(|recorded| recorded.feature.to_string()).collect(),
        missing: version.missing_from(catalog),
    };
    recorded.iter().map(shown).collect()
}

fn row(list: &Shown) -> Vec<String> {
    let current = if list.current { "now" } else { "" };
    vec![list.name.clone(), current.to_owned(), list.features.join("\n"), list.missing.join("\n")]
}
