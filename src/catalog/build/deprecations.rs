//! What is deprecated: its days, what to use in its place, and who still reads it.

use std::collections::BTreeSet;

use super::inputs::{feature_ref, view_name};
use super::{Building, Warning};
use crate::catalog::definitions::Placed;
use crate::catalog::file::DeprecatedFile;
use crate::catalog::{Day, Defined, Definitions, Deprecation, FeatureRef, InputSource, View};

pub(super) fn build(definitions: &Definitions, building: &mut Building) {
    for placed in definitions.feature_views() {
        let view = &placed.item.name;
        add(&placed, "/deprecated", Defined::View(view.clone()), placed.item.deprecated.as_ref(), building);
        for (index, feature) in placed.item.features.iter().enumerate() {
            let named = Defined::Feature(FeatureRef::new(view, &feature.name));
            add(&placed, &format!("/features/{index}/deprecated"), named, feature.deprecated.as_ref(), building);
        }
    }
    for placed in definitions.derived_views() {
        let view = &placed.item.name;
        add(&placed, "/deprecated", Defined::View(view.clone()), placed.item.deprecated.as_ref(), building);
        for (index, feature) in placed.item.features.iter().flatten().enumerate() {
            let named = Defined::Feature(FeatureRef::new(view, feature.name()));
            add(&placed, &format!("/features/{index}/deprecated"), named, feature.deprecated(), building);
        }
    }
    for placed in definitions.feature_services() {
        let service = Defined::Service(placed.item.name.clone());
        add(&placed, "/deprecated", service, placed.item.deprecated.as_ref(), building);
    }
    warn_readers(definitions, building);
}

fn add<T>(placed: &Placed<'_, T>, path: &str, thing: Defined, file: Option<&DeprecatedFile>, building: &mut Building) {
    let Some(file) = file else { return };
    let before = building.mistakes.len();
    let mut refuse = |key: &str, wrong: String| {
        building
            .mistakes
            .push(placed.mistake(&format!("{path}/{key}"), format!("{key} of deprecated {thing}: {wrong}")));
    };
    let since = file.since.parse::<Day>().map_err(|wrong| refuse("since", wrong)).ok();
    let last = file.remove_after.as_ref().map(|day| day.parse::<Day>().map_err(|wrong| refuse("remove_after", wrong)));
    let last = last.and_then(Result::ok);
    if let (Some(since), Some(last)) = (since, last)
        && last < since
    {
        refuse("remove_after", format!("{last} is before {since}, the day since which it is deprecated"));
    }
    let instead = file.instead.as_ref().map(|name| instead(&thing, name, building));
    let instead = match instead {
        Some(Err(wrong)) => {
            let text = format!("use of deprecated {thing}: {wrong}");
            building.mistakes.push(placed.mistake(&format!("{path}/use"), text));
            None
        }
        Some(Ok(name)) => Some(name),
        None => None,
    };
    if let Some(since) = since
        && building.mistakes.len() == before
    {
        building.catalog.deprecations.insert(thing, Deprecation { since, remove_after: last, instead });
    }
}

/// What to use in place of `thing`: something else of its kind that is there, or that has a mistake of its own.
fn instead(thing: &Defined, name: &str, building: &Building) -> Result<String, String> {
    let catalog = &building.catalog;
    let (meant, is_there) = match thing {
        Defined::View(_) => {
            let view = view_name(name)?;
            let is_there = catalog.views.contains_key(view) || building.broken_views.contains(view);
            (Defined::View(view.to_owned()), is_there)
        }
        Defined::Feature(_) => {
            let feature = feature_ref(name)?;
            let is_there = catalog.feature_type(&feature).is_some() || building.broken_views.contains(&feature.view);
            (Defined::Feature(feature), is_there)
        }
        // A service with a mistake is not in the catalog, and nothing says so; then its mistake is told already.
        Defined::Service(_) => {
            let is_there = catalog.services.contains_key(name) || !building.mistakes.is_empty();
            (Defined::Service(name.to_owned()), is_there)
        }
    };
    match is_there {
        _ if meant == *thing => Err(format!("{name} is what is deprecated; name what replaces it")),
        true => Ok(meant.name()),
        false => Err(format!("{} {name} is not defined", thing.noun())),
    }
}

/// Whoever reads something deprecated and is not deprecated himself should move on.
fn warn_readers(definitions: &Definitions, building: &mut Building) {
    let catalog = &building.catalog;
    let mut warnings = Vec::new();
    for placed in definitions.feature_services() {
        let name = &placed.item.name;
        let Some(service) = catalog.services.get(name) else { continue };
        if !catalog.deprecations.contains_key(&Defined::Service(name.clone())) {
            let reader = format!("feature service {name}");
            warnings.extend(warnings_of(&placed, "/features", &reader, service.features.iter(), building));
        }
    }
    for placed in definitions.derived_views() {
        let name = &placed.item.name;
        let Some(View::Derived(view)) = catalog.views.get(name) else { continue };
        if !catalog.deprecations.contains_key(&Defined::View(name.clone())) {
            let reads = view.inputs.iter().filter_map(|input| match &input.from {
                InputSource::Feature { view, feature } => Some(FeatureRef::new(view, feature)),
                InputSource::Request { .. } => None,
            });
            let reads: Vec<FeatureRef> = reads.collect();
            warnings.extend(warnings_of(&placed, "/inputs", &format!("derived view {name}"), reads.iter(), building));
        }
    }
    building.warnings.extend(warnings);
}

fn warnings_of<'a, T>(
    placed: &Placed<'_, T>,
    path: &str,
    reader: &str,
    reads: impl Iterator<Item = &'a FeatureRef>,
    building: &Building,
) -> Vec<Warning> {
    let deprecations = &building.catalog.deprecations;
    let things = reads.flat_map(|read| [Defined::View(read.view.clone()), Defined::Feature(read.clone())]);
    let deprecated: BTreeSet<Defined> = things.filter(|thing| deprecations.contains_key(thing)).collect();
    let warning = |thing: Defined| {
        let text = format!("{reader} reads {thing}, which {}", deprecations[&thing]);
        Warning(placed.mistake(path, text))
    };
    deprecated.into_iter().map(warning).collect()
}
