//! Services that answer a part of their callers with another one: both must take the same and answer the same columns,
//! so that a caller cannot break on which one it was.

use super::Building;
use crate::catalog::definitions::Placed;
use crate::catalog::file::{FeatureServiceFile, SplitFile};
use crate::catalog::{Catalog, Definitions, FeatureService, Field, Split};
use crate::document::did_you_mean;

/// To be called when all services are there.
pub(super) fn build(definitions: &Definitions, building: &mut Building) {
    for placed in definitions.feature_services() {
        let Some(file) = &placed.item.split else { continue };
        let Some(service) = building.catalog.services.get(&placed.item.name) else { continue };
        match split(&placed, file, service, definitions, &building.catalog) {
            Ok(None) => {}
            Ok(Some(split)) => {
                if let Some(service) = building.catalog.services.get_mut(&placed.item.name) {
                    service.split = Some(split);
                }
            }
            Err((path, wrong)) => {
                let text = format!("feature service {}: {wrong}", placed.item.name);
                building.mistakes.push(placed.mistake(path, text));
            }
        }
    }
}

/// None where the other service has a mistake of its own.
fn split(
    placed: &Placed<'_, FeatureServiceFile>,
    file: &SplitFile,
    service: &FeatureService,
    definitions: &Definitions,
    catalog: &Catalog,
) -> Result<Option<Split>, (&'static str, String)> {
    const OTHER: &str = "/split/other";
    let SplitFile { by, other: name, share } = file;
    if *name == placed.item.name {
        return Err((OTHER, "it cannot be split between itself and itself".to_owned()));
    }
    let Some(written) = definitions.feature_services().find(|other| other.item.name == *name) else {
        let meant = did_you_mean(name, catalog.services.keys().map(String::as_str));
        return Err((OTHER, format!("there is no feature service {name} to answer a part of its callers{meant}")));
    };
    if written.item.split.is_some() {
        return Err((OTHER, format!("{name} is split itself; only one of the two can be")));
    }
    let Some(other) = catalog.services.get(name) else { return Ok(None) };
    if !(*share > 0.0 && *share < 1.0) {
        return Err(("/split/share", "the share must be above 0 and below 1".to_owned()));
    }
    if columns(catalog, service) != columns(catalog, other) {
        let shown = |service: &FeatureService| shown(&columns(catalog, service));
        let wrong = format!("{name} answers other columns, {} in place of {}", shown(other), shown(service));
        return Err((OTHER, wrong));
    }
    let (takes, other_takes) = (inputs(catalog, service), inputs(catalog, other));
    if takes != other_takes {
        return Err((OTHER, format!("{name} takes {} in place of {}", shown(&other_takes), shown(&takes))));
    }
    if !takes.iter().any(|field| field.name == *by) {
        return Err(("/split/by", format!("it takes no {by}; it takes {}", shown(&takes))));
    }
    let mut reads = other.features.iter().flat_map(|feature| catalog.reach(&feature.view).feature_views);
    if let Some(view) = reads.find(|view| !view.online) {
        return Err((OTHER, format!("{name} reads {}, which is not kept online", view.name)));
    }
    Ok(Some(Split { by: by.clone(), other: name.clone(), share: *share }))
}

/// The columns of an answer, in order.
fn columns(catalog: &Catalog, service: &FeatureService) -> Vec<Field> {
    let column = |feature: &crate::catalog::FeatureRef| {
        Some(Field::new(feature.column(service.full_feature_names), catalog.feature_type(feature)?))
    };
    service.features.iter().filter_map(column).collect()
}

/// What comes with a question, in order; see [`crate::plan`].
fn inputs(catalog: &Catalog, service: &FeatureService) -> Vec<Field> {
    let mut views: Vec<&str> = Vec::new();
    for feature in &service.features {
        if !views.contains(&feature.view.as_str()) {
            views.push(&feature.view);
        }
    }
    let reaches: Vec<_> = views.iter().map(|view| catalog.reach(view)).collect();
    let keys = reaches.iter().flat_map(|reach| &reach.feature_views).flat_map(|view| &view.join_keys);
    let request = reaches.iter().flat_map(|reach| &reach.request).map(|(field, _)| field);
    let mut inputs: Vec<Field> = Vec::new();
    for field in keys.chain(request) {
        match inputs.iter_mut().find(|input| input.name == field.name) {
            Some(input) => input.nullable &= field.nullable,
            None => inputs.push(field.clone()),
        }
    }
    inputs
}

fn shown(fields: &[Field]) -> String {
    fields.iter().map(|field| format!("{} ({})", field.name, field.dtype)).collect::<Vec<_>>().join(", ")
}
